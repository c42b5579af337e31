"""People cut out of pictures for nets that look at one at a time, and points brought back."""

# Sources: top-down crops of mmpose as in IDEA-Research/DWPose; unbiased ones: Huang et al. 2020
# (arXiv:1911.07524), as in ViTPose. Difference: exact weights, where OpenCV has 32 steps a pixel.

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 1.25  # a crop's side over its box's


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops of `height` x `width` around n boxes of one picture.

    `corner` (n 2) is the place x y of a crop's first pixel in the picture, `step` (n 2) how many
    pixels of the picture lie between two of the crop.
    """

    corner: Tensor
    step: Tensor
    height: int
    width: int

    def of(self, picture: Tensor) -> Tensor:
        """(n 3 height width) pixels of `picture` (3 H W), black outside of it."""
        columns = torch.arange(self.width, device=picture.device, dtype=torch.float32)
        rows = torch.arange(self.height, device=picture.device, dtype=torch.float32)
        # From pixels to grid_sample's -1..1, which reach from edge to edge of the picture.
        x = (2 * self._along(0, columns) + 1) / picture.shape[-1] - 1
        y = (2 * self._along(1, rows) + 1) / picture.shape[-2] - 1
        shape = (len(x), self.height, self.width)
        grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
        return F.grid_sample(
            picture.expand(len(grid), -1, -1, -1), grid, mode="bilinear", align_corners=False
        )

    def back(self, points: Tensor) -> Tensor:
        """(n k 2) pixels of the picture, of points in pixels of their crop."""
        return self.corner[:, None] + points * self.step[:, None]

    def _along(self, axis: int, pixels: Tensor) -> Tensor:
        """(n m) places in the picture of `pixels` (m) of the crops, along x (0) or y (1)."""
        return self.corner[:, axis, None] + self.step[:, axis, None] * pixels


def around(boxes: Tensor, height: int, width: int, *, unbiased: bool = False) -> Crops:
    """Crops with some room around `boxes` (n 4), corners in pixels, each widened to their aspect.

    `unbiased` measures a crop from its first pixel to its last, not to the one after.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    sides = high - low
    wide = torch.maximum(sides[:, 0], sides[:, 1] * width / height)
    size = PADDING * torch.stack([wide, wide * height / width], -1)
    pixels = torch.tensor([width, height], device=boxes.device) - (1 if unbiased else 0)
    return Crops((low + high) / 2 - size / 2, size / pixels, height, width)
