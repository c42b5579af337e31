"""How light a picture is, without its colours: L of CIE Lab."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from ._frame import Floats
from ._registry import Float, preprocessor

LUMINANCE = np.array([0.212671, 0.715160, 0.072169], np.float32)  # Y of linear sRGB, D65; OpenCV's
BAND = 32  # rows of a picture that the processor's cache holds through all steps

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
    rgb: Floats,
    *,
    gamma: Annotated[
        float, Float("exponent: above 1 darkens middle tones, below 1 lightens them", 0.1, 2.0)
    ] = 1.0,
) -> Floats:
    """The picture in grey, as light as the eye sees it, for recolor ControlNets."""
    hint = np.empty(rgb.shape[:2], np.float32)
    for top in range(0, len(rgb), BAND):
        hint[top : top + BAND] = _lightness(rgb[top : top + BAND])
    return hint if gamma == 1 else hint**gamma


def _lightness(rgb: Floats) -> Floats:
    """(H W) L of Lab, scaled to 0..1."""
    above, below = _parted(rgb, SRGB_KNEE)
    above += SRGB_KNEE + 0.055
    above *= 1 / 1.055
    above **= 2.4
    below *= 1 / 12.92
    above += below
    above, below = _parted(above @ LUMINANCE, LAB_KNEE)
    above += LAB_KNEE
    above **= 1 / 3
    above *= 1.16
    above -= 0.16
    below *= (29 / 3) ** 3 / 100
    above += below
    return np.clip(above, 0.0, 1.0, out=above)


def _parted(x: Floats, knee: float) -> tuple[Floats, Floats]:
    """How far `x` is above and, as a negative number, below the knee."""
    distance = x - np.float32(knee)
    above = np.maximum(distance, np.float32(0))
    distance -= above
    return above, distance
