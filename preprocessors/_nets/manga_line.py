"""The network of manga line extraction, which tells strokes from screentones."""

# Source: Li, Liu & Wong 2017, Deep Extraction of Manga Structural Lines, in its PyTorch form
# ljsabc/MangaLineExtraction_PyTorch (MIT). Written from its layer list; names are those of
# erika.pth.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from ...controlnet_core.files import read_tensors
from .._networks import Network, filled, side

WIDTHS = (24, 48, 96, 192, 384)
DEPTHS = (2, 3, 5, 7, 12)  # blocks of each width, on the way down
LAST = 16  # channels before the last convolution
MULTIPLE = 2 ** (len(WIDTHS) - 1)  # to which sides must be padded


class Conv(nn.Module):
    """(b C h w) -> (b width h w): batch norm, activation, then convolution."""

    def __init__(
        self, channels: int, width: int, *, side: int = 3, stride: int = 1, up: bool = False
    ) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.BatchNorm2d(channels, eps=1e-3), nn.LeakyReLU(0.2),
            nn.Conv2d(channels, width, side, stride, padding=side // 2), *_twice(up),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Shortcut(nn.Module):
    """(b C h w) in the shape of what it will be added to."""

    def __init__(self, channels: int, width: int, *, stride: int, up: bool) -> None:
        super().__init__()
        same = channels == width and stride == 1
        self.model = (
            nn.Identity() if same
            else nn.Sequential(nn.Conv2d(channels, width, 1, stride), *_twice(up))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Block(nn.Module):
    """(b C h w) -> (b width h w), at half the size for stride 2, at twice the size for `up`."""

    def __init__(self, channels: int, width: int, *, stride: int = 1, up: bool = False) -> None:
        super().__init__()
        self.conv1 = Conv(channels, width, stride=stride, up=up)
        self.residual = Conv(width, width)
        self.shortcut = Shortcut(channels, width, stride=stride, up=up)

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(self.conv1(x)) + self.shortcut(x)


class Stage(nn.Module):
    """`depth` blocks, of which the last halves the size or the first doubles it."""

    def __init__(
        self, channels: int, width: int, depth: int, *, down: bool = False, up: bool = False
    ) -> None:
        super().__init__()
        self.model = nn.Sequential(*(
            Block(
                width if n else channels, width,
                stride=2 if down and n == depth - 1 else 1, up=up and n == 0,
            )
            for n in range(depth)
        ))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def _twice(up: bool) -> tuple[nn.Module, ...]:
    return (nn.Upsample(scale_factor=2, mode="nearest"),) if up else ()


class MangaLine(nn.Module):
    """Structural lines of manga pages: dark lines on white."""

    def __init__(
        self, widths: Sequence[int] = WIDTHS, depths: Sequence[int] = DEPTHS, last: int = LAST
    ) -> None:
        super().__init__()
        self.levels = len(widths)
        inputs = (1, *widths[:-1])
        for n, (channels, width, depth) in enumerate(zip(inputs, widths, depths, strict=True)):
            self.add_module(f"block{n}", Stage(channels, width, depth, down=n > 0))
        for n in range(self.levels - 1):
            channels, width = widths[-1 - n], widths[-2 - n]
            stage = Stage(channels, width, depths[-2 - n], up=True)
            self.add_module(f"block{self.levels + n}", stage)
        end = Stage(widths[0], last, depths[0])
        self.add_module(f"block{2 * self.levels - 1}", end)
        self.conv15 = Conv(last, 1, side=1)

    def forward(self, grey: Tensor) -> Tensor:
        """Lines (b 1 H W), about 0 on strokes and 255 on paper, of grey (b 1 H W) in 0..255.

        Sides must be divisible by 16. The answer may leave 0..255.
        """
        stages = [self.get_submodule(f"block{n}") for n in range(2 * self.levels)]
        x, skips = grey, list[Tensor]()
        for stage in stages[: self.levels]:
            x = stage(x)
            skips.append(x)
        for stage, skip in zip(stages[self.levels : -1], skips[-2::-1], strict=True):
            x = stage(x) + skip
        return self.conv15(stages[-1](x))


def open_manga_line(path: Path) -> nn.Module:
    """The network in the file at `path`, of any widths."""
    tensors = read_tensors(path)
    first = "block{}.model.0.conv1.model.2.weight"
    widths = [side(tensors, first.format(n), 0, width) for n, width in enumerate(WIDTHS)]
    last = side(tensors, "conv15.model.2.weight", 1, LAST)
    return filled(lambda: MangaLine(widths, last=last), tensors, name=path.name)


NETWORK = Network("lineart_manga", open_manga_line, floats_per_pixel=270)  # measured at 256 x 256
