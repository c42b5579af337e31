"""TEED, a tiny edge detector; MTEED of AnyLine is the same network with other weights."""

# Source: Soria et al. 2023 (arXiv:2308.06468), MIT. Written from its layer list; names are those
# of 7_model.pth and MTEED.pth.

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...controlnet_core.files import read_tensors
from .._networks import Network, filled

WIDTHS = (16, 32, 48)
MULTIPLE = 4  # to which sides must be padded

Logits = Callable[[Tensor], Sequence[Tensor]]
"""What `TEED.forward` is to an annotator."""


def smish(x: Tensor) -> Tensor:
    """x tanh(ln(1 + sigmoid(x))), elementwise (Wang, Ren & Wang 2022)."""
    return x * torch.log1p(x.sigmoid()).tanh()


def edges(logits: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Probability of an edge (b 1 H W) at `size` (H, W), from the four maps that `TEED` gives."""
    resized = [F.interpolate(each, size, mode="bilinear") for each in logits]
    return torch.stack(resized).mean(0).sigmoid()


class Smish(nn.Module):
    """`smish` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return smish(x)


class DoubleConv(nn.Module):
    """(b C h w) -> (b width h w) by two convolutions, the first of which may have a stride."""

    def __init__(self, channels: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(smish(self.conv1(x)))


class Side(nn.Module):
    """(b C h w) -> (b width h w), or at half the size."""

    def __init__(self, channels: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class DenseLayer(nn.Module):
    """(b C h w) -> (b width h w); the first convolution widens the map and the second cuts it."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=2)
        self.conv2 = nn.Conv2d(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(smish(self.conv1(smish(x))))


class Up(nn.Module):
    """(b C h w) -> edge logits (b 1 H W), doubled in size once for each of `widths`."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.features = nn.Sequential()
        side = 2 ** len(widths)
        for width in widths:
            up = nn.ConvTranspose2d(width, width, side, stride=2, padding=side // 2 - 1)
            self.features.extend((nn.Conv2d(channels, width, 1), Smish(), up))
            channels = width

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)


class Fusion(nn.Module):
    """Three maps (b 3 H W) -> one (b 1 H W)."""

    def __init__(self, maps: int = 3, each: int = 8) -> None:
        super().__init__()
        wide = maps * each
        self.DWconv1 = nn.Conv2d(maps, wide, 3, padding=1, groups=maps)
        self.DWconv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.DWconv1(smish(x))
        return smish((wide + self.DWconv2(smish(wide))).sum(1, keepdim=True))


class TEED(nn.Module):
    """Edges of pictures, found at two scales."""

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        first, second, third = widths
        self.block_1 = DoubleConv(3, first, stride=2)
        self.block_2 = DoubleConv(first, second)
        self.dblock_3 = nn.ModuleDict({"denselayer1": DenseLayer(second, third)})
        self.side_1 = Side(first, second, stride=2)
        self.pre_dense_3 = Side(second, third)
        self.up_block_1 = Up(first, (1,))
        self.up_block_2 = Up(second, (1,))
        self.up_block_3 = Up(third, (16, 1))
        self.block_cat = Fusion()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Four maps of edge logits (b 1 H W), the last fused, of pictures (b 3 H W) in 0..255."""
        x1 = smish(self.block_1(image))
        x2 = self.block_2(x1)
        down = F.max_pool2d(x2, 3, stride=2, padding=1)
        dense = self.dblock_3["denselayer1"](down + self.side_1(x1))
        x3 = (dense + self.pre_dense_3(down)) / 2
        maps = self.up_block_1(x1), self.up_block_2(x2), self.up_block_3(x3)
        return *maps, self.block_cat(torch.cat(maps, 1))


def open_teed(path: Path) -> nn.Module:
    """The network in the file at `path`."""
    return filled(TEED, read_tensors(path), name=path.name)


FLOATS = 140  # measured at 256 x 256
NETWORK = Network("teed", open_teed, FLOATS)
ANYLINE = Network("mteed", open_teed, FLOATS)
