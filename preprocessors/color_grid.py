"""The colours of a picture in coarse cells."""

from __future__ import annotations

from typing import Annotated

from ._frame import Frame
from ._registry import Int, preprocessor


@preprocessor(
    title="Color grid", group="color",
    source="t2ia_color_grid of TencentARC/T2I-Adapter: cubic to one pixel per cell, nearest back",
)
def color_grid(
    rgb: Frame,
    *,
    cell: Annotated[int, Int("side of a cell, in pixels", 1, 512)] = 64,
) -> Frame:
    """The picture in cells of one colour each, for the colour T2I-adapter.

    Cells are stretched where the sides are no multiples of `cell`.
    """
    import cv2

    height, width = rgb.shape[:2]
    size = max(1, width // cell), max(1, height // cell)
    colors = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
    return cv2.resize(colors, (width, height), interpolation=cv2.INTER_NEAREST)
