"""Control-LoRA nets: nothing at first, then products of low rank, which can be merged."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from tiny_nets import (
    FAMILIES,
    equal,
    inputs,
    random_net,
    random_unet,
    relative,
    residuals_of,
)
from torch import nn

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.nets import (
    ControlNet,
    Layers,
    build,
    control_lora,
    from_encoder,
    merge,
)
from controlstack.controlnet_core.nets.control_lora import LowRankConv2d, LowRankLinear

NAMES = ("sd15", "sd2", "sdxl")
RANK = 4


def learning(net: ControlNet) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in net.named_parameters() if weight.requires_grad}


@cache
def trained(name: str) -> ControlNet:
    """A net in which everything that learns has learnt something; shared, never written to."""
    net = control_lora(random_unet(FAMILIES[name]), rank=RANK)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in learning(net).values():
            scale = 0.3 * (weight[0].numel() ** -0.5 if weight.ndim > 1 else 1.0)
            weight += scale * torch.randn(weight.shape, generator=generator)
    return net


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_fresh_net_is_the_copy(name: str) -> None:
    """Step 0: with zero convolutions like another net's, the residuals are those of a copy."""
    unet, given = random_unet(FAMILIES[name]), inputs(FAMILIES[name])
    lora, copy = control_lora(unet, rank=RANK), from_encoder(build(unet.config), unet)
    assert not any(x.any() for x in residuals_of(lora, given).tensors())
    ends = random_net(unet.config).state_dict()
    whole = {name: w for name, w in ends.items() if name not in unet.state_dict()}
    for net in (lora, copy):
        net.load_state_dict(whole, strict=False)
    assert equal(residuals_of(lora, given), residuals_of(copy, given))


@pytest.mark.parametrize("name", NAMES)
def test_what_learns(name: str) -> None:
    """Products, norms, hint encoder and zero convolutions; the base's weights and biases do not."""
    unet = random_unet(FAMILIES[name])
    net = control_lora(unet, rank=RANK)
    own = ("input_hint_block.", "zero_convs.", "middle_block_out.")
    for name, module in net.named_modules():
        for part, weight in module.named_parameters(recurse=False):
            whole = name.startswith(own) or isinstance(module, (nn.GroupNorm, nn.LayerNorm))
            assert weight.requires_grad == (whole or part in ("up", "down")), f"{name}.{part}"
            low = isinstance(module, (LowRankLinear, LowRankConv2d))
            assert low == (not whole)
    assert {w.shape[0] for n, w in learning(net).items() if n.endswith(".down")} == {RANK}


def test_frozen_weights_are_those_of_the_base_and_the_rest_is_not() -> None:
    unet = random_unet(FAMILIES["sd15"])
    base = unet.state_dict()
    for name, weight in control_lora(unet, rank=RANK).named_parameters():
        if name in base:
            assert torch.equal(weight, base[name])
            assert (weight.data_ptr() == base[name].data_ptr()) != weight.requires_grad, name


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_gradients_reach_all_that_learns(name: str) -> None:
    """In the first step the zero convolutions alone, and `down` once `up` is no longer zero."""
    torch.manual_seed(0)
    config = FAMILIES[name]  # 16 cells leave the middle four: one alone attends to itself, always
    net = control_lora(random_unet(config), rank=RANK)
    given = inputs(config, batch=1, height=16, width=16)

    def gradients() -> dict[str, bool]:
        net.zero_grad()
        hint = net.encode_hint(given.hint)
        residuals = net(given.x, given.timesteps, given.context, hint, given.y)
        sum((x - 1).square().mean() for x in residuals.tensors()).backward()
        assert all(p.grad is None for p in net.parameters() if not p.requires_grad)
        return {key: bool(weight.grad.any()) for key, weight in learning(net).items()}

    zeros = ("zero_convs.", "middle_block_out.")
    assert all(moves == key.startswith(zeros) for key, moves in gradients().items())
    optimizer = torch.optim.SGD(learning(net).values(), lr=1.0)
    for done in (lambda key: not key.endswith(".down"), lambda key: True):
        optimizer.step()
        still = [key for key, moves in gradients().items() if done(key) and not moves]
        assert not [key for key in still if key.endswith((".up", ".down"))]


@pytest.mark.parametrize("name", NAMES)
def test_merged_net_is_the_same_net(name: str) -> None:
    net, given = trained(name), inputs(FAMILIES[name])
    merged = formats.fill(net.config, merge(net.state_dict()))
    for a, b in zip(
        residuals_of(merged, given).tensors(), residuals_of(net, given).tensors(), strict=True
    ):
        assert relative(a, b) < 2e-5
    untouched = formats.fill(net.config, {
        key: w for key, w in net.state_dict().items() if not key.endswith((".up", ".down"))
    })  # fmt: skip
    without = residuals_of(untouched, given).middle[0]
    assert relative(residuals_of(net, given).middle[0], without) > 0.01


def test_merging_an_ordinary_net_changes_nothing() -> None:
    weights = random_net(FAMILIES["sd15"]).state_dict()
    merged = merge(weights)
    assert list(merged) == list(weights)
    assert all(merged[name] is weight for name, weight in weights.items())


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_its_kernel_plus_the_product(stride: int) -> None:
    layer = LowRankConv2d(6, 10, 3, rank=5, stride=stride, padding=1)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.randn(weight.shape))
        assert (layer.up.shape, layer.down.shape) == ((10, 5, 1, 1), (5, 6, 3, 3))
        product = torch.mm(layer.up.flatten(start_dim=1), layer.down.flatten(start_dim=1))
        plain = nn.Conv2d(6, 10, 3, stride=stride, padding=1)
        plain.weight.copy_(layer.weight + product.reshape(layer.weight.shape))
        plain.bias.copy_(layer.bias)
        x = torch.randn(2, 6, 9, 7)
        assert relative(layer(x), plain(x)) < 1e-5


def test_rank_is_no_larger_than_the_weight() -> None:
    layer = LowRankLinear(3, 8, rank=64)
    assert (layer.up.shape, layer.down.shape) == ((8, 3), (3, 3))
    assert LowRankConv2d(4, 320, 3, rank=64).down.shape == (36, 4, 3, 3)


def test_frozen_weights_follow_the_dtype_of_what_learns() -> None:
    unet = random_unet(FAMILIES["sd15"])
    net = control_lora(unet, rank=RANK, layers=Layers(dtype=torch.bfloat16))
    assert {weight.dtype for weight in net.parameters()} == {torch.bfloat16}
