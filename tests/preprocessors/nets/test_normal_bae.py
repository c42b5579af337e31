"""NormalBAE against the network of controlnet-aux, whose encoder is the published one."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from published import (
    PARENT,
    controlnet_aux,
    counts,
    difference,
    flat_pictures,
    in_halves,
    pictures,
    shapes,
    weighted,
)
from torch import Tensor, nn

from controlstack.preprocessors._nets.normal_bae import NormalBAE

pytest.importorskip("timm", reason="the encoder is missing: pip install --no-deps timm")

ARGS = SimpleNamespace(architecture="BN", sampling_ratio=0.4, importance_ratio=0.7)
GAIN = 2.0


def published(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Its network; the encoder's own library lies beside it, in a folder of its own."""
    net = controlnet_aux("normalbae.nets.NNET")
    library = Path(sys.modules[PARENT].__path__[0]) / "normalbae/nets/submodules/efficientnet_repo"
    monkeypatch.syspath_prepend(str(library))
    from geffnet import tf_efficientnet_b5_ap

    monkeypatch.setattr(torch.hub, "load", lambda *_, **__: tf_efficientnet_b5_ap(pretrained=False))
    with contextlib.redirect_stdout(io.StringIO()):  # it announces what it loads
        return net.NNET(ARGS)


def tiny() -> nn.Module:
    """As ours, with the smallest encoder of the family; wide enough that its normals vary."""
    return weighted(
        NormalBAE(
            "tf_efficientnet_b0", skips=(16, 24, 40, 112), deepest=1280, widths=(16, 8, 8, 8),
            hidden=24,
        ),
        gain=GAIN,
    )  # fmt: skip


def test_has_the_published_tensors(monkeypatch):
    with torch.device("meta"):
        ours, theirs = NormalBAE(), published(monkeypatch)
    assert shapes(ours) == shapes(theirs)
    assert counts(ours) == (72_422_336, 936)


def test_equals_the_published_network(monkeypatch):
    image = 4 * pictures(64, 96)[:1] - 2
    expected = weighted(published(monkeypatch), gain=GAIN)(image)[0][-1]
    found = weighted(NormalBAE(), gain=GAIN)(image)
    assert expected.shape == (1, 4, 64, 96)
    assert expected[:, :3].std((2, 3)).min() > 0.05  # normals that vary
    assert difference(found[:, :3], expected[:, :3]) < 1e-4
    assert difference(found[:, 3], expected[:, 3]) < 1e-4 * expected[:, 3].max().item()


def varies(made: Tensor) -> bool:
    """Whether every one of the normals' axes does, in every picture."""
    return made[:, :3].std((2, 3)).min().item() > 0.01


def test_normals_have_length_one_and_certainty_is_positive():
    made = tiny()(4 * pictures(64, 96) - 2)
    assert varies(made)
    length: Tensor = made[:, :3].square().sum(1).sqrt()
    assert difference(length, torch.ones(2, 64, 96)) < 1e-5
    assert made[:, 3].min() > 0


def test_takes_sides_that_32_does_not_divide():
    assert tiny()(pictures(40, 72)).shape == (2, 4, 40, 72)


def test_pictures_do_not_see_each_other():
    net, both = tiny(), 4 * pictures(64, 64) - 2
    alone = torch.cat([net(each[None]) for each in both])
    assert varies(alone)
    assert difference(net(both), alone) < 1e-5


def test_halves_give_the_normals_of_float32():
    net, image = tiny(), 4 * torch.cat((pictures(64, 96), flat_pictures(64, 96))) - 2
    expected, found = net(image), in_halves(net, image)
    assert found.isfinite().all()
    assert difference(found[:, :3], expected[:, :3]) < 0.03


@pytest.mark.parametrize("level", [0.0, 300.0])
def test_a_vector_of_no_or_of_great_length_is_a_number_in_halves(level):
    """Where the last layer answers 0 for all axes, and where their squares are no halves."""
    net = tiny()
    last = net.decoder.out_conv_res1[-1]
    last.weight.zero_()
    last.bias.copy_(torch.tensor([level, 0, 0, 1]))
    found = in_halves(net, pictures(32, 64))
    expected = torch.tensor([min(level, 1.0), 0, 0]).view(1, 3, 1, 1).expand(2, 3, 32, 64)
    torch.testing.assert_close(found[:, :3], expected)
