"""The model that a ControlNet is trained for, whichever program it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ..nets import UNet
from ..noise import Noise

Size = tuple[int, int]
"""Height and width in pixels."""


class Text(NamedTuple):
    """Prompts as the UNet reads them: `context` (B N D), and `y` (B D) for SDXL."""

    context: Tensor
    y: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Base:
    """A locked diffusion model: its UNet, its noise, and the ways in and out of its latents."""

    name: str
    unet: UNet
    noise: Noise
    encode: Callable[[Tensor], Tensor]
    """Picture (B 3 H W) in 0..1 -> latents (B 4 h w) of unit variance."""
    decode: Callable[[Tensor], Tensor]
    """And back."""
    read: Callable[[Sequence[str], Size], Text]
    """Prompts, for pictures of a size."""
    strange_words: Callable[[str], Sequence[str]] | None = None
    """The words of a prompt that the text encoder does not know; None where it knows all."""
