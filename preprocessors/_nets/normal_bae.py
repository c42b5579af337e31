"""NormalBAE, surface normals refined from coarse to fine."""

# Source: Bae, Budvytis & Cipolla 2021 (arXiv:2109.09881), MIT, at inference: every pixel is
# refined. Written from its layer list; names are those of scannet.pt. The encoder is timm's
# EfficientNet-B5 (Apache-2.0).

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...controlnet_core.files import read_tensors
from .._libraries import library
from .._networks import Network, filled, side

ENCODER = "tf_efficientnet_b5"
STAGES = (0, 1, 2, 4)  # of the encoder, whose maps are used: at 1/2, 1/4, 1/8, 1/16
SKIPS = (24, 40, 64, 176)  # their channels
DEEPEST = 2048  # channels of the encoder's last convolution
ENCODERS = {DEEPEST: (ENCODER, SKIPS), 1280: ("tf_efficientnet_b0", (16, 24, 40, 112))}
WIDTHS = (1024, 512, 256, 128)  # of the decoder's maps, at 1/16, 1/8, 1/4, 1/2
HIDDEN = 128
MULTIPLE = 32  # to which sides are padded: the encoder's own stride


class Up(nn.Module):
    """A coarse map and a finer one -> one (b width h w), in the size of the finer."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self._net = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.LeakyReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.LeakyReLU(),
        )  # fmt: skip

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        size = fine.shape[-2:]
        coarse = F.interpolate(coarse, size, mode="bilinear", align_corners=True)
        return self._net(torch.cat((coarse, fine), 1))


def _each_pixel(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(channels, width, 1), nn.ReLU(), nn.Conv1d(width, width, 1), nn.ReLU(),
        nn.Conv1d(width, width, 1), nn.ReLU(), nn.Conv1d(width, 4, 1),
    )  # fmt: skip


def _normalised(x: Tensor) -> Tensor:
    """(b 4 ...) with the first three channels at length 1, and the fourth, certainty, positive.

    In float32: halves have no 1e-10, and no squares of what is above 256.
    """
    normal, kappa = x[:, :3].float(), x[:, 3:].float()
    length = normal.square().sum(1, keepdim=True).sqrt() + 1e-10
    return torch.cat((normal / length, F.elu(kappa) + 1.01), 1).to(x.dtype)


def _refined(layers: nn.Module, features: Tensor, prediction: Tensor) -> Tensor:
    """`prediction` (b 4 h w) at twice the size, after a look at `features` (b C h w)."""
    x = torch.cat((features, prediction), 1)
    x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    return _normalised(layers(x.flatten(2))).unflatten(2, x.shape[2:])


class Decoder(nn.Module):
    """From the encoder's maps to normals, at 1/8 of the size and then finer and finer."""

    def __init__(
        self, skips: Sequence[int], deepest: int, widths: Sequence[int], hidden: int
    ) -> None:
        super().__init__()
        self.conv2 = nn.Conv2d(deepest, deepest, 1)
        self.up1 = Up(deepest + skips[3], widths[0])
        self.up2 = Up(widths[0] + skips[2], widths[1])
        self.up3 = Up(widths[1] + skips[1], widths[2])
        self.up4 = Up(widths[2] + skips[0], widths[3])
        self.out_conv_res8 = nn.Conv2d(widths[1], 4, 3, padding=1)
        self.out_conv_res4 = _each_pixel(widths[1] + 4, hidden)
        self.out_conv_res2 = _each_pixel(widths[2] + 4, hidden)
        self.out_conv_res1 = _each_pixel(widths[3] + 4, hidden)

    def forward(self, skips: Sequence[Tensor], deepest: Tensor) -> Tensor:
        eighth = self.up2(self.up1(self.conv2(deepest), skips[3]), skips[2])
        quarter = self.up3(eighth, skips[1])
        half = self.up4(quarter, skips[0])
        normal = _normalised(self.out_conv_res8(eighth))
        normal = _refined(self.out_conv_res4, eighth, normal)
        normal = _refined(self.out_conv_res2, quarter, normal)
        return _refined(self.out_conv_res1, half, normal)


class Encoder(nn.Module):
    """An EfficientNet of timm, and those of its maps that the decoder asks for."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.original_model: Any = library("timm").create_model(name, num_classes=0)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps after `STAGES`, finest first, and the deepest, before its norm."""
        net = self.original_model
        x = net.bn1(net.conv_stem(image))  # timm's norms activate as well
        skips: list[Tensor] = []
        for n, stage in enumerate(net.blocks):
            x = stage(x)
            if n in STAGES:
                skips.append(x)
        return skips, net.conv_head(x)


class NormalBAE(nn.Module):
    """Surface normals of pictures, and how certain they are. Needs timm."""

    def __init__(
        self,
        encoder: str = ENCODER,
        *,
        skips: Sequence[int] = SKIPS,
        deepest: int = DEEPEST,
        widths: Sequence[int] = WIDTHS,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(encoder)
        self.decoder = Decoder(skips, deepest, widths, hidden)

    def forward(self, image: Tensor) -> Tensor:
        """Unit normals and their certainty (b 4 H W), of pictures (b 3 H W).

        Pictures are RGB, 0..1, minus ImageNet's mean, over its deviation. x is left, y up and z
        towards the camera. Sides must be divisible by 8.
        """
        return self.decoder(*self.encoder(image))


def open_normal_bae(path: Path) -> nn.Module:
    """The network in the file at `path`, of any widths, with B5 or B0 as its encoder."""
    tensors = read_tensors(path)
    deepest = side(tensors, "decoder.conv2.weight", 0, DEEPEST)
    encoder, skips = ENCODERS.get(deepest, ENCODERS[DEEPEST])
    up = "decoder.up{}._net.0.weight"
    widths = [side(tensors, up.format(n), 0, width) for n, width in enumerate(WIDTHS, start=1)]
    hidden = side(tensors, "decoder.out_conv_res1.0.weight", 0, HIDDEN)

    def build() -> NormalBAE:
        return NormalBAE(encoder, skips=skips, deepest=deepest, widths=widths, hidden=hidden)

    return filled(build, tensors, name=path.name)


NETWORK = Network("normal_bae", open_normal_bae, floats_per_pixel=460)  # measured at 256 x 256
