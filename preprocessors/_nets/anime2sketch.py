"""The U-Net of Anime2Sketch, for line art of drawings."""

# Source: Xiang et al. 2021 (arXiv:2104.05703), MIT: a pix2pix U-Net with instance norm. Written
# from its layer list; names are those of netG.pth.

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ...controlnet_core.files import read_tensors
from .._networks import Network, filled, side
from .in_float32 import InFloat32

WIDTH = 64
DEPTH = 8  # times that the size is halved
MULTIPLE = 2**DEPTH  # to which sides must be padded


class Level(nn.Module):
    """(b C h w) -> (b 2C h w): the input, and behind it what lies at half the size and below."""

    def __init__(self, channels: int, inner: int, below: nn.Module | None) -> None:
        super().__init__()
        down = nn.Conv2d(channels, inner, 4, stride=2, padding=1)
        middle = (nn.ReLU(),) if below is None else (nn.InstanceNorm2d(inner), below, nn.ReLU())
        wide = inner if below is None else 2 * inner
        up = nn.ConvTranspose2d(wide, channels, 4, stride=2, padding=1)
        self.model = nn.Sequential(
            nn.LeakyReLU(0.2), down, *middle, up, nn.InstanceNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.model(x)), 1)


class Outermost(nn.Module):
    """(b 3 H W) -> (b 1 H W)."""

    def __init__(self, width: int, below: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1), below, nn.ReLU(),
            nn.ConvTranspose2d(2 * width, 1, 4, stride=2, padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Anime2Sketch(InFloat32):
    """Sketches of drawings: dark lines on white."""

    def __init__(self, width: int = WIDTH, depth: int = DEPTH) -> None:
        super().__init__()
        widths = [width * min(2**n, 8) for n in range(depth)]
        level: Level | None = None
        for n in range(depth - 1, 0, -1):
            level = Level(widths[n - 1], widths[n], level)
        assert level is not None
        self.model = Outermost(width, level)

    def forward(self, image: Tensor) -> Tensor:
        """Sketches (b 1 H W), lines -1 and paper 1, of pictures (b 3 H W) in -1..1, RGB.

        Sides must be divisible by 2 to the `depth`. The statistics are those of a whole picture,
        so what is padded changes all of it.
        """
        return self.model(image)


def open_anime2sketch(path: Path) -> nn.Module:
    """The network in the file at `path`, of any width."""
    tensors = read_tensors(path)
    width = side(tensors, "model.model.0.weight", 0, WIDTH)
    return filled(lambda: Anime2Sketch(width), tensors, name=path.name)


NETWORK = Network("lineart_anime", open_anime2sketch, floats_per_pixel=170)  # measured at 256 x 256
