"""The hyperparameters of a latent-diffusion UNet and of the ControlNet that copies its encoder.

Field names are those of the ldm code base (`openaimodel.UNetModel`), which the checkpoints in the
field grew up with; `hint_widths` and `paper_hint` name what that code fixes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate


@dataclass(frozen=True)
class ControlNetConfig:
    """What has to be known to build a ControlNet, or the UNet of the same encoder."""

    channel_mult: tuple[int, ...]
    num_res_blocks: tuple[int, ...]
    transformer_depth: tuple[int, ...]
    """Transformer blocks behind each ResBlock of the encoder, in order; 0 = no transformer."""
    transformer_depth_middle: int | None
    """None = the middle is one ResBlock without a transformer (SSD-1B and its like)."""
    context_dim: int | None
    """Width of the text tokens; None where no transformer of the net reads text."""
    num_heads: int | None = None
    num_head_channels: int | None = 64
    """Heads come as a fixed count or as a fixed width; shapes do not tell which."""
    use_linear_in_transformer: bool = False
    upcast_attention: bool = False
    """Attention in float32: SD2.x overflows in float16."""
    adm_in_channels: int | None = None
    """Width of the pooled text and size vector `y` (SDXL 2816); None = the net takes none."""
    union_types: int = 0
    """How many control types a union net knows; 0 = an ordinary net."""
    model_channels: int = 320
    in_channels: int = 4
    out_channels: int = 4
    hint_channels: int = 3
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)
    """Widths of the hint encoder; each but one halves the picture (the official first, the paper's
    last)."""
    paper_hint: bool = False
    """The hint encoder that the paper tells of, in place of the official code's."""

    def __post_init__(self) -> None:
        if (self.num_heads is None) == (self.num_head_channels is None):
            raise ValueError("give num_heads or num_head_channels, not both and not neither")

    @property
    def family(self) -> str:
        """The name under which people know the base model."""
        if self.adm_in_channels == 2816 or self.context_dim == 2048:
            return "SDXL"
        known = {768: "SD1.5", 1024: "SD2.x", 1280: "SDXL refiner"}
        return known.get(self.context_dim or 0, "a UNet of its own kind")

    def heads(self, channels: int) -> int:
        """Attention heads of a transformer of that width."""
        return self.num_heads or channels // (self.num_head_channels or channels)

    @property
    def hint_scale(self) -> int:
        """Pixels of the hint for one latent cell, along a side."""
        return 2 ** (len(self.hint_widths) - 1)

    @property
    def time_embed_dim(self) -> int:
        return 4 * self.model_channels

    @property
    def residual_layout(self) -> tuple[tuple[int, int], ...]:
        """(channels, latent cells for one cell of the residual) of every residual, middle last.

        The `output` site first, shallow to deep: SD1.5 gives 12 + 1, SDXL 9 + 1.
        """
        layout = [(self.model_channels, 1)]
        for level, (mult, blocks) in enumerate(
            zip(self.channel_mult, self.num_res_blocks, strict=True)
        ):
            layout += [(mult * self.model_channels, 2**level)] * blocks
            if level != len(self.channel_mult) - 1:
                layout.append((mult * self.model_channels, 2 ** (level + 1)))
        return (*layout, layout[-1])

    @property
    def activations_per_cell(self) -> float:
        """Numbers alive at the peak of one evaluation, for each latent cell of each row.

        All residuals, and 24 maps of the first width: measured 10 (SDXL) to 23.3 (SD1.5), where
        the gated linear layer of the first transformer is the widest point.
        """
        residuals = sum(channels / stride**2 for channels, stride in self.residual_layout)
        return residuals + 24 * self.model_channels

    @property
    def transformer_depth_output(self) -> tuple[int, ...]:
        """Transformer blocks of the decoder, listed shallow to deep: one block more a level."""
        starts = accumulate(self.num_res_blocks, initial=0)
        return tuple(
            self.transformer_depth[start]
            for start, blocks in zip(starts, self.num_res_blocks, strict=False)
            for _ in range(blocks + 1)
        )

    def like(self, **changes: object) -> ControlNetConfig:
        """The same net with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


SD15 = ControlNetConfig(
    channel_mult=(1, 2, 4, 4),
    num_res_blocks=(2, 2, 2, 2),
    transformer_depth=(1, 1, 1, 1, 1, 1, 0, 0),
    transformer_depth_middle=1,
    context_dim=768,
    num_heads=8,
    num_head_channels=None,
)

SD21 = SD15.like(
    context_dim=1024,
    num_heads=None,
    num_head_channels=64,
    use_linear_in_transformer=True,
    upcast_attention=True,
)

SDXL = ControlNetConfig(
    channel_mult=(1, 2, 4),
    num_res_blocks=(2, 2, 2),
    transformer_depth=(0, 0, 2, 2, 10, 10),
    transformer_depth_middle=10,
    context_dim=2048,
    use_linear_in_transformer=True,
    adm_in_channels=2816,
)
