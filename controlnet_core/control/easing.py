"""How a strength gets from one value to the next."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import ControlInputError

EASINGS: dict[str, Callable[[float], float]] = {
    "hold": math.floor,
    "linear": lambda x: x,
    "ease-in": lambda x: x * x,
    "ease-out": lambda x: 1.0 - (1.0 - x) ** 2,
    "ease-in-out": lambda x: 0.5 * (1.0 - math.cos(math.pi * x)),
}
"""Share of the way 0..1 -> share of the difference, exact at both ends; "hold" jumps at the end.
The names and formulas that Advanced-ControlNet's interpolation nodes made usual."""


def check_easing(easing: str, *, where: str) -> None:
    """Raises for an easing that is not known."""
    if easing not in EASINGS:
        raise ControlInputError(
            "CN-S33", where, found=f"easing {easing!r}", expected=" or ".join(EASINGS),
            fix="choose one of these",
        )


def eased(first: float, last: float, share: float, easing: str) -> float:
    """From `first` (share 0) to `last` (share 1), exactly those at the ends and beyond them."""
    if share <= 0.0:
        return first
    return last if share >= 1.0 else first + (last - first) * EASINGS[easing](share)
