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

_MARGIN, _LINE = 12, 17
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
    """Writes the sheet of the panels to a file; see `sheet`."""
    sheet(panels, columns=columns, width=width).save(path)


def sheet(panels: Sequence[Panel], *, columns: int = 3, width: int = 256) -> Image.Image:
    """The panels, `columns` in a row, each `width` pixels wide, all as high as the highest.

    Captions are broken into lines that fit under their picture.
    """
    images = [as_image(_fitted(panel.picture, width)) for panel in panels]
    font = ImageFont.load_default(13)
    captions = [_broken(panel.caption, width, font) for panel in panels]
    height = max(image.height for image in images)
    caption = _LINE * max(text.count("\n") + 1 for text in captions) + 9
    cell_width, cell_height = width + _MARGIN, height + caption + _MARGIN
    rows = -(-len(panels) // columns)
    size = (columns * cell_width + _MARGIN, rows * cell_height + _MARGIN)
    page = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(page)
    for index, (image, text) in enumerate(zip(images, captions, strict=True)):
        left = _MARGIN + index % columns * cell_width
        top = _MARGIN + index // columns * cell_height
        page.paste(image, (left, top + (height - image.height) // 2))
        where = (left + width / 2, top + height + 7)
        draw.multiline_text(where, text, _INK, font, anchor="ma", align="center", spacing=3)
    return page


def as_image(picture: Tensor) -> Image.Image:
    """The first picture of (B 3 H W) in 0..1 as 8-bit RGB."""
    levels = picture[0].clamp(0.0, 1.0).mul(255).round().byte()
    return Image.fromarray(levels.movedim(0, -1).numpy())


def _broken(
    text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:  # fmt: skip
    """`text` with line breaks where it would be wider than `width` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def _fitted(picture: Tensor, width: int) -> Tensor:
    size = (max(1, round(picture.shape[-2] * width / picture.shape[-1])), width)
    return F.interpolate(picture, size=size, mode="bicubic", antialias=True)
