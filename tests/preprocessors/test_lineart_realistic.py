"""Line art, realistic, against the published detector."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published import controlnet_aux, weighted

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._nets.informative import Generator

lineart_realistic = PREPROCESSORS["lineart_realistic"]


def test_equals_the_published_detector(give, chart, levels_of):
    """All of it, at a size that needs neither resize nor padding: to a level of rounding."""
    lineart = controlnet_aux("lineart")
    theirs = weighted(lineart.Generator(3, 1, 3))
    give("lineart", theirs)
    picture = np.ascontiguousarray(chart[:64, :128])
    expected = lineart.LineartDetector(theirs, None)(
        picture, coarse=False, detect_resolution=64, image_resolution=64, output_type="np"
    )
    found = levels_of(lineart_realistic, picture)
    assert expected.std() > 10
    assert np.abs(found - expected.astype(int)).max() <= 1


def test_lines_are_white_on_black():
    """The network draws dark on white: here its drawing is the picture's red channel."""
    paper = torch.ones(1, 3, 16, 24)
    paper[..., 8, :] = 0.0
    hint = lineart_realistic.function(paper, lambda x: x[:, :1])
    assert torch.equal(hint, 1 - paper[:, :1])


def test_needs_no_other_weights_than_its_own(give):
    give("lineart_coarse", Generator(4))
    with pytest.raises(ControlInputError, match=r"CN-WEIGHTS.*sk_model\.pth"):
        lineart_realistic(torch.rand(1, 3, 16, 16))
    give("lineart", Generator(4))
    assert lineart_realistic(torch.rand(1, 3, 16, 16)).shape == (1, 3, 16, 16)


def test_keeps_more_than_256_levels(pictures):
    assert len(lineart_realistic(pictures).unique()) > 1000
