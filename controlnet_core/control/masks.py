"""Where a control acts: a mask in picture space, brought to the grid of every residual."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import mul

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from .area import Area, part, part_box
from .content import HintMask
from .rows import Rows


class Lit:
    """Where masks are not black: read before a run, since a step must not wait for a tensor."""

    def __init__(self, masks: Iterable[Tensor | HintMask]) -> None:
        self._planes = {id(mask): (mask, _not_black(mask)) for mask in masks}

    def live(
        self,
        masks: Iterable[Tensor | HintMask],
        rows: Rows,
        *,
        latent: tuple[int, int],
        area: Area | None = None,
    ) -> tuple[bool, ...]:
        """Which rows of a call can have a place in all of `masks`; the others need no net."""
        seen = [self._rows(mask, rows, latent, area) for mask in masks]
        return tuple(map(all, zip(*seen, strict=True))) if seen else (True,) * rows.count

    def _rows(
        self, mask: Tensor | HintMask, rows: Rows, latent: tuple[int, int], area: Area | None
    ) -> list[bool]:
        """Whether each row of a call shows a part of the mask that is not black."""
        _, planes = self._planes[id(mask)]
        if isinstance(mask, Tensor):  # that of a hint reaches beyond it: all or nothing
            height, width = planes.shape[1:]
            top, tall, left, wide = part_box(height, width, latent=latent, area=area)
            planes = planes[:, top : top + tall, left : left + wide]
        lit = [bool(plane.any()) for plane in planes]
        return [lit[pick] for pick in rows.picks(len(lit))]


class MaskSource:
    """The product of masks (B 1 H W) in 0..1, brought to each grid once and kept for the run.

    Each is cut to the latent's aspect and area as hints are, so that a mask drawn on the hint stays
    on it.
    """

    def __init__(self, *masks: Tensor | HintMask) -> None:
        self._masks = masks
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def on(
        self, x: Tensor, rows: Rows, *, latent: tuple[int, int], area: Area | None = None
    ) -> Tensor:
        """The mask in the shape of the residual `x`: feature map (B C h w) or tokens (B N D).

        Tokens cover the latent (h, w) in patches of 2 x 2, row by row; a side that is odd is
        rounded up, as the models pad it. Tokens behind those of the picture are left alone.
        """
        key = (x.shape[1:], rows, latent, area, x.device, x.dtype)
        if key not in self._kept:
            grid = x.shape[-2:] if x.ndim == 4 else tuple(-(-side // 2) for side in latent)
            fitted = (_fitted(mask, grid, latent, area, x.device) for mask in self._masks)
            mask = reduce(mul, map(rows.spread, fitted)).to(x.dtype)
            self._kept[key] = mask if x.ndim == 4 else _as_tokens(mask, x.shape[1])
        return self._kept[key]


def _fitted(
    mask: Tensor | HintMask,
    grid: tuple[int, ...],
    latent: tuple[int, int],
    area: Area | None,
    device: torch.device,
) -> Tensor:
    if isinstance(mask, HintMask):
        return mask.on(grid, latent, area).to(device)
    shown = part(mask, latent=latent, area=area).to(device)
    return F.interpolate(shown, size=grid, mode="bilinear")


def _not_black(mask: Tensor | HintMask) -> NDArray[np.bool_]:
    """Of each item (B h w), in the host's memory."""
    planes = mask.loud if isinstance(mask, HintMask) else mask != 0
    return planes[:, 0].cpu().numpy()


def _as_tokens(mask: Tensor, count: int) -> Tensor:
    tokens = rearrange(mask, "b 1 h w -> b (h w) 1")
    return F.pad(tokens, (0, 0, 0, count - tokens.shape[1]), value=1.0)
