"""The picture warped beyond recognition, its colours and textures kept."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import numpy as np

from ._frame import Frame
from ._registry import Int, preprocessor

PERIOD = 256  # pixels between two random values of the warp


@preprocessor(
    title="Content shuffle", group="color",
    source="ContentShuffleDetector of lllyasviel/ControlNet-v1-1: smooth random coordinates",
)
def shuffle(
    rgb: Frame,
    *,
    seed: Annotated[
        int, Int("of the warp: the same seed and size warp in the same way", 0, 2**53 - 1)
    ] = 0,
) -> Frame:
    """The picture warped by smooth noise, for shuffle ControlNets, which copy style and colours.

    All pictures of a batch are warped alike.
    """
    import cv2

    return cv2.remap(rgb, *_warp(seed, rgb.shape[:2]), cv2.INTER_LINEAR)


@lru_cache(maxsize=1)  # the rest of the batch, for a third of what one picture and its hint take
def _warp(seed: int, size: tuple[int, int]) -> tuple[Frame, Frame]:
    """Where each pixel comes from: x and y (H W), float32."""
    height, width = size
    random = np.random.default_rng(seed)
    x = _smooth_noise(random, size) * (width - 1)
    y = _smooth_noise(random, size) * (height - 1)
    return x.astype(np.float32), y.astype(np.float32)


def _smooth_noise(random: np.random.Generator, size: tuple[int, int]) -> Frame:
    """Noise of that height and width with features of `PERIOD` pixels, from 0 to 1."""
    import cv2

    height, width = size
    coarse = random.uniform(0, 1, (height // PERIOD + 2, width // PERIOD + 2))
    grown = (width + 2 * PERIOD, height + 2 * PERIOD)
    smooth = cv2.resize(coarse, grown, interpolation=cv2.INTER_CUBIC)
    smooth = smooth[PERIOD : PERIOD + height, PERIOD : PERIOD + width]
    smooth = smooth - smooth.min()
    return smooth / max(smooth.max(), np.finfo(np.float64).tiny)  # one pixel has no range
