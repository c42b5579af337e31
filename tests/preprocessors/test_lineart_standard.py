"""Standard line art against its formula over scipy's Gaussian, and known sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from controlstack.preprocessors import PREPROCESSORS

lineart_standard = PREPROCESSORS["lineart_standard"]


def by_formula(frame: np.ndarray, sigma: float, threshold: int) -> np.ndarray:
    picture = frame.astype(float)
    radius = round(4 * sigma + 0.5)  # OpenCV's for floats: half of round(8 sigma + 1)
    blurred = ndimage.gaussian_filter(picture, sigma, axes=(0, 1), mode="mirror", radius=radius)
    contrast = np.maximum((blurred - picture).min(-1), 0)
    strong = contrast[contrast > threshold]
    return np.minimum(127 * contrast / max(16, np.median(strong) if len(strong) else 0), 255)


@pytest.mark.parametrize(("sigma", "threshold"), [(0.5, 8), (2.0, 3), (6.0, 0), (20.0, 16)])
def test_equals_the_formula(frames, levels_of, sigma, threshold):
    for frame in frames:
        hint = levels_of(
            lineart_standard, frame, gaussian_sigma=sigma, intensity_threshold=threshold
        )
        expected = by_formula(frame, sigma, threshold)[..., None]
        assert np.abs(hint - expected).max() <= 1.01, frame.shape  # levels are cut


@pytest.mark.parametrize(
    ("sigma", "threshold", "known"), [(6.0, 8, 1032909), (2.0, 3, 748011)]
)
def test_equals_the_known_sum(chart, levels_of, sigma, threshold, known):
    hint = levels_of(lineart_standard, chart, gaussian_sigma=sigma, intensity_threshold=threshold)
    assert hint.sum() == pytest.approx(known, rel=1e-4)  # other processors round otherwise


def test_faint_lines_stay_faint():
    image = torch.full((1, 3, 40, 40), 200 / 255)
    image[..., 20] = 190 / 255
    assert 0 < lineart_standard(image).max() < 0.5


@pytest.mark.parametrize("options", [{}, {"gaussian_sigma": 0.0}])
def test_a_blank_picture_has_no_lines(options):
    assert not lineart_standard(torch.full((1, 3, 30, 40), 0.9), **options).any()


def test_bright_lines_are_not_seen():
    image = torch.full((1, 3, 40, 40), 0.5)
    image[..., 20] = 1.0
    assert not lineart_standard(image)[..., 20].any()
