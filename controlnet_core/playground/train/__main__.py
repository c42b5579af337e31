"""Trains the playground's models: `python -m controlstack.controlnet_core.playground.train`.

Every stage goes on where it was stopped. With nothing but the seed the same weights come out on
the same machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ....preprocessors import PREPROCESSORS
from ...files import read_header, read_tensors, save_tensors
from ...nets import ControlNet, Layers, UNet, from_encoder
from ...nets.layers import plain_attention
from ...sheet import Panel, save_sheet
from ...training.adherence import MEASURES
from ...training.loop import Done, Recipe, Trainer, generator
from ...training.losses import Batch, ControlLoss, trainable
from ...training.result import Card, save_control
from ...training.run import OnStep, run
from ..annotator import Annotator
from ..autoencoder import Autoencoder
from ..drawing import draw
from ..family import CONFIG, CONTROLS, NOISE, WEIGHTS
from ..sampling import control_session, sample
from ..scenes import random_scene
from ..text import TextEncoder
from .annotator import Labelled, annotator_loss, held_out_error
from .base import Painter, encoded_scenes, painter_loss
from .controls import Lessons, as_hint, scene_hints, stored_hint
from .vae import vae_loss

FAST = torch.bfloat16
HINTS = 8000
POLARITY = {
    "edges": "white lines on black",
    "depth": "near is white",
    "labels": "colours of drawing.LABEL_COLOURS",
}


def main() -> None:
    options = _options()
    torch.manual_seed(options.seed)
    STAGES[options.stage](options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="playground.train", description=__doc__)
    parser.add_argument("stage", choices=STAGES, help="what to train")
    parser.add_argument("-o", "--out", type=Path, default=Path("playground"), help="a folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, scenes and noise")
    parser.add_argument("--scenes", type=int, default=12_000, help="scenes that the base sees")
    parser.add_argument("--steps", type=int, help="optimiser steps, instead of the stage's own")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long; resumable")
    return parser.parse_args()


def _vae(options: argparse.Namespace) -> None:
    pictures = _pictures(3000)
    vae = Autoencoder().to(memory_format=torch.channels_last)  # 1.4 times as fast in bfloat16
    recipe = Recipe(
        learning_rate=7e-4, warmup=200, decay_to=0.02, steps=options.steps or 1800,
        average=0.995, precision=FAST,
    )  # fmt: skip
    loss = vae_loss(vae, pictures, lambda step, part: generator(options.seed, 1, step, part))
    trainer = Trainer(_learning(vae), loss, recipe)
    run(trainer, options.out / "vae", on_step=_bar(trainer, options))
    with trainer.averaged(), torch.no_grad():
        _unit_variance(vae, pictures)
        save_tensors(options.out / "vae.safetensors", vae.state_dict(), {})
        _before_and_after(options.out / "vae.png", vae)


def _learning(net: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in net.named_parameters() if p.requires_grad}


def _unit_variance(vae: Autoencoder, pictures: Tensor) -> None:
    parts = pictures[:400].float().div(255).split(50)
    vae.rescale_(float(torch.cat([vae.encode(part) for part in parts]).std()))


def _before_and_after(path: Path, vae: Autoencoder) -> None:
    scenes = [random_scene(f"held out {index}") for index in range(4)]
    pictures = [draw(scene).picture[None] for scene in scenes]
    panels = [Panel(picture, "scene") for picture in pictures]
    panels += [Panel(vae.decode(vae.encode(picture)), "through the VAE") for picture in pictures]
    save_sheet(path, panels, columns=4)


def _base(options: argparse.Namespace) -> None:
    vae = _trained_vae(options.out)
    latents, prompts = encoded_scenes(vae, options.scenes, options.out / "latents.safetensors")
    painter = Painter(UNet(CONFIG, Layers(attention=plain_attention)), TextEncoder())
    recipe = Recipe(
        learning_rate=8e-4, warmup=300, decay_to=0.1, steps=options.steps or 12000, average=0.998,
        precision=FAST,
    )  # fmt: skip
    loss = painter_loss(
        painter, NOISE, latents, prompts, lambda *where: generator(options.seed, 2, *where)
    )
    trainer = Trainer(dict(painter.named_parameters()), loss, recipe)
    bar = _bar(trainer, options)

    def on_step(done: Done) -> bool | None:
        if done.step % 1000 == 0:
            with trainer.averaged():
                _paintings(options.out / f"base-{done.step:06}.png", painter, vae)
        return bar(done)

    run(trainer, options.out / "base", on_step=on_step)
    with trainer.averaged():
        save_tensors(options.out / "unet.safetensors", painter.unet.state_dict(), {})
        save_tensors(options.out / "text.safetensors", painter.text.state_dict(), {})


def _annotator(options: argparse.Namespace) -> None:
    annotator = Annotator()
    data = _labelled(range(3000))
    recipe = Recipe(
        learning_rate=2e-3, warmup=100, decay_to=0.02, steps=options.steps or 1500, average=0.99,
        precision=FAST,
    )  # fmt: skip
    loss = annotator_loss(annotator, data, lambda *where: generator(options.seed, 3, *where))
    trainer = Trainer(dict(annotator.named_parameters()), loss, recipe)
    run(trainer, options.out / "annotator", on_step=_bar(trainer, options))
    with trainer.averaged():
        save_tensors(options.out / "annotator.safetensors", annotator.state_dict(), {})
        errors = held_out_error(annotator, _labelled([f"held out {i}" for i in range(200)]))
    print(errors)
    (options.out / "annotator.json").write_text(json.dumps(errors, indent=1))


def _controls(options: argparse.Namespace) -> None:
    for kind in CONTROLS:
        _control(kind, options)


def _control(kind: str, options: argparse.Namespace) -> None:
    vae, painter = _trained_vae(options.out), _trained_painter(options.out)
    latents, prompts = encoded_scenes(vae, options.scenes, options.out / "latents.safetensors")
    hints = scene_hints(kind, HINTS, _edges, options.out / f"hints_{kind}.safetensors")
    lessons = Lessons(latents, prompts, hints, kind)
    net = from_encoder(ControlNet(CONFIG, Layers(attention=plain_attention)), painter.unet)
    control_loss = ControlLoss(
        painter.unet, net, NOISE, lambda g: Batch(*lessons.batch(painter.text, g)),
        empty=painter.text.encode([""]),
    )  # fmt: skip
    recipe = Recipe(
        learning_rate=3e-4, warmup=100, steps=options.steps or 3000, average=0.995, precision=FAST
    )
    number = 10 + CONTROLS.index(kind)
    trainer = Trainer(
        trainable(net, painter.unet),
        lambda *where: control_loss(generator(options.seed, number, *where)),
        recipe,
    )
    exam = _Exam(kind, painter, vae, net, options.out)
    bar = _bar(trainer, options)

    def on_step(done: Done) -> bool | None:
        if done.step % 100 == 0:
            with trainer.averaged():
                exam(done.step)
        return bar(done)

    run(trainer, options.out / kind, on_step=on_step)
    with trainer.averaged():
        card = Card(
            f"playground {kind}", "ControlStack playground", kind, POLARITY[kind], trainer.step
        )
        save_control(net, options.out / f"control_{kind}.safetensors", card)


class _Exam:
    """How well a net follows the hints of scenes that it never saw, without their captions too."""

    def __init__(
        self, kind: str, painter: Painter, vae: Autoencoder, net: ControlNet, folder: Path
    ) -> None:
        self.painter, self.vae, self.net = painter, vae, net
        self.scenes = [random_scene(f"held out {index}") for index in range(8)]
        stored = [stored_hint(kind, draw(scene), _edges) for scene in self.scenes]
        self.hints = as_hint(kind, torch.stack(stored))
        annotator = _annotator_of(folder)
        self.read = {"edges": _edges, "depth": annotator.depth, "labels": annotator.labels}[kind]
        self.measure, self.kind, self.folder = MEASURES[kind], kind, folder
        self.log = folder / f"exam_{kind}.jsonl"
        self.without = self._score(self._paint(None))

    def __call__(self, step: int) -> None:
        pictures = self._paint(self.net)
        line = {"step": step, "score": self._score(pictures), "without": self.without}
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if step % 500 == 0:
            hints = [Panel(hint[None], "hint") for hint in self.hints]
            panels = [
                Panel(p[None], scene.caption)
                for p, scene in zip(pictures, self.scenes, strict=True)
            ]
            save_sheet(self.folder / f"{self.kind}-{step:06}.png", hints + panels, columns=8)

    @torch.inference_mode()
    def _paint(self, net: ControlNet | None) -> Tensor:
        controls = [control_session(net, self.hints, noise=NOISE)] if net else []
        text = self.painter.text
        latents = sample(
            self.painter.unet, _start(len(self.scenes)),
            text.encode([scene.caption for scene in self.scenes]), text.encode([""]),
            steps=12, noise=NOISE, controls=controls,
        )  # fmt: skip
        return self.vae.decode(latents)

    @torch.inference_mode()
    def _score(self, pictures: Tensor) -> float:
        return float(self.measure(self.hints, self.read(pictures)).mean())


def _edges(picture: Tensor) -> Tensor:
    return PREPROCESSORS["canny"](picture)


def _start(count: int) -> Tensor:
    return torch.randn(count, 4, 16, 16, generator=torch.Generator().manual_seed(1))


def _trained_painter(folder: Path) -> Painter:
    painter = Painter(UNet(CONFIG, Layers(attention=plain_attention)), TextEncoder())
    for name, net in (("unet", painter.unet), ("text", painter.text)):
        net.load_state_dict(read_tensors(read_header(folder / f"{name}.safetensors")))
    return painter.requires_grad_(False)


def _annotator_of(folder: Path) -> Annotator:
    annotator = Annotator()
    annotator.load_state_dict(read_tensors(read_header(folder / "annotator.safetensors")))
    return annotator.requires_grad_(False)


def _pack(options: argparse.Namespace) -> None:
    """The shipped weights: everything in half precision."""
    WEIGHTS.mkdir(exist_ok=True)
    for name in ("vae", "unet", "text", "annotator"):
        tensors = read_tensors(read_header(options.out / f"{name}.safetensors"))
        halves = {key: x.half() for key, x in tensors.items()}
        save_tensors(WEIGHTS / f"{name}.safetensors", halves, {"seed": str(options.seed)})
    for kind in CONTROLS:
        file = f"control_{kind}.safetensors"
        shutil.copyfile(options.out / file, WEIGHTS / file)


def _all(options: argparse.Namespace) -> None:
    for stage in (_vae, _base, _annotator, _controls, _pack):
        stage(options)


def _labelled(seeds: Iterable[int | str]) -> Labelled:
    scenes = [random_scene(seed) for seed in seeds]
    return Labelled(scenes, [draw(scene) for scene in tqdm(scenes, desc="scenes")])


def _trained_vae(folder: Path) -> Autoencoder:
    vae = Autoencoder()
    vae.load_state_dict(read_tensors(read_header(folder / "vae.safetensors")))
    return vae.requires_grad_(False).to(memory_format=torch.channels_last)


def _paintings(path: Path, painter: Painter, vae: Autoencoder) -> None:
    """What the painter makes of twelve captions that it never saw."""
    captions = [random_scene(f"held out {index}").caption for index in range(12)]
    with torch.inference_mode():
        cond, uncond = painter.text.encode(captions), painter.text.encode([""])
        latents = sample(painter.unet, _start(12), cond, uncond, steps=20, noise=NOISE)
        pictures = vae.decode(latents)
    panels = [Panel(p[None], text) for p, text in zip(pictures, captions, strict=True)]
    save_sheet(path, panels, columns=4)


def _pictures(count: int) -> Tensor:
    """The first `count` scenes (N 3 128 128), 8 bit."""
    return torch.stack([
        draw(random_scene(seed)).picture.mul(255).round().byte()
        for seed in tqdm(range(count), desc="scenes")
    ])  # fmt: skip


def _bar(trainer: Trainer, options: argparse.Namespace) -> OnStep:
    bar = tqdm(total=trainer.recipe.steps, unit="step", mininterval=2.0)
    end = time.monotonic() + 60 * options.minutes

    def on_step(done: Done) -> bool:
        bar.update(done.step - bar.n)
        bar.set_postfix(loss=f"{done.loss:.4f}", gradient=f"{done.gradient:.2f}")
        return time.monotonic() > end

    return on_step


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "all": _all, "vae": _vae, "base": _base, "annotator": _annotator,
    **{kind: partial(_control, kind) for kind in CONTROLS}, "controls": _controls, "pack": _pack,
}  # fmt: skip

if __name__ == "__main__":
    main()
