"""The tile pyramid against its formula in integers, and known checksums."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from controlstack.preprocessors import PREPROCESSORS

tile_pyramid = PREPROCESSORS["tile_pyramid"]


def grown(line: np.ndarray) -> np.ndarray:
    """Twice the length of axis 0, times 8: even places 1 6 1, odd ones 4 4 (Burt and Adelson)."""
    before, after = np.roll(line, 1, 0), np.roll(line, -1, 0)
    return np.stack([before + 6 * line + after, 4 * line + 4 * after], 1).reshape(
        2 * len(line), *line.shape[1:]
    )


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_equals_the_formula_inside(levels, levels_of):
    frame = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    side = 2**levels
    blocks = frame.reshape(64 // side, side, 96 // side, side, 3).astype(int).sum((1, 3))
    soft = (blocks + side * side // 2) // side**2
    for _ in range(levels):
        both = grown(grown(soft).swapaxes(0, 1)).swapaxes(0, 1)
        soft = (both + 32) >> 6
    hint = levels_of(tile_pyramid, frame, levels=levels)
    inside = slice(2 * side, -2 * side)
    wrong = np.abs(hint.astype(int) - soft)[inside, inside]
    assert wrong.max() <= 1  # ties of the block means


@pytest.mark.parametrize(("levels", "known"), [(1, 0x4511E0EA), (3, 0x0BF6258A)])
def test_equals_the_known_checksum(chart, levels_of, levels, known):
    assert zlib.crc32(levels_of(tile_pyramid, chart, levels=levels).tobytes()) == known


def test_constant_pictures_stay(frames, levels_of):
    for levels in (1, 3, 10):
        assert np.array_equal(levels_of(tile_pyramid, frames[-1], levels=levels), frames[-1])


def test_more_levels_than_pixels_are_left_out(frames, levels_of):
    frame = frames[0]  # 40 pixels high: 32 is the highest power of two
    assert np.array_equal(
        levels_of(tile_pyramid, frame, levels=10), levels_of(tile_pyramid, frame, levels=5)
    )
    assert np.array_equal(levels_of(tile_pyramid, frames[4], levels=3), frames[4])
