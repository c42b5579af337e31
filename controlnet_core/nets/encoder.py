"""The half that a UNet and its ControlNet have in common: embeddings, encoder and middle block."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from ..errors import ControlInputError
from .blocks import Downsample, ResBlock, SpatialTransformer, Stage, timestep_embedding
from .config import ControlNetConfig
from .layers import Layers


class Encoder(nn.Module):
    """Time embedding, label embedding, input blocks and middle block, by their ldm names."""

    def __init__(self, config: ControlNetConfig, layers: Layers | None = None) -> None:
        super().__init__()
        layers = layers or Layers()
        self.config = config
        self.time_embed = _embedder(config.model_channels, config.time_embed_dim, layers)
        self.label_emb = (
            None
            if config.adm_in_channels is None
            else nn.Sequential(_embedder(config.adm_in_channels, config.time_embed_dim, layers))
        )
        self.input_blocks = nn.ModuleList(_input_blocks(config, layers))
        self.middle_block = _middle_block(config, layers)

    def embed(
        self, x: Tensor, timesteps: Tensor, y: Tensor | None, *, extra: Tensor | None = None
    ) -> Tensor:
        """The embedding (B D) that every ResBlock reads: noise level, `extra`, pooled text `y`.

        `timesteps` (B) are 0..999, fractions allowed. They stay float32 until they are sines:
        bfloat16 would round 993.7 to 992. The result has the dtype of `x`.
        """
        waves = timestep_embedding(timesteps, self.config.model_channels)
        emb = self.time_embed(waves.to(x.dtype))
        if extra is not None:
            emb = emb + extra
        if self.label_emb is None:
            return emb
        if y is None:
            raise ControlInputError(
                "CN-M01", "y", found="no pooled text vector",
                expected=f"a vector of width {self.config.adm_in_channels}",
                fix="use this net with the base model it was made for (SDXL)",
            )
        return emb + self.label_emb(y)


def _embedder(inputs: int, width: int, layers: Layers) -> nn.Sequential:
    return nn.Sequential(layers.linear(inputs, width), nn.SiLU(), layers.linear(width, width))


def _input_blocks(config: ControlNetConfig, layers: Layers) -> Iterator[Stage]:
    """The first convolution, then the blocks of each level, then the step down to the next."""
    yield Stage(layers.conv(config.in_channels, config.model_channels, 3))
    channels = config.model_channels
    depths = iter(config.transformer_depth)
    last = len(config.channel_mult) - 1
    for level, (mult, blocks) in enumerate(
        zip(config.channel_mult, config.num_res_blocks, strict=True)
    ):
        for _ in range(blocks):
            yield stage(channels, mult * config.model_channels, next(depths), config, layers)
            channels = mult * config.model_channels
        if level != last:
            yield Stage(Downsample(channels, layers))


def stage(
    channels: int, out_channels: int, depth: int, config: ControlNetConfig, layers: Layers
) -> Stage:
    """A ResBlock and, where `depth` asks for one, the transformer behind it."""
    block = Stage(ResBlock(channels, config.time_embed_dim, out_channels, layers))
    if depth:
        block.append(SpatialTransformer(out_channels, depth, config, layers))
    return block


def _middle_block(config: ControlNetConfig, layers: Layers) -> Stage:
    channels, embedding = config.residual_layout[-1][0], config.time_embed_dim
    block = Stage(ResBlock(channels, embedding, channels, layers))
    if config.transformer_depth_middle is not None:
        block.append(
            SpatialTransformer(channels, config.transformer_depth_middle, config, layers)
        )
        block.append(ResBlock(channels, embedding, channels, layers))
    return block
