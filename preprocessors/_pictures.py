"""Picture files for the command line, read with depth and rotation, written with depth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..controlnet_core.errors import ControlInputError


@dataclass(frozen=True, eq=False)
class Picture:
    """(1 C H W) in 0..1 and the bits of a level in its file: 8, or 16 for 16-bit grey."""

    image: Tensor
    bits: int


def read_picture(path: Path) -> Picture:
    """The picture as a viewer shows it: EXIF rotation applied, palette, CMYK and the like as RGB.

    Alpha is kept as a fourth channel, 16-bit grey at its depth; 16-bit colour comes with 8 bits,
    since Pillow reads no more, and a colour profile is ignored.
    """
    try:
        file: Image.Image = Image.open(path)
        with file:
            _refuse_animation(file, path)
            return _as_picture(ImageOps.exif_transpose(file))
    except UnidentifiedImageError as e:
        raise _refusal(
            "CN-I28", path, "no picture", "a PNG, JPEG, WebP or other picture", "check the file"
        ) from e
    except Image.DecompressionBombError as e:
        raise _refusal(
            "CN-I21", path, "a picture of enormous size", "fewer pixels", "scale it down first"
        ) from e
    except FileNotFoundError as e:
        raise _refusal("CN-FILE", path, "no such file", "a picture", "check the path") from e
    except (OSError, SyntaxError) as e:  # Pillow's PNG reader raises SyntaxError for broken chunks
        raise _refusal(
            "CN-I27", path, "a broken or truncated picture", "a whole one", "copy it again"
        ) from e


def write_picture(hint: Tensor, path: Path, *, bits: int) -> None:
    """Saves `hint` (1 3 h w), grey PNGs with 16 bits where asked; `.npy` keeps floats (h w 3)."""
    levels = hint[0].movedim(0, -1).cpu().numpy()
    if path.suffix == ".npy":
        np.save(path, levels)
        return
    if levels.min() < 0:
        raise _refusal(
            "CN-RANGE", path, "a hint with values below 0", "0..1 for a picture file",
            "write a .npy file, or choose --fill zero",
        )
    grey = bool((levels == levels[..., :1]).all())
    if bits == 16 and grey and path.suffix == ".png":
        Image.fromarray(np.rint(levels[..., 0] * 65535).astype(np.uint16)).save(path)
    else:
        Image.fromarray(np.rint(levels * 255).astype(np.uint8)).save(path)


def _as_picture(file: Image.Image) -> Picture:
    if file.mode.startswith("I"):  # I;16 of a PNG, I of a PGM
        return Picture(_tensor(file, 65535), 16)
    plain = "L" if file.mode in ("1", "L") else "RGB"
    mode = "RGBA" if file.has_transparency_data else plain
    return Picture(_tensor(file.convert(mode), 255), 8)


def _tensor(file: Image.Image, highest: int) -> Tensor:
    levels = torch.as_tensor(np.asarray(file).astype(np.float32)) / highest
    return (levels[..., None] if levels.ndim == 2 else levels).movedim(-1, 0)[None]


def _refuse_animation(file: Image.Image, path: Path) -> None:
    frames = getattr(file, "n_frames", 1)
    if frames > 1 and file.format != "MPO":  # what phones add to a JPEG is the same view again
        raise _refusal("CN-I26", path, f"{frames} frames", "one picture", "save the frames apart")


def _refusal(code: str, path: Path, found: str, expected: str, fix: str) -> ControlInputError:
    return ControlInputError(code, path.name, found=found, expected=expected, fix=fix)
