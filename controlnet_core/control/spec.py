"""How a control acts, as one small value: strength x schedule x layer weights x mask."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import mul

import torch
from torch import Tensor

from ..residuals import Residuals, Site
from .area import Area
from .batch import BatchStrengths
from .content import HintContent, HintMask
from .masks import MaskSource
from .rows import Rows
from .schedule import Constant, Schedule
from .weights import Both, LayerWeights, Uniform

Timeline = tuple[tuple[float, "ControlSpec"], ...]
"""(progress, spec) in rising order: each holds from its progress on, up to that of the next."""


@dataclass(frozen=True, eq=False)
class ControlSpec:
    """Strength of a control over time, depth and place. The default changes nothing."""

    strength: float = 1.0
    schedule: Schedule = field(default_factory=Constant)
    weights: LayerWeights = field(default_factory=Uniform)
    mask: Tensor | None = None
    """(B 1 H W) in 0..1, picture space; None = everywhere."""
    uncond_strength: float = 1.0
    """On the unconditional rows; at 0 the net does not see them."""
    items: tuple[BatchStrengths, ...] = ()
    """On each picture of the batch, multiplied; pictures at 0 are not computed."""
    further_masks: tuple[Tensor | HintMask, ...] = ()
    """Those of specs that this one was multiplied with, each of its own size and count."""
    contents: tuple[HintContent, ...] = ()
    """Where the hint itself says that it should act; see `on_hints`."""
    timelines: tuple[Timeline, ...] = ()
    """Specs that take turns, multiplied in; see `at`."""

    @property
    def masks(self) -> tuple[Tensor | HintMask, ...]:
        """Every mask; the control acts where all of them let it."""
        return (() if self.mask is None else (self.mask,)) + self.further_masks

    @property
    def every_mask(self) -> tuple[Tensor | HintMask, ...]:
        """Those masks, and those that its timelines hold."""
        held = (spec.every_mask for timeline in self.timelines for _, spec in timeline)
        return self.masks + tuple(mask for masks in held for mask in masks)

    def on_hints(self, *hints: Tensor) -> ControlSpec:
        """The spec for a control with these hints (B C H W): its contents become masks of them."""
        found = tuple(HintMask(hints, content) for content in self.contents)
        timelines = tuple(
            tuple((start, spec.on_hints(*hints)) for start, spec in timeline)
            for timeline in self.timelines
        )
        masks = self.further_masks + found
        return replace(self, further_masks=masks, contents=(), timelines=timelines)

    def held(self, t: float) -> tuple[ControlSpec, ...]:
        """What its timelines hold at progress `t`, and what the timelines of those hold."""
        begun = ([spec for start, spec in timeline if start <= t] for timeline in self.timelines)
        newest = [specs[-1] for specs in begun if specs]
        return tuple(each for spec in newest for each in (spec, *spec.held(t)))

    def at(self, t: float) -> ControlSpec:
        """The spec at progress `t`, without timelines: what they hold there is multiplied in."""
        return reduce(mul, (replace(spec, timelines=()) for spec in (self, *self.held(t))))

    @property
    def knots(self) -> tuple[float, ...]:
        """Progresses at which it may change suddenly; they are to be met exactly."""
        entries = [entry for timeline in self.timelines for entry in timeline]
        return (*self.schedule.knots, *(k for start, spec in entries for k in (start, *spec.knots)))

    @property
    def steady(self) -> bool:
        """Whether it is the same throughout, so that nobody need ask for the progress."""
        return not self.timelines and self.schedule.steady

    @property
    def counts_steps(self) -> bool:
        """Whether it asks for whole steps: then progresses must be `Moment`s."""
        held = (spec for timeline in self.timelines for _, spec in timeline)
        return self.schedule.counts_steps or any(spec.counts_steps for spec in held)

    def gain(self, t: float) -> float:
        """The strength at progress `t` (0 = first step, 1 = last); 0 = the net need not run."""
        now = self.at(t) if self.timelines else self
        return now.strength * now.schedule(t)

    def row_strengths(self, rows: Rows) -> tuple[float, ...]:
        """The strength of every row, chunk after chunk."""
        items = [each.row(rows.whole) for each in self.items] or [(1.0,) * rows.whole]
        whole = [math.prod(strengths) for strengths in zip(*items, strict=True)]
        each = [whole[frame] for frame in rows.frames] if rows.frames else whole
        sides = [self.uncond_strength if rows.is_uncond(c) else 1.0 for c in range(rows.chunks)]
        return tuple(side * item for side in sides for item in each)

    def apply(
        self,
        residuals: Residuals,
        t: float,
        *,
        rows: Rows,
        latent: tuple[int, int],
        area: Area | None = None,
        masks: MaskSource | None = None,
    ) -> Residuals:
        """`residuals` scaled for progress `t`, by layer, inside the mask; `latent` is (h, w).

        `masks` keeps the resized mask between steps; without it the mask is resized anew.
        """
        gain, deepest = self.gain(t), residuals.least_height
        by_row = _by_row(self.row_strengths(rows), residuals)
        if masks is None and self.masks:
            masks = MaskSource(*self.masks)

        def weigh(site: Site, index: int, count: int, x: Tensor) -> Tensor:
            factor = gain * self.weights(site, index, count, x.shape[-2] / deepest)
            place = by_row * factor
            if masks is not None:
                place = masks.on(x, rows, latent=latent, area=area) * place
            return x if isinstance(place, float) and place == 1.0 else x * place

        return residuals.map(weigh)

    def __mul__(self, other: ControlSpec) -> ControlSpec:
        """Both at once: strengths, schedules, layer weights and masks multiply."""
        return ControlSpec(
            self.strength * other.strength,
            self.schedule * other.schedule,
            Both(self.weights, other.weights),
            None,
            self.uncond_strength * other.uncond_strength,
            self.items + other.items,
            self.masks + other.masks,
            self.contents + other.contents,
            self.timelines + other.timelines,
        )


def _by_row(strengths: tuple[float, ...], residuals: Residuals) -> Tensor | float:
    """One number where all rows are alike, else a column that multiplies residuals row by row.

    Made once for them all: they share device, dtype and axes, and each upload makes a GPU wait.
    """
    tensors = residuals.tensors()
    if len(set(strengths)) == 1 or not tensors:
        return strengths[0]
    column = torch.tensor(strengths, device=tensors[0].device, dtype=tensors[0].dtype)
    return column.reshape(-1, *[1] * (tensors[0].ndim - 1))
