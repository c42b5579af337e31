"""The playground's VAE learns to keep a picture in an eighth of its size."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..autoencoder import Autoencoder

CROP = 64
BATCH = 16
_DEVIATION = 0.1  # of the posterior: latents so near together must mean nearly the same
_PRIOR = 2e-3  # weight of the KL term, which for a fixed deviation is the latents' square
_SLOPES = 1.0  # weight of the edges against the colours; without it thin outlines stay soft


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
    picks = torch.randint(len(pictures), (BATCH,), generator=generator).tolist()
    places = torch.randint(pictures.shape[-1] - CROP + 1, (BATCH, 2), generator=generator).tolist()
    crops = [
        pictures[pick, :, y : y + CROP, x : x + CROP]
        for pick, (y, x) in zip(picks, places, strict=True)
    ]
    return torch.stack(crops).contiguous(memory_format=torch.channels_last).float() / 255.0


def _slopes(x: Tensor) -> Tensor:
    """Differences to the pixel on the right and to the one below (B 6 H-1 W-1)."""
    corner = x[..., :-1, :-1]
    return torch.cat([x[..., :-1, 1:] - corner, x[..., 1:, :-1] - corner], dim=1)
