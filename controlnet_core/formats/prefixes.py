"""Training code leaves its own names in front of a net's: `control_model.`, `module.` and such."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

WRAPPERS = frozenset({"control_model", "module", "model", "diffusion_model", "controlnet"})
MAX_WRAPPERS = 3


def prefix_of(names: Iterable[str], signature: Iterable[str]) -> str | None:
    """What stands in front of the first name that ends in one of `signature`; None = no such name.

    Only wrappers that are known to mean nothing count, three at most.
    """
    endings = tuple(signature)
    for name in names:
        for ending in endings:
            if name.endswith(ending) and _is_wrapper(prefix := name.removesuffix(ending)):
                return prefix
    return None


def names_without(prefix: str, entries: Mapping[str, T]) -> dict[str, T]:
    """The entries under `prefix`, named without it."""
    return {
        name.removeprefix(prefix): entry
        for name, entry in entries.items()
        if name.startswith(prefix)
    }


def _is_wrapper(prefix: str) -> bool:
    *words, rest = prefix.split(".")
    return rest == "" and len(words) <= MAX_WRAPPERS and WRAPPERS.issuperset(words)
