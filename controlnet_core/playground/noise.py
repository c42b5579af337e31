"""The noise schedule of Stable Diffusion: sigmas, timesteps, and the way to a clean latent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """Variance-preserving noise of an eps-predicting model, told by sigma as k-diffusion does.

    Source: Ho et al. (arXiv 2006.11239) with the scaled-linear betas of latent diffusion; the
    sigma form is Karras et al. (arXiv 2206.00364), appendix C.
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012
    count: int = 1000

    @cached_property
    def sigmas(self) -> Tensor:
        """Sigma (1000) of each timestep, rising."""
        ends = (self.beta_start**0.5, self.beta_end**0.5)
        betas = torch.linspace(*ends, self.count, dtype=torch.float64) ** 2
        alphas = torch.cumprod(1.0 - betas, dim=0)
        return ((1.0 - alphas) / alphas).sqrt().float()

    def percent_to_sigma(self, percent: float) -> float:
        """Sigma at a fraction of the sampling: 0 is pure noise, 1 the clean latent."""
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
        """Sigmas of `count` steps, evenly spaced in timesteps from the highest, then 0."""
        return [self.at(float(t)) for t in torch.linspace(self.count - 1, 0, count)] + [0.0]
