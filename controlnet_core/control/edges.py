"""Edges of masks: moved outward, and made soft."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def feathered(mask: Tensor, radius: int) -> Tensor:
    """`mask` (B 1 H W) with edges that fall evenly over 2 x `radius` pixels, half on each side.

    A running mean, hence linear: the feathered inverse is the inverse of the feathered.
    """
    if radius == 0:
        return mask
    wide = F.pad(mask, (radius,) * 4, mode="replicate")
    rows = F.avg_pool2d(wide, (1, 2 * radius + 1), stride=1)
    return F.avg_pool2d(rows, (2 * radius + 1, 1), stride=1)


def grown(mask: Tensor, radius: int) -> Tensor:
    """`mask` (B 1 H W) with every lit cell spread to those within `radius`, corners included."""
    return F.max_pool2d(mask, 2 * radius + 1, stride=1, padding=radius)
