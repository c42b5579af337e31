"""The hint as a source: full-size pictures, brought to the size and rows that a call asks for."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import torch.nn.functional as F
from torch import Tensor

from ..errors import ControlInputError
from .rows import Rows

Embedding = TypeVar("Embedding")

MAX_ASPECT = 32
_KEPT_SIZES = 4


class HintSource(Generic[Embedding]):
    """Hint pictures (B C H W) of one control, and what the net's hint encoder makes of them.

    `encode` gets each picture set resized to `scale` pixels for one latent cell, on the device of
    the latents. Its result is kept for the last few latent sizes, so that areas, tiles and hires
    passes do not drive each other out. It depends on neither noise level nor text: one encoding
    serves a whole run.
    """

    def __init__(
        self,
        pictures: tuple[Tensor, ...],
        encode: Callable[[tuple[Tensor, ...]], Embedding],
        *,
        scale: int = 8,
    ) -> None:
        self._pictures, self._encode, self._scale = pictures, encode, scale
        self._kept: OrderedDict[tuple[object, ...], Embedding] = OrderedDict()

    def embedding(self, x: Tensor, rows: Rows) -> Embedding:
        """The encoded hints for latents `x` (B C h w), spread over its rows."""
        height, width = x.shape[-2:]
        key = (height, width, rows, x.device)
        if key not in self._kept:
            self._kept[key] = self._encode(tuple(
                rows.spread(
                    fit_hint(picture, width=width * self._scale, height=height * self._scale)
                ).to(x.device)
                for picture in self._pictures
            ))  # fmt: skip
            if len(self._kept) > _KEPT_SIZES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def fit_hint(hint: Tensor, *, width: int, height: int) -> Tensor:
    """`hint` (B C H W) cut at its centre to the aspect of width x height, then resized to it.

    The rule of ComfyUI ("nearest-exact", "center"), so that a hint lands on the same pixels.
    """
    cut = cut_to_aspect(hint, width=width, height=height)
    return F.interpolate(cut, size=(height, width), mode="nearest-exact")


def cut_to_aspect(x: Tensor, *, width: int, height: int) -> Tensor:
    """The middle of `x` (B C H W) that has the aspect of width x height."""
    rows, columns = x.shape[-2:]
    aspect, wanted = columns / rows, width / height
    left = round((columns - columns * (wanted / aspect)) / 2) if aspect > wanted else 0
    top = round((rows - rows * (aspect / wanted)) / 2) if aspect < wanted else 0
    cut = x[..., top : rows - top, left : columns - left]
    if 0 in cut.shape:
        raise ControlInputError(
            "CN-I18", "image", found=f"a picture of {columns} x {rows} pixels",
            expected=f"one that keeps at least one pixel when cut to {width} x {height}",
            fix="use a picture of about the same aspect",
        )
    return cut


def check_hint(hint: Tensor, *, channels: int, where: str) -> Tensor:
    """`hint` (B C H W) made fit for a net of `channels`: float, in range, finite; or an error.

    One channel is repeated, a fourth (alpha) is composited on white. Values in -1..0 stay: inpaint
    hints mark the masked pixels so.
    """
    if hint.ndim != 4 or 0 in hint.shape:
        raise ControlInputError(
            "CN-I02", where, found=f"a hint of shape {tuple(hint.shape)}",
            expected="at least one picture with at least one pixel",
            fix="connect an IMAGE that holds a picture",
        )
    _check_size(hint, where=where)
    hint = _with_channels(hint.detach().float(), channels, where=where)
    low, high = (float(bound) for bound in hint.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = (~hint.isfinite()).any(dim=1).nonzero()
        picture, row, column = (int(index) for index in bad[0])
        raise ControlInputError(
            "CN-I14", where, found=f"{len(bad)} pixels that are NaN or infinite "
            f"(the first: picture {picture}, row {row}, column {column}, counted from 0)",
            expected="numbers between 0 and 1", fix="mend the node that makes this image",
        )
    if high > 1.05 or low < -1.05:
        raise ControlInputError(
            "CN-I11", where, found=f"values from {low:g} to {high:g}",
            expected="numbers between 0 and 1", fix="divide the picture by 255",
        )
    floor = -1.0 if low < -0.05 else 0.0
    return hint if floor <= low and high <= 1.0 else hint.clamp(floor, 1.0)


def _check_size(hint: Tensor, *, where: str) -> None:
    rows, columns = hint.shape[-2:]
    if max(rows, columns) > MAX_ASPECT * min(rows, columns):
        raise ControlInputError(
            "CN-I18", where, found=f"a hint of {columns} x {rows} pixels",
            expected=f"sides of at most {MAX_ASPECT} : 1", fix="use a hint of the picture's aspect",
        )


def _with_channels(hint: Tensor, channels: int, *, where: str) -> Tensor:
    found = hint.shape[1]
    if found == channels:
        return hint
    if found == 4 and channels == 3:
        color, alpha = hint[:, :3], hint[:, 3:]
        return color * alpha + (1.0 - alpha)
    if found == 1:
        return hint.expand(-1, channels, -1, -1)
    raise ControlInputError(
        "CN-I06", where, found=f"{found} channels", expected=f"1, {channels} or 4 channels",
        fix="convert the picture to RGB; if its last axis is the width, it is channels first",
    )
