"""Where a control acts: a mask in picture space, brought to the grid of every residual."""

from __future__ import annotations

from functools import reduce
from operator import mul

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from .area import Area, part
from .content import HintMask
from .rows import Rows

Live = tuple[bool, ...]


class MaskSource:
    """The product of masks (B 1 H W) in 0..1, brought to each grid once and kept for the run.

    Each is cut to the latent's aspect and area as hints are, so that a mask drawn on the hint stays
    on it.
    """

    def __init__(self, *masks: Tensor | HintMask) -> None:
        self._masks = masks
        self._kept: dict[tuple[object, ...], Tensor] = {}
        self._live: dict[tuple[object, ...], Live] = {}

    def live(self, rows: Rows, *, latent: tuple[int, int], area: Area | None = None) -> Live:
        """Which rows of a call any of its cells is in the masks for; the others need no net."""
        key = (rows, latent, area)
        if key not in self._live:
            lit = [_lit(mask, latent, area) for mask in self._masks]
            self._live[key] = tuple(map(all, zip(
                *([one[pick] for pick in rows.picks(len(one))] for one in lit), strict=True
            )))  # fmt: skip
        return self._live[key]

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


def _lit(mask: Tensor | HintMask, latent: tuple[int, int], area: Area | None) -> list[bool]:
    """Whether each mask has any place that is not black. Read once a run, where the masks lie."""
    if isinstance(mask, HintMask):
        seen = mask.on(latent, latent, area)
    else:
        seen = part(mask, latent=latent, area=area)
    return [bool(row.any()) for row in seen]


def _as_tokens(mask: Tensor, count: int) -> Tensor:
    tokens = rearrange(mask, "b 1 h w -> b (h w) 1")
    return F.pad(tokens, (0, 0, 0, count - tokens.shape[1]), value=1.0)
