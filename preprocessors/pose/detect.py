"""Boxes of people: pictures for YOLOX, what it answers, and duplicates removed."""

# Sources: Ge et al. 2021 (arXiv:2107.08430), and its use in IDEA-Research/DWPose (Apache-2.0), of
# which the constants are. Difference: floats all the way, where OpenCV rounds the resized picture
# to levels.

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 640  # pixels of the square that YOLOX and RT-DETR look at
STRIDES = (8, 16, 32)  # pixels of a cell in each of YOLOX's three grids
GREY = 114.0  # the level beside a picture that is no square
PERSON = 0  # the class among COCO's
OVERLAP = 0.45  # intersection over union above which two boxes are one person


def letterboxed(pictures: Tensor, side: int = SIDE) -> tuple[Tensor, float]:
    """`pictures` (b 3 H W), 0..1, as levels in a grey square (b 3 side side), and their scale.

    They lie at its top left.
    """
    height, width = pictures.shape[-2:]
    scale = min(side / height, side / width)
    tall, wide = max(1, int(height * scale)), max(1, int(width * scale))
    levels = F.interpolate(255 * pictures, (tall, wide), mode="bilinear", align_corners=False)
    return F.pad(levels, (0, side - wide, 0, side - tall), value=GREY), scale


def yolox_people(answer: Tensor, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Boxes (b n 4), corners in pixels of the square, and how sure (b n) each is a person.

    `answer` (b n 85) is YOLOX's: for each cell of its grids, coarser ones last, a centre from the
    cell's corner and the logarithm of a size, both in cells, that there is something, and of what
    class.
    """
    cells, strides = (x.to(answer) for x in _grids(side))
    centre = (answer[..., :2] + cells) * strides
    half = answer[..., 2:4].exp() * strides / 2
    return torch.cat([centre - half, centre + half], -1), answer[..., 4] * answer[..., 5 + PERSON]


def _grids(side: int) -> tuple[Tensor, Tensor]:
    """(n 2) column and row of every cell, and (n 1) its pixels."""
    cells: list[Tensor] = []
    strides: list[Tensor] = []
    for stride in STRIDES:
        count = side // stride
        row, column = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
        cells.append(torch.stack([column, row], -1).reshape(-1, 2))
        strides.append(torch.full((count * count, 1), stride))
    return torch.cat(cells), torch.cat(strides)


def chosen(boxes: Tensor, scores: Tensor, *, min_score: float) -> Tensor:
    """(m 4) those of `boxes` (n 4) whose score (n) is above `min_score`, the surest first.

    Boxes that overlap a surer one are left out.
    """
    sure = (scores > min_score) & boxes.isfinite().all(-1)
    boxes = boxes[sure]
    return boxes[unlike(boxes, scores[sure])]


def unlike(boxes: Tensor, scores: Tensor, *, overlap: float = OVERLAP) -> Tensor:
    """(m,) the boxes (n 4) that no surer one covers, by number, the surest first.

    Source: greedy non-maximum suppression as in YOLOX, whose boxes hold their last pixel.
    """
    left = scores.argsort(descending=True, stable=True)
    kept: list[Tensor] = []
    while len(left):
        kept.append(left[0])
        left = left[1:][_overlap(boxes[left[0]], boxes[left[1:]]) <= overlap]
    return torch.stack(kept) if kept else left


def _overlap(box: Tensor, others: Tensor) -> Tensor:
    """(n,) intersection over union of `box` (4) with each of `others` (n 4)."""
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    both = (high - low + 1).clamp(min=0).prod(-1)
    areas = (others[:, 2:] - others[:, :2] + 1).prod(-1)
    return both / ((box[2:] - box[:2] + 1).prod() + areas - both)
