"""The shuffle against scipy's sampling of the published warp, a known sum, and its seed."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from controlstack.preprocessors import PREPROCESSORS

shuffle = PREPROCESSORS["shuffle"]


def by_formula(frame: np.ndarray, seed: int) -> np.ndarray:
    """Float64 of the published steps: noise of 256 pixels, cropped, stretched to 0..1."""
    height, width = frame.shape[:2]
    generator = np.random.default_rng(seed)

    def noise() -> np.ndarray:
        coarse = generator.uniform(0, 1, (height // 256 + 2, width // 256 + 2, 1))
        grown = cv2.resize(
            coarse, (width + 512, height + 512), interpolation=cv2.INTER_CUBIC
        )[256 : 256 + height, 256 : 256 + width]
        return (grown - grown.min()) / (np.ptp(grown) or 1)

    x, y = noise() * (width - 1), noise() * (height - 1)
    planes = [
        ndimage.map_coordinates(frame[..., c].astype(float), [y, x], order=1) for c in range(3)
    ]
    return np.stack(planes, -1)


@pytest.mark.parametrize("seed", [0, 7, 2**53 - 1])
def test_equals_the_formula(frames, levels_of, seed):
    smooth = [cv2.GaussianBlur(frame, (9, 9), 3) for frame in frames]
    for frame in smooth:  # OpenCV samples at 1/32 of a pixel, which is little where it is smooth
        expected = by_formula(frame, seed)
        step = np.abs(np.diff(frame.astype(int), axis=0, prepend=frame[:1])).max()
        step += np.abs(np.diff(frame.astype(int), axis=1, prepend=frame[:, :1])).max()
        hint = levels_of(shuffle, frame, seed=seed)
        assert np.abs(hint - expected).max() <= 1 + step / 32, frame.shape


def test_equals_the_known_sum(chart, levels_of):
    total = levels_of(shuffle, chart, seed=7).sum()
    assert total == pytest.approx(18019328, rel=3e-4)  # OpenCV 4 samples otherwise: 18021429


def test_seeds_differ(pictures):
    assert not torch.equal(shuffle(pictures, seed=0), shuffle(pictures, seed=1))


def test_pictures_of_a_batch_are_warped_alike(pictures):
    twice = pictures[:1].expand(3, -1, -1, -1)
    hints = shuffle(twice, seed=4)
    assert torch.equal(hints[0], hints[2])


def test_leaves_the_global_generators_alone(pictures):
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    shuffle(pictures, seed=3)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
