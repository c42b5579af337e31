"""Black and white: the threshold by its formula, Otsu's by the variance that it maximises."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from controlstack.preprocessors import PREPROCESSORS

binary = PREPROCESSORS["binary"]


def grey(frame: np.ndarray) -> np.ndarray:
    """Rec. 601 brightness in OpenCV's fixed point."""
    weights = np.round(np.array([0.299, 0.587, 0.114]) * 2**15).astype(int)
    return (frame.astype(int) @ weights + 2**14) >> 15


def otsu(levels: np.ndarray) -> int:
    """The threshold with the greatest variance between the classes, tried one by one."""
    best, threshold = 0.0, 0
    for each in range(256):
        dark, bright = levels[levels <= each], levels[levels > each]
        if dark.size and bright.size:
            between = dark.size * bright.size * (dark.mean() - bright.mean()) ** 2
            if between > best * (1 + 1e-9):
                best, threshold = between, each
    return threshold


@pytest.mark.parametrize("threshold", [1, 100, 254])
def test_equals_the_formula(frames, levels_of, threshold):
    for frame in frames:
        expected = np.where(grey(frame) > threshold, 255, 0)
        assert np.array_equal(levels_of(binary, frame, threshold=threshold)[..., 1], expected)


@pytest.mark.parametrize("automatic", [0, 255])
def test_otsu_maximises_the_variance_between_dark_and_bright(frames, levels_of, automatic):
    for frame in frames[:4]:
        levels = grey(frame)
        expected = np.where(levels > otsu(levels), 255, 0)
        assert np.array_equal(levels_of(binary, frame, threshold=automatic)[..., 0], expected)


@pytest.mark.parametrize(("threshold", "known"), [(100, 0x6A234D56), (0, 0xB8970356)])
def test_equals_the_known_checksum(chart, levels_of, threshold, known):
    assert zlib.crc32(levels_of(binary, chart, threshold=threshold).tobytes()) == known


def test_otsu_looks_at_each_picture_alone(levels_of):
    dim = np.repeat(np.array([[[10], [20]]], np.uint8), 3, axis=2)
    assert levels_of(binary, dim, threshold=0)[0, :, 0].tolist() == [0, 255]
