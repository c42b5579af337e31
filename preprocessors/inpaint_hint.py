"""The picture with a marked hole, for inpainting ControlNets."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ._registry import Choice, Mask, preprocessor

FILL = {"minus_one": -1.0, "zero": 0.0}


@preprocessor(
    title="Inpaint hint", group="inpaint", output_range=(-1.0, 1.0),
    source="lllyasviel/ControlNet v1.1 inpaint: masked pixels are -255/255",
)
def inpaint_hint(
    image: Tensor,
    mask: Annotated[Tensor, Mask("white where the model paints anew")],
    *,
    fill: Annotated[
        Literal["minus_one", "zero"],
        Choice("value of masked pixels: -1 for SD1.5 nets, 0 for xinsir, union and Flux nets"),
    ] = "minus_one",
) -> Tensor:
    """The picture, with every pixel under the mask set to -1 (or 0).

    The mask is resized to the picture (bilinear); above one half counts as masked. Values below 0
    survive in a tensor only, not in an 8-bit file or preview.
    """
    hole = F.interpolate(mask, image.shape[-2:], mode="bilinear", align_corners=False) > 0.5
    return torch.where(hole, FILL[fill], image)
