"""The playground's UNet and text encoder learn together to paint what a caption says.

Denoising alone teaches slowly which word belongs to which patch. The generator knows, so a decoder
block is also asked for the surface at each place: representation alignment (Yu et al.,
arXiv 2410.06940) with exact labels in place of another network's features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...files import read_header, read_tensors, save_tensors
from ...nets import Layers, UNet
from ...nets.layers import plain_attention
from ...noise import Noise
from ...sheet import Panel, save_sheet
from ...training.loop import Recipe
from ..autoencoder import Autoencoder
from ..drawing import Drawing, draw
from ..family import CONFIG, NOISE
from ..sampling import sample
from ..scenes import random_scene
from ..text import TextEncoder
from ..words import COLOURS, SHAPES, START, UNKNOWN, tokens
from .stage import FAST, Stage, held_out
from .vae import trained_vae

BATCH = 32
_EMPTY_SHARE = 0.12  # prompts left out, so that guidance has something to guide away from
_STRANGE_SHARE = 0.02  # words replaced by <unknown>, so that it comes to mean nothing
_SURFACES = (1 + len(SHAPES)) * len(COLOURS)
_SURFACE_SHARE = 0.1  # of the surfaces' cross-entropy in the loss, next to an error of 0.1 to 0.3
_SURFACE_BLOCK = 3  # of the decoder: the first whose features have the latent's resolution

Draw = Callable[[int, int], torch.Generator]


class Lessons(NamedTuple):
    """What the base learns from, for N scenes."""

    latents: Tensor
    """(N 4 16 16)."""
    prompts: Tensor
    """(N 24) numbers of words."""
    surfaces: Tensor
    """(N 32 32), 8 bit: index of the label times 8 plus index of the colour."""


class Painter(nn.Module):
    """The two nets that are trained together."""

    def __init__(self) -> None:
        super().__init__()
        unet = UNet(CONFIG, Layers(attention=plain_attention))
        self.unet, self.text = _fresh(unet), TextEncoder()


class Surfaces(nn.Module):
    """What a block of the decoder knows of each place: logits (B 56 32 32). Training only."""

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        channels = CONFIG.channel_mult[1] * CONFIG.model_channels
        self.head = nn.Conv2d(channels, 4 * _SURFACES, 1)
        self._features = torch.empty(0)
        unet.output_blocks[_SURFACE_BLOCK].register_forward_hook(self._keep)

    def _keep(self, block: nn.Module, inputs: tuple[Tensor, ...], features: Tensor) -> None:
        self._features = features

    def forward(self) -> Tensor:
        """Of the UNet's last call."""
        return F.pixel_shuffle(self.head(F.silu(self._features)), 2)


def _fresh(unet: UNet) -> UNet:
    """`unet` with the last layer of every residual path zeroed, as ldm starts a UNet."""
    ends = (".out_layers.3", ".proj_out", "out.2")
    for name, parameter in unet.named_parameters():
        if name.rpartition(".")[0].endswith(ends):
            nn.init.zeros_(parameter)
    return unet


def train_base(stage: Stage) -> None:
    """Writes `unet.safetensors` and `text.safetensors`, and sheets on the way."""
    torch.manual_seed(stage.seed)
    vae = trained_vae(stage)
    lessons = encoded_scenes(vae, stage.scenes, stage.folder / "latents.safetensors")
    painter = Painter()
    surfaces = Surfaces(painter.unet)
    recipe = Recipe(
        learning_rate=6e-4, warmup=300, decay_to=0.05, steps=stage.steps or 12000, average=0.998,
        precision=FAST,
    )  # fmt: skip
    loss = painter_loss(
        painter, surfaces, NOISE, lessons, lambda step, part: stage.draw(2, step, part)
    )

    def look(step: int) -> None:
        _paintings(stage.folder / f"base-{step:06}.png", painter, vae)

    parameters = dict(nn.ModuleList([painter, surfaces]).named_parameters())
    trainer = stage.train("base", parameters, loss, recipe, look=look, every=1000)
    stage.keep("unet", painter.unet, trainer)
    stage.keep("text", painter.text, trainer)


