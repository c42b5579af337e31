"""Small nets of true layout with random weights, inputs for them, and ways to compare results.

Every family keeps its channel multipliers, residual count, text width, label width and heads; only
`model_channels`, the depth of the transformers and the hint encoder's widths are cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from controlstack.controlnet_core.files import Header, TensorInfo
from controlstack.controlnet_core.formats import Format
from controlstack.controlnet_core.nets import (
    SD15,
    SD21,
    SDXL,
    ControlNet,
    ControlNetConfig,
    Layers,
    UNet,
    UnionControlNet,
    build,
)
from controlstack.controlnet_core.residuals import Residuals

_SMALL = {"model_channels": 32, "hint_widths": (8, 16, 24, 40)}

_SDXL = SDXL.like(transformer_depth=(0, 0, 1, 1, 2, 2), transformer_depth_middle=2, **_SMALL)

FAMILIES: dict[str, ControlNetConfig] = {
    "sd15": SD15.like(**_SMALL),
    "sd15-paper": SD15.like(**_SMALL, paper_hint=True),
    "sd2": SD21.like(**_SMALL | {"model_channels": 64}),  # the first level has heads of 64 too
    "sd2-unclip": SD21.like(
        **_SMALL | {"model_channels": 64}, adm_in_channels=2048, upcast_attention=False
    ),
    "sdxl": _SDXL,
    "sdxl-small": _SDXL.like(
        transformer_depth=(0,) * 6, transformer_depth_middle=0, context_dim=None
    ),
    "ssd": _SDXL.like(transformer_depth_middle=None),
    "union6": _SDXL.like(union_types=6),
    "union8": _SDXL.like(union_types=8),
}

PLAIN = {
    name: config
    for name, config in FAMILIES.items()
    if not config.union_types and not config.paper_hint
}
UNIONS = {name: config for name, config in FAMILIES.items() if config.union_types}


def randomize(module: nn.Module, seed: int) -> nn.Module:
    """`module` with every weight drawn anew, scaled so that signals neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1:
                weight.copy_(noise / weight[0].numel() ** 0.5)
            else:
                weight.copy_(0.1 * noise + float(name.endswith("weight")))
    return module.requires_grad_(False)


@cache
def random_net(config: ControlNetConfig, seed: int = 0) -> ControlNet:
    """The ControlNet of `config`, zero convolutions random too; shared: nobody may write to it."""
    net = build(config, Layers(device="meta")).to_empty(device="cpu")
    randomize(net, seed)
    return net


@cache
def random_unet(config: ControlNetConfig, seed: int = 100) -> UNet:
    """The UNet of `config`; shared: nobody may write to it."""
    unet = UNet(config, Layers(device="meta")).to_empty(device="cpu")
    randomize(unet, seed)
    return unet


@cache
def shapes_of(config: ControlNetConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of the ControlNet of `config`, of any size; no memory."""
    net = build(config, Layers(device="meta"))
    return {name: tuple(weight.shape) for name, weight in net.state_dict().items()}


def header_of(
    config: ControlNetConfig,
    format: Format,
    *,
    prefix: str = "",
    dtype: torch.dtype = torch.float32,
    metadata: dict[str, str] | None = None,
) -> Header:
    """The header of a file in that format that nobody wrote."""
    keymap = format.keymap(config)
    tensors = {
        prefix + keymap.to_file(name): TensorInfo(shape, dtype)
        for name, shape in shapes_of(config).items()
    }
    return Header(Path("net.safetensors"), "net.safetensors", tensors, metadata or {}, 1)


@dataclass(frozen=True, eq=False)
class Inputs:
    """What one evaluation of a net takes; `hint` is a picture."""

    x: Tensor
    timesteps: Tensor
    context: Tensor
    hint: Tensor
    y: Tensor | None

    def row(self, index: int) -> Inputs:
        """Item `index` alone."""
        parts = (self.x, self.timesteps, self.context, self.hint, self.y)
        return Inputs(*(None if x is None else x[index : index + 1] for x in parts))


def inputs(
    config: ControlNetConfig, *, batch: int = 2, height: int = 8, width: int = 8, seed: int = 1
) -> Inputs:
    """Random inputs whose rows differ in noise level, text, level and contrast of the hint."""
    generator = torch.Generator().manual_seed(seed)
    level = torch.linspace(0.2, 0.6, batch).view(-1, 1, 1, 1)
    pixels = (batch, config.hint_channels, height * 8, width * 8)
    return Inputs(
        x=torch.randn(batch, config.in_channels, height, width, generator=generator),
        timesteps=torch.linspace(993.7, 13.3, batch),
        context=torch.randn(batch, 7, config.context_dim or 16, generator=generator),
        hint=level + (1 - level) * torch.rand(pixels, generator=generator),
        y=(
            None
            if config.adm_in_channels is None
            else torch.randn(batch, config.adm_in_channels, generator=generator)
        ),
    )


@torch.no_grad()
def residuals_of(net: ControlNet, given: Inputs, *, types: tuple[int, ...] = ()) -> Residuals:
    """One evaluation; a union net gets the picture for each of `types`, upside down in turn."""
    hint = net.encode_hint(given.hint)
    if not isinstance(net, UnionControlNet):
        return net(given.x, given.timesteps, given.context, hint, given.y)
    flipped = net.encode_hint(given.hint.flip(-2))
    features = [flipped if i % 2 else hint for i in range(max(1, len(types)))]
    fused = net.fuse(features, types)
    return net(given.x, given.timesteps, given.context, fused, given.y, types=types)


def relative(a: Tensor, b: Tensor) -> float:
    """Greatest difference, as a share of the greatest value of `b`."""
    assert a.shape == b.shape
    return float((a - b).abs().max() / b.abs().max())


def equal(a: Residuals, b: Residuals) -> bool:
    """Whether both hold the same tensors, bit for bit, at the same places."""
    sides = [[(site, x) for site, row in r.rows() for x in row] for r in (a, b)]
    return [site for site, _ in sides[0]] == [site for site, _ in sides[1]] and all(
        (p is None and q is None) or (p is not None and q is not None and torch.equal(p, q))
        for (_, p), (_, q) in zip(*sides, strict=True)
    )
