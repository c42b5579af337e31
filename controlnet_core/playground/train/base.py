"""The playground's UNet and text encoder learn together to paint what a caption says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...files import read_header, read_tensors, save_tensors
from ...nets import UNet
from ...nets.blocks import zeroed
from ...noise import Noise
from ..autoencoder import Autoencoder
from ..drawing import draw
from ..scenes import random_scene
from ..text import TextEncoder
from ..words import LENGTH, START, UNKNOWN, tokens

BATCH = 64
_EMPTY_SHARE = 0.12  # prompts left out, so that guidance has something to guide away from
_STRANGE_SHARE = 0.02  # words replaced by <unknown>, so that it comes to mean nothing

Draw = Callable[[int, int], torch.Generator]


class Painter(nn.Module):
    """The two nets that are trained together."""

    def __init__(self, unet: UNet, text: TextEncoder) -> None:
        super().__init__()
        self.unet, self.text = _fresh(unet), text


def _fresh(unet: UNet) -> UNet:
    """`unet` with the last layer of every residual path zeroed, as ldm starts a UNet."""
    ends = (".out_layers.3", ".proj_out", "out.2")
    for name, module in unet.named_modules():
        if name.endswith(ends):
            zeroed(module)
    return unet


def painter_loss(
    painter: Painter, noise: Noise, latents: Tensor, prompts: Tensor, draw: Draw
) -> Callable[[int, int], Tensor]:
    """Mean squared error of the UNet's answer; `latents` (N 4 16 16), `prompts` (N 24) numbers."""
    empty = torch.tensor(tokens(""))

    def loss(step: int, part: int) -> Tensor:
        generator = draw(step, part)
        picks = torch.randint(len(latents), (BATCH,), generator=generator)
        latent = latents[picks].float()
        words = _dropped(prompts[picks], empty, generator)
        unit = torch.randn(latent.shape, generator=generator)
        timesteps = torch.randint(1000, (BATCH,), generator=generator)
        answer = painter.unet(
            noise.noised(latent, unit, timesteps), timesteps.float(), painter.text(words)
        )
        return F.mse_loss(answer.float(), noise.target(latent, unit, timesteps))

    return loss


def _dropped(prompts: Tensor, empty: Tensor, generator: torch.Generator) -> Tensor:
    """Some prompts replaced by the empty one, and some words by <unknown>."""
    whole = torch.rand(len(prompts), 1, generator=generator) < _EMPTY_SHARE
    single = torch.rand(prompts.shape, generator=generator) < _STRANGE_SHARE
    words = torch.where(single & (prompts > START), UNKNOWN, prompts)
    return torch.where(whole, empty, words)


def encoded_scenes(vae: Autoencoder, count: int, path: Path) -> tuple[Tensor, Tensor]:
    """Latents (N 4 16 16) and prompts (N 24) of the first `count` scenes, kept in `path`."""
    if not path.exists():
        parts = [_encoded(vae, seeds) for seeds in _chunks(range(count), 100)]
        latents, prompts = (torch.cat(column) for column in zip(*parts, strict=True))
        save_tensors(path, {"latents": latents, "prompts": prompts}, {"count": json.dumps(count)})
    kept = read_tensors(read_header(path))
    return kept["latents"], kept["prompts"].view(-1, LENGTH)


def _encoded(vae: Autoencoder, seeds: range) -> tuple[Tensor, Tensor]:
    scenes = [random_scene(seed) for seed in seeds]
    with ThreadPoolExecutor(2) as pool:
        pictures = torch.stack([drawing.picture for drawing in pool.map(draw, scenes)])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        latents = vae.encode(pictures.contiguous(memory_format=torch.channels_last)).half()
    return latents.clone(memory_format=torch.contiguous_format), torch.tensor([tokens(scene.caption) for scene in scenes])


def _chunks(numbers: range, size: int) -> Iterable[range]:
    return (numbers[start : start + size] for start in range(0, len(numbers), size))
