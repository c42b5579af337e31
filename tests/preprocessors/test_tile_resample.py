"""Tile by resampling against matrices of pixel overlap and of Keys' cubic, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from controlstack.preprocessors import PREPROCESSORS

tile_resample = PREPROCESSORS["tile_resample"]


def by_area(source: int, target: int) -> np.ndarray:
    """(target source): how much of each source pixel lies in a target pixel."""
    edges = np.arange(target + 1) * source / target
    pixels = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlap, 0) * target / source


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


@pytest.mark.parametrize("rate", [1.1, 2.0, 3.3, 8.0])
def test_equals_the_formula(frames, levels_of, rate):
    for frame in frames:
        ups_downs = [
            (cubic(small, side), by_area(side, small))
            for side in frame.shape[:2]
            for small in [max(1, int(side / rate))]
        ]
        (up_y, down_y), (up_x, down_x) = ups_downs
        small = np.einsum("yh,xw,hwc->yxc", down_y, down_x, frame)
        expected = np.einsum("hy,wx,yxc->hwc", up_y, up_x, np.floor(small + 0.5)).clip(0, 255)
        hint = levels_of(tile_resample, frame, rate=rate)
        wrong = np.abs(hint - expected)
        assert wrong.mean() < 0.35, frame.shape  # 0.25 from rounding
        assert wrong.max() < 2.1, frame.shape  # a tie in `small` grows by 1.27 squared


@pytest.mark.parametrize("rate", [1.0, 1.09])
def test_a_rate_of_one_is_the_picture(frames, levels_of, rate):
    for frame in frames:
        assert np.array_equal(levels_of(tile_resample, frame, rate=rate), frame)


def test_constant_pictures_stay(frames, levels_of):
    assert np.array_equal(levels_of(tile_resample, frames[-1], rate=7.3), frames[-1])
