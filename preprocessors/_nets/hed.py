"""HED, holistically nested edge detection, as ControlNet's soft edges were trained with it."""

# Source: Xie & Tu 2015 (arXiv:1504.06375), in the form of ControlNetHED_Apache2 by the author of
# ControlNet (Apache-2.0): an RGB VGG16 with a learned mean and no fusion layer. Written from its
# layer list; names are those of its file.
# Difference: widths come from the file.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...controlnet_core.files import read_tensors
from .._networks import Network, filled

DEPTHS = (2, 2, 3, 3, 3)  # convolutions of each block
WIDTHS = (64, 128, 256, 512, 512)
MULTIPLE = 2 ** (len(DEPTHS) - 1)  # to which sides must be padded


class Block(nn.Module):
    """Convolutions of one scale, and what they see as edges."""

    def __init__(self, channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(width if j else channels, width, 3, padding=1) for j in range(depth)
        )
        self.projection = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (b width h w) and edge logits (b 1 h w)."""
        for conv in self.convs:
            x = F.relu(conv(x))
        return x, self.projection(x)


class HED(nn.Module):
    """Edges of pictures, found at five scales."""

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))  # the mean picture, in levels
        for b, (channels, width, depth) in enumerate(
            zip((3, *widths), widths, DEPTHS, strict=False), start=1
        ):
            self.add_module(f"block{b}", Block(channels, width, depth))

    def sides(self, image: Tensor) -> list[Tensor]:
        """Edge logits (b 1 h w) of each scale, 1 to 1/16, of pictures (b 3 H W) in 0..1."""
        x = image * 255 - self.norm
        sides: list[Tensor] = []
        for b in range(len(DEPTHS)):
            x, side = self.get_submodule(f"block{b + 1}")(F.max_pool2d(x, 2) if b else x)
            sides.append(side)
        return sides

    def forward(self, image: Tensor) -> Tensor:
        """Probability of an edge (b 1 H W): the sigmoid of the mean of all scales' logits."""
        size = image.shape[-2:]
        logits = [F.interpolate(side, size, mode="bilinear") for side in self.sides(image)]
        return torch.stack(logits).mean(0).sigmoid()


def open_hed(path: Path) -> HED:
    """The network in the file at `path`, of any widths."""
    tensors = read_tensors(path)
    widths = [
        tensors[name].shape[1]
        for b in range(1, len(DEPTHS) + 1)
        if (name := f"block{b}.projection.weight") in tensors
    ]
    module = filled(lambda: HED(widths if len(widths) == 5 else WIDTHS), tensors, name=path.name)
    assert isinstance(module, HED)
    return module


# At full size: 64 features going in, 64 coming out, and 64 through the ReLU.
NETWORK = Network("hed", open_hed, floats_per_pixel=3 * WIDTHS[0])
