"""The hint encoder: a condition picture becomes a feature map of the latent's size."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from .blocks import zeroed
from .layers import Layers


class HintEncoder(nn.Sequential):
    """(B 3 H W) in 0..1 -> (B C h w): eight 3x3 convolutions with SiLU between, three of stride 2.

    The last one starts at zero: it is the first zero convolution of the method, once a network.
    ldm's `input_hint_block`, whose numbering (0, 2, 4 ... 14) it keeps.

    Source: the official code of arXiv 2302.05543. `paper_hint` has the one of the paper's text.
    """

    def __init__(
        self, hint_channels: int, widths: tuple[int, ...], out_channels: int, layers: Layers
    ) -> None:
        super().__init__(layers.conv(hint_channels, widths[0], 3), nn.SiLU())
        for width, wider in pairwise(widths):
            self.extend((
                layers.conv(width, width, 3), nn.SiLU(),
                layers.conv(width, wider, 3, stride=2), nn.SiLU(),
            ))  # fmt: skip
        self.append(zeroed(layers.conv(widths[-1], out_channels, 3)))
