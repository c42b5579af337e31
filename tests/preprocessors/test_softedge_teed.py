"""TEED's soft edges against the published detector, and what is done to its maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published import controlnet_aux, weighted
from torch import Tensor

from controlstack.preprocessors import PREPROCESSORS

softedge_teed = PREPROCESSORS["softedge_teed"]


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 10])
def test_equals_the_published_detector(steps, give, chart, levels_of):
    """All of it, at a size that needs neither resize nor padding: to a level of rounding."""
    teed = controlnet_aux("teed")
    theirs = weighted(teed.TED())
    give("teed", theirs)
    picture = np.ascontiguousarray(chart[:64, :128])
    expected = teed.TEEDdetector(theirs)(
        picture, detect_resolution=64, safe_steps=steps, output_type="np"
    )
    found = levels_of(softedge_teed, picture, safe_steps=steps)
    differ = np.abs(found - expected.astype(int))
    assert expected.std() > 10
    assert differ.max() <= 1 if steps == 0 else (differ > 0).mean() < 1e-3


class Canned:
    """Four equal maps, and what it was asked for."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def __call__(self, image: Tensor) -> list[Tensor]:
        self.seen = image
        return [self.logits] * 4


def test_white_where_the_logits_are_high():
    logits = torch.full((1, 1, 12, 16), -20.0)
    logits[..., 4:8] = 20.0
    canned = Canned(logits)
    image = torch.linspace(0, 1, 16).expand(1, 3, 12, 16)
    for steps in (0, 1, 2, 10):
        hint = softedge_teed.function(image, canned, safe_steps=steps)
        torch.testing.assert_close(hint, (logits > 0).float(), rtol=0, atol=1e-6)
    assert (canned.seen.min(), canned.seen.max()) == (0, 255)


def test_steps_are_levels():
    canned = Canned(torch.linspace(-9, 9, 999).view(1, 1, 1, 999))
    for steps in (1, 2, 3, 10):
        hint = softedge_teed.function(torch.zeros(1, 3, 1, 999), canned, safe_steps=steps)
        expected = [int(255 * n / steps) for n in range(steps + 1)]
        assert (hint * 255).unique().tolist() == pytest.approx(expected)


def test_takes_every_remainder_of_a_side():
    for side in range(1, 14):
        assert softedge_teed(torch.rand(1, 3, side, 14 - side)).shape == (1, 3, side, 14 - side)
