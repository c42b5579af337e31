"""Depth by Depth Anything V2."""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor

from ._depth import from_metres, spread
from ._depth_anything import METRES, PATCH, SIDE, V2
from ._networks import Net, OneOf
from ._registry import Choice, Int, preprocessor
from ._transformers import cubic, in_turns, shortest_side


@preprocessor(
    title="Depth, Depth Anything V2", group="depth",
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

    Each picture is stretched to black and white on its own. Only "small" may be used
    commercially.
    """
    size = shortest_side(*image.shape[-2:], side=round(infer_size / PATCH) * PATCH, multiple=PATCH)

    def depth(part: Tensor) -> Tensor:
        made = net(cubic(part, size))
        return F.interpolate(made, image.shape[-2:], mode="bicubic", align_corners=False)

    made = in_turns(depth, image, size)
    return from_metres(made) if variant in METRES else spread(made)
