"""The playground's VAE learns to keep a picture in an eighth of its size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...sheet import Panel, save_sheet
from ...training.loop import Recipe
from ..autoencoder import Autoencoder
from .stage import FAST, Stage, channels_last, drawn, eight_bit, held_out, learning

PICTURES = 3000
CROP = 64
BATCH = 16
_DEVIATION = 0.1  # of the posterior: latents so near together must mean nearly the same
_PRIOR = 2e-3  # weight of the KL term, which for a fixed deviation is the latents' square
_SLOPES = 1.0  # weight of the edges against the colours; without it thin outlines stay soft


def train_vae(stage: Stage) -> None:
    """Writes `vae.safetensors`, whose latents have unit variance, and a sheet of what it loses."""
    torch.manual_seed(stage.seed)
    _, drawings = drawn(range(PICTURES))
    pictures = eight_bit(drawing.picture for drawing in drawings)
    vae = channels_last(Autoencoder())  # 1.4 times as fast in bfloat16
    recipe = Recipe(
        learning_rate=7e-4, warmup=200, decay_to=0.02, steps=stage.steps or 5000,
        average=0.995, precision=FAST,
    )  # fmt: skip
    loss = vae_loss(vae, pictures, lambda step, part: stage.draw(1, step, part))
    trainer = stage.train("vae", learning(vae), loss, recipe)
    with trainer.averaged(), torch.no_grad():
        parts = (pictures[start : start + 50].float() / 255.0 for start in range(0, 400, 50))
        vae.rescale_(float(torch.cat([vae.encode(part) for part in parts]).std()))
        _before_and_after(stage.folder / "vae.png", vae)
    stage.keep("vae", vae, trainer)


def trained_vae(stage: Stage) -> Autoencoder:
    """The VAE of an earlier stage."""
    return channels_last(stage.kept("vae", Autoencoder()))


def _before_and_after(path: Path, vae: Autoencoder) -> None:
    _, drawings = drawn(held_out(4))
    pictures = [drawing.picture[None] for drawing in drawings]
    panels = [Panel(picture, "scene") for picture in pictures]
    panels += [Panel(vae.decode(vae.encode(picture)), "through the VAE") for picture in pictures]
    save_sheet(path, panels, columns=4)


def vae_loss(
    vae: Autoencoder, pictures: Tensor, draw: Callable[[int, int], torch.Generator]
) -> Callable[[int, int], Tensor]:
    """The loss on random crops of `pictures` (N 3 H W, 8 bit): colours, edges, and the prior.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (arXiv 1312.6114).
    """

    def loss(step: int, part: int) -> Tensor:
        generator = draw(step, part)
        crops = _crops(pictures, generator)
        mean = vae.taesd_encoder(crops).float()
        noise = torch.randn(mean.shape, generator=generator)
        again = vae.taesd_decoder(mean + _DEVIATION * noise).float()
        apart = _slopes(again) - _slopes(crops)
        colours, edges = F.l1_loss(again, crops), apart.abs().mean()
        return colours + _SLOPES * edges + _PRIOR * mean.square().mean()

    return loss


def _crops(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """A batch of crops (16 3 64 64) in 0..1 of random pictures at random places, or mirrored."""
    picks = torch.randint(len(pictures), (BATCH,), generator=generator)
    places = torch.randint(pictures.shape[-1] - CROP + 1, (BATCH, 2), generator=generator)
    crops = [
        pictures[int(pick), :, int(y) : int(y) + CROP, int(x) : int(x) + CROP]
        for pick, (y, x) in zip(picks, places, strict=True)
    ]
    return torch.stack(crops).contiguous(memory_format=torch.channels_last).float() / 255.0


def _slopes(x: Tensor) -> Tensor:
    """Differences to the pixel on the right and to the one below (B 6 H-1 W-1)."""
    corner = x[..., :-1, :-1]
    return torch.cat([x[..., :-1, 1:] - corner, x[..., 1:, :-1] - corner], dim=1)
