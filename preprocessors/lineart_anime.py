"""Line art by Anime2Sketch."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from ._frame import channels_last
from ._nets.anime2sketch import MULTIPLE, NETWORK
from ._networks import Net
from ._registry import preprocessor


@preprocessor(
    title="Line art, anime", group="lines",
    source="lineart_anime of Mikubill/sd-webui-controlnet, after Xiang et al. 2021: Adversarial "
    "open domain adaption for sketch-to-photo synthesis. Difference: resized on floats",
)
def lineart_anime(image: Tensor, net: Annotated[Net, NETWORK]) -> Tensor:
    """White lines on black, as anime is drawn.

    The network needs sides that 256 divides, and sees a picture as a whole: it is stretched to
    them, not padded, and its lines are brought back.
    """
    height, width = image.shape[-2:]
    grown = height + -height % MULTIPLE, width + -width % MULTIPLE
    # no more pixels at once than were given
    at_once = max(1, len(image) * height * width // (grown[0] * grown[1]))
    sketches: list[Tensor] = []
    for part in torch.split(image, at_once):
        stretched = _resized(part, grown, grow=True).clamp(0.0, 1.0)
        sketches.append(_resized(net(2 * stretched - 1), (height, width), grow=False))
    return ((1 - torch.cat(sketches)) / 2).clamp(0.0, 1.0)


def _resized(image: Tensor, size: tuple[int, int], *, grow: bool) -> Tensor:
    """`image` (b C H W) at `size`, no side smaller or no side larger: cubic, or by pixel area."""
    if image.shape[-2:] == size:
        return image
    import cv2

    how = cv2.INTER_CUBIC if grow else cv2.INTER_AREA
    frames = [
        cv2.resize(channels_last(frame), size[::-1], interpolation=how).reshape(*size, -1)
        for frame in image.detach().cpu()
    ]
    return torch.as_tensor(np.stack(frames)).movedim(-1, 1).to(image.device)
