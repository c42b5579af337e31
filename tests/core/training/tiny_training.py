"""A tiny base with its copy, and a run that trains it; also the program that a test kills."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from controlstack.controlnet_core.nets import SD15, ControlNet, UNet, from_encoder
from controlstack.controlnet_core.noise import DiffusionNoise, Noise
from controlstack.controlnet_core.training.losses import (
    Batch,
    ControlLoss,
    LossOptions,
    trainable,
)
from controlstack.controlnet_core.training.loop import Recipe, Trainer, generator

CONFIG = SD15.like(
    model_channels=32, channel_mult=(1, 2), num_res_blocks=(1, 1), transformer_depth=(1, 1),
    context_dim=16, num_heads=2, num_head_channels=None, hint_widths=(8, 16, 24, 40),
)  # fmt: skip
EMPTY = torch.zeros(1, 5, 16)


def base_and_copy(seed: int = 0) -> tuple[UNet, ControlNet]:
    torch.manual_seed(seed)
    base = UNet(CONFIG)
    return base, from_encoder(ControlNet(CONFIG), base)


def batch_at(draw: torch.Generator, size: int = 2) -> Batch:
    return Batch(
        latent=torch.randn(size, 4, 8, 8, generator=draw),
        hint=torch.rand(size, 3, 64, 64, generator=draw),
        context=torch.randn(size, 5, 16, generator=draw),
    )


def control_loss(
    base: UNet, net: ControlNet, noise: Noise | None = None, **options: object
) -> ControlLoss:
    return ControlLoss(
        base, net, noise or DiffusionNoise(), batch_at, empty=EMPTY,
        options=LossOptions(**options),  # type: ignore[arg-type]
    )  # fmt: skip


def tiny_trainer(steps: int = 6, **recipe: object) -> Trainer:
    """A trainer that ends in the same weights every time."""
    base, net = base_and_copy()
    loss = control_loss(base, net)
    options = {"learning_rate": 1e-3, "warmup": 2, "average": 0.9, "steps": steps, **recipe}
    return Trainer(
        trainable(net, base),
        lambda step, part: loss(generator(0, step, part)),
        Recipe(**options),  # type: ignore[arg-type]
    )


if __name__ == "__main__":
    from controlstack.controlnet_core.training.run import run

    torch.set_num_threads(1)
    run(tiny_trainer(int(sys.argv[2])), Path(sys.argv[1]), save_every=1)
