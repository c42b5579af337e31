"""What a ControlNet is trained on: the base's own loss, with only the control's side learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import checkpoint as recompute

from ..nets import ControlNet, UNet
from ..noise import Noise
from ..residuals import Residuals


class Batch(NamedTuple):
    """Pictures to learn from, with what was asked for."""

    latent: Tensor
    """(B 4 h w), of unit variance."""
    hint: Tensor
    """(B 3 H W) in 0..1."""
    context: Tensor
    """Text (B N D)."""
    y: Tensor | None = None
    """Pooled text (B D) of SDXL."""
    empty_y: Tensor | None = None
    """The empty prompt's `y` (B D), which takes its place where the prompt is dropped."""


BatchAt = Callable[[torch.Generator], Batch]
"""Draws a batch; everything random about it comes from the generator."""


@dataclass(frozen=True)
class LossOptions:
    """How a batch becomes a loss."""

    empty_share: float = 0.5
    """Share of prompts replaced by the empty one, so that the hint itself has to be read."""
    min_snr: float | None = None
    """Gamma of min-SNR weighting; None weighs all noise levels as the base's training did."""
    only_middle: bool = False
    """Only the middle residual acts (the official code's `only_mid_control`)."""


class ControlLoss:
    """Mean squared error of the base's answer (eps, v or flow) with the net's residuals added.

    Called with a random generator. The base's encoder runs without gradients, since residuals do
    not reach it. Source: arXiv 2302.05543, section 3.3; min-SNR is Hang et al. (arXiv 2303.09556).
    """

    def __init__(
        self,
        base: UNet,
        net: ControlNet,
        noise: Noise,
        batch_at: BatchAt,
        *,
        empty: Tensor,
        options: LossOptions | None = None,
    ) -> None:
        self.base, self.net, self.noise, self.batch_at = base, net, noise, batch_at
        self.empty, self.options = empty, options or LossOptions()

    def __call__(self, generator: torch.Generator) -> Tensor:
        batch = self.batch_at(generator)
        unit, timesteps = self._noise(batch.latent, generator)
        context, y = self._dropped(batch, generator)
        x = self.noise.noised(batch.latent, unit, timesteps)
        with torch.no_grad():
            encoded = self.base.encode(x, timesteps.float(), context, y)
        residuals = self.net(x, timesteps.float(), context, self.net.encode_hint(batch.hint), y)
        if self.options.only_middle:
            residuals = Residuals(middle=residuals.middle)
        answer = self.base.decode(encoded, context, control=residuals).float()
        target = self.noise.target(batch.latent, unit, timesteps).float()
        errors = F.mse_loss(answer, target, reduction="none").mean(dim=(1, 2, 3))
        return (errors * self._weights(timesteps)).mean()

    def _noise(self, latent: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Unit noise and timesteps (B); drawn on the CPU, so that every device sees the same."""
        unit = torch.randn(latent.shape, generator=generator)
        timesteps = torch.randint(1000, (len(latent),), generator=generator)
        return unit.to(latent), timesteps.to(latent.device)

    def _dropped(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """The text and `y`, some rows of both replaced by the empty prompt's."""
        context, y = batch.context, batch.y
        chances = torch.rand(len(context), 1, 1, generator=generator)
        drop = (chances < self.options.empty_share).to(context.device)
        context = torch.where(drop, self.empty.to(context), context)
        if y is not None and batch.empty_y is not None:
            y = torch.where(drop[..., 0], batch.empty_y.to(y), y)
        return context, y

    def _weights(self, timesteps: Tensor) -> Tensor:
        gamma = self.options.min_snr
        if gamma is None:
            return torch.ones(len(timesteps), device=timesteps.device)
        return self.noise.snr_weights(timesteps, gamma)


def trainable(net: nn.Module, base: UNet, *, unlocked: bool = False) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name; the base's are locked.

    `unlocked` adds the base's decoder (the official code's `sd_locked = False`), as `base.`...
    """
    base.requires_grad_(False)
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if unlocked:
        for part in (base.output_blocks, base.out):
            part.requires_grad_(True)
        named |= {f"base.{n}": p for n, p in base.named_parameters() if p.requires_grad}
    return named


def checkpoint_blocks(base: UNet, net: ControlNet) -> None:
    """Keeps no activations inside the copy's and the decoder's blocks: they are computed twice.

    The base's encoder needs none of this; it runs without gradients.
    """
    again = cast("Any", recompute.checkpoint)  # its own annotation allows None
    for block in (*net.input_blocks, net.middle_block, *base.output_blocks):
        block.forward = partial(again, block.forward, use_reentrant=False)
