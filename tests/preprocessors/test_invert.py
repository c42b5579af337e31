"""Inversion undoes itself."""

from __future__ import annotations

import torch

from controlstack.preprocessors import PREPROCESSORS

invert = PREPROCESSORS["invert"]


def test_twice_is_the_picture(pictures):
    torch.testing.assert_close(invert(invert(pictures)), pictures, rtol=0, atol=1e-7)


def test_equals_255_minus_the_level():
    levels = torch.arange(256).view(1, 1, 16, 16)
    negative = (invert(levels / 255) * 255).round()
    assert torch.equal(negative, (255 - levels).float().expand(1, 3, -1, -1))
