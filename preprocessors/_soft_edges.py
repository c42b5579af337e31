"""What becomes of edge maps of a network: a few levels, thin lines, or strokes of a pen."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ._frame import Frame, white_where
from ._thin import ridges

SIGMA = 3.0  # of both blurs below, in pixels
RIDGE = 127.0  # level above which a ridge is a line
INK = 4  # level of the blurred line above which there is ink


def stepped(edges: Tensor, steps: int) -> Tensor:
    """`edges`, 0..1, brought to `steps` + 1 levels, whole ones of 0..255 rounded down.

    Two steps give 0, 127 and 255. It keeps faint texture out of the hint, from which a ControlNet
    can otherwise read the picture. Source: "safe" in lllyasviel/ControlNet.
    """
    levels = (edges * (steps + 1)).floor() / steps
    return (levels.clamp(max=1.0) * 255).floor() / 255


def ridge_lines(edges: Frame, *, threshold: float = RIDGE, sigma: float = SIGMA) -> Frame:
    """Lines, 255 on 0 and about a pixel wide, along the ridges of `edges` (H W) levels.

    A ridge is no lower than both its neighbours in one of four directions, after a blur.
    Source: nms of lllyasviel/ControlNet.
    """
    import cv2

    smooth = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), sigma)
    return white_where(ridges(smooth) > threshold)


def strokes(edges: Tensor) -> Tensor:
    """Strokes of a felt pen (b 1 H W), 1 on 0, along the edges (b 1 H W), 0..1.

    Works on levels, on the CPU. Source: scribble of lllyasviel/ControlNet, which thins the edges,
    blurs what is left and inks all that it reaches.
    """
    if edges.is_meta:
        return torch.empty_like(edges)
    levels = (edges * 255).to(torch.uint8).cpu().numpy()
    inked = np.stack([_inked(ridge_lines(frame[0])) for frame in levels])
    return torch.from_numpy(inked)[:, None].to(edges.device, edges.dtype)


def _inked(lines: Frame) -> Frame:
    import cv2

    return np.where(cv2.GaussianBlur(lines, (0, 0), SIGMA) > INK, 1, 0).astype(np.uint8)
