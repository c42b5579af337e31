"""TEED against the network of controlnet-aux."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from published import controlnet_aux, counts, difference, pictures, shapes, weighted

from controlstack.preprocessors._nets.teed import TEED, edges


def test_has_the_published_tensors():
    with torch.device("meta"):
        ours = TEED()
    assert counts(ours) == (58_910, 36)
    assert shapes(ours) == shapes(controlnet_aux("teed.ted").TED())


@pytest.mark.parametrize("size", [(48, 64), (47, 71)])  # 3 over a multiple of 4 is taken as well
def test_equals_the_published_network(size):
    image = 255 * pictures(*size)
    expected = weighted(controlnet_aux("teed.ted").TED())(image)
    maps = weighted(TEED())(image)
    assert len(maps) == len(expected) == 4
    for ours, theirs in zip(maps, expected, strict=True):
        scale = theirs.abs().max().item()
        assert difference(ours, theirs) < 1e-6 * scale + 1e-4


def test_edges_are_the_sigmoid_of_the_mean_of_resized_logits():
    random = np.random.default_rng(0)
    maps = [random.normal(size=size).astype(np.float32) for size in ((8, 12), (6, 9), (7, 11))]
    wide = [cv2.resize(each, (11, 7), interpolation=cv2.INTER_LINEAR) for each in maps]
    expected = 1 / (1 + np.exp(-np.mean(wide, 0)))
    ours = edges([torch.from_numpy(each)[None, None] for each in maps], (7, 11))
    assert difference(ours[0, 0], torch.from_numpy(expected)) < 1e-5


def test_pictures_do_not_see_each_other():
    net, both = weighted(TEED()), 255 * pictures(32, 40)
    alone = [torch.cat(each) for each in zip(*(net(each[None]) for each in both), strict=True)]
    for ours, theirs in zip(net(both), alone, strict=True):
        assert difference(ours, theirs) < 1e-5 * max(1.0, theirs.abs().max().item())
