"""The playground's models: a base that paints captioned scenes, and ControlNets that fit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from ..files import read_header, read_tensors
from ..formats import load
from ..nets import SD15, ControlNet, UNet
from ..noise import DiffusionNoise
from .annotator import Annotator
from .autoencoder import Autoencoder
from .text import TextEncoder

CONFIG = SD15.like(
    model_channels=64, channel_mult=(1, 2, 2), num_res_blocks=(1, 1, 1),
    transformer_depth=(0, 1, 1), context_dim=96, num_heads=None, num_head_channels=32,
)  # fmt: skip
NOISE = DiffusionNoise("v")
SCALE = 8
"""Pixels along a side of one latent cell."""
CONTROLS = ("edges", "depth", "labels")
WEIGHTS = Path(__file__).parent / "weights"
CONTROL_FOLDER = WEIGHTS / "controlnet"
"""Apart from the rest, so that a host can list its files as ControlNets."""
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Family:
    """A base model and one ControlNet for each kind of hint."""

    unet: UNet
    text: TextEncoder
    vae: Autoencoder
    annotator: Annotator
    controls: Mapping[str, ControlNet]

    def read(self, prompts: list[str]) -> Tensor:
        """Text (B 24 96) of the prompts."""
        return self.text.encode(prompts)


def load_family(folder: Path = WEIGHTS) -> Family:
    """The trained family, on the CPU in float32."""
    return Family(
        unet=_filled(UNet(CONFIG), folder / "unet.safetensors"),
        text=_filled(TextEncoder(), folder / "text.safetensors"),
        vae=_filled(Autoencoder(), folder / "vae.safetensors"),
        annotator=_filled(Annotator(), folder / "annotator.safetensors"),
        controls={kind: load(control_file(kind, folder)).float() for kind in CONTROLS},
    )


def control_file(kind: str, folder: Path = WEIGHTS) -> Path:
    """The file of the ControlNet for a kind of hint, one of CONTROLS."""
    return folder / "controlnet" / f"playground_{kind}.safetensors"


def _filled(net: Net, path: Path) -> Net:
    net.load_state_dict(read_tensors(read_header(path)))
    return net.float().requires_grad_(False).eval()
