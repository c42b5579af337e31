"""Intensity by its formula, and known checksums."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch

from controlstack.preprocessors import PREPROCESSORS

recolor_intensity = PREPROCESSORS["recolor_intensity"]


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0])
def test_equals_the_formula(pictures, gamma):
    expected = np.max(pictures.double().numpy(), axis=1, keepdims=True) ** gamma
    hints = recolor_intensity(pictures, gamma=gamma).numpy()
    assert np.abs(hints - expected).max() < 1e-6


@pytest.mark.parametrize(("gamma", "known"), [(1.0, 0x8E0264EF), (0.5, 0x6A7A5770)])
def test_equals_the_known_checksum(chart, gamma, known):
    hint = recolor_intensity(torch.from_numpy(chart).movedim(-1, 0) / 255, gamma=gamma)
    cut = np.floor(hint[0].movedim(0, -1).numpy() * 255 + 1e-3)  # the known ones are not rounded
    levels = cut.astype(np.uint8)
    assert zlib.crc32(np.ascontiguousarray(levels).tobytes()) == known


def test_pure_colours_are_white():
    assert (recolor_intensity(torch.eye(3)[None, :, :, None].expand(1, 3, 3, 3)) == 1).all()


def test_pictures_of_a_batch_are_independent_at_any_gamma(pictures):
    alone = torch.cat([recolor_intensity(picture, gamma=0.45) for picture in pictures])
    assert torch.equal(recolor_intensity(pictures, gamma=0.45), alone)
