"""What a preprocessor accepts as an image or a mask, each refusal told in three parts.

Codes are the rows of docs/errors.md: `CN-I..` for images, `CN-K..` for masks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from ..controlnet_core.errors import ControlInputError

CHANNELS = (1, 3, 4)
SLACK = 0.05  # overshoot of a resampling filter: clamped; beyond it the scale is wrong
MAX_RATIO = 32  # longer : shorter side
MAX_PIXELS = 64_000_000  # of one hint


@dataclass(frozen=True)
class Codes:
    """The error codes of one kind of input."""

    empty: str
    side: str
    dtype: str
    scale: str
    range: str
    nan: str
    inf: str


IMAGE = Codes("CN-I02", "CN-I03", "CN-I11", "CN-I12", "CN-I13", "CN-I14", "CN-I15")
MASK = Codes("CN-K03", "CN-K01", "CN-K10", "CN-K07", "CN-K07", "CN-K06", "CN-K06")


def check_image(image: Tensor, *, where: str) -> Tensor:
    """`image` as (B C H W) float with 1, 3 or 4 channels; a (C H W) picture is a batch of one.

    Looks at shape and dtype only, never at values.
    """
    fail = _failure(where, f"shape {tuple(image.shape)}", "(B C H W) with 1, 3 or 4 channels")
    if image.ndim == 3 and image.shape[0] in CHANNELS:
        image = image[None]
    if image.ndim == 5:
        raise fail("CN-I08", "pass the frames of a video as a batch")
    if image.ndim != 4:
        raise fail("CN-I07", "add the missing axes in front")
    if image.shape[1] not in CHANNELS:
        if image.shape[-1] in CHANNELS:
            raise fail("CN-I09", "move the last axis to the second place: permute(0, 3, 1, 2)")
        raise fail("CN-I06", "keep grey, RGB or RGBA channels")
    _check_storage(image, IMAGE, where=where)
    height, width = image.shape[-2:]
    if max(height, width) > MAX_RATIO * min(height, width):
        raise ControlInputError(
            "CN-I18", where, found=f"a picture of {width} x {height} pixels",
            expected=f"sides no further apart than {MAX_RATIO}:1", fix="crop the picture",
        )
    return image


def check_mask(mask: Tensor, *, where: str) -> Tensor:
    """`mask` as (B 1 H W) float32, values read and clamped to 0..1."""
    if mask.ndim != 4 or mask.shape[1] != 1:
        fail = _failure(where, f"shape {tuple(mask.shape)}", "(B 1 H W)")
        raise fail("CN-K10", "use one channel of the mask, with an axis for the batch")
    if mask.dtype == torch.bool:
        mask = mask.float()
    _check_storage(mask, MASK, where=where)
    overshoots = check_values(mask, MASK, where=where)
    return mask.float().clamp(0.0, 1.0) if overshoots else mask.float()


def check_values(x: Tensor, codes: Codes, *, where: str, first: int = 0) -> bool:
    """Whether `x` overshoots 0..1 slightly (within 0.05). Raises for anything worse.

    One pass over the data and one device sync; a tensor without data (meta) passes unread.
    `first` is the number that a refusal gives to the first row.
    """
    if x.is_meta:
        return False
    last = x.detach().movedim(1, -1)  # the host's pictures: 6 times faster in their memory order
    bounds = torch.aminmax(last if last.is_contiguous() else x.detach())
    low, high = (bound.item() for bound in bounds)
    if low >= -SLACK and high <= 1 + SLACK:
        return low < 0 or high > 1
    if low != low:  # aminmax propagates NaN
        raise _broken_pixel(x, torch.isnan, "NaN", codes.nan, where, first)
    if torch.inf in (-low, high):
        raise _broken_pixel(x, torch.isinf, "infinite", codes.inf, where, first)
    fail = _failure(where, f"values from {low:.4g} to {high:.4g}", "0..1")
    if low >= -SLACK and high > 2:
        raise fail(codes.scale, "divide by 255 if these are 8-bit levels, by 65535 if 16-bit")
    raise fail(codes.range, "scale the values to 0..1 first, or clamp them")


def check_size(size: tuple[int, int], max_pixels: int, *, where: str) -> None:
    """Raises where a hint of that height and width is over budget, before anything is allocated."""
    height, width = size
    if height * width > max_pixels:
        raise ControlInputError(
            "CN-I21", where, found=f"a hint of {width} x {height} pixels",
            expected=f"at most {max_pixels / 1e6:g} megapixels", fix="lower the resolution",
        )


def check_choice(value: object, choices: Collection[str], *, where: str) -> None:
    """Raises where `value` is none of `choices`."""
    if value not in choices:
        raise ControlInputError(
            "CN-PARAM", where, found=str(value)[:40], expected=f"one of {', '.join(choices)}",
            fix="choose one of them",
        )


def _check_storage(x: Tensor, codes: Codes, *, where: str) -> None:
    shape = f"shape {tuple(x.shape)}"
    if x.shape[0] == 0:
        fail = _failure(where, f"an empty batch, {shape}", "at least one picture")
        raise fail(codes.empty, "check the node or the folder that the batch comes from")
    if 0 in x.shape[-2:]:
        fail = _failure(where, f"a picture without pixels, {shape}", "at least 1 x 1")
        raise fail(codes.side, "check the crop or resize before it")
    if not x.is_floating_point():
        fail = _failure(where, f"dtype {str(x.dtype).removeprefix('torch.')}", "floats in 0..1")
        raise fail(codes.dtype, "convert to float and divide by the highest level, 255 for 8 bits")


def _broken_pixel(
    x: Tensor, test: Callable[[Tensor], Tensor], word: str, code: str, where: str, first: int
) -> ControlInputError:
    places = test(x).nonzero()
    row, channel, y, column = (int(place) for place in places[0])
    return ControlInputError(
        code, where,
        found=f"{len(places)} {word} values, the first in picture {first + row}, "
        f"channel {channel}, at x {column}, y {y}",
        expected="finite numbers in 0..1", fix="look for the step before that made them",
    )


def _failure(where: str, found: str, expected: str) -> Callable[[str, str], ControlInputError]:
    return lambda code, fix: ControlInputError(
        code, where, found=found, expected=expected, fix=fix
    )
