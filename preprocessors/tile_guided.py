"""The picture without its fine detail but with its edges: a guided filter of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from ._frame import Frame
from ._registry import Float, Int, preprocessor

# Symmetric 3 x 3 matrices are kept as their upper triangle, six numbers.
TRIANGLE = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
ROWS = ((0, 1, 2), (1, 3, 4), (2, 4, 5))


@preprocessor(
    title="Tile, guided filter", group="tile",
    source="TTPlanet's tile preprocessor over He et al. 2010, 2015: (fast) guided image filtering. "
    "Difference: overshoots are clipped and levels rounded",
)
def tile_guided(
    rgb: Frame,
    *,
    scale_factor: Annotated[
        float, Float("how many times smaller between, after the filter", 1.0, 8.0)
    ] = 1.0,
    blur_strength: Annotated[
        float, Float("twice the sigma of a blur before the filter, in pixels", 1.0, 10.0)
    ] = 2.0,
    radius: Annotated[int, Int("of the filter's window, in pixels", 1, 20)] = 7,
    eps: Annotated[
        float, Float("variance, of values 0..1, that is smoothed away", 0.001, 0.1, 0.001)
    ] = 0.01,
) -> Frame:
    """The picture smoothed inside its surfaces while its edges stay, for tile ControlNets."""
    import cv2

    height, width = rgb.shape[:2]
    side = int(blur_strength) | 1  # the next odd number
    blurred = cv2.GaussianBlur(rgb, (side, side), blur_strength / 2).astype(np.float32) / 255
    smooth = _guided_by_itself(blurred, eps, radius=int(radius / scale_factor), scale=scale_factor)
    size = max(1, int(width / scale_factor)), max(1, int(height / scale_factor))
    levels = np.clip(np.rint(255 * smooth), 0, 255).astype(np.uint8)
    small = cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _guided_by_itself(picture: Frame, eps: float, *, radius: int, scale: float) -> Frame:
    """Fast guided filter of `picture` (H W 3), coefficients found on a copy `scale` times smaller.

    With one picture p as guide and input, a = (cov + eps)^-1 cov is 1 - eps P, where P is that
    inverse, and b = mean - a mean is eps P mean; the result is <a> p + <b>, <> being box means.
    """
    import cv2

    height, width = picture.shape[:2]
    small = max(1, round(width / scale)), max(1, round(height / scale))
    guide = cv2.split(cv2.resize(picture, small, interpolation=cv2.INTER_NEAREST))
    window = 2 * radius + 1, 2 * radius + 1
    mean = [cv2.blur(each, window) for each in guide]
    covariance = [
        cv2.blur(guide[i] * guide[j], window) - mean[i] * mean[j] + (eps if i == j else 0)
        for i, j in TRIANGLE
    ]
    inverse = _inverse(covariance)
    wide, lifted = (
        [cv2.resize(cv2.blur(each, window), (width, height)) for each in planes]  # bilinear
        for planes in (inverse, _times(inverse, mean))
    )
    planes = cv2.split(picture)
    smooth = [
        plane - eps * (product - offset)
        for plane, product, offset in zip(planes, _times(wide, planes), lifted, strict=True)
    ]
    return cv2.merge(smooth)


def _times(symmetric: Sequence[Frame], x: Sequence[Frame]) -> list[Frame]:
    """Products of symmetric matrices and vectors, all as planes (H W)."""
    return [symmetric[i] * x[0] + symmetric[j] * x[1] + symmetric[k] * x[2] for i, j, k in ROWS]


def _inverse(symmetric: Sequence[Frame]) -> list[Frame]:
    """Inverses of symmetric matrices, as planes (H W), by their cofactors."""
    a, b, c, d, e, f = symmetric
    first = d * f - e * e, c * e - b * f, b * e - c * d
    rest = a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * first[0] + b * first[1] + c * first[2]
    return [each / determinant for each in (*first, *rest)]
