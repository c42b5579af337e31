"""The generator of informative drawings against the one in controlnet-aux."""

from __future__ import annotations

import torch
from published import controlnet_aux, counts, difference, pictures, shapes, weighted

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
