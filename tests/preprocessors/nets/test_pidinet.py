"""PiDiNet against the network of controlnet-aux, unfolded and folded."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from published import controlnet_aux, counts, difference, pictures, shapes, weighted

from controlstack.preprocessors._nets.pidinet import PiDiNet, folded, plain_kernel

GAIN = 1.0  # blocks add to a sum


def tiny(*, folded: bool = False) -> PiDiNet:
    return PiDiNet(4, 3, folded=folded)


def test_has_the_published_tensors():
    with torch.device("meta"):
        ours = PiDiNet()
    assert counts(ours) == (710_149, 83)
    assert shapes(ours) == shapes(controlnet_aux("pidi.model").pidinet())


def test_equals_the_published_network_at_odd_sizes():
    image = pictures(45, 62)
    published = weighted(controlnet_aux("pidi.model").pidinet(), gain=GAIN)
    expected = published(image)[-1]
    assert expected.std() > 0.05  # random, but not saturated
    assert difference(weighted(PiDiNet(), gain=GAIN)(image), expected) < 1e-5


def test_folded_weights_give_the_same_map():
    image, plain = pictures(45, 62), weighted(tiny(), gain=GAIN)
    net = tiny(folded=True).eval()
    net.load_state_dict(folded(plain.state_dict()))
    assert difference(net(image), plain(image)) < 1e-6


def test_kernels_weigh_differences_of_pixels():
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(2))
    flat = torch.full((1, 3, 9, 9), 0.7)
    for kind, side in (("cd", 3), ("ad", 3), ("rd", 5)):
        kernel = plain_kernel(weight, kind)
        assert kernel.shape == (5, 3, side, side)
        assert F.conv2d(flat, kernel).abs().max() < 1e-5  # nothing differs
    assert plain_kernel(weight, "cv") is weight


def test_pictures_do_not_see_each_other():
    net, both = weighted(tiny(), gain=GAIN), pictures(33, 40)
    alone = torch.cat([net(each[None]) for each in both])
    assert difference(net(both), alone) < 1e-6
