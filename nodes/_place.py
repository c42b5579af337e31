"""Which part of the picture and which frames one model call of the host is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import comfy.utils
from comfy.model_base import BaseModel
from torch import Tensor

from ..controlnet_core.control import Area, Rows

_CELL = 8  # pixels of a latent cell, in which the host counts areas
_LEAST = 8  # cells along a side of the box that the host draws around a mask


@dataclass(frozen=True, eq=False)
class HostArea:
    """The area of a conditioning as the host stores it, before it knows the picture's size."""

    box: tuple[Any, ...]
    """(h, w, y, x) in cells, or "percentage" and then fractions."""
    mask: Tensor | None = None
    """(B h w): the host takes the box around it instead."""

    @property
    def key(self) -> object:
        """Equal for conditionings that share their area."""
        return self.box if self.mask is None else id(self.mask)

    def within(self, whole: tuple[int, int]) -> Area | None:
        """The area in a latent of `whole` (h, w) cells; None for one that is no rectangle of it.

        The host's own rounding: `resolve_areas_and_cond_masks_multidim`, `get_area_and_mult`.
        """
        box = self.box if self.mask is None else _around(self.mask, whole)
        if box[0] == "percentage":
            if len(box) != 5:
                return None
            cells = [round(share * side) for share, side in zip(box[1:], whole * 2, strict=True)]
            box = (max(1, cells[0]), max(1, cells[1]), *cells[2:])
        if len(box) != 4:
            return None
        height, width, top, left = box
        size = (min(whole[0] - top, height), min(whole[1] - left, width))
        return Area(whole, size, top, left) if min(size) > 0 else None


def area_of_options(options: Mapping[str, Any]) -> HostArea | None:
    """The area that a conditioning's options ask for."""
    if options.get("set_area_to_bounds") and (mask := options.get("mask")) is not None:
        return HostArea((), mask)
    area = options.get("area")
    return None if area is None else HostArea(tuple(area))


def latent_size(model: BaseModel) -> tuple[int, int] | None:
    """Height and width of the latents of this run, where the host tells (since 0.20)."""
    shapes = getattr(model, "latent_shapes", None)
    return (shapes[0][-2], shapes[0][-1]) if shapes and len(shapes[0]) >= 4 else None


def area_of_call(
    asked: HostArea | None, x: Tensor, *, whole: tuple[int, int] | None, hint: Tensor | None
) -> Area | None:
    """The area that the latents `x` (B C h w) show; None where they show the whole picture.

    A host that does not tell the whole's size leaves one guess: the hint is as large as the
    picture. Either must agree with the size of `x`.
    """
    if asked is None:
        return None
    if whole is None and hint is not None:
        whole = (hint.shape[-2] // _CELL, hint.shape[-1] // _CELL)
    area = asked.within(whole) if whole else None
    shown = (x.shape[-2], x.shape[-1])
    return area if area is not None and area.size == shown != area.whole else None


def rows_of_call(x: Tensor, chunks: int, options: Mapping[str, Any]) -> Rows:
    """The rows of a call; a chunk of the host's second list of conditionings is unconditional."""
    batch = x.shape[0] // chunks
    uncond = tuple(place == 1 for place in options.get("cond_or_uncond", ()))
    frames, total = _window(options)
    if len(frames) != batch or (total and max(frames) >= total):
        frames, total = (), 0  # an option of an earlier window that nobody deleted
    return Rows(batch, chunks, uncond, frames, total)


def _window(options: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    """Frames that a window over the batch shows, and frames in all; nothing outside of one.

    ComfyUI's windows, with the frame that it puts in front of one (since 0.21), and
    AnimateDiff-Evolved's.
    """
    window: Any = options.get("context_window")
    if hasattr(window, "index_list"):
        if window.dim != 0:
            return (), 0
        anchor = getattr(window, "causal_anchor_index", None)
        first = [] if anchor is None or anchor < 0 else [anchor]
        return tuple(first + list(window.index_list)), window.total_frames
    params = options.get("ad_params") or {}
    frames = params.get("sub_idxs")
    return (tuple(frames), params.get("full_length") or max(frames) + 1) if frames else ((), 0)


def _around(mask: Tensor, whole: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box (h, w, y, x) that the host draws around a mask, brought to the latent's size."""
    planes = mask if mask.ndim == 3 else mask[None]
    fitted = comfy.utils.common_upscale(planes[:, None], whole[1], whole[0], "bilinear", "none")
    marked = fitted.abs().amax(dim=(0, 1)) != 0
    rows, columns = (marked.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
    if not rows:
        return _LEAST, _LEAST, 0, 0
    height, width = (max(_LEAST, each[-1] - each[0] + 1) for each in (rows, columns))
    return height, width, rows[0], columns[0]
