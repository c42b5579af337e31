"""The ControlNet: a trainable copy of a UNet's encoder, joined to it by zero convolutions.

Source: Zhang et al., Adding Conditional Control to Text-to-Image Diffusion Models
(arXiv 2302.05543), sections 3.1 and 3.2, and its official code.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..residuals import Residuals
from .blocks import zero_conv
from .config import ControlNetConfig
from .encoder import Encoder
from .hint import HintEncoder
from .layers import Layers
from .paper_hint import PaperHintEncoder


class ControlNet(Encoder):
    """Encoder half, hint encoder and one zero convolution for each residual; ldm names."""

    def __init__(self, config: ControlNetConfig, layers: Layers | None = None) -> None:
        layers = layers or Layers()
        super().__init__(config, layers)
        channels = [channels for channels, _ in config.residual_layout]
        hint = (config.hint_channels, config.hint_widths, config.model_channels, layers)
        if config.paper_hint:
            self.paper_hint_block = PaperHintEncoder(*hint)
        else:
            self.input_hint_block = HintEncoder(*hint)
        self.zero_convs = nn.ModuleList(zero_conv(c, layers) for c in channels[:-1])
        self.middle_block_out = zero_conv(channels[-1], layers)

    def encode_hint(self, hint: Tensor) -> Tensor:
        """The hint embedding (B C h w) of a picture (B 3 H W); the same at every step."""
        if self.config.paper_hint:
            return self.paper_hint_block(hint)
        return self.input_hint_block(hint)

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        hint_embedding: Tensor,
        y: Tensor | None = None,
    ) -> Residuals:
        """Residuals for the noisy latent `x` (B 4 h w), `output` and `middle`.

        `timesteps` (B) in 0..999, float32; `context` (B N D) text; `y` (B D) pooled text of SDXL;
        `hint_embedding` (B C h w), or (1 C h w) to share one hint over the batch.
        """
        return self.residuals(x, self.embed(x, timesteps, y), context, hint_embedding)

    def residuals(
        self, x: Tensor, emb: Tensor, context: Tensor, hint_embedding: Tensor
    ) -> Residuals:
        """The encoder's features, each through its zero convolution. The hint joins once, first."""
        h = self.input_blocks[0](x, emb, context) + hint_embedding
        output = [self.zero_convs[0](h)]
        for block, zero in zip(self.input_blocks[1:], self.zero_convs[1:], strict=True):
            h = block(h, emb, context)
            output.append(zero(h))
        h = self.middle_block(h, emb, context)
        return Residuals(output=tuple(output), middle=(self.middle_block_out(h),))


def from_encoder(net: ControlNet, encoder: Encoder) -> ControlNet:
    """`net` with the weights of `encoder` (a base UNet) copied in, by name.

    The hint encoder keeps its fresh weights and every zero convolution its zeros, so the copy
    changes nothing until it is trained.
    """
    names = net.state_dict().keys()
    shared = {name: w for name, w in encoder.state_dict().items() if name in names}
    net.load_state_dict({**net.state_dict(), **shared})
    return net
