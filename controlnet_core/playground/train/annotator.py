"""The annotator learns to read exact labels from pictures, and how wrong it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...training.loop import Recipe
from ..annotator import Annotator, Reading
from ..drawing import Drawing
from ..scenes import Scene
from ..words import GROUNDS
from .stage import FAST, Stage, drawn, eight_bit, held_out

BATCH = 16
SCENES = 3000
_IGNORED = -100  # what cross_entropy leaves out: the pattern where a solid stands before it


class Labelled:
    """Drawings as stacked tensors, 8 bit where that is enough."""

    def __init__(self, scenes: Sequence[Scene], drawings: Sequence[Drawing]) -> None:
        self.pictures = eight_bit(drawing.picture for drawing in drawings)
        self.depth = torch.stack([d.depth.half() for d in drawings])
        self.labels = torch.stack([d.labels.byte() for d in drawings])
        self.colours = torch.stack([d.colours.byte() for d in drawings])
        self.patterns = torch.tensor([GROUNDS.index(scene.ground.pattern) for scene in scenes])

    def pick(self, picks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Pictures in 0..1, depth, labels, colours, and the pattern at each pixel of the ground."""
        labels = self.labels[picks].long()
        patterns = torch.where(labels == 0, self.patterns[picks].view(-1, 1, 1), _IGNORED)
        pictures = self.pictures[picks].float() / 255.0
        return pictures, self.depth[picks].float(), labels, self.colours[picks].long(), patterns


def train_annotator(stage: Stage) -> None:
    """Writes `annotator.safetensors`, and its errors on scenes that it never saw."""
    torch.manual_seed(stage.seed)
    annotator, data = Annotator(), Labelled(*drawn(range(SCENES)))
    recipe = Recipe(
        learning_rate=2e-3, warmup=100, decay_to=0.02, steps=stage.steps or 1500, average=0.99,
        precision=FAST,
    )  # fmt: skip
    loss = annotator_loss(annotator, data, lambda step, part: stage.draw(3, step, part))
    parameters = dict(annotator.named_parameters())
    trainer = stage.train("annotator", parameters, loss, recipe)
    stage.keep("annotator", annotator, trainer)
    with trainer.averaged():
        errors = held_out_error(annotator, Labelled(*drawn(held_out(200))))
    (stage.folder / "annotator.json").write_text(json.dumps(errors, indent=1))


def annotator_loss(
    annotator: Annotator, data: Labelled, draw: Callable[[int, int], torch.Generator]
) -> Callable[[int, int], Tensor]:
    """Errors of all four readings, on pictures as blurred and noisy as painted ones may be."""

    def loss(step: int, part: int) -> Tensor:
        generator = draw(step, part)
        picks = torch.randint(len(data.pictures), (BATCH,), generator=generator)
        picture, depth, labels, colours, patterns = data.pick(picks)
        reading = annotator(_worn(picture, generator))
        return (
            4.0 * F.l1_loss(reading.depth.float(), depth)
            + F.cross_entropy(reading.labels.float(), labels)
            + F.cross_entropy(reading.colours.float(), colours)
            + F.cross_entropy(reading.patterns.float(), patterns, ignore_index=_IGNORED)
        )

    return loss


def _worn(picture: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures smaller and back, all with a little noise and another brightness."""
    small = F.interpolate(picture, scale_factor=0.5, mode="area")
    soft = F.interpolate(small, size=picture.shape[-2:], mode="bilinear")
    one = (len(picture), 1, 1, 1)
    share = torch.rand(one, generator=generator) * (torch.rand(one, generator=generator) < 0.5)
    light = 1.0 + 0.1 * (torch.rand(one, generator=generator) - 0.5)
    noise = 0.02 * torch.randn(picture.shape, generator=generator)
    return (torch.lerp(picture, soft, share) * light + noise).clamp(0.0, 1.0)


def held_out_error(annotator: Annotator, data: Labelled) -> dict[str, float]:
    """Depth RMSE, mean IoU of the shapes, and shares of right colours and grounds."""
    picture, depth, labels, colours, patterns = data.pick(torch.arange(len(data.pictures)))
    with torch.no_grad():
        reading: Reading = annotator(picture)
    guess = reading.labels.argmax(dim=1)
    classes = torch.arange(reading.labels.shape[1]).view(-1, 1, 1, 1)
    found, there = guess == classes, labels == classes
    ious = (found & there).sum(dim=(1, 2, 3)) / (found | there).sum(dim=(1, 2, 3))
    ground = labels == 0
    named = (reading.patterns * ground[:, None]).sum(dim=(2, 3)).argmax(dim=1)
    return {
        "depth_rmse": float((reading.depth - depth).square().mean().sqrt()),
        "shape_miou": float(ious.mean()),
        "colour_accuracy": float((reading.colours.argmax(dim=1) == colours).float().mean()),
        "ground_accuracy": float((named == patterns.amax(dim=(1, 2))).float().mean()),
    }
