"""Line art from a picture, by its difference from a blurred copy."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from ._frame import Frame, darkest
from ._registry import Float, Int, preprocessor

LEAST_CONTRAST = 16.0  # levels; fainter lines are not amplified to half white


@preprocessor(
    title="Line art, standard", group="lines",
    source="lineart_standard of Mikubill/sd-webui-controlnet: blur minus picture over its median",
)
def lineart_standard(
    rgb: Frame,
    *,
    gaussian_sigma: Annotated[
        float, Float("blur that lines are compared with, in pixels; 0 finds none", 0.0, 100.0, 0.1)
    ] = 6.0,
    intensity_threshold: Annotated[
        int, Int("levels of contrast below which a pixel does not count as line", 0, 16)
    ] = 8,
) -> Frame:
    """Soft white lines on black, where the picture is darker than its surroundings.

    The contrast of a pixel is that of its least differing channel. The typical line, the median of
    those above the threshold, becomes half white.
    """
    if gaussian_sigma == 0:  # the blurred copy is the picture
        return np.zeros(rgb.shape[:2], np.uint8)
    import cv2

    picture = rgb.astype(np.float32)
    blurred = cv2.GaussianBlur(picture, (0, 0), gaussian_sigma)
    contrast = np.clip(darkest(blurred - picture), 0, 255)
    lines = contrast[contrast > intensity_threshold]
    typical = max(LEAST_CONTRAST, float(np.median(lines))) if lines.size else LEAST_CONTRAST
    return np.clip(127 * (contrast / typical), 0, 255).astype(np.uint8)
