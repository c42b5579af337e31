"""The UNet of latent diffusion, from the same blocks: for training, the playground and tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..residuals import Residuals
from .blocks import Stage, Upsample
from .config import ControlNetConfig
from .encoder import Encoder, stage
from .layers import Layers


class Encoded(NamedTuple):
    """What the decoder needs of the encoder."""

    emb: Tensor
    """Embedding (B D) of the noise level."""
    middle: Tensor
    """Features (B C h w) of the middle block."""
    skips: tuple[Tensor, ...]
    """Features of each encoder block, shallow to deep."""


class UNet(Encoder):
    """Encoder, middle and decoder; predicts what its training asked for (eps, v or flow)."""

    def __init__(self, config: ControlNetConfig, layers: Layers | None = None) -> None:
        layers = layers or Layers()
        super().__init__(config, layers)
        self.output_blocks = nn.ModuleList(_output_blocks(config, layers))
        self.out = nn.Sequential(
            layers.group_norm(config.model_channels), nn.SiLU(),
            layers.conv(config.model_channels, config.out_channels, 3),
        )  # fmt: skip

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        y: Tensor | None = None,
        *,
        control: Residuals | None = None,
    ) -> Tensor:
        """The prediction (B 4 h w) for the noisy latent `x`, steered by `control`.

        `control.input` joins trunk and skip of the encoder, `control.middle` the middle block,
        `control.output` the skips alone, as the paper has it.
        """
        encoded = self.encode(x, timesteps, context, y, control=control)
        return self.decode(encoded, context, control=control)

    def encode(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        y: Tensor | None = None,
        *,
        control: Residuals | None = None,
    ) -> Encoded:
        """The first half. A ControlNet's residuals do not reach it, so it needs no gradients."""
        trunk = control.input if control else ()
        emb = self.embed(x, timesteps, y)
        h = x
        skips: list[Tensor] = []
        for index, block in enumerate(self.input_blocks):
            h = _plus(block(h, emb, context), trunk, index)
            skips.append(h)
        return Encoded(emb, self.middle_block(h, emb, context), tuple(skips))

    def decode(
        self, encoded: Encoded, context: Tensor, *, control: Residuals | None = None
    ) -> Tensor:
        """The second half, steered by `control.middle` and `control.output`."""
        control = control or Residuals()
        skips = [_plus(skip, control.output, i) for i, skip in enumerate(encoded.skips)]
        h = _plus(encoded.middle, control.middle, 0)
        for block in self.output_blocks:
            h = torch.cat([h, skips.pop()], dim=1)
            h = block(h, encoded.emb, context, size=skips[-1].shape[-2:] if skips else None)
        return self.out(h)


def _plus(x: Tensor, row: tuple[Tensor | None, ...], index: int) -> Tensor:
    residual = row[index] if index < len(row) else None
    return x if residual is None else x + residual


def _output_blocks(config: ControlNetConfig, layers: Layers) -> Iterator[Stage]:
    """Deep to shallow, each block joined with the skip of its mirror image in the encoder."""
    skips = [channels for channels, _ in config.residual_layout[:-1]]
    depths = list(config.transformer_depth_output)
    channels = skips[-1]
    levels = list(zip(config.channel_mult, config.num_res_blocks, strict=True))
    for level, (mult, blocks) in reversed(list(enumerate(levels))):
        for index in range(blocks + 1):
            width = mult * config.model_channels
            block = stage(channels + skips.pop(), width, depths.pop(), config, layers)
            channels = width
            if level and index == blocks:
                block.append(Upsample(channels, layers))
            yield block


