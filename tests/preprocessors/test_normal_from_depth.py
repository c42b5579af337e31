"""Normals of planes and a ball as geometry has them, and of noise as cv2.Sobel has them."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from controlstack.preprocessors import PREPROCESSORS

normal_from_depth = PREPROCESSORS["normal_from_depth"]


def of_levels(depth: np.ndarray, **options: object) -> np.ndarray:
    """(H W 3) normals in -1..1 of `depth` (H W) in 0..1."""
    image = torch.from_numpy(depth.astype(np.float32))[None, None]
    return normal_from_depth(image, **options)[0].movedim(0, -1).numpy() * 2.0 - 1


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (31, 40)])
def test_equals_the_published_formula(size):
    """midas: a = 2 pi over the raw depth; far pixels flat; channels z y x."""
    depth = np.random.default_rng(1).random(size)
    a, relief = 2 * math.pi, 1.5
    raw = depth * relief * min(size) * a / 8  # Sobel's weights sum to 8
    x, y = cv2.Sobel(raw, cv2.CV_64F, 1, 0, ksize=3), cv2.Sobel(raw, cv2.CV_64F, 0, 1, ksize=3)
    x[depth < 0.3] = y[depth < 0.3] = 0
    normal = np.stack([x, y, np.full(size, a)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    for convention, expected in (("midas", normal[..., ::-1]), ("bae", normal)):
        hint = of_levels(depth, convention=convention, relief=relief, background=0.3)
        assert np.abs(hint - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("direction", "color"),
    [
        ((1, 0), (0.5 + math.sqrt(0.5) / 2, 0.5)),  # nearer to the right: faces left, red
        ((-1, 0), (0.5 - math.sqrt(0.5) / 2, 0.5)),
        ((0, 1), (0.5, 0.5 + math.sqrt(0.5) / 2)),  # nearer downwards: faces up, green
        ((0, -1), (0.5, 0.5 - math.sqrt(0.5) / 2)),
    ],
)
def test_planes_of_45_degrees(direction, color):
    y, x = np.mgrid[:21, :21]
    depth = 0.5 + (direction[0] * (x - 10) + direction[1] * (y - 10)) / 42  # 21 px deep: relief 2
    image = torch.from_numpy(depth).float()[None, None]
    inside = normal_from_depth(image, relief=2.0)[0, :, 1:-1, 1:-1].flatten(1)
    expected = torch.tensor([*color, 0.5 + math.sqrt(0.5) / 2])
    assert (inside - expected[:, None]).abs().max() < 1e-5
    midas = normal_from_depth(image, relief=2.0, convention="midas")[0, :, 1:-1, 1:-1].flatten(1)
    assert torch.equal(midas, inside.flip(0))


def test_a_ball_has_the_normals_of_a_ball():
    side, radius = 201, 100.0
    y, x = (each - 100.0 for each in np.mgrid[:side, :side])
    height = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
    hint = of_levels(height / radius, relief=radius / side)
    inner = np.hypot(x, y) < 80
    expected = np.stack([-x, -y, height], -1) / radius  # up is the negative y of pixels
    assert np.abs(hint - expected)[inner].max() < 2e-3


@pytest.mark.parametrize(
    ("convention", "levels"), [("bae", (0.5, 0.5, 1.0)), ("midas", (1.0, 0.5, 0.5))]
)
def test_flat_is_the_colour_of_the_convention(convention, levels):
    hint = normal_from_depth(torch.full((1, 3, 9, 9), 0.7), convention=convention)
    assert torch.equal(hint, torch.tensor(levels).view(1, 3, 1, 1).expand_as(hint))


def test_background_is_flat(pictures):
    flat = normal_from_depth(torch.zeros(1, 3, 40, 57))
    far = pictures.mean(1, keepdim=True).expand(-1, 3, -1, -1) < 0.6
    hints = normal_from_depth(pictures, background=0.6)
    assert torch.equal(hints[far], flat.expand_as(hints)[far])
    assert not torch.equal(hints[~far], flat.expand_as(hints)[~far])


def test_twice_the_size_has_the_same_normals():
    y, x = np.mgrid[:64, :64] / 64
    small = 0.5 + 0.3 * np.sin(5 * x) * np.cos(4 * y)
    y, x = np.mgrid[:128, :128] / 128 - 1 / 256
    large = 0.5 + 0.3 * np.sin(5 * x) * np.cos(4 * y)
    halved = of_levels(large).reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(of_levels(small) - halved)[2:-2, 2:-2].max() < 5e-3


def test_depth_of_more_than_8_bits_is_smooth():
    ramp = torch.linspace(0.2, 0.3, 300).expand(1, 1, 300, 300)
    hint = normal_from_depth(ramp)[..., 2:-2]
    assert hint[:, 0].std() < 1e-4
