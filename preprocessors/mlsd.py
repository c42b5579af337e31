"""Straight lines by M-LSD."""

from __future__ import annotations

from typing import Annotated, cast

import numpy as np
import torch
from torch import Tensor

from ._frame import Frame
from ._nets.mlsd import NETWORK, SMALLEST, network_input, segments
from ._networks import Net
from ._registry import Float, preprocessor


@preprocessor(
    title="Straight lines, M-LSD", group="lines", multiple=SMALLEST,
    source="mlsd of lllyasviel/ControlNet, after Gu et al. 2022: Towards light-weight and "
    "real-time line segment detection",
)
def mlsd(
    image: Tensor,
    net: Annotated[Net, NETWORK],
    *,
    score_threshold: Annotated[
        float, Float("how sure a line must be, 0..1; from 1 on there is none", 0.01, 2.0)
    ] = 0.1,
    dist_threshold: Annotated[
        float, Float("length that a line must exceed, in steps of two pixels", 0.01, 20.0)
    ] = 0.1,
) -> Tensor:
    """White straight lines on black, for rooms and buildings.

    Of one picture the 200 surest are looked at. Where there is none the hint is black.
    """
    size = image.shape[-2], image.shape[-1]
    drawn = [
        _drawn(segments(maps, size, score=score_threshold, distance=dist_threshold), size)
        for maps in net(network_input(image))
    ]
    return torch.from_numpy(np.stack(drawn))[:, None].to(image.device, image.dtype)


def _drawn(lines: Tensor, size: tuple[int, int]) -> Frame:
    """(H W) with 1 on `lines` (N 4), a pixel wide, and 0 elsewhere."""
    import cv2

    canvas = np.zeros(size, np.uint8)
    for x0, y0, x1, y1 in cast("list[list[int]]", lines.int().tolist()):
        cv2.line(canvas, (x0, y0), (x1, y1), 1)
    return canvas
