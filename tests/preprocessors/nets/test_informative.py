"""The generator of informative drawings against the one in controlnet-aux."""

from __future__ import annotations

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

from controlstack.preprocessors._nets.informative import Generator


def test_has_the_published_tensors():
    with torch.device("meta"):
        ours = Generator()
    assert counts(ours) == (4_290_945, 24)
    assert shapes(ours) == shapes(controlnet_aux("lineart").Generator(3, 1, 3))


def test_equals_the_published_network_at_odd_sizes():
    image = pictures(45, 62)
    expected = weighted(controlnet_aux("lineart").Generator(3, 1, 3))(image)
    assert expected.shape == (2, 1, 48, 64)
    assert expected.std() > 0.05
    assert difference(weighted(Generator())(image), expected) < 1e-5


def test_pictures_do_not_see_each_other():
    net, both = weighted(Generator(4, 1)), pictures(32, 40)
    alone = torch.cat([net(each[None]) for each in both])
    assert difference(net(both), alone) < 1e-5


def test_flat_pictures_come_out_alike_where_halves_are_asked_for():
    """They were up to 0.5 apart: the norms divide what is left of a flat picture by next to 0."""
    net, image = weighted(Generator(8, 1)), flat_pictures(64, 96)
    found = in_halves(net, image)
    assert found.isfinite().all()
    assert difference(found, net(image)) < 1e-3
    assert net(image).std() > 0.05
