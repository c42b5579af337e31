"""Black and white, by a threshold."""

from __future__ import annotations

from typing import Annotated

from ._frame import Frame
from ._registry import Int, preprocessor


@preprocessor(
    title="Black and white", group="lines",
    source="cv2.threshold of cv2.COLOR_RGB2GRAY; Otsu 1979 at 0 and 255",
)
def binary(
    rgb: Frame,
    *,
    threshold: Annotated[
        int, Int("brightest level that becomes black; 0 and 255 choose it by Otsu's method", 0, 255)
    ] = 100,
) -> Frame:
    """The picture in black and white alone, parted at a level of brightness.

    Otsu's method finds, for every picture, the level that parts it best into dark and bright.
    """
    import cv2

    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    how = cv2.THRESH_BINARY | (cv2.THRESH_OTSU if threshold in (0, 255) else 0)
    return cv2.threshold(grey, threshold, 255, how)[1]
