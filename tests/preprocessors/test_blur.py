"""Gaussian blur against scipy with the same kernel."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import ndimage

from controlstack.preprocessors import PREPROCESSORS

blur = PREPROCESSORS["blur"]


@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 2.5, 9.0, 33.3, 64.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 20), (33, 2), (40, 57)])
def test_equals_scipy(sigma, size):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(2))
    expected = ndimage.gaussian_filter(
        image.double().numpy(), sigma, axes=(2, 3), mode="nearest", radius=math.ceil(3 * sigma)
    )
    hints = blur(image, sigma=sigma)
    torch.testing.assert_close(hints.double(), torch.from_numpy(expected), rtol=0, atol=2e-6)


def test_constant_pictures_stay():
    image = torch.full((1, 3, 20, 30), 0.7)
    torch.testing.assert_close(blur(image), image, rtol=0, atol=1e-6)


def test_tiny_sigma_changes_nothing(pictures):
    assert torch.equal(blur(pictures, sigma=0.01), pictures)
