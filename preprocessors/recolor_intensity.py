"""How bright a picture is, without its colours: V of HSV."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from ._registry import Float, preprocessor


@preprocessor(
    title="Recolor, intensity", group="recolor",
    source="recolor_intensity of Mikubill/sd-webui-controlnet; V of HSV",
)
def recolor_intensity(
    image: Tensor,
    *,
    gamma: Annotated[
        float, Float("exponent: above 1 darkens middle tones, below 1 lightens them", 0.1, 2.0)
    ] = 1.0,
) -> Tensor:
    """The picture in grey, every pixel as bright as its brightest channel, for recolor ControlNets.

    Strong colours come out as bright as white.
    """
    value = image.amax(1, keepdim=True)
    # Powers round the last few values of a tensor otherwise: in one piece, a batch would not equal
    # its pictures.
    return torch.cat([picture**gamma for picture in torch.split(value, 1)])
