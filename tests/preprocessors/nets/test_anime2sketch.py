"""The U-Net of Anime2Sketch against the one in controlnet-aux."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from published import (
    controlnet_aux,
    counts,
    difference,
    flat_pictures,
    in_halves,
    pictures,
    shapes,
    weighted,
)
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


def test_flat_pictures_come_out_alike_where_halves_are_asked_for():
    """They were up to 0.5 apart: the norms divide what is left of a flat picture by next to 0."""
    net, image = weighted(Anime2Sketch(4, 5)), 2 * flat_pictures(64, 96) - 1
    found = in_halves(net, image)
    assert found.isfinite().all()
    assert difference(found, net(image)) < 1e-3
    assert net(image).std() > 0.05
