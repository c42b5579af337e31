"""The sinusoidal embedding and the size rules of the blocks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny_nets import FAMILIES, inputs, relative, residuals_of
from torch import Tensor

from controlstack.controlnet_core.nets import Layers, build, fused_attention
from controlstack.controlnet_core.nets.blocks import Downsample, Upsample, timestep_embedding


def test_timestep_embedding_is_cosines_then_sines() -> None:
    """By hand: angles 10 * 10000 ** (-k / 4) = 10, 1, 0.1, 0.01; then math.cos and math.sin."""
    expected = [
        -0.8390715290764524, 0.5403023058681398, 0.9950041652780258, 0.9999500004166653,
        -0.5440211108893698, 0.8414709848078965, 0.09983341664682815, 0.009999833334166664,
    ]  # fmt: skip
    found = timestep_embedding(torch.tensor([0.0, 10.0]), 8)
    torch.testing.assert_close(found[1], torch.tensor(expected), rtol=0, atol=1e-6)
    assert found[0].tolist() == [1.0] * 4 + [0.0] * 4


def test_timestep_embedding_stays_float32() -> None:
    """bfloat16 would round 993.7 to 992; whole steps are embedded like floats."""
    assert timestep_embedding(torch.tensor([993.7]), 32).dtype == torch.float32
    whole, real = torch.tensor([981]), torch.tensor([981.0])
    assert torch.equal(timestep_embedding(whole, 32), timestep_embedding(real, 32))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 8), (17, 23)], ids=str)
def test_a_step_down_rounds_up_and_a_step_up_undoes_it(size: tuple[int, int]) -> None:
    x = torch.randn(1, 4, *size)
    down = Downsample(4, Layers())(x)
    assert down.shape[-2:] == tuple(-(-side // 2) for side in size)
    assert Upsample(4, Layers())(down, size).shape == x.shape


@pytest.mark.parametrize("upcast", [False, True])
def test_fused_attention_is_softmax_of_scaled_products(upcast: bool) -> None:
    q, k, v = torch.randn(3, 2, 6, 8).unbind()
    heads = []
    for i in range(2):  # two heads of width 4
        part = slice(4 * i, 4 * i + 4)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / 4**0.5
        heads.append(scores.softmax(dim=-1) @ v[..., part])
    assert relative(fused_attention(q, k, v, 2, upcast=upcast), torch.cat(heads, dim=-1)) < 1e-6


def test_upcast_is_float32_inside_and_half_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """SD2.x overflows in float16 on devices whose kernels keep it; the CPU's do not."""
    real, inside = F.scaled_dot_product_attention, []

    def spied(*rows: Tensor) -> Tensor:
        inside.append({x.dtype for x in rows})
        return real(*rows)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spied)
    q = torch.full((1, 2, 64), 200.0, dtype=torch.float16)
    for upcast in (True, False):
        rows = fused_attention(q, q, torch.ones_like(q), 1, upcast=upcast)
        assert torch.equal(rows, torch.ones_like(q))
        assert rows.dtype == torch.float16
    assert inside == [{torch.float32}, {torch.float16}]


@pytest.mark.parametrize(("name", "asked"), [("sd15", False), ("sd2", True), ("sdxl", False)])
def test_sd2_alone_asks_for_upcast_attention(name: str, asked: bool) -> None:
    seen, config = [], FAMILIES[name]

    def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, *, upcast: bool = False) -> Tensor:
        seen.append((heads, upcast))
        return fused_attention(q, k, v, heads, upcast=upcast)

    net = build(config, Layers(attention=attention))
    residuals_of(net, inputs(config, batch=1))
    depth = sum(config.transformer_depth) + (config.transformer_depth_middle or 0)
    assert len(seen) == 2 * depth  # to itself and to the text
    assert {upcast for _, upcast in seen} == {asked}
