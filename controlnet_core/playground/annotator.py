"""What a picture of the playground shows, read from its pixels: depth, shapes, colours, ground.

A small network that was trained on exact labels. It makes the hints of the playground, and it is
the judge of what the playground paints: whether a picture shows what its caption says.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .drawing import label_hint
from .words import COLOURS, GROUNDS, SHAPES

_GROUPS = (1, 1 + len(SHAPES), len(COLOURS), len(GROUNDS))


class Reading(NamedTuple):
    """What the network answers for each pixel; all but the depth are logits."""

    depth: Tensor
    """(B 1 H W), near is 1."""
    labels: Tensor
    """(B 7 H W): the ground, and each of SHAPES."""
    colours: Tensor
    """(B 8 H W): each of COLOURS."""
    patterns: Tensor
    """(B 4 H W): each of GROUNDS; means something on the ground alone."""


class Found(NamedTuple):
    """What a picture shows."""

    solids: frozenset[tuple[str, str]]
    """(colour, shape) of every solid that is large enough to be seen."""
    ground: tuple[str, str]
    """Pattern and colour."""


class Annotator(nn.Module):
    """Pictures (B 3 H W) in 0..1, sides multiples of 8, to a `Reading`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 32, 5, stride=2, padding=2), _block(32, 32))
        self.second = nn.Sequential(_block(32, 64, stride=2), _block(64, 64))
        self.third = nn.Sequential(_block(64, 64, stride=2), _block(64, 64), _block(64, 64))
        self.up_second, self.up_first = _block(128, 64), _block(96, 32)
        self.head = nn.Sequential(nn.Conv2d(32, 4 * sum(_GROUPS), 3, padding=1), nn.PixelShuffle(2))

    def forward(self, picture: Tensor) -> Reading:
        first = self.first(picture * 2.0 - 1.0)
        second = self.second(first)
        h = self.up_second(torch.cat([_twice(self.third(second)), second], dim=1))
        h = self.up_first(torch.cat([_twice(h), first], dim=1))
        return Reading(*self.head(h).split(_GROUPS, dim=1))

    def depth(self, picture: Tensor) -> Tensor:
        """Depth hint (B 3 H W) in 0..1."""
        return self(picture).depth.clamp(0.0, 1.0).expand(-1, 3, -1, -1)

    def labels(self, picture: Tensor) -> Tensor:
        """Segmentation hint (B 3 H W): each shape in its colour."""
        return label_hint(self(picture).labels.argmax(dim=1))

    def find(self, picture: Tensor, *, least: int = 60) -> list[Found]:
        """What each picture shows; a solid counts from `least` pixels on."""
        reading = self(picture)
        labels, colours = reading.labels.argmax(dim=1), reading.colours.argmax(dim=1)
        return [
            _found(*maps, least=least)
            for maps in zip(labels, colours, reading.patterns, strict=True)
        ]


def _found(labels: Tensor, colours: Tensor, patterns: Tensor, *, least: int) -> Found:
    kinds = labels * len(COLOURS) + colours
    counts = torch.bincount(kinds.flatten(), minlength=_GROUPS[1] * len(COLOURS))
    grid = [[int(count) for count in row] for row in counts.view(_GROUPS[1], len(COLOURS))]
    names = tuple(COLOURS)
    solids = {
        (names[colour], SHAPES[label - 1])
        for label in range(1, _GROUPS[1])
        for colour in range(len(names))
        if grid[label][colour] >= least
    }
    weights = (labels == 0).float()
    pattern = int((patterns * weights).sum(dim=(1, 2)).argmax())
    colour = max(range(len(names)), key=grid[0].__getitem__)
    return Found(frozenset(solids), (GROUNDS[pattern], names[colour]))


def _block(channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1),
        nn.GroupNorm(8, out_channels), nn.SiLU(),
    )  # fmt: skip


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
