"""Scribbles from a photo, by the difference of two blurs."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from ._frame import Frame, darkest, white_where
from ._registry import Int, preprocessor

FINE, COARSE = 0.5, 5.0  # sigma in pixels
NOISE = 1e-3  # levels by which float32 blurs of one colour differ: no contrast


@preprocessor(
    title="Scribble, XDoG", group="lines",
    source="scribble_xdog of Mikubill/sd-webui-controlnet, after Winnemoeller 2011: XDoG. "
    "Difference: no 8-bit overflow, which tears holes into the strongest strokes",
)
def scribble_xdog(
    rgb: Frame,
    *,
    threshold: Annotated[
        int, Int("twice the contrast, in levels, above which a pixel is a stroke", 1, 64)
    ] = 32,
) -> Frame:
    """White strokes on black, where the picture is darker than its surroundings."""
    import cv2

    picture = rgb.astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (FINE, COARSE))
    # Published: twice the contrast, rounded up to a whole level, is above the threshold.
    return white_where(darkest(coarse - fine) > threshold // 2 + NOISE)
