"""Picture files as tensors: turned upright, opaque, in colour."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

Size = tuple[int, int]
"""(height, width) in pixels."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"})

BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no whole picture (SyntaxError: broken chunks of a PNG)."""

_ORIENTATION = 0x0112  # EXIF 2.3, table 4; 5 to 8 are turned by a quarter
_HIGHEST = 65535


def read_picture(file: BinaryIO) -> Tensor:
    """The picture (3 H W) in 0..1, as a viewer shows it on a white page.

    EXIF rotation is applied, alpha laid on white, grey repeated. 16-bit grey keeps its depth;
    16-bit colour comes with 8 bits, since Pillow reads no more. Raises one of `BROKEN`.
    """
    opened: Image.Image = Image.open(file)
    with opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):  # I;16 of a PNG, I of a PGM
            grey = torch.from_numpy(np.asarray(picture).astype(np.float32) / _HIGHEST)
            return grey.clamp(0.0, 1.0).expand(3, -1, -1).contiguous()
        levels = np.array(_opaque(picture).convert("RGB"))
    return torch.from_numpy(levels).movedim(-1, 0).contiguous().float() / 255.0


def picture_size(file: BinaryIO) -> Size:
    """The size of `read_picture`'s picture, from the file's header alone."""
    opened: Image.Image = Image.open(file)
    with opened:
        width, height = opened.size
        # Asked without need, getexif() decodes a whole PNG; Pillow itself turns a TIFF.
        known = "exif" in opened.info and opened.format != "TIFF"
        turned = known and opened.getexif().get(_ORIENTATION, 1) >= 5
    return (width, height) if turned else (height, width)


def write_picture(picture: Tensor, file: BinaryIO) -> None:
    """Writes a picture (3 H W) in 0..1 as a PNG of 8 bits."""
    levels = (picture.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).movedim(0, -1)
    Image.fromarray(levels.cpu().numpy()).save(file, format="PNG")


def _opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    layer = picture.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(page, layer)
