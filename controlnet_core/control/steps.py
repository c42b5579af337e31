"""Whole steps: which step of how many a noise level belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ControlInputError


class Moment(float):
    """Progress 0..1 that also knows its step: `step` of `steps`, counted from 0.

    A number like any other for schedules that read progress alone.
    """

    __slots__ = ("step", "steps")
    step: int
    steps: int

    def __new__(cls, t: float, step: int, steps: int) -> Moment:
        moment = super().__new__(cls, t)
        moment.step, moment.steps = step, steps
        return moment


class Steps:
    """The noise levels of one sampling run, `count` steps and the level that it ends at.

    img2img and samplers that start late count from the first step that they really make.
    """

    def __init__(self, sigmas: Sequence[float]) -> None:
        if len(sigmas) < 2:
            raise ControlInputError(
                "CN-S34", "steps", found=f"{len(sigmas)} noise levels",
                expected="one for each step and the one where the sampling ends",
                fix="use a sampler and SIGMAS that make at least one step",
            )
        self._sigmas = tuple(sigmas[:-1])

    @property
    def count(self) -> int:
        return len(self._sigmas)

    def index(self, sigma: float) -> int:
        """The step whose noise level is nearest to `sigma`; of equals the first.

        Second-order samplers also call the model between two steps, and samplers that add noise
        slightly above one: those calls belong to the nearest step.
        """
        return min(range(self.count), key=lambda step: abs(self._sigmas[step] - sigma))

    def moment(self, t: float, sigma: float) -> Moment:
        """Progress `t` at noise level `sigma`, with its step."""
        return Moment(t, self.index(sigma), self.count)


def moment(t: float, *, where: str) -> Moment:
    """`t` as a `Moment`; raises where nobody told the steps."""
    if isinstance(t, Moment):
        return t
    raise ControlInputError(
        "CN-S35", where, found="a sampler that does not tell its steps",
        expected="the noise levels of all steps, which ComfyUI's samplers give",
        fix="spread the list over a range of the sampling instead of counting steps",
    )