def trained_painter(stage: Stage) -> Painter:
    """The nets of an earlier stage, locked."""
    painter = Painter()
    stage.kept("unet", painter.unet)
    stage.kept("text", painter.text)
    return painter


def painted(painter: Painter, vae: Autoencoder, captions: list[str], *, seed: int) -> Tensor:
    """Pictures (B 3 128 128) of the captions, from noise of that seed, without control."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(len(captions), 4, 16, 16, generator=generator)
    with torch.inference_mode():
        cond, uncond = painter.text.encode(captions), painter.text.encode([""])
        return vae.decode(sample(painter.unet, start, cond, uncond, steps=20, noise=NOISE))


def _paintings(path: Path, painter: Painter, vae: Autoencoder) -> None:
    """What the painter makes of twelve captions that it never saw."""
    captions = [random_scene(seed).caption for seed in held_out(12)]
    pictures = painted(painter, vae, captions, seed=1)
    panels = [Panel(p[None], text) for p, text in zip(pictures, captions, strict=True)]
    save_sheet(path, panels, columns=4)


def painter_loss(
    painter: Painter, surfaces: Surfaces, noise: Noise, lessons: Lessons, draw: Draw
) -> Callable[[int, int], Tensor]:
    """Mean squared error of the UNet's answer, and a share of the error about the surfaces."""
    empty = torch.tensor(tokens(""))

    def loss(step: int, part: int) -> Tensor:
        generator = draw(step, part)
        picks = torch.randint(len(lessons.latents), (BATCH,), generator=generator)
        latent = lessons.latents[picks].float()
        words = _dropped(lessons.prompts[picks], empty, generator)
        unit = torch.randn(latent.shape, generator=generator)
        timesteps = torch.randint(1000, (BATCH,), generator=generator)
        answer = painter.unet(
            noise.noised(latent, unit, timesteps), timesteps.float(), painter.text(words)
        )
        unclear = F.cross_entropy(surfaces().float(), lessons.surfaces[picks].long())
        missed = F.mse_loss(answer.float(), noise.target(latent, unit, timesteps))
        return missed + _SURFACE_SHARE * unclear

    return loss


def _dropped(prompts: Tensor, empty: Tensor, generator: torch.Generator) -> Tensor:
    """Some prompts replaced by the empty one, and some words by <unknown>."""
    whole = torch.rand(len(prompts), 1, generator=generator) < _EMPTY_SHARE
    single = torch.rand(prompts.shape, generator=generator) < _STRANGE_SHARE
    words = torch.where(single & (prompts > START), UNKNOWN, prompts)
    return torch.where(whole, empty, words)


def encoded_scenes(vae: Autoencoder, count: int, path: Path) -> Lessons:
    """The first `count` scenes, kept in `path`."""
    if not path.exists():
        parts = [_encoded(vae, seeds) for seeds in _chunks(range(count), 100)]
        save_tensors(path, {
            name: torch.cat([getattr(part, name) for part in parts]) for name in Lessons._fields
        }, {})  # fmt: skip
    return Lessons(**read_tensors(read_header(path)))


def _encoded(vae: Autoencoder, seeds: range) -> Lessons:
    scenes = [random_scene(seed) for seed in seeds]
    with ThreadPoolExecutor(2) as pool:
        drawings = list(pool.map(draw, scenes))
    pictures = torch.stack([drawing.picture for drawing in drawings])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        latents = vae.encode(pictures.contiguous(memory_format=torch.channels_last)).half()
    prompts = torch.tensor([tokens(scene.caption) for scene in scenes])
    surfaces = torch.stack([_surfaces(drawing) for drawing in drawings])
    return Lessons(latents.clone(memory_format=torch.contiguous_format), prompts, surfaces)


def _surfaces(drawing: Drawing) -> Tensor:
    """Shape and colour (32 32) in the middle of every four by four pixels."""
    kinds = drawing.labels * len(COLOURS) + drawing.colours
    return kinds[2::4, 2::4].byte()


def _chunks(numbers: range, size: int) -> Iterable[range]:
    return (numbers[start : start + size] for start in range(0, len(numbers), size))
