"""A picture and its hint at one size: covered, cropped and mirrored alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...tensors import check_shape
from .pictures import Size

_EXTREME = 0.02
"""How far from 0 and 1 a level of a drawing in black and white may lie."""


class Crop(NamedTuple):
    """What is cut out of a picture that was resized to `cover`."""

    cover: Size
    top: int
    left: int
    mirrored: bool = False


def fit_pair(
    image: Tensor,
    hint: Tensor,
    size: Size,
    *,
    generator: torch.Generator | None = None,
    flip: bool = False,
) -> tuple[Tensor, Tensor]:
    """Picture (3 h w) and hint (3 h w) at `size`, the same part of both, in 0..1.

    The picture is resized until it covers `size`, then cropped: at random with a generator, which
    also decides on mirroring where `flip` is asked for, else in the middle. Mirroring suits no
    hint with a direction in its colours (normal maps) and no picture with text.
    """
    check_shape(hint, "3 H W", name="hint of an example")
    crop = choose_crop(_size(image), size, generator=generator, flip=flip)
    return _fitted(image, crop, size), _cut(fit_hint(hint, crop.cover), crop, size)


def fit_image(
    image: Tensor, size: Size, *, generator: torch.Generator | None = None, flip: bool = False
) -> Tensor:
    """A picture (3 h w) alone, cut as `fit_pair` cuts it."""
    return _fitted(image, choose_crop(_size(image), size, generator=generator, flip=flip), size)


def _size(image: Tensor) -> Size:
    sizes = check_shape(image, "3 H W", name="picture of an example")
    return sizes["H"], sizes["W"]


def _fitted(image: Tensor, crop: Crop, size: Size) -> Tensor:
    covering = F.interpolate(image[None], crop.cover, mode="bicubic", antialias=True)[0]
    return _cut(covering.clamp(0.0, 1.0), crop, size)


def choose_crop(
    found: Size, size: Size, *, generator: torch.Generator | None = None, flip: bool = False
) -> Crop:
    """The crop of `size` from a picture of the size `found`."""
    scale = max(size[0] / found[0], size[1] / found[1])
    cover = (max(size[0], round(found[0] * scale)), max(size[1], round(found[1] * scale)))
    down, right = cover[0] - size[0], cover[1] - size[1]
    if generator is None:
        return Crop(cover, down // 2, right // 2)
    # Always three numbers, so that what follows does not hang on the picture's size.
    below, across, coin = (float(number) for number in torch.rand(3, generator=generator))
    return Crop(cover, int(below * (down + 1)), int(across * (right + 1)), flip and coin < 0.5)


def _cut(picture: Tensor, crop: Crop, size: Size) -> Tensor:
    """The part (3 h w) of a picture that was resized to cover."""
    part = picture[:, crop.top : crop.top + size[0], crop.left : crop.left + size[1]]
    return part.flip(-1) if crop.mirrored else part.contiguous()


def fit_hint(hint: Tensor, size: Size) -> Tensor:
    """The hint (3 h w) at `size`, without a level that was not in it if that can be.

    Larger: the nearest pixel. Smaller: the mean of the area; but a drawing in pure black and white
    stays one, and its rarer level wins, so that lines of one pixel neither fade nor break.
    """
    x = hint[None]
    if size[0] > hint.shape[1] or size[1] > hint.shape[2]:
        return F.interpolate(x, size, mode="nearest-exact")[0]
    if not is_drawing(hint):
        return F.interpolate(x, size, mode="area")[0]
    if hint.mean() <= 0.5:
        return F.adaptive_max_pool2d(x, size)[0]
    return 1.0 - F.adaptive_max_pool2d(1.0 - x, size)[0]


def is_drawing(hint: Tensor) -> bool:
    """Whether every level (3 H W) is black or white."""
    return bool((torch.minimum(hint, 1.0 - hint) <= _EXTREME).all())
