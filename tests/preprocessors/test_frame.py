"""Sizes, padding and levels against OpenCV and by inversion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from controlstack.preprocessors import _frame


@pytest.mark.parametrize("size", [(20, 28), (13, 19), (40, 57), (80, 114), (100, 143)])
def test_resized_equals_opencv(pictures, size):
    how = cv2.INTER_AREA if size[0] < 40 else cv2.INTER_CUBIC
    expected = np.stack([
        cv2.resize(np.ascontiguousarray(each), size[::-1], interpolation=how)
        for each in pictures.permute(0, 2, 3, 1).numpy()
    ]).clip(0, 1)
    actual = _frame.resized(pictures, size).permute(0, 2, 3, 1)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((720, 1280), 0, (720, 1280)),
        ((720, 1280), 512, (512, 910)),
        ((1280, 720), 512, (910, 512)),
        ((192, 256), 256, (256, 341)),
        ((4, 5), 2, (2, 2)),  # 2.5: half to even
        ((4, 6), 1, (1, 2)),
        ((1, 1), 64, (64, 64)),
    ],
)
def test_fitted_size(size, resolution, expected):
    assert _frame.fitted_size(torch.empty(1, 3, *size), resolution) == expected


@pytest.mark.parametrize("multiple", [1, 8, 64])
def test_padding_repeats_the_edge_and_is_undone_by_a_slice(pictures, multiple):
    padded = _frame.padded(pictures, multiple)
    assert all(side % multiple == 0 for side in padded.shape[-2:])
    assert torch.equal(padded[..., :40, :57], pictures)
    assert (padded[..., :40, 57:] == pictures[..., -1:]).all()
    assert (padded[..., 40:, :57] == pictures[..., -1:, :]).all()


@pytest.mark.parametrize("order", ["planar", "last"])
def test_levels_there_and_back(order):
    levels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    frame = torch.from_numpy(levels).permute(2, 0, 1) / 255
    frame = frame.contiguous() if order == "planar" else frame
    assert (_frame.to_levels(frame) == levels).all()
    out = np.empty((9, 7, 3), np.float32)
    _frame.into_hint(levels, out)
    assert torch.equal(torch.from_numpy(out).permute(2, 0, 1), frame)
    _frame.into_hint(levels[..., 0], out)
    assert (out == out[..., :1]).all()
    assert (out[..., 0] == frame[0].numpy()).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 4), (4, 1), (9, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_darkest_channel_at_sizes_that_opencv_may_take_for_numbers(size, dtype):
    frame = np.random.default_rng(0).uniform(0, 255, (*size, 3)).astype(dtype)
    assert (_frame.darkest(frame) == frame.min(axis=2)).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (9, 7)])
def test_floats_go_into_every_channel_unrounded(size):
    grey = np.random.default_rng(0).uniform(0, 1, size).astype(np.float32)
    out = np.empty((*size, 3), np.float32)
    _frame.into_hint(grey, out)
    assert (out == grey[..., None]).all()
