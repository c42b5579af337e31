"""The picture without its fine detail: made smaller and larger again."""

from __future__ import annotations

from typing import Annotated

from ._frame import Frame
from ._registry import Float, preprocessor

SHARP = 1.1  # below this rate the picture stays as it is


@preprocessor(
    title="Tile, resampled", group="tile",
    source="tile_resample of Mikubill/sd-webui-controlnet and its resize of the hint: by pixel "
    "area down, cubic up",
)
def tile_resample(
    rgb: Frame,
    *,
    rate: Annotated[
        float, Float("how many times smaller between; below 1.1 nothing changes", 1.0, 8.0)
    ] = 2.0,
) -> Frame:
    """The picture at a lower resolution, enlarged to its size again, for tile ControlNets."""
    if rate < SHARP:
        return rgb
    import cv2

    height, width = rgb.shape[:2]
    size = max(1, int(width / rate)), max(1, int(height / rate))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
