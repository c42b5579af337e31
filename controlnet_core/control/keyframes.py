"""Strengths at moments: keyframes, and lists of one strength for each step."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from ..errors import ControlInputError
from .curve import Points, check_points
from .easing import check_easing, eased
from .schedule import Schedule, check_range, check_strength
from .steps import moment


@dataclass(frozen=True)
class Keyframes(Schedule):
    """A strength from each keyframe on, held or eased to the next; `before` the first of them.

    What acts depends on the progress alone, never on the steps before: samplers that go back in
    noise get back their earlier keyframe, and one between two steps is passed over.
    """

    frames: Points
    before: float = 1.0
    between: str = "hold"

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", check_points(self.frames, where="keyframes"))
        check_strength(self.before, where="strength before the keyframes")
        check_easing(self.between, where="keyframes")

    def __call__(self, t: float) -> float:
        right = bisect_right(self.frames, t, key=lambda frame: frame[0])
        if right == 0:
            return self.before
        start, first = self.frames[right - 1]
        if right == len(self.frames):
            return first
        end, last = self.frames[right]
        return eased(first, last, (t - start) / (end - start), self.between)

    @property
    def knots(self) -> tuple[float, ...]:
        return tuple(t for t, _ in self.frames)

    @property
    def steady(self) -> bool:
        return {strength for _, strength in self.frames} == {self.before}


@dataclass(frozen=True)
class StrengthList(Schedule):
    """One strength for each step. Steps after the last strength keep it; strengths that are left
    over are not used."""

    strengths: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_strengths(self.strengths)

    def __call__(self, t: float) -> float:
        if self.steady:
            return self.strengths[0]
        step = moment(t, where="strength list").step
        return self.strengths[min(step, len(self.strengths) - 1)]

    @property
    def knots(self) -> tuple[float, ...]:
        return ()

    @property
    def steady(self) -> bool:
        return len(set(self.strengths)) == 1

    @property
    def counts_steps(self) -> bool:
        return not self.steady


def spread(
    strengths: tuple[float, ...], start: float = 0.0, end: float = 1.0, *, between: str = "hold"
) -> Keyframes:
    """A list of strengths as keyframes in equal distances, the first at `start`.

    Held ones share the range in equal parts; eased ones reach the last strength at `end`. Before
    the range the first of them acts, after it the last.
    """
    _check_strengths(strengths)
    check_range(start, end, where="range of the strength list")
    parts = max(len(strengths) - (between != "hold"), 1)
    frames = ((start + (end - start) * i / parts, each) for i, each in enumerate(strengths))
    return Keyframes(tuple(frames), before=strengths[0], between=between)


def _check_strengths(strengths: tuple[float, ...]) -> None:
    if not strengths:
        raise ControlInputError(
            "CN-S30", "strength list", found="no strengths", expected="at least one number",
            fix="write numbers such as 1, 0.8, 0.5",
        )
    for index, strength in enumerate(strengths):
        check_strength(strength, where=f"entry {index} of the strength list")
