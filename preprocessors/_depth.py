"""From what depth networks say to hints: 1 is near, 0 is far."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

NEAREST, FARTHEST = 0.1, 250.0  # metres; source: the viewer of apple/ml-depth-pro
ZOE = 2.0, 85.0  # percentiles of distance that become 1 and 0; source: ZoeDepth's colorize

Normalise = Callable[[Tensor], Tensor]


def spread(near: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """`near` (b 1 h w) with `low` at 0 and `high` at 1, cut there; by default each map's bounds.

    A map of one value becomes 0.
    """
    low = near.amin((1, 2, 3), keepdim=True) if low is None else low
    high = near.amax((1, 2, 3), keepdim=True) if high is None else high
    span = high - low
    flat = span <= 0
    return torch.where(flat, 0.0, (near - low) / torch.where(flat, 1.0, span)).clamp(0.0, 1.0)


def from_inverse(inverse: Tensor) -> Tensor:
    """Hint of inverse depth in 1/m (b 1 h w): what is nearer or farther than we care for is cut."""
    return spread(inverse.clamp(1 / FARTHEST, 1 / NEAREST))


def from_metres(distance: Tensor) -> Tensor:
    """Hint of a distance in metres (b 1 h w), by its inverse, so that near things have detail."""
    return from_inverse(1 / distance.clamp(NEAREST, FARTHEST))


def from_percentiles(distance: Tensor) -> Tensor:
    """Hint of a distance (b 1 h w) as ControlNet's depth models saw ZoeDepth: linear, turned.

    Source: annotator/zoe of lllyasviel/ControlNet. Difference: floats, not 8-bit levels.
    """
    near, far = (percentile(distance, each) for each in ZOE)
    return spread(-distance, -far, -near)


def percentile(x: Tensor, percent: float) -> Tensor:
    """The value (b 1 1 1) below which `percent` of each map (b 1 h w) lies, as numpy counts.

    By sorting: torch.quantile takes no more than 16 million values.
    """
    ordered = x.flatten(1).sort(1).values
    place = percent / 100 * (ordered.shape[1] - 1)
    low = int(place)
    high = min(low + 1, ordered.shape[1] - 1)
    return torch.lerp(ordered[:, low], ordered[:, high], place - low).view(-1, 1, 1, 1)
