"""How light a picture is, without its colours: L of CIE Lab."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from ._registry import Float, preprocessor

LUMINANCE = (0.212671, 0.715160, 0.072169)  # Y of linear sRGB under D65, as OpenCV has it


@preprocessor(
    title="Recolor, luminance", group="recolor",
    source="recolor_luminance of Mikubill/sd-webui-controlnet; L of CIE 1976 Lab from sRGB. "
    "Difference: red and blue are not exchanged",
)
def recolor_luminance(
    image: Tensor,
    *,
    gamma: Annotated[
        float, Float("exponent: above 1 darkens middle tones, below 1 lightens them", 0.1, 2.0)
    ] = 1.0,
) -> Tensor:
    """The picture in grey, as light as the eye sees it, for recolor ControlNets."""
    # Powers round the last few values of a tensor otherwise: in one piece, a batch would not equal
    # its pictures.
    return torch.cat([_lightness(picture) ** gamma for picture in torch.split(image, 1)])


def _lightness(rgb: Tensor) -> Tensor:
    """(b 1 H W) L of Lab, scaled to 0..1."""
    light = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    red, green, blue = (weight * light[:, [i]] for i, weight in enumerate(LUMINANCE))
    y = red + green + blue
    lightness = torch.where(y > (6 / 29) ** 3, 1.16 * y ** (1 / 3) - 0.16, y * (29 / 3) ** 3 / 100)
    return lightness.clamp(0.0, 1.0)
