"""The sinusoidal embedding and the size rules of the blocks."""

from __future__ import annotations

import pytest
import torch
from tiny_nets import relative

from controlstack.controlnet_core.nets import Layers, fused_attention
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


def test_upcast_attention_survives_what_overflows_in_half() -> None:
    q = torch.full((1, 2, 64), 200.0, dtype=torch.float16)
    rows = fused_attention(q, q, torch.ones_like(q), 1, upcast=True)
    assert rows.dtype == torch.float16
    assert torch.equal(rows, torch.ones_like(q))
