"""How well a picture follows its hint: the hint's own preprocessor is run on the picture again.

All scores compare a hint with the hint that was read from a picture, both (B 3 h w) in 0..1, and
are a number (B) for each picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ControlInputError

TOLERANCE = 2
"""Pixels by which an edge may lie beside its place; half of a latent cell would be 4."""


def edge_f1(hint: Tensor, read: Tensor, *, tolerance: int = TOLERANCE) -> Tensor:
    """F1 of edges (B), 1 is best: an edge counts if the other picture has one within `tolerance`.

    Source: the boundary score of Martin et al., Learning to Detect Natural Image Boundaries
    (PAMI 2004). *Differences*: pixels near enough count, without a one-to-one assignment.
    """
    wanted, found = _bright(hint), _bright(read)
    precision = _share(found, _widened(wanted, tolerance))
    recall = _share(wanted, _widened(found, tolerance))
    return 2.0 * precision * recall / (precision + recall).clamp(min=1e-6)


def depth_rmse(hint: Tensor, read: Tensor) -> Tensor:
    """Root of the mean squared difference (B), 0 is best; both in 0..1."""
    return (hint - read).mean(dim=1).square().mean(dim=(1, 2)).sqrt()


def mean_iou(hint: Tensor, read: Tensor) -> Tensor:
    """Mean over the hint's colours of intersection over union (B), 1 is best.

    Every pixel of `read` counts as the colour of the hint that is nearest to its own.
    """
    pairs = zip(hint, read, strict=True)
    return torch.stack([_iou(*pair) for pair in pairs])


def _iou(hint: Tensor, read: Tensor) -> Tensor:
    levels = (hint * 255).round().flatten(1)
    unique = cast("Any", torch.unique)(levels, dim=1, return_inverse=True)  # annotated as one
    colours, wanted = cast("tuple[Tensor, Tensor]", unique)
    found = torch.cdist((read * 255).flatten(1).mT, colours.mT).argmin(dim=1)
    classes = torch.arange(colours.shape[1], device=hint.device)[:, None]
    a, b = wanted == classes, found == classes
    return ((a & b).sum(dim=1) / (a | b).sum(dim=1)).mean()


def _bright(edges: Tensor) -> Tensor:
    return (edges.amax(dim=1, keepdim=True) > 0.5).float()


def _widened(edges: Tensor, radius: int) -> Tensor:
    return F.max_pool2d(edges, 2 * radius + 1, stride=1, padding=radius)


def _share(edges: Tensor, near: Tensor) -> Tensor:
    """Share (B) of `edges` that lie in `near`; 1 where there are none."""
    count = edges.sum(dim=(1, 2, 3))
    inside = (edges * near).sum(dim=(1, 2, 3))
    return torch.where(count > 0, inside / count.clamp(min=1.0), 1.0)


@dataclass(frozen=True)
class Measure:
    """A score, and which way is better."""

    title: str
    score: Callable[[Tensor, Tensor], Tensor]
    best: float
    worst: float

    def __call__(self, hint: Tensor, read: Tensor) -> Tensor:
        """The score (B) of `read`, brought to the hint's size."""
        if read.shape[0] != hint.shape[0]:
            raise ControlInputError(
                "CN-T02",
                "adherence",
                found=f"{len(hint)} hints and {len(read)} pictures",
                expected="a hint for each picture",
                fix="give as many hints as pictures",
            )
        if read.shape[-2:] != hint.shape[-2:]:
            read = F.interpolate(read, size=hint.shape[-2:], mode="nearest")
        return self.score(hint, read)

    def gain(self, score: float, without: float) -> float:
        """How much of what was missing without control was won: 0 nothing, 1 all."""
        missing = self.best - without
        return (score - without) / missing if missing else 0.0


MEASURES: Mapping[str, Measure] = {
    "edges": Measure("edge F1", edge_f1, 1.0, 0.0),
    "depth": Measure("depth RMSE", depth_rmse, 0.0, 1.0),
    "labels": Measure("mean IoU", mean_iou, 1.0, 0.0),
}


def sudden_step(steps: Sequence[int], gains: Sequence[float], *, share: float = 0.5) -> int | None:
    """The step at which a net suddenly began to follow: where `share` of the whole rise is passed
    within a tenth of the run. None where it learned bit by bit, or not at all (a rise under 0.1).

    Source: the phenomenon is section 3.3 of arXiv 2302.05543; this test of it is ours.
    """
    if len(gains) < 3 or max(gains) - gains[0] < 0.1:
        return None
    rise, span = max(gains) - gains[0], (steps[-1] - steps[0]) / 10
    for index, start in enumerate(steps):
        within = [g for s, g in zip(steps, gains, strict=True) if start < s <= start + span]
        within = within or list(gains[index + 1 : index + 2])
        if within and max(within) - gains[index] >= share * rise:
            return start
    return None
