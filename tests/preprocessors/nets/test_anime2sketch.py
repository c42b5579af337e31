"""The U-Net of Anime2Sketch against the one in controlnet-aux."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from published import controlnet_aux, counts, difference, pictures, shapes, weighted
from torch import nn

from controlstack.preprocessors._nets.anime2sketch import Anime2Sketch


def published(depth: int, width: int) -> nn.Module:
    norm = partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    return controlnet_aux("lineart_anime").UnetGenerator(3, 1, depth, width, norm_layer=norm)


def test_has_the_published_tensors():
    with torch.device("meta"):
        ours, theirs = Anime2Sketch(), published(8, 64)
    assert counts(ours) == (54_405_505, 32)
    assert shapes(ours) == shapes(theirs)


@pytest.mark.parametrize(("depth", "size"), [(8, (256, 512)), (5, (64, 32)), (6, (64, 192))])
def test_equals_the_published_network(depth, size):
    image = 2 * pictures(*size) - 1
    expected = weighted(published(depth, 8))(image)
    assert expected.shape == (2, 1, *size)
    assert expected.std() > 0.05
    assert difference(weighted(Anime2Sketch(8, depth))(image), expected) < 1e-5


def test_pictures_do_not_see_each_other():
    net, both = weighted(Anime2Sketch(4, 5)), 2 * pictures(64, 96) - 1
    alone = torch.cat([net(each[None]) for each in both])
    assert difference(net(both), alone) < 1e-5
