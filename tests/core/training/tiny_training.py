"""A tiny base with its copy, and a run that trains it; also the program that a test kills."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from controlstack.controlnet_core.nets import SD15, ControlNet, UNet, from_encoder
from controlstack.controlnet_core.noise import DiffusionNoise, Noise
from controlstack.controlnet_core.training.base import Base, Text
from controlstack.controlnet_core.training.data import Dataset, open_dataset
from controlstack.controlnet_core.training.loop import Recipe, Trainer, generator
from controlstack.controlnet_core.training.losses import (
    Batch,
    ControlLoss,
    LossOptions,
    trainable,
)

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


def tiny_base(y: int = 0) -> Base:
    """A base without VAE or text encoder: latents are means of 8 x 8 pixels, words are lengths.

    With `y`, it gives pooled text (B y) too, of the prompt's length and the size.
    """
    torch.manual_seed(0)
    unet = UNet(CONFIG.like(adm_in_channels=y or None)).requires_grad_(False)

    def encode(picture: Tensor) -> Tensor:
        colours = F.avg_pool2d(picture * 2 - 1, 8)
        return torch.cat([colours, colours.mean(dim=1, keepdim=True)], dim=1)

    def decode(latent: Tensor) -> Tensor:
        return F.interpolate((latent[:, :3] / 2 + 0.5).clamp(0, 1), scale_factor=8)

    def read(prompts: Sequence[str], size: tuple[int, int]) -> Text:
        length = torch.tensor([float(len(prompt)) for prompt in prompts])
        context = length.view(-1, 1, 1).expand(-1, 5, 16) / 32
        pooled = torch.stack([length, *(torch.full_like(length, edge) for edge in size)], dim=1)
        return Text(context, pooled.repeat(1, y)[:, :y] if y else None)

    return Base("tiny", unet, DiffusionNoise(), encode, decode, read)


def write_scenes(folder: Path, count: int = 4, *, hints: bool = True, size: int = 64) -> Path:
    """A dataset: bright boxes left of the middle, their outlines as hints, captions."""
    for part in ("image", "conditioning") if hints else ("image",):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        corners = (4 + 3 * index, 6, 28, 50 - 5 * index)
        picture = Image.new("RGB", (size, size), (40, 20 * index, 60))
        ImageDraw.Draw(picture).rectangle(corners, fill=(250, 200 - 30 * index, 90))
        picture.save(folder / "image" / f"{index}.png")
        (folder / "image" / f"{index}.txt").write_text("a box" + " red" * index)
        if hints:
            outline = Image.new("RGB", (size, size))
            ImageDraw.Draw(outline).rectangle(corners, outline="white")
            outline.save(folder / "conditioning" / f"{index}.png")
    return folder if hints else folder / "image"


def scenes(folder: Path, count: int = 4) -> Dataset:
    return open_dataset(write_scenes(folder, count))


if __name__ == "__main__":
    from controlstack.controlnet_core.training.run import run

    torch.set_num_threads(1)
    run(tiny_trainer(int(sys.argv[2])), Path(sys.argv[1]), save_every=1)
