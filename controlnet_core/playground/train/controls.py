"""The playground's ControlNets learn to follow the edges, the depth and the labels of scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ....preprocessors import PREPROCESSORS
from ...files import read_header, read_tensors, save_tensors
from ...nets import ControlNet, Layers, from_encoder
from ...nets.layers import plain_attention
from ...training.adherence import MEASURES
from ...training.base import Text
from ...training.loop import Recipe, Trainer
from ...training.losses import Batch, ControlLoss, trainable
from ...training.result import Card, save_control
from ...training.validation import Reports, Validation
from ..annotator import Annotator
from ..drawing import Drawing, draw, label_hint
from ..family import CONFIG, CONTROLS, NOISE, control_file
from ..sampling import paint
from ..scenes import random_scene
from .base import Painter, encoded_scenes, trained_painter
from .stage import FAST, Stage, drawn, held_out
from .vae import trained_vae

BATCH = 32
POLARITY = {
    "edges": "white lines on black",
    "depth": "near is white",
    "labels": "the ground and each shape in the colours of playground.drawing",
}


@dataclass(frozen=True, eq=False)
class Course:
    """All that a net for one kind of hint needs in order to learn, and its exam."""

    kind: str
    painter: Painter
    latents: Tensor
    prompts: Tensor
    hints: Tensor
    """(N h w), 8 bit: grey levels, or whole numbers for labels."""
    exam: Validation

    def batch(self, generator: torch.Generator) -> Batch:
        """Random scenes, the latents among them those of the hints."""
        picks = torch.randint(len(self.hints), (BATCH,), generator=generator)
        with torch.no_grad():
            context = self.painter.text(self.prompts[picks])
        hints = as_hint(self.kind, self.hints[picks])
        return Batch(self.latents[picks].float(), hints, context)

    def fresh(self) -> ControlNet:
        """A copy of the base's encoder that changes nothing yet."""
        net = ControlNet(CONFIG, Layers(attention=plain_attention))
        return from_encoder(net, self.painter.unet)

    def train(
        self, net: ControlNet, stage: Stage, *, name: str | None = None, steps: int = 3000
    ) -> Trainer:
        """Trains `net` in the stage's folder, with an exam every hundred steps."""
        name = name or self.kind
        loss = ControlLoss(
            self.painter.unet, net, NOISE, self.batch, empty=self.painter.text.encode([""])
        )
        recipe = Recipe(
            learning_rate=3e-4, warmup=100, steps=stage.steps or steps, average=0.995,
            precision=FAST,
        )  # fmt: skip
        reports = Reports(stage.folder / name, MEASURES[self.kind])
        number = 10 + CONTROLS.index(self.kind)
        return stage.train(
            name, trainable(net, self.painter.unet),
            lambda step, part: loss(stage.draw(number, step, part)), recipe,
            look=lambda step: reports.add(self.exam(net, step)),
        )  # fmt: skip


def train_control(kind: str, stage: Stage) -> None:
    """Writes the ControlNet for a kind of hint, one of CONTROLS."""
    torch.manual_seed(stage.seed)
    course = open_course(kind, stage)
    net = course.fresh()
    trainer = course.train(net, stage)
    title = f"playground {kind}"
    card = Card(title, "ControlStack playground", kind, POLARITY[kind], trainer.step)
    with trainer.averaged():
        save_control(net, control_file(kind, stage.folder), card)


def open_course(kind: str, stage: Stage) -> Course:
    """Everything for a kind of hint, from the earlier stages' files."""
    vae, painter = trained_vae(stage), trained_painter(stage)
    lessons = encoded_scenes(vae, stage.scenes, stage.folder / "latents.safetensors")
    hints = _scene_hints(kind, stage.hints, stage.folder / f"hints_{kind}.safetensors")
    annotator = stage.kept("annotator", Annotator())
    _, drawings = drawn(held_out(8))
    captions = [random_scene(seed).caption for seed in held_out(8)]
    asked = torch.stack([stored(kind, drawing) for drawing in drawings])

    def painted(net: ControlNet | None, hints: Tensor, prompts: Sequence[str]) -> Tensor:
        cond, uncond = (Text(painter.text.encode(each)) for each in (prompts, [""]))
        with torch.no_grad():
            return vae.decode(paint(painter.unet, NOISE, net, hints, cond, uncond, steps=12))

    exam = Validation(
        as_hint(kind, asked), captions, paint=painted, read=reader(kind, annotator),
        measure=MEASURES[kind],
    )  # fmt: skip
    return Course(kind, painter, lessons.latents, lessons.prompts, hints, exam)


def reader(kind: str, annotator: Annotator) -> Callable[[Tensor], Tensor]:
    """What reads a kind of hint (B 3 H W) from pictures."""
    return {"edges": _edges, "depth": annotator.depth, "labels": annotator.labels}[kind]


def as_hint(kind: str, stored: Tensor) -> Tensor:
    """Hints (B 3 h w) in 0..1 from their stored form (B h w)."""
    if kind == "labels":
        return label_hint(stored.long())
    return (stored.float() / 255.0)[:, None].expand(-1, 3, -1, -1)


def stored(kind: str, drawing: Drawing) -> Tensor:
    """The hint of one scene in its stored form (h w), 8 bit."""
    if kind == "labels":
        return drawing.labels.byte()
    plane = drawing.depth[0] if kind == "depth" else _edges(drawing.picture[None])[0, 0]
    return plane.mul(255).round().byte()


def _scene_hints(kind: str, count: int, path: Path) -> Tensor:
    """Stored hints (N 128 128) of the first `count` scenes, kept in `path`."""
    if not path.exists():
        drawings = (draw(random_scene(seed)) for seed in tqdm(range(count), desc=f"{kind} hints"))
        save_tensors(path, {"hints": torch.stack([stored(kind, d) for d in drawings])}, {})
    return read_tensors(read_header(path))["hints"]


def _edges(picture: Tensor) -> Tensor:
    return PREPROCESSORS["canny"](picture)
