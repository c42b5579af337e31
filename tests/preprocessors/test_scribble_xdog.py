"""XDoG scribbles against their formula over scipy's Gaussians, and a known sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from controlstack.preprocessors import PREPROCESSORS

scribble_xdog = PREPROCESSORS["scribble_xdog"]


def contrast(frame: np.ndarray) -> np.ndarray:
    """(H W), what the finer blur is darker than the coarser one, in float64."""
    fine, coarse = (
        ndimage.gaussian_filter(
            frame.astype(float), sigma, axes=(0, 1), mode="mirror", radius=round(4 * sigma + 0.5)
        )
        for sigma in (0.5, 5.0)
    )
    return (coarse - fine).min(-1)


@pytest.mark.parametrize("threshold", [1, 32, 64])
def test_equals_the_formula(frames, levels_of, threshold):
    for frame in frames:
        strokes = levels_of(scribble_xdog, frame, threshold=threshold)[..., 0] == 255
        found = contrast(frame)
        surely = 2 * (np.ceil(found) - 1) > threshold
        assert strokes[surely].all()
        never = 2 * np.ceil(found + 1e-3) <= threshold
        assert not strokes[never].any()
        exact = np.abs(found - found.round()) > 2e-3  # elsewhere float32 may round to another level
        assert np.array_equal(strokes[exact], (2 * np.ceil(found) > threshold)[exact])


def test_equals_the_known_sum(chart, levels_of):
    assert levels_of(scribble_xdog, chart).sum() == pytest.approx(1082475, rel=1e-3)


def test_the_strongest_strokes_have_no_holes(levels_of):
    drawing = np.full((60, 60, 3), 255, np.uint8)
    drawing[:, 28:32] = np.linspace(255, 0, 60)[:, None, None]  # every contrast up to 255
    strokes = levels_of(scribble_xdog, drawing)[:, 29, 0] == 255
    assert strokes[15:].all()
    assert not strokes[:5].any()


def test_a_blank_picture_has_no_strokes():
    """Of any level: the two blurs of a constant differ by what float32 rounds."""
    blank = (torch.arange(256) / 255).view(256, 1, 1, 1).expand(-1, 3, 33, 47)
    assert not scribble_xdog(blank, threshold=1).any()
