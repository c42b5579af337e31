"""Surface normals of a depth map."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from ._registry import Choice, Float, preprocessor


@preprocessor(
    title="Normals from depth", group="depth",
    source="midas: normal_midas of lllyasviel/ControlNet (Sobel 3 x 3); bae: axes of the "
    "ScanNet protocol, as NormalBAE. Difference: depth is 0..1 and its steepness a setting",
)
def normal_from_depth(
    image: Tensor,
    *,
    convention: Annotated[
        Literal["bae", "midas"],
        Choice("bae for normalbae and union nets, midas for control_normal of ControlNet 1.0"),
    ] = "bae",
    relief: Annotated[
        float, Float("depth between black and white, in shorter sides of the picture", 0.0, 10.0)
    ] = 0.5,
    background: Annotated[
        float, Float("level of depth below which all is flat; black, 0, is far", 0.0, 1.0)
    ] = 0.1,
) -> Tensor:
    """Normals of a depth hint (near is white), drawn as colours.

    bae: red faces left, green up, blue towards you. midas has blue and red exchanged. Connect a
    depth hint, not a photo.
    """
    depth = image.mean(1, keepdim=True)
    pixels = relief * min(image.shape[-2:])
    right, down = (
        torch.where(depth < background, 0.0, pixels * _slope(depth, along, across))
        for along, across in ((3, 2), (2, 3))
    )
    length = (right**2 + down**2 + 1).sqrt()
    axes = (right, down, torch.ones_like(depth))  # nearer to the right: faces left
    if convention == "midas":
        axes = axes[::-1]
    return (torch.cat([axis / length for axis in axes], 1) / 2 + 0.5).clamp(0.0, 1.0)


def _slope(depth: Tensor, along: int, across: int) -> Tensor:
    """Change of `depth` per pixel along one axis: Sobel's filter over the sum of its weights."""
    before, after = _neighbours(depth, across)
    smooth = (before + 2 * depth + after) / 4
    before, after = _neighbours(smooth, along)
    return (after - before) / 2


def _neighbours(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """For each place the one before and the one after; mirrored at the ends, as OpenCV does."""
    last = x.shape[dim] - 1
    place = torch.arange(last + 1, device=x.device)
    before = (place - 1).abs().clamp(max=last)
    after = (last - (last - 1 - place).abs()).clamp(min=0)
    return x.index_select(dim, before), x.index_select(dim, after)
