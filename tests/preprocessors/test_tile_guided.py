"""The guided filter against He's formula with general matrices in float64, and known sums."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from controlstack.preprocessors import PREPROCESSORS

tile_guided = PREPROCESSORS["tile_guided"]


def guided(
    guide: np.ndarray, picture: np.ndarray, radius: int, eps: float, scale: float
) -> np.ndarray:
    """(H W 3): `picture` filtered under the colour guide `guide`, as the paper says it."""

    def box(x: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(x, 2 * radius + 1, mode="mirror", axes=(0, 1))

    def nearest(x: np.ndarray) -> np.ndarray:
        places = [
            (np.arange(small) * side / small).astype(int)
            for side in x.shape[:2]
            for small in [max(1, round(side / scale))]
        ]
        return x[np.ix_(*places)]

    def wide(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(*x.shape[:2], -1)
        planes = [cv2.resize(plane, guide.shape[1::-1]) for plane in np.moveaxis(flat, -1, 0)]
        return np.stack(planes, -1).reshape(*guide.shape[:2], *x.shape[2:])

    i, p = nearest(guide), nearest(picture)
    outer = box(i[..., :, None] * i[..., None, :]) - box(i)[..., :, None] * box(i)[..., None, :]
    cross = box(i[..., :, None] * p[..., None, :]) - box(i)[..., :, None] * box(p)[..., None, :]
    a = np.linalg.solve(outer + eps * np.eye(3), cross)
    b = box(p) - np.einsum("yxi,yxip->yxp", box(i), a)
    return np.einsum("yxi,yxip->yxp", guide, wide(box(a))) + wide(box(b))


@pytest.mark.parametrize(
    ("blur", "radius", "eps", "scale"),
    [(1.0, 1, 0.001, 1.0), (2.0, 7, 0.01, 1.0), (2.5, 4, 0.03, 1.0), (10.0, 20, 0.1, 1.0)],
)
def test_equals_the_formula(frames, levels_of, blur, radius, eps, scale):
    for frame in frames:
        side = int(blur) + 1 - int(blur) % 2
        x = cv2.GaussianBlur(frame, (side, side), blur / 2) / 255
        expected = 255 * guided(x, x, radius, eps, scale).clip(0, 1)
        hint = levels_of(
            tile_guided, frame, blur_strength=blur, radius=radius, eps=eps, scale_factor=scale
        )
        assert np.abs(hint - expected).max() < 0.51, frame.shape  # rounding alone


@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_equals_the_fast_formula(frames, levels_of, scale):
    frame = frames[0][:36, :54]  # whole multiples, so that nearest means the same everywhere
    x = cv2.GaussianBlur(frame, (3, 3), 1) / 255
    smooth = 255 * guided(x, x, int(9 / scale), 0.02, scale).clip(0, 1)
    small = smooth.reshape(int(36 / scale), int(scale), int(54 / scale), int(scale), 3).mean((1, 3))
    expected = cv2.resize(small, (54, 36), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    hint = levels_of(tile_guided, frame, radius=9, eps=0.02, scale_factor=scale)
    assert np.abs(hint - expected).max() < 1.5  # rounded three times


@pytest.mark.parametrize(("scale", "blur", "known"), [(1.0, 2.0, 17677844), (3.0, 3.0, 17552840)])
def test_equals_the_known_sum(chart, levels_of, scale, blur, known):
    total = levels_of(tile_guided, chart, scale_factor=scale, blur_strength=blur).sum()
    rounded = known + chart.size / 2  # the known sum is of levels cut off, not rounded
    assert total == pytest.approx(rounded, rel=2e-4)


def test_constant_pictures_stay(frames, levels_of):
    for scale in (1.0, 2.7, 8.0):
        hint = levels_of(tile_guided, frames[-1], scale_factor=scale)
        assert np.array_equal(hint, frames[-1])


def test_surfaces_are_smoothed_and_edges_stay(levels_of):
    noise = np.random.default_rng(0).integers(-8, 9, (60, 60, 3))
    halves = np.where(np.arange(60) < 30, 60, 190)[:, None]
    hint = levels_of(tile_guided, (halves + noise).astype(np.uint8), blur_strength=1.0)
    assert hint[10:50, 5:20].std() < noise.std() / 3
    assert hint[10:50, 31].mean() - hint[10:50, 28].mean() > 110
