"""The blocks of a latent-diffusion UNet, which a ControlNet copies.

Parameter names and arithmetic are those of the ldm code base, so that its checkpoints load as they
are and results can be compared bit for bit.

Source: Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models
(arXiv 2112.10752), the published network. *Differences*: layers and attention are injected.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .config import ControlNetConfig
from .layers import Layers


def timestep_embedding(timesteps: Tensor, dim: int, *, max_period: float = 10000.0) -> Tensor:
    """Sinusoidal embedding (B dim) in float32 of `timesteps` (B): cosines first, then sines."""
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    frequencies = torch.exp(-math.log(max_period) * steps / half)
    angles = torch.outer(timesteps.float(), frequencies)
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


def zero_conv(channels: int, layers: Layers) -> nn.Sequential:
    """A 1x1 convolution whose weight and bias start at zero: at first it lets nothing through.

    Source: Zhang et al., Adding Conditional Control to Text-to-Image Diffusion Models
    (arXiv 2302.05543), section 3.1.
    """
    return nn.Sequential(zeroed(layers.conv(channels, channels, 1)))


def zeroed(module: nn.Module) -> nn.Module:
    """`module` with every parameter set to zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class ResBlock(nn.Module):
    """(B C h w) -> (B C' h w): two convolutions, the noise level's embedding added in between."""

    def __init__(self, channels: int, embedding: int, out_channels: int, layers: Layers) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            layers.group_norm(channels), nn.SiLU(), layers.conv(channels, out_channels, 3)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), layers.linear(embedding, out_channels))
        self.out_layers = nn.Sequential(
            layers.group_norm(out_channels), nn.SiLU(), nn.Identity(),
            layers.conv(out_channels, out_channels, 3),
        )  # fmt: skip  # index 2 is the dropout of training, which the checkpoints count
        self.skip_connection = (
            nn.Identity() if channels == out_channels else layers.conv(channels, out_channels, 1)
        )

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.in_layers(x) + rearrange(self.emb_layers(emb), "b c -> b c 1 1")
        return self.skip_connection(x) + self.out_layers(h)


class Downsample(nn.Module):
    """(B C h w) at half the size, rounded up."""

    def __init__(self, channels: int, layers: Layers) -> None:
        super().__init__()
        self.op = layers.conv(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """(B C h w) at the size of the skip it will be joined with."""

    def __init__(self, channels: int, layers: Layers) -> None:
        super().__init__()
        self.conv = layers.conv(channels, channels, 3)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


class CrossAttention(nn.Module):
    """Rows of `x` (B N D) attend to `context` (B M C)."""

    def __init__(
        self, width: int, context_dim: int, *, heads: int, upcast: bool, layers: Layers
    ) -> None:
        super().__init__()
        self.heads, self.upcast, self.attention = heads, upcast, layers.attention
        self.to_q = layers.linear(width, width, bias=False)
        self.to_k = layers.linear(context_dim, width, bias=False)
        self.to_v = layers.linear(context_dim, width, bias=False)
        self.to_out = nn.Sequential(layers.linear(width, width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        return self.to_out(self.attention(q, k, v, self.heads, upcast=self.upcast))


class GatedLinear(nn.Module):
    """GEGLU: half of the projection, gated by the GELU of the other half (arXiv 2002.05202)."""

    def __init__(self, width: int, inner: int, layers: Layers) -> None:
        super().__init__()
        self.proj = layers.linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """The pointwise half of a transformer block, four times as wide inside."""

    def __init__(self, width: int, layers: Layers) -> None:
        super().__init__()
        self.net = nn.Sequential(
            GatedLinear(width, 4 * width, layers), nn.Identity(), layers.linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, attention to the text, feed-forward; each on a normalised residual path."""

    def __init__(self, width: int, config: ControlNetConfig, layers: Layers) -> None:
        super().__init__()
        heads, upcast = config.heads(width), config.upcast_attention
        text = config.context_dim or width
        self.attn1 = CrossAttention(width, width, heads=heads, upcast=upcast, layers=layers)
        self.ff = FeedForward(width, layers)
        self.attn2 = CrossAttention(width, text, heads=heads, upcast=upcast, layers=layers)
        self.norm1 = layers.layer_norm(width)
        self.norm2 = layers.layer_norm(width)
        self.norm3 = layers.layer_norm(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        rows = self.norm1(x)
        x = self.attn1(rows, rows) + x
        x = self.attn2(self.norm2(x), context) + x
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A stack of transformer blocks over the cells of a feature map (B C h w)."""

    def __init__(
        self, channels: int, depth: int, config: ControlNetConfig, layers: Layers
    ) -> None:
        super().__init__()
        self.linear = config.use_linear_in_transformer
        self.norm = layers.group_norm(channels, eps=1e-6)
        self.proj_in = self._projection(channels, layers)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, config, layers) for _ in range(depth)
        )
        self.proj_out = self._projection(channels, layers)

    def _projection(self, channels: int, layers: Layers) -> nn.Module:
        if self.linear:
            return layers.linear(channels, channels)
        return layers.conv(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        height = x.shape[-2]
        h = self.norm(x)
        if not self.linear:
            h = self.proj_in(h)
        rows = _packed(rearrange(h, "b c h w -> b (h w) c"))
        if self.linear:
            rows = self.proj_in(rows)
        for block in self.transformer_blocks:
            rows = block(rows, context)
        if self.linear:
            rows = self.proj_out(rows)
        h = _packed(rearrange(rows, "b (h w) c -> b c h w", h=height))
        if not self.linear:
            h = self.proj_out(h)
        return h + x


def _packed(x: Tensor) -> Tensor:
    """A copy of `x` that lies in memory in the order of its axes, as matrix products like it.

    Tensor.contiguous asks the driver for the device even when nothing runs on it (fake tensors).
    """
    return x.clone(memory_format=torch.contiguous_format)


class Stage(nn.Sequential):
    """Layers that run one after another, each given what it reads: noise level, text or size."""

    def forward(  # type: ignore[override]
        self, x: Tensor, emb: Tensor, context: Tensor, *, size: tuple[int, int] | None = None
    ) -> Tensor:
        """`size` (h, w) is the next skip's, for a stage of the decoder that ends in a step up."""
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, emb)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            elif isinstance(layer, Upsample):
                x = layer(x, size)
            else:
                x = layer(x)
        return x
