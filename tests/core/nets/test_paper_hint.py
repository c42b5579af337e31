"""The hint encoder of the paper's text: sizes, padding, start."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny_nets import FAMILIES, equal, inputs, random_net, relative, residuals_of
from torch import Tensor, nn

from controlstack.controlnet_core.nets import (
    PAPER_HINT_WIDTHS,
    SD15,
    Layers,
    PaperHintEncoder,
    build,
)

CONFIG = FAMILIES["sd15-paper"]


def by_hand(weights: dict[str, Tensor], hint: Tensor) -> Tensor:
    """Four convolutions and a zero convolution, each padding in full (left right top bottom)."""
    x = hint
    for index, pad in ((0, (1, 1, 1, 1)), (2, (1, 1, 1, 1)), (4, (1, 1, 1, 1)), (6, (1, 2, 1, 2))):
        stride = 1 if index == 6 else 2
        weight, bias = weights[f"{index}.weight"], weights[f"{index}.bias"]
        x = F.conv2d(F.pad(x, pad), weight, bias, stride=stride).relu()
    return F.conv2d(x, weights["8.weight"], weights["8.bias"])


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (72, 40), (8, 256)], ids=str)
def test_an_eighth_of_the_picture_by_five_convolutions(size: tuple[int, int]) -> None:
    encoder = random_net(CONFIG).paper_hint_block
    hint = torch.rand(2, 3, *size)
    found = encoder(hint)
    assert found.shape == (2, CONFIG.model_channels, size[0] // 8, size[1] // 8)
    assert relative(found, by_hand(encoder.state_dict(), hint)) < 1e-5


def test_widths_and_kernels_of_the_paper() -> None:
    net = build(SD15.like(paper_hint=True, hint_widths=PAPER_HINT_WIDTHS), Layers(device="meta"))
    convs = [m for m in net.paper_hint_block.modules() if isinstance(m, nn.Conv2d)]
    assert [(conv.out_channels, conv.kernel_size, conv.stride) for conv in convs] == [
        (16, (4, 4), (2, 2)), (32, (4, 4), (2, 2)), (64, (4, 4), (2, 2)), (128, (4, 4), (1, 1)),
        (320, (1, 1), (1, 1)),
    ]  # fmt: skip
    assert sum(isinstance(m, nn.ReLU) for m in net.paper_hint_block.modules()) == 4
    assert net.config.hint_scale == 8


def test_start_is_gaussian_and_ends_in_zeros() -> None:
    """Deviation of He et al., which keeps a signal's power through ReLU; 3 sigma of its error."""
    torch.manual_seed(0)
    *convs, zero = (
        m for m in PaperHintEncoder(3, PAPER_HINT_WIDTHS, 320, Layers()).modules()
        if isinstance(m, nn.Conv2d)
    )  # fmt: skip
    assert not zero.weight.any()
    for conv in convs:
        weight = conv.weight.flatten()
        expected = (2 / conv.weight[0].numel()) ** 0.5
        assert abs(weight.std() / expected - 1) < 3 / (2 * len(weight)) ** 0.5
        kurtosis = (weight / weight.std()).pow(4).mean()  # 3 where Gaussian, 1.8 where uniform
        assert abs(kurtosis - 3) < 3 * (24 / len(weight)) ** 0.5
        assert not conv.bias.any()


def test_padding_of_other_convolutions_is_as_it_was() -> None:
    assert [Layers().conv(1, 1, k).padding for k in (1, 3)] == [(0, 0), (1, 1)]


def test_hint_steers_the_net_as_the_official_one_does() -> None:
    """A net is otherwise the same: with one hint embedding, both kinds give the same residuals."""
    paper, official = random_net(CONFIG), build(FAMILIES["sd15"])
    official.load_state_dict(paper.state_dict(), strict=False)
    given = inputs(CONFIG)
    embedding = paper.encode_hint(given.hint)
    with torch.no_grad():
        found = official(given.x, given.timesteps, given.context, embedding)
        assert equal(found, residuals_of(paper, given))
        without = official(given.x, given.timesteps, given.context, torch.zeros_like(embedding))
    assert relative(found.middle[0], without.middle[0]) > 0.01
