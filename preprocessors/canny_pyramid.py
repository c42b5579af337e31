"""Canny edges of nine scales laid over each other."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from ._frame import Frame
from ._registry import Float, preprocessor

SCALES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
KEPT = 0.75  # of the coarser scales, at each step to a finer one


@preprocessor(
    title="Canny edges, pyramid", group="lines",
    source="PyraCanny of lllyasviel/Fooocus: Canny at nine scales, percentiles 1 and 99 stretched",
)
def canny_pyramid(
    rgb: Frame,
    *,
    low_threshold: Annotated[
        float, Float("weakest gradient that continues an edge, of 0..255 levels", 0.0, 255.0, 1.0)
    ] = 64.0,
    high_threshold: Annotated[
        float, Float("weakest gradient that begins an edge, of 0..255 levels", 0.0, 255.0, 1.0)
    ] = 128.0,
) -> Frame:
    """Grey edges on black, the brighter the more scales show them.

    The hint of Stability's control-lora canny for SDXL. Scales of less than a pixel are left out,
    and where all edges are equally strong, as in a blank picture, the hint is black.
    """
    import cv2

    height, width = rgb.shape[:2]
    planes = cv2.split(rgb)  # OpenCV shrinks three planes faster than one picture of three channels
    edges: Frame | None = None
    for scale in SCALES:
        size = int(width * scale), int(height * scale)
        if 0 in size:
            continue
        small = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes]
        found: list[Frame] = [cv2.Canny(each, low_threshold, high_threshold) for each in small]
        finer = sum((each // 255 for each in found[1:]), found[0] // 255)
        if edges is None:
            edges = finer.astype(np.float32)
        else:
            coarser = cv2.resize(edges, size, interpolation=cv2.INTER_LINEAR)
            edges = cv2.addWeighted(coarser, KEPT, finer, 1 - KEPT, 0, dtype=cv2.CV_32F)
    assert edges is not None  # the scale 1 is never empty
    return _stretched(edges)


def _stretched(edges: Frame) -> Frame:
    """Levels of `edges` with percentile 1 black and 99 white."""
    black, white = np.percentile(edges, (1, 99))
    if black == white:
        return np.zeros(edges.shape, np.uint8)
    return np.clip(255 * (edges - black) / (white - black), 0, 255).astype(np.uint8)
