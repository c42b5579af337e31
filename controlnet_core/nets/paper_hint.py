"""The hint encoder as the paper's text has it; the official code, and every known file, has
another one (`hint`)."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from .blocks import zeroed
from .layers import Layers

PAPER_HINT_WIDTHS = (16, 32, 64, 128)
"""Output channels of its convolutions, in arXiv 2302.05543, section 3.2."""


class PaperHintEncoder(nn.Sequential):
    """(B 3 H W) in 0..1 -> (B C H/8 W/8), sides divisible by 8: four 4x4 convolutions with ReLU.

    They start Gaussian; the zero convolution behind them is 1x1. The numbering is 0, 2, 4 ... 8.

    Source: arXiv 2302.05543, section 3.2. *Differences*: there all four have stride 2, which gives
    a sixteenth, while the latent has an eighth of the picture's side. So the last has stride 1.
    An even kernel of stride 1 cannot be padded evenly: it gets one cell above and left of the
    picture, two below and right of it.
    """

    def __init__(
        self, hint_channels: int, widths: tuple[int, ...], out_channels: int, layers: Layers
    ) -> None:
        super().__init__()
        for width, wider in pairwise((hint_channels, *widths[:-1])):
            self.extend((_gaussian(layers.conv(width, wider, 4, stride=2, padding=1)), nn.ReLU()))
        self[-1] = nn.Sequential(nn.ReLU(), nn.ZeroPad2d((1, 2, 1, 2)))
        self.extend((_gaussian(layers.conv(widths[-2], widths[-1], 4, padding=0)), nn.ReLU()))
        self.append(zeroed(layers.conv(widths[-1], out_channels, 1)))


def _gaussian(conv: nn.Module) -> nn.Module:
    """`conv` with Gaussian weights that keep the variance under ReLU, and zero biases.

    Source of the deviation, which the paper leaves open: He et al. (arXiv 1502.01852).
    """
    for parameter in conv.parameters():
        if parameter.ndim == 1:
            nn.init.zeros_(parameter)
        elif not parameter.is_meta:  # there it is meaningless, and costs 1.7 s the first time
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    return conv
