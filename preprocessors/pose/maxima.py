"""The points that pose nets mean, read from their answers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SPLIT = 2.0  # SimCC's bins for one pixel
BLUR, RADIUS = 0.8, 5  # cells: of the Gaussian that evens out a heatmap
FLOOR, CEILING = 1e-3, 50.0  # of a heatmap before its logarithm
EPSILON = float(np.finfo(np.float32).eps)


def simcc_points(x: Tensor, y: Tensor) -> Tensor:
    """(n k 3) x, y in pixels of the crop, and how sure: the surest bin along each axis.

    `x` (n k 2w) and `y` (n k 2h) are the bins; the less sure axis counts. Source: Li et al. 2022
    (arXiv:2107.03332), as decoded by RTMPose.
    """
    (sure_x, bin_x), (sure_y, bin_y) = x.max(-1), y.max(-1)
    return torch.stack([bin_x / SPLIT, bin_y / SPLIT, torch.minimum(sure_x, sure_y)], -1)


def heatmap_points(heatmaps: Tensor) -> Tensor:
    """(n k 3) x, y in cells of `heatmaps` (n k h w), between cells too, and how sure.

    A step of Newton's method from the highest cell, on the logarithm of the evened-out map. Source:
    Zhang et al. 2020 (arXiv:1910.06278) with the constants of ViTPose in transformers.
    """
    width = heatmaps.shape[-1]
    sure, index = heatmaps.flatten(2).max(-1)
    row, column = (each.cpu().numpy() for each in (index // width, index % width))
    logs = np.log(np.clip(_evened(heatmaps.cpu().numpy()), FLOOR, CEILING))
    x, y = _newton(np.pad(logs, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge"), row + 1, column + 1)
    points = np.stack([column + x, row + y], -1).astype(np.float32)
    return torch.cat([torch.from_numpy(points).to(heatmaps), sure[..., None]], -1)


def _evened(heatmaps: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    even = np.empty_like(heatmaps)
    side = 2 * RADIUS + 1
    for made, maps in zip(even, heatmaps, strict=True):
        for joint, heatmap in enumerate(maps):
            made[joint] = cv2.GaussianBlur(
                heatmap, (side, side), BLUR, borderType=cv2.BORDER_REFLECT
            )
    return even


def _newton(
    maps: NDArray[np.float32], row: NDArray[np.int64], column: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n k) twice: the step in x and in y from each cell towards the top of its map (n k h w)."""
    first, second = np.ogrid[: maps.shape[0], : maps.shape[1]]

    def at(right: int, down: int) -> NDArray[np.float64]:
        return maps[first, second, row + down, column + right].astype(np.float64)

    here, left, right, up, down = at(0, 0), at(-1, 0), at(1, 0), at(0, -1), at(0, 1)
    dx, dy = (right - left) / 2, (down - up) / 2
    dxx, dyy = right - 2 * here + left + EPSILON, down - 2 * here + up + EPSILON
    dxy = (at(1, 1) - right - down + 2 * here - left - up + at(-1, -1)) / 2
    area = dxx * dyy - dxy * dxy
    flat = area == 0  # without a top there is no step
    area = np.where(flat, 1.0, area)
    return (
        np.where(flat, 0.0, (dxy * dy - dyy * dx) / area),
        np.where(flat, 0.0, (dxy * dx - dxx * dy) / area),
    )
