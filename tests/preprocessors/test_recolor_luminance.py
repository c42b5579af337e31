"""Luminance by the formula of CIE Lab, known values of pure colours, and near OpenCV's Lab."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from controlstack.preprocessors import PREPROCESSORS

recolor_luminance = PREPROCESSORS["recolor_luminance"]


def lightness(frame: np.ndarray) -> np.ndarray:
    """(H W) L of 0..100, from levels, by the definitions of sRGB (IEC 61966) and CIE Lab."""
    x = frame / 255.0
    light = np.select([x <= 0.04045], [x / 12.92], ((x + 0.055) / 1.055) ** 2.4)
    y = light @ np.array([0.212671, 0.715160, 0.072169])
    f = np.where(y > 0.008856451679, np.cbrt(y), (y * 24389 / 27 + 16) / 116)
    return 116 * f - 16


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0])
def test_equals_the_formula(frames, chart, gamma):
    for frame in (*frames, chart):
        hint = recolor_luminance(torch.from_numpy(frame).movedim(-1, 0) / 255, gamma=gamma)
        expected = (lightness(frame).clip(0, 100) / 100) ** gamma
        assert np.abs(hint[0].numpy() - expected).max() < 2e-6


@pytest.mark.parametrize(
    ("color", "known"),
    [
        ((1, 0, 0), 53.2408), ((0, 1, 0), 87.7347), ((0, 0, 1), 32.2970),
        ((1, 1, 1), 100), ((0, 0, 0), 0),
    ],
)
def test_pure_colours(color, known):
    hint = recolor_luminance(torch.tensor(color, dtype=torch.float32).view(1, 3, 1, 1))
    assert hint[0, 0, 0, 0].item() * 100 == pytest.approx(known, abs=2e-3)


def test_is_near_opencv(chart, levels_of):
    """OpenCV interpolates in tables: 1.3 levels apart at most, 0.2 in the mean."""
    table = cv2.cvtColor(chart, cv2.COLOR_RGB2LAB)[..., :1].astype(int)
    assert np.abs(levels_of(recolor_luminance, chart) - table).max() <= 1
    assert levels_of(recolor_luminance, chart).sum() == pytest.approx(21436176, rel=1e-3)
    lighter = levels_of(recolor_luminance, chart, gamma=0.5).sum() - chart.size / 2  # known: cut
    assert lighter == pytest.approx(27120930, rel=1e-3)


def test_keeps_more_levels_than_8_bits():
    ramp = torch.linspace(0, 1, 2000).expand(1, 3, 100, 2000)
    assert len(recolor_luminance(ramp).unique()) > 1900


def test_pictures_of_a_batch_are_independent_at_any_gamma(pictures):
    alone = torch.cat([recolor_luminance(picture, gamma=0.45) for picture in pictures])
    assert torch.equal(recolor_luminance(pictures, gamma=0.45), alone)
