"""The playground's VAE: pictures to latents of an eighth of their size, and back.

Parameter names and arithmetic are those of TAESD, so that a host's own class loads the weights.
Source: Ollin Boer Bohan, Tiny AutoEncoder for Stable Diffusion (github.com/madebyollin/taesd, MIT),
the published network. *Differences*: trained here, on the playground's scenes, as a VAE whose
posterior has a fixed deviation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 64
LATENT_CHANNELS = 4
LATENT_SCALE = 0.18215
"""What Stable Diffusion multiplies latents by to bring them to unit variance."""


class Autoencoder(nn.Module):
    """Pictures (B 3 H W) in 0..1 to latents (B 4 H/8 W/8) of unit variance, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.taesd_encoder, self.taesd_decoder = _encoder(), _decoder()
        self.vae_scale = nn.Parameter(torch.tensor(LATENT_SCALE), requires_grad=False)
        self.vae_shift = nn.Parameter(torch.tensor(0.0), requires_grad=False)

    def encode(self, picture: Tensor) -> Tensor:
        return self.taesd_encoder(picture) * (LATENT_SCALE / self.vae_scale)

    def decode(self, latent: Tensor) -> Tensor:
        inner = latent * (self.vae_scale / LATENT_SCALE)
        return self.taesd_decoder(inner).clamp(0.0, 1.0)

    def rescale_(self, deviation: float) -> None:
        """Makes latents whose deviation was `deviation` so far come out with 1."""
        with torch.no_grad():
            self.vae_scale.mul_(deviation)


class Squash(nn.Module):
    """Keeps latents within -3..3, softly."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """Three convolutions on a residual path; no norm, so that crops and wholes come out alike."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH)
        )
        self.fuse = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(self.conv(x) + x)


def _encoder() -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3, WIDTH), Block()]
    for _ in range(3):
        layers += [nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False)]
        layers += [Block() for _ in range(3)]
    return nn.Sequential(*layers, _conv(WIDTH, LATENT_CHANNELS))


def _decoder() -> nn.Sequential:
    layers: list[nn.Module] = [Squash(), _conv(LATENT_CHANNELS, WIDTH), nn.ReLU()]
    for _ in range(3):
        layers += [Block() for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)]
    return nn.Sequential(*layers, Block(), _conv(WIDTH, 3))


def _conv(channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 3, padding=1)
