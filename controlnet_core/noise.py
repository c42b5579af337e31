"""The noise of a diffusion model, and what the model was trained to predict from it.

`sigma` is the noise level in the sense of k-diffusion; a model is told it as a timestep 0..999.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import torch
from torch import Tensor

Prediction = Literal["eps", "v"]


class Noise(Protocol):
    """What training and sampling have to know of a model; all tensors are (B ...) and (B)."""

    def percent_to_sigma(self, percent: float) -> float:
        """Sigma at a fraction of the sampling: 0 is pure noise, 1 the clean latent."""
        ...

    def steps(self, count: int) -> list[float]:
        """Sigmas of `count` steps from the highest, then 0."""
        ...

    def timestep(self, sigma: float) -> float:
        """What the model is told at `sigma`."""
        ...

    def noised(self, latent: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the model sees of `latent` at `timesteps` (B), with unit `noise`."""
        ...

    def target(self, latent: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the model is to answer."""
        ...

    def snr_weights(self, timesteps: Tensor, gamma: float) -> Tensor:
        """Weights (B) of the loss that keep the signal-to-noise ratio from counting above gamma."""
        ...

    def start(self, noise: Tensor, sigma: float) -> Tensor:
        """The noisy latent that a sampler begins with, from unit noise."""
        ...

    def scaled(self, x: Tensor, sigma: float) -> Tensor:
        """A sampler's noisy latent as the model wants to see it."""
        ...

    def clean(self, x: Tensor, answer: Tensor, sigma: float) -> Tensor:
        """The clean latent that `answer` means for a sampler's noisy latent `x`."""
        ...


@dataclass(frozen=True)
class DiffusionNoise:
    """Variance-preserving noise; a sampler's latents are `latent + sigma * noise`.

    Source: Ho et al. (arXiv 2006.11239) with the scaled-linear betas of latent diffusion; the
    sigma form is Karras et al. (arXiv 2206.00364), appendix C; v is Salimans and Ho
    (arXiv 2202.00512), appendix D. Weights: min-SNR, Hang et al. (arXiv 2303.09556).
    """

    prediction: Prediction = "eps"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    count: int = 1000

    @cached_property
    def alphas(self) -> Tensor:
        """Share of the signal's variance (1000) at each timestep, falling."""
        ends = (self.beta_start**0.5, self.beta_end**0.5)
        betas = torch.linspace(*ends, self.count, dtype=torch.float64) ** 2
        return torch.cumprod(1.0 - betas, dim=0)

    @cached_property
    def sigmas(self) -> Tensor:
        """Sigma (1000) of each timestep, rising."""
        return ((1.0 - self.alphas) / self.alphas).sqrt().float()

    def percent_to_sigma(self, percent: float) -> float:
        return self.at((1.0 - percent) * (self.count - 1))

    def at(self, timestep: float) -> float:
        """Sigma at a timestep 0..999; between two of them log sigma is interpolated."""
        low = min(int(timestep), self.count - 2)
        logs = self.sigmas.log()
        share = timestep - low
        return float(((1.0 - share) * logs[low] + share * logs[low + 1]).exp())

    def timestep(self, sigma: float) -> float:
        """The timestep 0..999 whose sigma is nearest."""
        return float((self.sigmas.log() - torch.tensor(sigma).log()).abs().argmin())

    def steps(self, count: int) -> list[float]:
        return [self.at(float(t)) for t in torch.linspace(self.count - 1, 0, count)] + [0.0]

    def noised(self, latent: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        signal, rest = self._shares(timesteps, latent)
        return signal * latent + rest * noise

    def target(self, latent: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        if self.prediction == "eps":
            return noise
        signal, rest = self._shares(timesteps, latent)
        return signal * noise - rest * latent

    def snr_weights(self, timesteps: Tensor, gamma: float) -> Tensor:
        alphas = self.alphas.to(timesteps.device)[timesteps.long()]
        snr = (alphas / (1.0 - alphas)).float()
        return snr.clamp(max=gamma) / (snr if self.prediction == "eps" else snr + 1.0)

    def start(self, noise: Tensor, sigma: float) -> Tensor:
        return noise * (sigma**2 + 1.0) ** 0.5  # seen with unit variance, as ComfyUI has it

    def scaled(self, x: Tensor, sigma: float) -> Tensor:
        return x / (sigma**2 + 1.0) ** 0.5

    def clean(self, x: Tensor, answer: Tensor, sigma: float) -> Tensor:
        if self.prediction == "eps":
            return x - sigma * answer
        return x / (sigma**2 + 1.0) - answer * (sigma / (sigma**2 + 1.0) ** 0.5)

    def _shares(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of signal and noise (B 1 1 1) in the model's input."""
        alphas = self.alphas.to(timesteps.device)[timesteps.long()].view(-1, 1, 1, 1)
        return alphas.sqrt().to(like.dtype), (1.0 - alphas).sqrt().to(like.dtype)


@dataclass(frozen=True)
class FlowNoise:
    """Rectified flow: from the latent straight to the noise, sigma the share of the way.

    Source: Liu et al. (arXiv 2209.03003); the model is told 1000 * sigma, and answers the
    velocity `noise - latent`. `shift` moves steps to higher noise, as SD3 does (arXiv 2403.03206).
    """

    shift: float = 1.0

    def percent_to_sigma(self, percent: float) -> float:
        return self._shifted(1.0 - percent)

    def timestep(self, sigma: float) -> float:
        return 1000.0 * sigma

    def steps(self, count: int) -> list[float]:
        return [self._shifted(1.0 - index / count) for index in range(count)] + [0.0]

    def noised(self, latent: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return torch.lerp(latent, noise, self._sigma(timesteps, latent))

    def target(self, latent: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return noise - latent

    def snr_weights(self, timesteps: Tensor, gamma: float) -> Tensor:
        sigma = (timesteps.float() / 1000.0).clamp(min=1e-3)
        snr = ((1.0 - sigma) / sigma) ** 2
        return snr.clamp(max=gamma) * sigma**2  # the velocity's error is the latent's / sigma

    def start(self, noise: Tensor, sigma: float) -> Tensor:
        return noise * sigma

    def scaled(self, x: Tensor, sigma: float) -> Tensor:
        return x

    def clean(self, x: Tensor, answer: Tensor, sigma: float) -> Tensor:
        return x - sigma * answer

    def _shifted(self, sigma: float) -> float:
        return self.shift * sigma / (1.0 + (self.shift - 1.0) * sigma)

    def _sigma(self, timesteps: Tensor, like: Tensor) -> Tensor:
        return (timesteps.float() / 1000.0).view(-1, 1, 1, 1).to(like.dtype)
