"""When a control acts: a strength for every progress of the sampling, 0 (start) to 1 (end)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..errors import ControlInputError


class Schedule(ABC):
    """A function of progress `t`. Schedules multiply: `Window(0, 0.8) * Constant(0.5)`."""

    @abstractmethod
    def __call__(self, t: float) -> float:
        """The strength at progress `t`."""

    @property
    @abstractmethod
    def knots(self) -> tuple[float, ...]:
        """Progresses at which the value may jump; they are met exactly (see `Progress`)."""

    @property
    def steady(self) -> bool:
        """Whether the value is the same throughout, so that nobody need ask for the progress."""
        return False

    @property
    def counts_steps(self) -> bool:
        """Whether it asks for whole steps: then `t` must be a `Moment`."""
        return False

    def __mul__(self, other: Schedule) -> Schedule:
        return Product((self, other))


@dataclass(frozen=True)
class Constant(Schedule):
    """The same strength throughout."""

    value: float = 1.0

    def __call__(self, t: float) -> float:
        return self.value

    @property
    def knots(self) -> tuple[float, ...]:
        return ()

    @property
    def steady(self) -> bool:
        return True


@dataclass(frozen=True)
class Window(Schedule):
    """`value` from `start` up to, and not including, `end`; an end of 1 is included.

    Half-open, so that windows which meet never act twice at the step where they meet.
    """

    start: float = 0.0
    end: float = 1.0
    value: float = 1.0

    def __post_init__(self) -> None:
        check_range(self.start, self.end, where="window")

    def __call__(self, t: float) -> float:
        inside = self.start <= t and (t < self.end or self.end >= 1.0)
        return self.value if inside else 0.0

    @property
    def knots(self) -> tuple[float, ...]:
        return (self.start, self.end)


@dataclass(frozen=True)
class Product(Schedule):
    """The product of several schedules at the same progress."""

    factors: tuple[Schedule, ...]

    def __call__(self, t: float) -> float:
        return math.prod(factor(t) for factor in self.factors)

    @property
    def knots(self) -> tuple[float, ...]:
        return tuple(sorted({knot for factor in self.factors for knot in factor.knots}))

    @property
    def steady(self) -> bool:
        return all(factor.steady for factor in self.factors)

    @property
    def counts_steps(self) -> bool:
        return any(factor.counts_steps for factor in self.factors)


def check_range(start: float, end: float, *, where: str) -> None:
    """Raises unless 0 <= start <= end <= 1."""
    if not (math.isfinite(start) and math.isfinite(end) and start >= 0.0 and end <= 1.0):
        raise ControlInputError(
            "CN-S03", where, found=f"start {start:g}, end {end:g}",
            expected="fractions of the sampling between 0 and 1",
            fix="use 0 for the first step and 1 for the last",
        )
    if start > end:
        raise ControlInputError(
            "CN-S01", where, found=f"start {start:g} after end {end:g}",
            expected="a start that is not after the end", fix="swap start_percent and end_percent",
        )


def check_percent(percent: float, *, where: str) -> None:
    """Raises unless 0 <= percent <= 1."""
    if not 0.0 <= percent <= 1.0:
        raise ControlInputError(
            "CN-S03", where, found=f"{percent:g}",
            expected="fractions of the sampling between 0 and 1",
            fix="use 0 for the first step and 1 for the last",
        )


def check_strength(strength: float, *, where: str) -> None:
    """Raises for a strength that is no number or would drown the picture in infinities."""
    if not math.isfinite(strength) or abs(strength) > MAX_STRENGTH:
        raise ControlInputError(
            "CN-S05", where, found=f"strength {strength}",
            expected=f"a number up to {MAX_STRENGTH:g}", fix="use a strength around 1",
        )


MAX_STRENGTH = 1e4
"""Results stay finite far beyond this (1e30 gives NaN), but nothing of the picture is left."""
