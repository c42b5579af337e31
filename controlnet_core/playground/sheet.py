"""Pictures side by side with a caption under each, as one image file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_MARGIN, _CAPTION = 12, 26
_INK, _PAPER = (40, 40, 40), (250, 250, 248)


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture (1 3 H W) in 0..1 with what to read under it."""

    picture: Tensor
    caption: str

    @classmethod
    def of(cls, image: Image.Image, caption: str) -> Panel:
        """A panel of an 8-bit image of any kind."""
        pixels = np.asarray(image.convert("RGB"), np.float32) / 255.0
        return cls(torch.from_numpy(pixels).movedim(-1, 0)[None], caption)


def save_sheet(path: Path, panels: Sequence[Panel], *, columns: int = 3, width: int = 256) -> None:
    """Writes the panels, `columns` in a row, each `width` pixels wide, as high as the highest."""
    images = [as_image(_fitted(panel.picture, width)) for panel in panels]
    height = max(image.height for image in images)
    rows = -(-len(panels) // columns)
    size = (
        columns * (width + _MARGIN) + _MARGIN, rows * (height + _CAPTION + _MARGIN) + _MARGIN,
    )  # fmt: skip
    sheet = Image.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for index, (image, panel) in enumerate(zip(images, panels, strict=True)):
        left = _MARGIN + index % columns * (width + _MARGIN)
        top = _MARGIN + index // columns * (height + _CAPTION + _MARGIN)
        sheet.paste(image, (left, top + (height - image.height) // 2))
        draw.text((left + width / 2, top + height + 7), panel.caption, _INK, font, anchor="mt")
    sheet.save(path)


def as_image(picture: Tensor) -> Image.Image:
    """The first picture of (B 3 H W) in 0..1 as 8-bit RGB."""
    levels = picture[0].clamp(0.0, 1.0).mul(255).round().byte()
    return Image.fromarray(levels.movedim(0, -1).numpy())


def _fitted(picture: Tensor, width: int) -> Tensor:
    size = (max(1, round(picture.shape[-2] * width / picture.shape[-1])), width)
    return F.interpolate(picture, size=size, mode="bicubic", antialias=True)
