"""Small random ControlNets that fit the tiny models, as files that both loaders read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.sample
import torch
from comfy.model_patcher import ModelPatcher
from tiny_nodes import LAYOUTS, TinyText, random_weights, tiny_model
from torch import Tensor

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.nets import (
    SD15,
    SD21,
    SDXL,
    ControlNet,
    ControlNetConfig,
    Layers,
    build,
)

SMALL: dict[str, Any] = {
    "channel_mult": (1, 2), "num_res_blocks": (1, 1), "transformer_depth": (1, 1),
    "model_channels": 64, "num_heads": None, "num_head_channels": 64,
}  # fmt: skip
CONFIGS = {
    "SD15": SD15.like(**SMALL),
    "SD20": SD21.like(**SMALL),
    "SDXL": SDXL.like(**{**SMALL, "transformer_depth": (0, 2), "transformer_depth_middle": 2}),
}
"""The encoders of tiny_nodes.LAYOUTS. Heads of 64 throughout: the host gives them to any net whose
width it does not know; test_parity.py has SD1.5's 8 heads at its real width."""


def random_net(config: ControlNetConfig, *, seed: int) -> ControlNet:
    """A net of `config` with random weights everywhere, also where training starts at zero."""
    weights = random_weights(build(config, Layers(device="meta")).state_dict(), seed=seed)
    return formats.fill(config, weights)


def net_file(folder: Path, layout: str = "SD15", *, seed: int = 0, **changes: Any) -> str:
    """The name of a ControlNet file, written into `folder` if it is not there yet."""
    traits = "-".join(f"{key}{value}" for key, value in changes.items())
    name = f"{layout}-{seed}{traits}.safetensors".replace(" ", "")
    if not (folder / name).exists():
        formats.save(random_net(CONFIGS[layout].like(**changes), seed=seed), folder / name)
    return name


def prompts(layout: str = "SD15", *texts: str) -> list[list[list[Any]]]:
    """One conditioning for each text, of the width of `layout`."""
    clip = TinyText(LAYOUTS[layout]["context_dim"])
    return [clip.encode_from_tokens_scheduled(clip.tokenize(t)) for t in texts or ("a house", "")]


def picture(count: int = 1, height: int = 64, width: int = 64, *, seed: int = 9) -> Tensor:
    """IMAGE (count height width 3): noise that differs in level from picture to picture."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.linspace(0.3, 1.0, count).view(-1, 1, 1, 1)
    return torch.rand(count, height, width, 3, generator=generator) * levels


_models: dict[tuple[str, int], ModelPatcher] = {}


def model(layout: str = "SD15", channels: int = 64) -> ModelPatcher:
    """The tiny model of `layout`, made once."""
    if (layout, channels) not in _models:
        _models[layout, channels] = tiny_model(layout, channels=channels)
    return _models[layout, channels]


def sample(
    model: ModelPatcher,
    positive: Any,
    negative: Any,
    *,
    batch: int = 1,
    cfg: float = 7.0,
    size: tuple[int, int] = (8, 8),
    steps: int = 3,
    sampler: str = "euler",
    scheduler: str = "normal",
    **options: Any,
) -> Tensor:
    """Latents (batch 4 h w) from noise of a fixed seed, through the host's own sampler."""
    noise = torch.randn(batch, 4, *size, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        return comfy.sample.sample(
            model, noise, steps, cfg, sampler, scheduler, positive, negative,
            torch.zeros_like(noise), disable_pbar=True, seed=0, **options,
        )  # fmt: skip
