"""Scribbles of PiDiNet against the published detector; the pen itself is tested with HED's."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from published import controlnet_aux, weighted
from torch import Tensor

from controlstack.preprocessors import PREPROCESSORS

scribble_pidinet = PREPROCESSORS["scribble_pidinet"]


class Canned:
    """PiDiNet that gives the same map for any picture: as we call it, or as the detector does."""

    def __init__(self, edges: Tensor) -> None:
        self.edges = edges

    def parameters(self):
        yield self.edges

    def __call__(self, image: Tensor) -> list[Tensor]:
        return [self.edges]


def test_equals_the_published_detector_on_one_map(chart):
    """comfyui_controlnet_aux thins and inks what is already inked again; we do it once."""
    edges = cv2.GaussianBlur(cv2.Canny(chart, 100, 200), (0, 0), 2.0)[:128, :192] * 3.0
    canned = Canned(torch.from_numpy(edges.clip(0, 255).astype(np.float32) / 255)[None, None])
    expected = controlnet_aux("pidi").PidiNetDetector(canned)(
        chart[:128, :192], 128, 128, scribble=True, output_type="np"
    )
    hint = scribble_pidinet.function(torch.zeros(1, 3, 128, 192), lambda x: canned(x)[0])
    assert 0.05 < (expected > 0).mean() < 0.8
    assert np.array_equal(hint[0, 0].numpy() * 255, expected[..., 0])


def test_equals_the_published_detector_with_its_network(give, chart, levels_of):
    """Thinning decides by equality: a rounding of the folded network moves a few pixels."""
    pidi = controlnet_aux("pidi")
    theirs = weighted(pidi.pidinet(), gain=1.0)
    give("pidinet", theirs)
    picture = np.ascontiguousarray(chart[:64, :128])
    expected = pidi.PidiNetDetector(theirs)(picture, 64, 64, scribble=True, output_type="np")
    found = levels_of(scribble_pidinet, picture)
    assert 0.02 < (expected > 0).mean() < 0.98
    assert (found != expected).mean() < 0.01


def test_the_network_sees_blue_first():
    image = torch.zeros(1, 3, 48, 48)
    image[:, 2, 20:28] = 1.0
    assert scribble_pidinet.function(image, lambda x: x[:, :1]).any()
    assert not scribble_pidinet.function(image, lambda x: x[:, 2:]).any()


def test_strokes_are_black_and_white(pictures):
    assert set(scribble_pidinet(pictures).unique().tolist()) <= {0.0, 1.0}
