"""A tiny family of models: a base UNet and ControlNets that fit it.

Until it is trained, its weights are random: enough to run every part of the chain, not to paint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor, nn

from ..nets import SD15, ControlNet, UNet

CONFIG = SD15.like(
    model_channels=32, channel_mult=(1, 2, 4), num_res_blocks=(1, 1, 1),
    transformer_depth=(1, 1, 1), context_dim=64, num_heads=None, num_head_channels=32,
)  # fmt: skip
Net = TypeVar("Net", bound=nn.Module)
SCALE = 8
"""Pixels along a side of one latent cell."""
WORDS = 8
"""Words of a prompt that are read."""


@dataclass(frozen=True, eq=False)
class Family:
    """A base model and one ControlNet for each kind of hint."""

    unet: UNet
    edges: ControlNet
    tile: ControlNet


def random_family(*, seed: int = 0) -> Family:
    """A family that was never trained."""
    return Family(
        randomised(UNet(CONFIG), seed=seed),
        randomised(ControlNet(CONFIG), seed=seed + 1),
        randomised(ControlNet(CONFIG), seed=seed + 2),
    )


def random_text(words: str) -> Tensor:
    """Text (1 8 64): a random vector for each of the first eight words, its letters the seed."""
    vectors = [
        torch.randn(CONFIG.context_dim or 0, generator=_generator(sum(map(ord, word))))
        for word in (words.split() + [""] * WORDS)[:WORDS]
    ]
    return torch.stack(vectors)[None]


def paint(latent: Tensor) -> Tensor:
    """Picture (B 3 H W) in 0..1 of latents whose first three channels are colours in -1..1."""
    colours = (latent[:, :3] / 2 + 0.5).clamp(0.0, 1.0)
    return F.interpolate(colours, scale_factor=SCALE, mode="bicubic").clamp(0.0, 1.0)


def encode(picture: Tensor) -> Tensor:
    """Latents (B 4 h w) of a picture (B 3 H W) in 0..1: mean colours, and their mean."""
    colours = F.avg_pool2d(picture * 2 - 1, SCALE)
    return torch.cat([colours, repeat(colours.mean(dim=1), "b h w -> b 1 h w")], dim=1)


def randomised(net: Net, *, seed: int) -> Net:
    """`net` with weights of deviation 1 / sqrt(fan in), so that signals keep their size."""
    generator = _generator(seed)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            deviation = parameter[0].numel() ** -0.5
            parameter.data = torch.randn(parameter.shape, generator=generator) * deviation
    return net.requires_grad_(False)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
