"""What is wrong with a dataset, told before the first step of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]

SHOWN = 5
"""Names that a message spells out; the finding keeps all of them."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found, and the examples or files that it concerns."""

    severity: Severity
    check: str
    """What looked for it: a stable word, such as `broken` or `duplicates`."""
    message: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        tail = f" ({listed(self.names)})" if self.names else ""
        return f"{self.severity}: {self.message}{tail}"


def listed(names: tuple[str, ...]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
