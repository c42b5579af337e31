"""Segments of a picture without classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor

from ._networks import OneOf
from ._registry import Choice, Float, Int, preprocessor
from ._sam import NETWORKS, grid

TURN = 0.6180339887  # of the circle of hues from one colour to the next: never near an earlier one


@preprocessor(
    title="Segments, SAM", group="segments",
    source="Kirillov et al. 2023: Segment Anything (arXiv:2304.02643), automatic masks, through "
    "transformers. Difference: colours and points are the same in every run",
)
def sam_segments(
    image: Tensor,
    net: Annotated[Callable[..., Tensor], OneOf("model", NETWORKS)],
    *,
    model: Annotated[Literal["base", "large", "huge"], Choice("size of the network")] = "base",
    points: Annotated[
        int, Int("points each way that are asked about; more finds smaller things", 1, 64)
    ] = 32,
    quality: Annotated[
        float, Float("least quality, in the network's own opinion, of a segment", 0.0, 1.0)
    ] = 0.88,
    stability: Annotated[
        float, Float("least share of a segment that stays when its threshold moves", 0.0, 1.0)
    ] = 0.95,
) -> Tensor:
    """Whatever lies in the picture, each segment in one colour, what is left black.

    Colours tell segments apart and mean nothing: for ControlNets trained on classes take
    Segments, ADE20K.
    """
    numbers = net(image, grid(points).to(image.device), torch.tensor([quality, stability]))
    return colours(int(numbers.max()) + 1).to(image.device)[numbers[:, 0].long()].movedim(-1, 1)


def colours(count: int) -> Tensor:
    """(count 3) in 0..1: black, then bright colours, the same for every count."""
    hue = torch.arange(count)[:, None] * TURN + torch.tensor([0.0, 2 / 3, 1 / 3])
    wave = (torch.remainder(hue, 1.0) * 6 - 3).abs() - 1  # red, green and blue of a pure hue
    made = 0.25 + 0.75 * wave.clamp(0.0, 1.0)
    made[0] = 0.0
    return made
