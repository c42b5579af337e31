"""The pyramid of Canny edges against its formula, written with other functions, and known sums."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import torch

from controlstack.preprocessors import PREPROCESSORS

canny_pyramid = PREPROCESSORS["canny_pyramid"]


def by_formula(frame: np.ndarray, low: float, high: float) -> np.ndarray:
    """As Fooocus does it, channel by channel in float64."""
    height, width = frame.shape[:2]
    total = np.zeros((height, width))
    for plane in np.moveaxis(frame, -1, 0):
        over = None
        for tenths in range(2, 11):
            w, h = int(width * (tenths / 10)), int(height * (tenths / 10))
            if w * h == 0:
                continue
            small = cv2.resize(np.ascontiguousarray(plane), (w, h), interpolation=cv2.INTER_AREA)
            edges = (cv2.Canny(small, low, high) > 0).astype(float)
            over = edges if over is None else 0.75 * cv2.resize(over, (w, h)) + 0.25 * edges
        total += over
    ordered = np.sort(total, axis=None)
    one, ninety_nine = np.interp(
        [0.01 * (ordered.size - 1), 0.99 * (ordered.size - 1)], range(ordered.size), ordered
    )
    if one == ninety_nine:
        return np.zeros((height, width))
    return ((total - one) / (ninety_nine - one)).clip(0, 1) * 255


def test_equals_the_formula(frames, levels_of):
    for frame in frames:
        hint = levels_of(canny_pyramid, frame, low_threshold=30.0, high_threshold=90.0)
        expected = by_formula(frame, 30, 90)[..., None]
        assert np.abs(hint - expected).max() <= 1.001, frame.shape  # cut, and float32


def test_equals_the_known_checksum(chart, levels_of):
    assert zlib.crc32(levels_of(canny_pyramid, chart).tobytes()) == 0x375C3A27


def test_a_blank_picture_has_no_edges():
    assert not canny_pyramid(torch.full((1, 3, 30, 40), 0.6)).any()


def test_small_pictures_start_at_a_finer_scale(levels_of):
    stripe = np.zeros((4, 40, 3), np.uint8)
    stripe[:, 20:] = 255
    assert levels_of(canny_pyramid, stripe).max() == 255
