"""Colours of segmentation hints: from class numbers to colours, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from . import _ade20k, _coco
from ._checks import IMAGE, check_image, check_values
from ._frame import as_rgb

_AT_ONCE = 100_000  # pixels whose distances to all colours are held at a time: 60 MB


@dataclass(frozen=True)
class Palette:
    """Names of classes and their colours, 0..255, by class number.

    A class may have several names, parted by commas.
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def index(self, name: str) -> int:
        """The number of the class that is called so, in any case; raises where none is."""
        wanted = name.strip().lower()
        for index, names in enumerate(self.names):
            if wanted in (names.lower(), *(each.strip().lower() for each in names.split(","))):
                return index
        near = [each for each in self.names if wanted and wanted in each.lower()][:5]
        raise ControlInputError(
            "CN-G02", f"classes of {self.name}", found=f"{name.strip()[:40]!r}",
            expected=f"one of its {len(self.names)} names, as {self.names[0]}",
            fix=f"did you mean {' or '.join(near)}" if near else "look it up on the help page",
        )


def _palette(name: str, table: str) -> Palette:
    rows = [line.split(" ", 1) for line in table.strip().splitlines()]
    colors = tuple((int(hex[:2], 16), int(hex[2:4], 16), int(hex[4:], 16)) for hex, _ in rows)
    return Palette(name, tuple(names for _, names in rows), colors)


ADE20K = _palette("ADE20K", _ade20k.TABLE)
COCO = _palette("COCO", _coco.TABLE)
PALETTES: dict[str, Palette] = {each.name: each for each in (ADE20K, COCO)}


def colour_labels(labels: Tensor, palette: Palette) -> Tensor:
    """Colours (B 3 h w) in 0..1, float32, of `labels` (B h w), whole numbers of classes.

    Raises for a number that is no class of `palette`: colours of an "unlabelled" class are the
    caller's to choose.
    """
    if labels.ndim != 3 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ControlInputError(
            "CN-SHAPE", "labels",
            found=f"shape {tuple(labels.shape)}, {str(labels.dtype).removeprefix('torch.')}",
            expected="(B, h, w) whole numbers", fix="take the argmax over the classes",
        )
    low, high = (int(bound) for bound in labels.aminmax()) if labels.numel() else (0, 0)
    if low < 0 or high >= len(palette.colors):
        raise ControlInputError(
            "CN-G01", "labels", found=f"class numbers from {low} to {high}",
            expected=f"0 to {len(palette.colors) - 1}, the classes of {palette.name}",
            fix="choose the palette of the dataset that the labels are of",
        )
    return (_table(palette, labels.device) / 255)[labels.long()].movedim(-1, 1)


def labels_of(hint: Tensor, palette: Palette) -> Tensor:
    """Labels (B h w), int64: for every pixel of `hint` (B C h w) the class of the nearest colour.

    Of classes with one colour it is the first.
    """
    where = "hint of classes"
    hint = check_image(hint, where=where)
    rgb = as_rgb(hint, clamp=check_values(hint, IMAGE, where=where)).movedim(1, -1) * 255
    table = _table(palette, hint.device)
    lengths = (table**2).sum(1)
    nearest = [
        (lengths - 2 * pixels @ table.T).argmin(1)  # the distance, less what all have in common
        for pixels in torch.split(rgb.reshape(-1, 3), _AT_ONCE)
    ]
    return torch.cat(nearest).view(rgb.shape[:3])


def _table(palette: Palette, device: torch.device) -> Tensor:
    return torch.tensor(palette.colors, dtype=torch.float32, device=device)
