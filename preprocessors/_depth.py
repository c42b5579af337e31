"""From what depth networks say to hints: 1 is near, 0 is far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ._finish import WHOLE_BATCH, Step
from ._parameters import Choice

NEAREST, FARTHEST = 0.1, 250.0  # metres; source: the viewer of apple/ml-depth-pro
ZOE = 2.0, 85.0  # percentiles of distance that become 1 and 0; source: ZoeDepth's colorize

Bounds = tuple[Tensor, Tensor]
"""The nearness (b 1 1 1) that becomes 0, and the one that becomes 1."""

Normalise = Annotated[
    Literal["each picture", "the whole batch"],
    Choice("whose nearest and farthest become white and black: those of each picture, or of the "
           "whole batch, so that a video does not flicker"),
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reading:
    """How the answer of a network (b 1 h w) is read: nearness, rising, and what bounds it."""

    near: Callable[[Tensor], Tensor]
    bounds: Callable[[Tensor], Bounds]

    def stretch(self, near: Tensor, normalise: str) -> Step:
        """The step from the nearness of a picture to its hint, for a batch (B c h w) of them.

        The whole batch goes from the lowest bound of its pictures to the highest.
        """

        def own(one: Tensor) -> Tensor:
            return spread(one[:, :1], *self.bounds(one[:, :1]))

        if normalise != WHOLE_BATCH:
            return own
        every = [self.bounds(one[:, :1]) for one in torch.split(near, 1)]
        low, high = (torch.cat(each) for each in zip(*every, strict=True))
        return lambda one: spread(one[:, :1], low.amin(), high.amax())


def spread(near: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """`near` (b 1 h w) with `low` at 0 and `high` at 1, cut there; all 0 where they are one."""
    span = high - low
    flat = span <= 0
    return torch.where(flat, 0.0, (near - low) / torch.where(flat, 1.0, span)).clamp(0.0, 1.0)


def extremes(near: Tensor) -> Bounds:
    """The lowest and the highest of each map (b 1 h w)."""
    return near.amin((1, 2, 3), keepdim=True), near.amax((1, 2, 3), keepdim=True)


def without_ends(near: Tensor) -> Bounds:
    """Bounds that leave out the nearest 2 and the farthest 15 percent of each map (b 1 h w).

    ControlNet's depth models saw ZoeDepth so. Source: annotator/zoe of lllyasviel/ControlNet.
    Difference: floats, not 8-bit levels.
    """
    nearest, farthest = (percentile(-near, each) for each in ZOE)
    return -farthest, -nearest


def percentile(x: Tensor, percent: float) -> Tensor:
    """The value (b 1 1 1) below which `percent` of each map (b 1 h w) lies, as numpy counts.

    By sorting: torch.quantile takes no more than 16 million values.
    """
    ordered = x.flatten(1).sort(1).values
    place = percent / 100 * (ordered.shape[1] - 1)
    low = int(place)
    high = min(low + 1, ordered.shape[1] - 1)
    return torch.lerp(ordered[:, low], ordered[:, high], place - low).view(-1, 1, 1, 1)


def _near_enough(inverse: Tensor) -> Tensor:
    """Inverse depth in 1/m without what is nearer or farther than we care for."""
    return inverse.clamp(1 / FARTHEST, 1 / NEAREST)


def _inverse(distance: Tensor) -> Tensor:
    """Inverse depth in 1/m of a distance in metres, so that near things have detail."""
    return _near_enough(1 / distance.clamp(NEAREST, FARTHEST))


# What a network says: inverse depth without a unit, 1/m, metres, and metres as
# ControlNet's training saw them.
RELATIVE = Reading(lambda near: near, extremes)
INVERSE = Reading(_near_enough, extremes)
DISTANCE = Reading(_inverse, extremes)
ZOE_DISTANCE = Reading(torch.neg, without_ends)
