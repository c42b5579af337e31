"""The generator of informative drawings, for realistic and coarse line art."""

# Source: Chan, Durand & Isola 2022 (arXiv:2203.12691), MIT. Written from its layer list; names are
# those of sk_model.pth and sk_model2.pth.

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ...controlnet_core.files import read_tensors
from .._networks import Network, filled, side
from .in_float32 import InFloat32

WIDTH = 64
MULTIPLE = 4  # to which sides must be padded
SMALLEST = 2 * MULTIPLE  # sides in pixels: what is left of them at the bottom is mirrored


class Residual(nn.Module):
    """(b C h w) -> (b C h w): what two convolutions find, added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def _down(channels: int, width: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels, width, 3, stride=2, padding=1)
    return conv, nn.InstanceNorm2d(width), nn.ReLU()


def _up(channels: int, width: int) -> tuple[nn.Module, ...]:
    conv = nn.ConvTranspose2d(channels, width, 3, stride=2, padding=1, output_padding=1)
    return conv, nn.InstanceNorm2d(width), nn.ReLU()


class Generator(InFloat32):
    """Drawings of pictures: dark lines on white."""

    def __init__(self, width: int = WIDTH, blocks: int = 3) -> None:
        super().__init__()
        wide, widest = 2 * width, 4 * width
        self.model0 = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU()
        )
        self.model1 = nn.Sequential(*_down(width, wide), *_down(wide, widest))
        self.model2 = nn.Sequential(*(Residual(widest) for _ in range(blocks)))
        self.model3 = nn.Sequential(*_up(widest, wide), *_up(wide, width))
        self.model4 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        """Drawings (b 1 H W), lines 0 and paper 1, of pictures (b 3 H W) in 0..1, RGB.

        Sides that 4 does not divide come out rounded up.
        """
        return self.model4(self.model3(self.model2(self.model1(self.model0(image)))))


def open_generator(path: Path) -> nn.Module:
    """The network in the file at `path`, of any width."""
    tensors = read_tensors(path)
    width = side(tensors, "model0.1.weight", 0, WIDTH)
    return filled(lambda: Generator(width), tensors, name=path.name)


FLOATS = 240  # measured at 256 x 256
NETWORK = Network("lineart", open_generator, FLOATS)
COARSE = Network("lineart_coarse", open_generator, FLOATS)
