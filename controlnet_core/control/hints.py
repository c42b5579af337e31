"""The hint as a source: full-size pictures, brought to the part and rows that a call asks for."""

from __future__ import annotations

import math
import weakref
from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ControlInputError
from ..tensors import repeat_to_batch
from .area import Area, cut_to_aspect
from .rows import Rows

Key = tuple[object, ...]
MAX_ASPECT = 32


class Embeddings:
    """What a net's hint encoder made of hints: the last of them, up to `most` bytes.

    256 MB are a hundred of SD1.5 at 512 x 512 in half precision.
    """

    def __init__(self, most: int = 256 * 2**20) -> None:
        self._most = most
        self._kept: OrderedDict[Key, Tensor] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Tensor]) -> Tensor:
        """The embedding kept under `key`, or the one that `make` gives."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(x.nbytes for x in self._kept.values()) > self._most:
            self._kept.popitem(last=False)
        return self._kept[key]

    def clear(self) -> None:
        self._kept.clear()


class Same:
    """A key that means this very object while it lives, and does not keep it alive."""

    def __init__(self, x: object) -> None:
        self._ref, self._id = weakref.ref(x), id(x)

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        mine = self._ref()
        return isinstance(other, Same) and mine is not None and mine is other._ref()


class HintSource:
    """Hint pictures (B C H W) of one control, and what the net's hint encoder makes of them.

    `encode` gets each picture set resized to `scale` pixels for one latent cell, on the device of
    the latents. Its result depends on neither noise level nor text, and is kept in `embeddings`:
    one encoding of each area and size serves a whole run. An `embeddings` that lives on serves the
    next run too, if `key` is all that the encoding depends on beside the latents.
    """

    def __init__(
        self,
        pictures: tuple[Tensor, ...],
        encode: Callable[[tuple[Tensor, ...]], Tensor],
        *,
        scale: int = 8,
        embeddings: Embeddings | None = None,
        key: Key = (),
    ) -> None:
        self._pictures, self._encode, self._scale = pictures, encode, scale
        self._embeddings, self._key = embeddings or Embeddings(), key
        self._picks: dict[Key, Tensor] = {}

    def embedding(self, x: Tensor, rows: Rows, area: Area | None = None) -> Tensor:
        """The encoded hints for latents `x` (B C h w), which show `area`, spread over its rows."""
        count = self._count(rows)
        key = (*self._key, x.shape[-2:], area, count, x.device)
        embedding = self._embeddings.get(key, lambda: self._encoded(x, area, count, rows.count))
        if count == 1 or embedding.shape[0] == 1:
            return embedding
        return embedding.index_select(0, self._rows(rows, count, x.device))

    def _count(self, rows: Rows) -> int:
        """How many different pictures the batch shows, when each set is cycled over it."""
        return min(math.lcm(*(picture.shape[0] for picture in self._pictures)), rows.whole)

    def _encoded(self, x: Tensor, area: Area | None, count: int, at_once: int) -> Tensor:
        height, width = (side * self._scale for side in (area.whole if area else x.shape[-2:]))
        fitted = [fit_hint(picture, width=width, height=height) for picture in self._pictures]
        cut = [area.cut(picture) if area else picture for picture in fitted]
        each = [x if x.shape[0] == 1 else repeat_to_batch(x, count) for x in cut]
        parts = [
            self._encode(tuple(_some(set_, start, at_once).to(x.device) for set_ in each))
            for start in range(0, count, at_once)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _rows(self, rows: Rows, count: int, device: torch.device) -> Tensor:
        """Indices of the picture that each row shows; uploaded once for each layout of rows."""
        key = (rows, count, device)
        if key not in self._picks:
            self._picks[key] = torch.tensor(rows.picks(count), device=device)
        return self._picks[key]


def _some(x: Tensor, start: int, count: int) -> Tensor:
    """At most `count` rows of `x` from `start` on; a single row stands for all."""
    return x if x.shape[0] == 1 else x.narrow(0, start, min(count, x.shape[0] - start))


def fit_hint(hint: Tensor, *, width: int, height: int) -> Tensor:
    """`hint` (B C H W) cut at its centre to the aspect of width x height, then resized to it.

    The rule of ComfyUI ("nearest-exact", "center"), so that a hint lands on the same pixels.
    """
    cut = cut_to_aspect(hint, width=width, height=height)
    return F.interpolate(cut, size=(height, width), mode="nearest-exact")


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
