"""Noise schedules: against diffusers' scheduler, and inverse operations as inverses."""

from __future__ import annotations

import pytest
import torch

from controlstack.controlnet_core.noise import DiffusionNoise, FlowNoise, Noise

TIMESTEPS = torch.tensor([0, 1, 400, 700, 999])
NOISES = {"eps": DiffusionNoise("eps"), "v": DiffusionNoise("v"), "flow": FlowNoise()}


def draw() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latent, noise = torch.randn(2, len(TIMESTEPS), 4, 8, 8, generator=generator)
    return latent, noise


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_right_answer_leads_to_the_clean_latent(noise: Noise) -> None:
    latent, unit = draw()
    seen, answer = noise.noised(latent, unit, TIMESTEPS), noise.target(latent, unit, TIMESTEPS)
    for row, timestep in enumerate(TIMESTEPS.tolist()):
        sigma = timestep / 1000 if isinstance(noise, FlowNoise) else noise.at(timestep)  # type: ignore[attr-defined]
        signal = 1 - sigma if isinstance(noise, FlowNoise) else 1
        x = sigma * unit[row] + signal * latent[row]
        torch.testing.assert_close(noise.scaled(x, sigma), seen[row], rtol=1e-5, atol=1e-5)
        clean = noise.clean(x, answer[row], sigma)
        torch.testing.assert_close(clean, latent[row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_diffusers_noises_alike(prediction: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
    )  # fmt: skip
    latent, unit = draw()
    noise = DiffusionNoise(prediction)  # type: ignore[arg-type]
    theirs = scheduler.add_noise(latent, unit, TIMESTEPS)
    torch.testing.assert_close(noise.noised(latent, unit, TIMESTEPS), theirs, rtol=1e-5, atol=1e-5)
    target = unit if prediction == "eps" else scheduler.get_velocity(latent, unit, TIMESTEPS)
    torch.testing.assert_close(noise.target(latent, unit, TIMESTEPS), target, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_min_snr_is_the_same_error_of_the_latent_for_every_prediction(noise: Noise) -> None:
    """An answer that means a latent wrong by 0.1 costs 0.01 * min(SNR, 5), whatever it predicts."""
    latent, unit = draw()
    wrong = noise.target(latent + 0.1, unit_for(noise, latent, unit), TIMESTEPS)
    error = (wrong - noise.target(latent, unit, TIMESTEPS)).square().mean(dim=(1, 2, 3))
    weighed = error * noise.snr_weights(TIMESTEPS, 5.0)
    alphas = DiffusionNoise().alphas[TIMESTEPS]
    snr = alphas / (1 - alphas)
    if isinstance(noise, FlowNoise):
        sigma = (TIMESTEPS / 1000).clamp(min=1e-3)
        snr = ((1 - sigma) / sigma) ** 2
    expected = 0.01 * snr.clamp(max=5.0).float()
    torch.testing.assert_close(weighed[1:], expected[1:], rtol=2e-2, atol=1e-5)


def unit_for(noise: Noise, latent: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """The noise that, with `latent` + 0.1, makes the same noisy latent."""
    rows = []
    for row, timestep in enumerate(TIMESTEPS.tolist()):
        if isinstance(noise, FlowNoise):
            signal, rest = 1 - timestep / 1000, timestep / 1000
        else:
            alpha = float(DiffusionNoise().alphas[timestep])
            signal, rest = alpha**0.5, (1 - alpha) ** 0.5
        rows.append(unit[row] - 0.1 * signal / max(rest, 1e-9))
    return torch.stack(rows)


def test_percent_meets_the_ends() -> None:
    noise = DiffusionNoise()
    assert noise.percent_to_sigma(0.0) == noise.steps(7)[0] == pytest.approx(14.6146, abs=1e-3)
    assert noise.steps(7)[-1] == 0.0
    assert noise.percent_to_sigma(1.0) == pytest.approx(0.0292, abs=1e-4)
    assert FlowNoise(shift=3.0).percent_to_sigma(0.5) == pytest.approx(0.75)
