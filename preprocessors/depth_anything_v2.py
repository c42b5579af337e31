"""Depth by Depth Anything V2."""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor

from ._depth import DISTANCE, RELATIVE, Normalise, Reading
from ._depth_anything import METRES, PATCH, SIDE, V2
from ._finish import Step
from ._networks import Net, OneOf
from ._registry import Choice, Int, preprocessor
from ._transformers import cubic, in_turns, shortest_side


def stretched(near: Tensor, *, variant: str, normalise: Normalise = "each picture") -> Step:
    """From nearness to hints, between the bounds of each picture or of all."""
    return _reading(variant).stretch(near, normalise)


@preprocessor(
    title="Depth, Depth Anything V2", group="depth", finish=stretched,
    source="Yang et al. 2024: Depth Anything V2 (arXiv:2406.09414), through transformers. "
    "Differences: floats from end to end; metric nets show the inverse of the distance",
)
def depth_anything_v2(
    image: Tensor,
    net: Annotated[Net, OneOf("variant", V2)],
    *,
    variant: Annotated[
        Literal["small", "base", "large", "indoor", "outdoor"],
        Choice("size of the network; indoor and outdoor are large ones that measure in metres"),
    ] = "small",
    infer_size: Annotated[
        int,
        Int("shortest side in pixels at which the network looks, rounded to a multiple of 14; "
            "more shows more detail and may lose large shapes", 140, 1036, PATCH),
    ] = SIDE,
) -> Tensor:
    """Depth of a picture: near is white, far is black.

    Each picture, or the whole batch, is stretched to black and white. Only "small" may be used
    commercially.
    """
    size = shortest_side(*image.shape[-2:], side=round(infer_size / PATCH) * PATCH, multiple=PATCH)

    def depth(part: Tensor) -> Tensor:
        made = net(cubic(part, size))
        return F.interpolate(made, image.shape[-2:], mode="bicubic", align_corners=False)

    return _reading(variant).near(in_turns(depth, image, size))


def _reading(variant: str) -> Reading:
    return DISTANCE if variant in METRES else RELATIVE
