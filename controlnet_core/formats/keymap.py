"""Renaming of weights, the same table in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class KeyMap:
    """Pairs (name in our module, name in the file) of name beginnings; longest beginning wins.

    A name that no pair touches is the same on both sides, so an empty map is the identity.
    """

    pairs: tuple[tuple[str, str], ...] = ()

    def to_file(self, name: str) -> str:
        """The file's name of a weight of the module."""
        return _renamed(name, self.pairs)

    def to_module(self, name: str) -> str:
        """The module's name of a weight in the file."""
        return _renamed(name, ((theirs, ours) for ours, theirs in self.pairs))


def nested(
    pairs: Iterable[tuple[str, str]], inner: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Every pair of `pairs`, continued by every pair of `inner`."""
    inner = tuple(inner)
    return ((a + c, b + d) for a, b in pairs for c, d in inner)


def _renamed(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    old, new = max(
        ((old, new) for old, new in pairs if name.startswith(old)),
        key=lambda pair: len(pair[0]),
        default=("", ""),
    )
    return new + name[len(old) :]
