"""How light a picture is, without its colours: L of CIE Lab."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from ._registry import Float, preprocessor

LUMINANCE = (0.212671, 0.715160, 0.072169)  # Y of linear sRGB under D65, as OpenCV has it

# Up to its knee either curve is a line, from there a power that begins where the line ends. Both
# parts are added, each held at the knee on the other's side: to choose by pixel takes longer.
SRGB_KNEE = 0.04045
LAB_KNEE = (6 / 29) ** 3


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
    above, below = _parted(rgb, SRGB_KNEE)
    light = _power(above.add_(SRGB_KNEE + 0.055).div_(1.055), 2.4)
    light.add_(below, alpha=1 / 12.92)
    y = torch.einsum("bchw,c->bhw", light, light.new_tensor(LUMINANCE))[:, None]
    above, below = _parted(y, LAB_KNEE)
    lightness = _power(above.add_(LAB_KNEE), 1 / 3).mul_(1.16).sub_(0.16)
    return lightness.add_(below, alpha=(29 / 3) ** 3 / 100).clamp_(0.0, 1.0)


def _parted(x: Tensor, knee: float) -> tuple[Tensor, Tensor]:
    """How far `x` is above and, as a negative number, below the knee."""
    distance = x - knee
    above = distance.relu()
    return above, distance.sub_(above)


def _power(x: Tensor, exponent: float) -> Tensor:
    """`x` ** `exponent`, in the place of x above 0; pow takes five times as long."""
    return x.log_().mul_(exponent).exp_()
