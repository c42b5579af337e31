"""PiDiNet, soft edges from convolutions over differences of pixels."""

# Source: Su et al. 2021 (arXiv:2108.07009), their network "table5" (carv4, width 60, dilation 24,
# attention), whose licence is for research only. Written from its layer list; names are those of
# table5_pidinet.pth.
# Difference: gives the fused map alone, of the five that the training looks at.

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...controlnet_core.files import read_tensors
from .._networks import Network, filled, side

WIDTH, DILATION = 60, 24
STAGES = (3, 4, 4, 4)  # blocks of each scale
LAYERS = ("init_block", *(f"block{s}_{b + 1}" for s, n in enumerate(STAGES, 1) for b in range(n)))
KINDS = dict(zip(LAYERS, ("cd", "ad", "rd", "cv") * 4, strict=True))
SMALLEST = 2 ** (len(STAGES) - 1)  # sides in pixels; any larger size will do

ROUND = (3, 0, 1, 6, 4, 2, 7, 8, 5)  # each tap's neighbour around the centre of a 3 x 3 kernel
OUTER = (0, 2, 4, 10, 14, 20, 22, 24)  # of a 5 x 5 kernel, in eight directions
INNER = (6, 7, 8, 11, 13, 16, 17, 18)


def plain_kernel(weight: Tensor, kind: str) -> Tensor:
    """The kernel (O I k k) by which an ordinary convolution equals a pixel difference.

    `weight` (O I 3 3) weighs, for cd, neighbours minus the centre; for ad, neighbours minus the
    next ones around; for rd, outer pixels of 5 x 5 minus inner ones (k is 5). cv is ordinary.
    """
    if kind == "cv":
        return weight
    taps = weight.flatten(2)
    match kind:
        case "cd":
            made = taps.clone()
            made[..., 4] -= taps.sum(-1)
        case "ad":
            made = taps - taps[..., ROUND]
        case _:
            made = taps.new_zeros(*taps.shape[:2], 25)
            made[..., OUTER] = taps[..., 1:]
            made[..., INNER] = -taps[..., 1:]
    side = 5 if kind == "rd" else 3
    return made.unflatten(-1, (side, side))


def folded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights as those of `PiDiNet(folded=True)`: the same map, from plain kernels."""
    kinds = {f"{name}{end}": kind for name, kind in KINDS.items() for end in _ENDS}
    return {name: plain_kernel(x, kinds.get(name, "cv")) for name, x in tensors.items()}


_ENDS = (".weight", ".conv1.weight")  # of the first layer, and of a block


class DifferenceConv(nn.Conv2d):
    """A convolution without bias over differences of pixels, of the size of its input."""

    def __init__(self, kind: str, channels: int, width: int, *, groups: int = 1) -> None:
        super().__init__(
            channels, width, 3, padding=2 if kind == "rd" else 1, groups=groups, bias=False
        )
        self.kind = kind

    def forward(self, input: Tensor) -> Tensor:
        kernel = plain_kernel(self.weight, self.kind)
        return F.conv2d(input, kernel, padding=self.padding, groups=self.groups)


def _conv(name: str, channels: int, width: int, *, groups: int = 1, folded: bool) -> nn.Conv2d:
    """The convolution of the layer `name`, which looks at differences unless they are folded."""
    if not folded:
        return DifferenceConv(KINDS[name], channels, width, groups=groups)
    side = 5 if KINDS[name] == "rd" else 3
    return nn.Conv2d(channels, width, side, padding=side // 2, groups=groups, bias=False)


class Block(nn.Module):
    """(b C h w) -> (b width h w), or at half the size where `pool`."""

    def __init__(self, name: str, channels: int, width: int, *, pool: bool, folded: bool) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.conv1 = _conv(name, channels, channels, groups=channels, folded=folded)
        self.conv2 = nn.Conv2d(channels, width, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, width, 1) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        return self.conv2(F.relu(self.conv1(x))) + self.shortcut(x)


class Dilations(nn.Module):
    """(b C h w) -> (b width h w) that sees 5 to 11 pixels far."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1)
        self.conv2_1, self.conv2_2, self.conv2_3, self.conv2_4 = (
            nn.Conv2d(width, width, 3, padding=far, dilation=far, bias=False)
            for far in (5, 7, 9, 11)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(x))
        return self.conv2_1(x) + self.conv2_2(x) + self.conv2_3(x) + self.conv2_4(x)


class Attention(nn.Module):
    """(b C h w) weighed by how much each place matters."""

    def __init__(self, channels: int, width: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1)
        self.conv2 = nn.Conv2d(width, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv2(self.conv1(F.relu(x))).sigmoid()


class Reduce(nn.Module):
    """(b C h w) -> edge logits (b 1 h w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class PiDiNet(nn.Module):
    """Edges of pictures, found at four scales. `folded` takes the weights that `folded` makes."""

    def __init__(
        self, width: int = WIDTH, dilation: int = DILATION, *, folded: bool = False
    ) -> None:
        super().__init__()
        self.init_block = _conv("init_block", 3, width, folded=folded)
        channels, widths = width, (width, 2 * width, 4 * width, 4 * width)
        for name in LAYERS[1:]:
            stage, first = int(name[5]), name.endswith("_1")
            wide = widths[stage - 1]
            pool = first and stage > 1
            self.add_module(name, Block(name, channels, wide, pool=pool, folded=folded))
            channels = wide
        self.dilations = nn.ModuleList(Dilations(wide, dilation) for wide in widths)
        self.attentions = nn.ModuleList(Attention(dilation) for _ in widths)
        self.conv_reduces = nn.ModuleList(Reduce(dilation) for _ in widths)
        self.classifier = nn.Conv2d(len(widths), 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Probability of an edge (b 1 H W) of pictures (b 3 H W) in 0..1, channels B, G, R."""
        size = image.shape[-2:]
        x = self.init_block(image)
        logits: list[Tensor] = []
        heads = zip(self.dilations, self.attentions, self.conv_reduces, strict=True)
        for stage, (dilations, attention, reduce) in enumerate(heads, start=1):
            for b in range(STAGES[stage - 1]):
                x = self.get_submodule(f"block{stage}_{b + 1}")(x)
            side = reduce(attention(dilations(x)))
            logits.append(F.interpolate(side, size, mode="bilinear"))
        return self.classifier(torch.cat(logits, 1)).sigmoid()


def open_pidinet(path: Path) -> nn.Module:
    """The network in the file at `path`, of any widths, its pixel differences folded."""
    tensors = read_tensors(path)
    width = side(tensors, "init_block.weight", 0, WIDTH)
    dilation = side(tensors, "dilations.0.conv1.weight", 0, DILATION)
    plain = filled(lambda: PiDiNet(width, dilation), tensors, name=path.name)
    kernels = folded(plain.state_dict())
    return filled(lambda: PiDiNet(width, dilation, folded=True), kernels, name=path.name)


NETWORK = Network("pidinet", open_pidinet, floats_per_pixel=190)  # measured at 256 x 256
