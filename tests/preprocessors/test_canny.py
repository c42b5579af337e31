"""Canny against cv2.Canny, bit for bit."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from controlstack.preprocessors import PREPROCESSORS

canny = PREPROCESSORS["canny"]


def as_batch(frames: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1) / 255


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)).filter(lambda s: max(s) <= 32 * min(s)),
    low=st.floats(0, 255),
    high=st.floats(0, 255),
)
def test_equals_opencv_on_rgb_frames(seed, size, low, high):
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 6, 5, 3), dtype=np.uint8)
    frames = [cv2.resize(each, size[::-1], interpolation=cv2.INTER_CUBIC) for each in coarse]
    edges = [cv2.Canny(frame, low, high) for frame in frames]
    hints = canny(as_batch(frames), low_threshold=low, high_threshold=high)
    expected = torch.from_numpy(np.stack(edges))[:, None].expand(-1, 3, -1, -1) / 255
    assert torch.equal(hints, expected)


def test_equals_the_known_checksum(chart: np.ndarray) -> None:
    assert zlib.crc32(chart.tobytes()) == 0xBE05F1E2
    edges = (canny(as_batch([chart]))[0] * 255).byte().permute(1, 2, 0).contiguous().numpy()
    assert zlib.crc32(edges.tobytes()) == 0x5D0CEC9A  # cv2.Canny(chart, 100, 200), three times


def test_hints_are_black_or_white(pictures):
    assert set(canny(pictures).unique().tolist()) == {0.0, 1.0}


def test_sees_edges_between_colours_of_one_brightness():
    red, green = torch.tensor([200, 0, 0]), torch.tensor([0, 102, 0])  # 60 in grey, both
    sides = torch.where((torch.arange(16) < 8), red[:, None], green[:, None])
    image = (sides / 255)[None, :, None].expand(1, 3, 16, 16)
    assert canny(image, low_threshold=50, high_threshold=100).any()


@pytest.mark.parametrize("shift", [-0.4, 0.4])
def test_levels_are_rounded_not_cut(shift):
    levels = torch.randint(1, 255, (1, 3, 24, 24), generator=torch.Generator().manual_seed(1))
    assert torch.equal(canny((levels + shift) / 255), canny(levels / 255))
