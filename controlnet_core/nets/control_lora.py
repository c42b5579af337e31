"""Control-LoRA: a ControlNet whose copy is the base model itself plus products of low rank.

Sources: Stability AI, Control-LoRA (the published files), and ComfyUI's reading of them; Hu et al.,
LoRA (arXiv 2106.09685). *Differences*: the product is applied to the layer's input and never
formed, so that training holds no second copy of the weights. Rank is bounded by the flattened
kernel, where the published files bound it by the channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .controlnet import ControlNet
from .encoder import Encoder
from .layers import Layers, Unset


class LowRankLinear(Unset.Linear):
    """x (W + up down)^T + bias: `weight` and `bias` are frozen, `up` and `down` learn."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rank: int,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(inputs, outputs, bias, dtype=dtype, device=device)
        self.up, self.down = _factors(self.requires_grad_(False).weight, rank)

    def forward(self, input: Tensor) -> Tensor:
        added = F.linear(F.linear(input, self.down), self.up)
        return super().forward(input) + added


class LowRankConv2d(Unset.Conv2d):
    """A convolution with the kernel W + up down: `weight` and `bias` are frozen, the rest learns.

    `down` (R C k k) is a convolution to R channels, `up` (C' R 1 1) one of single cells.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        rank: int,
        stride: int = 1,
        padding: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, dtype=dtype, device=device)
        self.up, self.down = _factors(self.requires_grad_(False).weight, rank)

    def forward(self, input: Tensor) -> Tensor:
        narrow = F.conv2d(input, self.down, stride=self.stride, padding=self.padding)
        return super().forward(input) + F.conv2d(narrow, self.up)


def _factors(weight: Tensor, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    """`up` of zeros and a Gaussian `down` that keeps the variance, for a product like `weight`."""
    outputs, *inputs = weight.shape
    rank = min(rank, outputs, prod(inputs))
    up = weight.new_zeros(outputs, rank, *(1 for _ in inputs[1:]))
    down = weight.new_empty(rank, *inputs)
    nn.init.kaiming_normal_(down, nonlinearity="linear")
    return nn.Parameter(up), nn.Parameter(down)


class LowRank:
    """The layer classes of a net whose weights learn by products of `rank`; its norms are whole."""

    GroupNorm = nn.GroupNorm
    LayerNorm = nn.LayerNorm

    def __init__(self, rank: int) -> None:
        self.Linear = partial(LowRankLinear, rank=rank)
        self.Conv2d = partial(LowRankConv2d, rank=rank)


def control_lora(base: Encoder, *, rank: int, layers: Layers | None = None) -> ControlNet:
    """A ControlNet that is `base` (a UNet) but for products of `rank`, and changes nothing yet.

    What learns has `requires_grad`: `up` and `down` of each layer of the copy, its norms, the hint
    encoder and the zero convolutions. The rest is frozen and shares memory with `base`, where
    dtype and device agree. `layers` gives what is whole, and the dtype of all that learns.
    """
    layers = layers or Layers()
    net = ControlNet(base.config, layers)
    for name, part in Encoder(base.config, replace(layers, classes=LowRank(rank))).named_children():
        setattr(net, name, part)
    own = net.state_dict(keep_vars=True)
    taken = {
        name: weight.to(own[name], copy=own[name].requires_grad)
        for name, weight in base.state_dict().items()
        if name in own
    }
    net.load_state_dict(taken, strict=False, assign=True)
    return net


def merge(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` with each product of `up` and `down` added to the weight that stands beside it.

    The sum is taken in float32 and has the dtype of the weight. Weights without such pairs are
    returned as they are.
    """
    merged = {name: w for name, w in weights.items() if not name.endswith((".up", ".down"))}
    for stem in (name.removesuffix(".up") for name in weights if name.endswith(".up")):
        whole, up, down = (weights[f"{stem}.{part}"] for part in ("weight", "up", "down"))
        product = up.float().flatten(1) @ down.float().flatten(1)
        merged[f"{stem}.weight"] = (whole.float() + product.view(whole.shape)).to(whole.dtype)
    return merged
