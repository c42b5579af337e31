"""The picture without its fine detail: a high level of its Gaussian pyramid, enlarged."""

from __future__ import annotations

from typing import Annotated

from ._frame import Frame
from ._registry import Int, preprocessor


@preprocessor(
    title="Tile, pyramid", group="tile",
    source="Tile of Fannovel16/comfyui_controlnet_aux: by pixel area to 1/2^n, n times cv2.pyrUp. "
    "Difference: the hint keeps the picture's size, not a multiple of 64",
)
def tile_pyramid(
    rgb: Frame,
    *,
    levels: Annotated[
        int, Int("how often the size is halved, as far as there are pixels", 1, 10)
    ] = 3,
) -> Frame:
    """A soft low-resolution copy of the picture, for tile ControlNets."""
    import cv2

    height, width = rgb.shape[:2]
    halvings = min(levels, min(height, width).bit_length() - 1)
    size = width >> halvings, height >> halvings
    soft = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    for _ in range(halvings):
        soft = cv2.pyrUp(soft)
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)
