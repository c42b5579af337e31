"""Lines made one pixel wide: the ridges of a grey map, and thinning of a binary one.

Source: nake_nms and lvmin_thin of Mikubill/sd-webui-controlnet. *Difference*: the hit-or-miss
transform looks at white pixels alone, which on lines is many times faster.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._frame import Frame, white_where

ROUNDS = 32

# What lies around a pixel: 1 is white, -1 black, 0 either. Each is turned to four sides.
ERASED = (((-1, -1, -1), (0, 1, 0), (1, 1, 1)), ((0, -1, -1), (1, 1, -1), (0, 1, 0)))
PRUNED = (((-1, -1, -1), (-1, 1, -1), (0, 0, -1)), ((-1, -1, -1), (-1, 1, -1), (-1, 0, 0)))
STROKES = (  # 3 x 3 lines: level, upright and the two diagonals
    ((0, 0, 0), (1, 1, 1), (0, 0, 0)),
    ((0, 1, 0), (0, 1, 0), (0, 1, 0)),
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
)


def ridges(grey: Frame) -> Frame:
    """`grey` (H W) where it is the highest along one of four strokes through the pixel, else 0."""
    import cv2

    thin = np.zeros_like(grey)
    for stroke in STROKES:
        highest = cv2.dilate(grey, np.array(stroke, np.uint8))
        np.copyto(thin, grey, where=highest == grey)
    return thin


def thinned(white: Frame, *, prune: bool) -> Frame:
    """`white` (H W), levels 0 and 255, with its lines one pixel wide.

    `prune` also removes the ends of lines, once. Beyond the edge there is whatever fits.
    """
    canvas = _Canvas(white > 127)
    for _ in range(ROUNDS):
        if not canvas.erase(ERASED):
            break
    if prune:
        canvas.erase(PRUNED)
    return white_where(canvas.white[1:-1, 1:-1])


class _Canvas:
    """White pixels that are erased step by step. It has a border that fits every pattern."""

    def __init__(self, white: NDArray[np.bool_]) -> None:
        self.white = np.pad(white, 1, constant_values=True)
        self.black = np.pad(~white, 1, constant_values=True)
        self.places = np.flatnonzero(np.pad(white, 1))

    def erase(self, patterns: tuple[tuple[tuple[int, ...], ...], ...]) -> bool:
        """Erases what fits a pattern, then what fits the next; whether anything did.

        All patterns upright come first, then all turned by 90 degrees, and so on.
        """
        before = len(self.places)
        for turn in range(4):
            for pattern in patterns:
                self._erase_one(np.rot90(np.array(pattern), turn))
        return len(self.places) < before

    def _erase_one(self, pattern: NDArray[np.int_]) -> None:
        fits = np.ones(len(self.places), bool)
        for y, x in np.argwhere(pattern):
            if (y, x) != (1, 1):
                plane = self.white if pattern[y, x] > 0 else self.black
                step = (y - 1) * plane.shape[1] + x - 1
                fits &= plane.reshape(-1)[self.places + step]
        erased, self.places = self.places[fits], self.places[~fits]
        self.white.reshape(-1)[erased] = False
        self.black.reshape(-1)[erased] = True
