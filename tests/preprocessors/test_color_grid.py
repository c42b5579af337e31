"""The colour grid against Keys' cubic and nearest neighbours, and a known checksum."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from controlstack.preprocessors import PREPROCESSORS

color_grid = PREPROCESSORS["color_grid"]


def cubic(source: int, target: int) -> np.ndarray:
    """(target source): Keys' kernel with a = -0.75 over four pixels, edges repeated."""
    weights = np.zeros((target, source))
    for row in range(target):
        place = (row + 0.5) * source / target - 0.5
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            d = abs(place - tap)
            near = 1.25 * d**3 - 2.25 * d**2 + 1
            far = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            weights[row, np.clip(tap, 0, source - 1)] += near if d <= 1 else far
    return weights


@pytest.mark.parametrize("cell", [1, 7, 16, 64])
def test_equals_the_formula(frames, levels_of, cell):
    for frame in frames:
        sides = [(side, max(1, side // cell)) for side in frame.shape[:2]]
        down = [cubic(side, count) for side, count in sides]
        colors = np.einsum("yh,xw,hwc->yxc", *down, frame).clip(0, 255)
        back = np.ix_(*((np.arange(side) * count / side).astype(int) for side, count in sides))
        hint = levels_of(color_grid, frame, cell=cell)
        assert np.abs(hint - colors[back]).max() < 0.6, frame.shape  # fixed point


def test_equals_the_known_checksum(chart, levels_of):
    assert zlib.crc32(levels_of(color_grid, chart).tobytes()) == 0x380DAFE4


def test_each_cell_has_one_colour_of_its_own(levels_of):
    noise = np.random.default_rng(2).integers(0, 256, (192, 256, 3), dtype=np.uint8)
    hint = levels_of(color_grid, noise)
    cells = hint.reshape(3, 64, 4, 64, 3)
    assert (cells == cells[:, :1, :, :1]).all()
    assert len(np.unique(hint.reshape(-1, 3), axis=0)) == 12


def test_a_picture_smaller_than_a_cell_has_one_colour(frames, levels_of):
    assert len(np.unique(levels_of(color_grid, frames[0]).reshape(-1, 3), axis=0)) == 1
