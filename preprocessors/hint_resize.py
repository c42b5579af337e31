"""Hints of another size that stay hints: lines stay thin, colours of classes stay pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ._checks import IMAGE, MAX_PIXELS, check_image, check_size, check_values
from ._frame import Frame, as_rgb, channels_last
from ._run import Progress, on_all_cores, silent
from ._sizes import Placement, ResizeMode, placed
from ._thin import ridges, thinned

FEW_COLORS, FEW_GREYS = 200, 16  # fewer colours, or no more greys: classes, not shades
SAME_LEVEL = 0.1  # of a level: float16 rounds by up to 0.06, shades lie anywhere between levels
DARK, LIGHT = 16, 240  # levels of black and white in a line map


def resize_hint(
    hint: Tensor,
    *,
    height: int,
    width: int,
    mode: ResizeMode = "Just Resize",
    progress: Progress | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """`hint` (B C h w) in 0..1 as (B 3 height width), each picture resized by what it shows.

    White lines on black stay white on black, and one pixel wide where they were. Few colours, as
    of classes or poses, stay those colours. Everything else is interpolated in floats. A border,
    in Resize and Fill, has the median of the pixels at the hint's edge.

    Source: high_quality_resize of Mikubill/sd-webui-controlnet. *Differences*: shades are not
    rounded to 8 bits; two colours stay two, and only black and white count as lines; grey maps of
    more than 16 shades are interpolated; a border beside few colours has one of them.
    """
    where = "hint resize, hint"
    hint = check_image(hint, where=where)
    _check_target(height, width, max_pixels)
    clamp = check_values(hint, IMAGE, where=where)
    place = placed(*hint.shape[-2:], to_height=height, to_width=width, mode=mode)
    check_size((place.height, place.width), max_pixels, where=where)
    count = len(hint)
    made = np.empty((count, height, width, 3), np.float32)

    def fill(row: int) -> None:
        frame = channels_last(as_rgb(hint[row : row + 1], clamp=clamp)[0].detach().cpu())
        made[row] = _framed(frame, place, (height, width))

    on_all_cores(fill, range(count), progress=progress or silent)
    return torch.as_tensor(made).movedim(-1, 1).to(hint.device)


def _check_target(height: int, width: int, max_pixels: int) -> None:
    if min(height, width) < 1:
        raise ControlInputError(
            "CN-I03", "hint resize, size", found=f"{width} x {height}",
            expected="at least one pixel on each side", fix="set both sides to 1 or more",
        )
    check_size((height, width), max_pixels, where="hint resize, size")


def _framed(frame: Frame, place: Placement, size: tuple[int, int]) -> Frame:
    """`frame` (h w 3) of 0..1, resized and put where `place` says, into a frame of `size`."""
    content = _content(frame)
    resized = _resized(frame, (place.height, place.width), content)
    if resized.shape[:2] == size:
        return resized
    canvas = np.empty((*size, 3), np.float32)
    canvas[:] = _border(frame, content)
    top, left = max(0, place.top), max(0, place.left)
    cut = resized[max(0, -place.top) :, max(0, -place.left) :][: size[0] - top, : size[1] - left]
    canvas[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return canvas


def _border(frame: Frame, content: _Content) -> Frame:
    """(3,) the median of the edge pixels, or the commonest of them where colours are few."""
    edges: Frame = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]])
    if not content.few:
        return np.asarray(np.median(edges, axis=0), np.float32)
    colors, counts = np.unique(edges, axis=0, return_counts=True)
    return np.asarray(colors, np.float32)[int(counts.argmax())]


@dataclass(frozen=True)
class _Content:
    """What a picture shows, as far as its resize asks."""

    few: bool
    lines: bool


def _resized(frame: Frame, size: tuple[int, int], content: _Content) -> Frame:
    """`frame` (h w 3) of 0..1 at `size`, by what it shows."""
    if frame.shape[:2] == size:
        return frame
    import cv2

    area, new_area = frame.shape[0] * frame.shape[1], size[0] * size[1]
    how = cv2.INTER_AREA if new_area < area else cv2.INTER_CUBIC
    if content.lines:
        return _resized_lines(_levels(frame), size, how, grows=new_area > area)
    if content.few:
        return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.resize(frame, size[::-1], interpolation=how).clip(0.0, 1.0)


def _resized_lines(levels: Frame, size: tuple[int, int], how: int, *, grows: bool) -> Frame:
    """White drawing on black: interpolated, made binary again, and thin where it was thin."""
    import cv2

    grey = cv2.resize(levels, size[::-1], interpolation=how).mean(2, dtype=np.float32)
    grey = grey.astype(np.uint8)
    thin = _is_thin(levels)
    if thin:
        grey = ridges(grey)
    _, white = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    if thin:
        white = thinned(white, prune=grows)
    return np.repeat(white[..., None] / np.float32(255), 3, axis=2)


def _is_thin(levels: Frame) -> bool:
    """Whether more than half of the white vanishes under an opening by 3 x 3 pixels."""
    import cv2

    square = np.ones((3, 3), np.uint8)
    opened: Frame = np.asarray(cv2.dilate(cv2.erode(levels, square), square))
    return 2 * int((opened != levels).sum()) > int((levels > 127).sum())


def _levels(frame: Frame) -> Frame:
    import cv2

    return cv2.convertScaleAbs(frame, alpha=255.0)


def _content(frame: Frame) -> _Content:
    """Whether a picture has few colours, and whether they are black and white alone."""
    levels = _levels(frame)
    if np.abs(frame * np.float32(255) - levels).max() > SAME_LEVEL:
        return _Content(few=False, lines=False)
    colors = _colors(levels[::8, ::8])  # photos show themselves here, 60 times sooner
    if len(colors) < FEW_COLORS:
        colors = _colors(levels)
    grey = bool((colors[:, :1] == colors).all())
    few = len(colors) <= FEW_GREYS if grey else len(colors) < FEW_COLORS
    two = grey and len(colors) == 2
    return _Content(few, two and int(colors.min()) < DARK and int(colors.max()) > LIGHT)


def _colors(levels: Frame) -> NDArray[np.uint8]:
    """(n 3) every colour of `levels` (H W 3) once.

    By a table of all colours: three times faster than sorting a million pixels.
    """
    red, green, blue = (levels[..., channel].astype(np.uint32) for channel in range(3))
    seen = np.zeros(1 << 24, bool)
    seen[red << 16 | green << 8 | blue] = True
    found = np.flatnonzero(seen)
    return np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8)
