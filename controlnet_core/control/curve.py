"""Strengths that change on the way: ramps, and curves through points."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from ..errors import ControlInputError
from .easing import check_easing, eased
from .schedule import Schedule, check_percent, check_range, check_strength

Points = tuple[tuple[float, float], ...]
"""(progress, strength) pairs."""

INTERPOLATIONS = ("monotone_cubic", "linear", "step")


@dataclass(frozen=True)
class Ramp(Schedule):
    """From `first` at `start` to `last` at `end`; before and after, those two."""

    first: float = 1.0
    last: float = 0.0
    start: float = 0.0
    end: float = 1.0
    easing: str = "linear"

    def __post_init__(self) -> None:
        check_range(self.start, self.end, where="ramp")
        check_strength(self.first, where="ramp")
        check_strength(self.last, where="ramp")
        check_easing(self.easing, where="ramp")

    def __call__(self, t: float) -> float:
        if not self.start <= t < self.end:
            return self.first if t < self.start else self.last
        share = (t - self.start) / (self.end - self.start)
        return eased(self.first, self.last, share, self.easing)

    @property
    def knots(self) -> tuple[float, ...]:
        return (self.start, self.end)

    @property
    def steady(self) -> bool:
        return self.first == self.last


@dataclass(frozen=True)
class Curve(Schedule):
    """A curve through `points`, met exactly; before the first and after the last it is level.

    Points may come in any order, but no two at one progress. `monotone_cubic` never overshoots
    its points; it is the curve that ComfyUI's editor draws. `step` holds each value to the next.
    """

    points: Points
    interpolation: str = "monotone_cubic"

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", check_points(self.points, where="curve"))
        if self.interpolation not in INTERPOLATIONS:
            raise ControlInputError(
                "CN-S33", "curve", found=f"interpolation {self.interpolation!r}",
                expected=" or ".join(INTERPOLATIONS), fix="choose one of these",
            )

    def __call__(self, t: float) -> float:
        right = bisect_right(self.points, t, key=lambda point: point[0])
        if right in (0, len(self.points)):
            return self.points[max(right - 1, 0)][1]
        (x0, y0), (x1, y1) = self.points[right - 1 : right + 1]
        if self.interpolation == "step":
            return y0
        share = (t - x0) / (x1 - x0)
        if self.interpolation == "linear":
            return y0 + (y1 - y0) * share
        slopes = _slopes(self.points)[right - 1 : right + 1]
        return _hermite(share, y0, y1, *(slope * (x1 - x0) for slope in slopes))

    @property
    def knots(self) -> tuple[float, ...]:
        return tuple(t for t, _ in self.points)

    @property
    def steady(self) -> bool:
        return len({strength for _, strength in self.points}) == 1


def check_points(points: Points, *, where: str) -> Points:
    """`points` in the order of their progress; raises for none, doubled and impossible ones."""
    if not points:
        raise ControlInputError(
            "CN-S30", where, found="no points", expected="at least one, as 0.5: 0.8",
            fix="write a percent and a strength",
        )
    for percent, strength in points:
        check_percent(percent, where=f"percent of {where}")
        check_strength(strength, where=f"strength of {where} at {percent:g}")
    ordered = tuple(sorted((float(percent), float(strength)) for percent, strength in points))
    for (a, _), (b, _) in pairwise(ordered):
        if a == b:
            raise ControlInputError(
                "CN-S31", where, found=f"two strengths at {a:g}",
                expected="one strength for each percent",
                fix="take one of them out, or move it a little",
            )
    return ordered


@lru_cache(maxsize=64)
def _slopes(points: Points) -> tuple[float, ...]:
    """A slope for each point, such that the cubics between them never overshoot.

    Means of the neighbouring secants, zero at turns, then drawn into the circle of radius 3.
    Source: Fritsch and Carlson, Monotone Piecewise Cubic Interpolation (1980), as ComfyUI's
    CURVE editor draws it; SciPy's pchip takes harmonic means instead.
    """
    secants = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in pairwise(points)]
    means = [0.5 * (a + b) if a * b > 0.0 else 0.0 for a, b in pairwise(secants)]
    slopes = [*secants[:1], *means, *secants[-1:]]
    for i, secant in enumerate(secants):
        steepness = math.hypot(slopes[i], slopes[i + 1])
        if steepness > 3.0 * abs(secant):
            scale = 3.0 * abs(secant) / steepness
            slopes[i], slopes[i + 1] = slopes[i] * scale, slopes[i + 1] * scale
    return tuple(slopes)


def _hermite(share: float, y0: float, y1: float, slope0: float, slope1: float) -> float:
    """The cubic with these values and slopes (per unit of `share`) at its ends."""
    rest = 1.0 - share
    return (
        rest * rest * ((1.0 + 2.0 * share) * y0 + share * slope0)
        + share * share * ((3.0 - 2.0 * share) * y1 - rest * slope1)
    )
