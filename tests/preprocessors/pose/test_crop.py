"""Crops of people against OpenCV's warp, and back again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from controlstack.preprocessors.pose.crop import around

BOXES = torch.tensor([
    [20.0, 10, 60, 110], [0, 0, 90, 70], [-30, -20, 15, 25], [50.5, 3.25, 51, 3.5], [5, 5, 400, 300]
])  # fmt: skip


@pytest.mark.parametrize("unbiased", [False, True])
def test_equals_opencvs_affine_warp(unbiased):
    frame = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8), (0, 0), 2
    )
    crops = around(BOXES, 96, 72, unbiased=unbiased)
    found = crops.of(torch.from_numpy(frame).movedim(-1, 0).float())
    for made, corner, step in zip(found, crops.corner, crops.step, strict=True):
        back = np.array([[step[0], 0, corner[0]], [0, step[1], corner[1]]], np.float64)
        expected = cv2.warpAffine(
            frame.astype(np.float32), back, (72, 96), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        assert np.abs(made.movedim(0, -1).numpy() - expected).max() < 6  # 1/32 pixel of the edge
        assert np.abs(made.movedim(0, -1).numpy() - expected).mean() < 0.3


def test_crops_have_room_and_one_aspect():
    """A box of 40 x 100 in crops of 3:4: 75 x 100, a quarter more."""
    crops = around(BOXES[:1], 384, 288)
    corners = crops.back(torch.tensor([[[0.0, 0], [288, 384]]]))
    expected = [[40 - 93.75 / 2, 60 - 62.5], [40 + 93.75 / 2, 60 + 62.5]]
    np.testing.assert_allclose(corners[0].numpy(), expected, rtol=1e-6)


def test_unbiased_crops_reach_from_pixel_to_pixel():
    one, other = (around(BOXES, 256, 192, unbiased=each) for each in (False, True))
    last = torch.tensor([[192.0, 256]]).expand(len(BOXES), 1, 2)
    torch.testing.assert_close(one.back(last), other.back(last - 1))


def test_equals_rtmlib():
    pre = pytest.importorskip("rtmlib.tools.pose_estimation.pre_processings")
    frame = np.random.default_rng(5).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for box in BOXES:
        centre, size = pre.bbox_xyxy2cs(box.numpy(), padding=1.25)
        expected, size = pre.top_down_affine((288, 384), size, centre, frame)
        crops = around(box[None], 384, 288)
        found = crops.of(torch.from_numpy(frame).movedim(-1, 0).float())[0].movedim(0, -1).numpy()
        assert np.abs(found - expected).mean() < 2
        point = np.array([100.0, 50.0])
        back = crops.back(torch.from_numpy(point)[None, None])[0, 0].numpy()
        np.testing.assert_allclose(
            back, point / (288, 384) * size + centre - size / 2, rtol=0, atol=1e-3
        )


def test_no_boxes_are_no_crops():
    assert around(torch.zeros(0, 4), 8, 6).of(torch.rand(3, 9, 9)).shape == (0, 3, 8, 6)
