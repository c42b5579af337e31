"""Canny edges, with the meaning that OpenCV gives them."""

from __future__ import annotations

from typing import Annotated

from ._frame import Frame
from ._registry import Float, preprocessor


@preprocessor(
    title="Canny edges", group="lines",
    source="Canny 1986, as cv2.Canny: aperture 3, L1 gradient, RGB input",
)
def canny(
    rgb: Frame,
    *,
    low_threshold: Annotated[
        float, Float("weakest gradient that continues an edge, of 0..255 levels", 0.0, 255.0, 1.0)
    ] = 100.0,
    high_threshold: Annotated[
        float, Float("weakest gradient that begins an edge, of 0..255 levels", 0.0, 255.0, 1.0)
    ] = 200.0,
) -> Frame:
    """White edges, one pixel wide, on black.

    The gradient of a pixel is that of its steepest channel, so edges between colours of one
    brightness count: the picture is not turned grey. Thresholds in the wrong order are swapped.
    """
    import cv2

    return cv2.Canny(rgb, low_threshold, high_threshold)
