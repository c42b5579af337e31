"""M-LSD, line segments from one look at a picture."""

# Source: Gu et al. 2022 (arXiv:2106.00186), Apache-2.0, the large network in its PyTorch form
# lhwcv/mlsd_pytorch. Written from its layer list; names are those of mlsd_large_512_fp32.pth.
# Difference: any size is taken, where the published network needs sides divisible by 16.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...controlnet_core.files import read_tensors
from .._networks import Network, filled

GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
"""Blocks of the backbone: how many times wider inside, channels, how many, stride of the first."""
STEM = 32  # channels of the first convolution
WIDTH = 64  # channels of what is joined on the way up
SMALLEST = 16  # sides in pixels

UNUSED = 7  # channels at the front that only the training looks at
MOST = 200  # segments of one picture


def network_input(image: Tensor) -> Tensor:
    """(b 4 H W) as `MLSD` takes it, of pictures (b 3 H W) in 0..1, RGB.

    The fourth channel, all ones, is scaled as if it were a level of 0..255, and so hardly above -1:
    the network was trained with that.
    """
    ones = torch.full_like(image[:, :1], 1 / 255)
    return torch.cat((image, ones), 1) * 2 - 1


def segments(
    maps: Tensor, size: tuple[int, int], *, score: float = 0.1, distance: float = 0.1
) -> Tensor:
    """Line segments (N 4) as x0, y0, x1, y1 in pixels of a picture of `size` (H, W), best first.

    `maps` (C h w) is what `MLSD` gives for one picture. Segments are kept whose score, 0..1, is
    above `score`, and whose length, in cells of `maps`, is above `distance`. At most 200.
    """
    rows, columns = maps.shape[-2:]
    place, scores = _peaks(maps[0].sigmoid())
    y, x = place // columns, place % columns
    start_x, start_y, end_x, end_y = maps[1:5].flatten(1)[:, place]
    length = torch.hypot(start_x - end_x, start_y - end_y)
    ends = torch.stack((x + start_x, y + start_y, x + end_x, y + end_y), 1)
    height, width = size
    scale = ends.new_tensor([width / columns, height / rows] * 2)
    return ends[(scores > score) & (length > distance)] * scale


def _peaks(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Flat places (N) and values (N) of what in `heat` (h w) no neighbour exceeds, best first."""
    highest = F.max_pool2d(heat[None], 3, stride=1, padding=1)[0]
    peaks = torch.where(highest == heat, heat, 0.0).flatten()
    values, place = peaks.topk(min(MOST, len(peaks)))
    return place, values


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and ReLU6; a stride of 2 pads at the right and below, as TFLite."""

    def __init__(
        self, channels: int, width: int, side: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        padding = side // 2 if stride == 1 else 0
        super().__init__(
            nn.Conv2d(channels, width, side, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(width), nn.ReLU6(),
        )  # fmt: skip
        self.pad = stride > 1

    def forward(self, input: Tensor) -> Tensor:
        x = F.pad(input, (0, 1, 0, 1)) if self.pad else input
        for layer in self:
            x = layer(x)
        return x


class Inverted(nn.Module):
    """MobileNetV2's block: (b C h w) -> (b width h w), `times` as wide inside."""

    def __init__(self, channels: int, width: int, *, times: int, stride: int) -> None:
        super().__init__()
        inner = channels * times
        widen = () if times == 1 else (ConvNorm(channels, inner, 1),)
        self.conv = nn.Sequential(
            *widen, ConvNorm(inner, inner, 3, stride=stride, groups=inner),
            nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.adds = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class Backbone(nn.Module):
    """MobileNetV2 up to 1/16 of the size."""

    def __init__(self, groups: Sequence[tuple[int, int, int, int]], stem: int) -> None:
        super().__init__()
        self.features = nn.Sequential(ConvNorm(4, stem, 3, stride=2))
        self.taps: list[int] = []
        channels = stem
        for times, width, count, stride in groups:
            for n in range(count):
                block = Inverted(channels, width, times=times, stride=1 if n else stride)
                self.features.append(block)
                channels = width
            self.taps.append(len(self.features) - 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """What every group ends with, largest map first."""
        maps: list[Tensor] = []
        for n, layer in enumerate(self.features):
            x = layer(x)
            if n in self.taps:
                maps.append(x)
        return maps


def _joined(channels: int, width: int, side: int, *, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, side, padding=side // 2 * dilation, dilation=dilation)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


class Join(nn.Module):
    """A fine map and a coarse one -> both beside each other (b 2C h w), in the size of the fine."""

    def __init__(self, fine: int, coarse: int, width: int) -> None:
        super().__init__()
        self.conv1 = _joined(coarse, width, 1)
        self.conv2 = _joined(fine, width, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        fine, coarse = self.conv2(fine), self.conv1(coarse)
        size = fine.shape[-2:]
        coarse = F.interpolate(coarse, size, mode="bilinear", align_corners=True)
        return torch.cat((fine, coarse), 1)


class Refine(nn.Module):
    """(b C h w) -> (b width h w)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = _joined(channels, channels, 3)
        self.conv2 = _joined(channels, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x) + x)


class Head(nn.Module):
    """(b C h w) -> (b maps h w)."""

    def __init__(self, channels: int, maps: int) -> None:
        super().__init__()
        self.conv1 = _joined(channels, channels, 3, dilation=5)
        self.conv2 = _joined(channels, channels, 3)
        self.conv3 = nn.Conv2d(channels, maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.conv2(self.conv1(x)))


class MLSD(nn.Module):
    """Line segments of pictures, as centres and the ways from there to both ends."""

    def __init__(
        self,
        groups: Sequence[tuple[int, int, int, int]] = GROUPS,
        *,
        stem: int = STEM,
        width: int = WIDTH,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(groups, stem)
        coarse, *fine = [channels for _, channels, _, _ in reversed(groups)]
        self.joins = [f"block{15 + 2 * n}" for n in range(len(fine))]
        self.refines = [f"block{16 + 2 * n}" for n in range(len(fine))]
        for join, refine, channels in zip(self.joins, self.refines, fine, strict=True):
            self.add_module(join, Join(channels, coarse, width))
            self.add_module(refine, Refine(2 * width, width))
            coarse = width
        self.block23 = Head(width, UNUSED + 9)

    def forward(self, x: Tensor) -> Tensor:
        """Nine maps (b 9 H/2 W/2) for `segments`, of (b 4 H W) as `network_input` makes it.

        First the logit of a segment's centre, then x and y to its start and its end, in cells of
        the map. The last four belong to the training.
        """
        *fine, x = self.backbone(x)
        for join, refine, skip in zip(self.joins, self.refines, reversed(fine), strict=True):
            x = self.get_submodule(refine)(self.get_submodule(join)(skip, x))
        return self.block23(x)[:, UNUSED:]


def open_mlsd(path: Path) -> nn.Module:
    """The network in the file at `path`."""
    return filled(MLSD, read_tensors(path), name=path.name)


NETWORK = Network("mlsd", open_mlsd, floats_per_pixel=130)  # measured at 256 x 256
