"""A ControlNet in training, from a base and a dataset to a file that is ready to apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..nets import PAPER_HINT_WIDTHS, ControlNet, control_lora, from_encoder
from ..sheet import Panel
from .adherence import Measure
from .base import Base
from .checkpoint import resume
from .data import Dataset, MakeHint
from .lessons import LessonOptions, Lessons
from .loop import Done, Recipe, Team, Trainer, generator
from .losses import ControlLoss, LossOptions, checkpoint_blocks, trainable
from .plots import plot_run
from .result import Card, check_layout, save_control, save_decoder
from .run import run
from .validation import Paint, Report, Reports, Validation, last_page

_PREVIEW = 512  # pixels of the sheet's longer side inside the file

Watch = Callable[[Done, Report | None], bool | None]
"""Told of each step, and of a validation after it; True stops the run, which can be resumed."""


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, and how; all of it numbers and names."""

    recipe: Recipe = field(default_factory=Recipe)
    loss: LossOptions = field(default_factory=LossOptions)
    lessons: LessonOptions = field(default_factory=LessonOptions)
    layout: str = "ldm"
    """One of result.LAYOUTS; `control-lora` trains products of low rank, the others a whole net."""
    rank: int = 64
    """Of a Control-LoRA."""
    paper_hint: bool = False
    """The hint encoder that the paper tells of, instead of the official code's."""
    unlocked: bool = False
    """Trains the base's decoder too (`sd_locked = False`): only late, and with good data."""
    checkpointing: bool = False
    """Computes activations twice instead of keeping them: a third slower, less memory."""
    save_every: int = 500
    validate_every: int = 100
    seed: int = 0


class Session:
    """One training run: the net, the trainer, what it learns from, and what it is asked."""

    def __init__(
        self,
        base: Base,
        dataset: Dataset,
        plan: Plan,
        folder: Path,
        *,
        make_hint: MakeHint | None = None,
        team: Team | None = None,
    ) -> None:
        self.base, self.plan, self.folder, self.make_hint = base, plan, folder, make_hint
        self.net = new_net(base, plan)
        check_layout(self.net.config, plan.layout)
        self.lessons = Lessons(
            base, dataset, plan.lessons, make_hint=make_hint, cache=folder / "cache"
        )
        parameters = trainable(self.net, base.unet, unlocked=plan.unlocked)
        self._before = {
            name.removeprefix("base."): parameter.detach().clone()
            for name, parameter in parameters.items()
            if name.startswith("base.")
        }
        if plan.checkpointing:
            checkpoint_blocks(base.unet, self.net)
        self.trainer = Trainer(parameters, self._loss, plan.recipe, team=team)

    def exam(self, paint: Paint, measure: Measure, *, pictures: int = 4) -> Validation:
        """The first examples of the commonest size, to be painted and scored again and again."""
        lessons = self.lessons
        size, indices = max(lessons.buckets.items(), key=lambda item: len(item[1]))
        chosen = indices[:pictures]
        return Validation(
            torch.cat([lessons.example(index, size).hint for index in chosen]),
            [lessons.dataset.records[index].caption for index in chosen],
            paint=paint, read=self.make_hint, measure=measure,
        )  # fmt: skip

    def train(self, *, validation: Validation | None = None, watch: Watch | None = None) -> bool:
        """Trains to the last step, or until `watch` says stop; whether it is finished."""
        reports = Reports(self.folder, validation.measure) if validation else None

        def on_step(done: Done) -> bool | None:
            report = None
            due = done.step % self.plan.validate_every == 0 or done.step == self.plan.recipe.steps
            if validation and reports and due:
                with self.trainer.averaged():
                    report = validation(self.net, done.step)
                reports.add(report)
                plot_run(self.folder, reports)
            return watch(done, report) if watch else None

        finished = run(
            self.trainer, self.folder, save_every=self.plan.save_every, on_step=on_step
        )
        if self.trainer.leads:
            plot_run(self.folder, reports)
        return finished

    def resume(self) -> bool:
        """Puts the net where the last checkpoint in the folder was; False where there is none."""
        return resume(self.folder, self.trainer)

    def save(self, path: Path, card: Card) -> list[Path]:
        """Writes the averaged net as a file that is ready to apply, the last sheet within it.

        A decoder that was trained too becomes a second file, for a LoRA loader.
        """
        page = last_page(self.folder)
        if page:
            page.thumbnail((_PREVIEW, _PREVIEW))
        preview = Panel.of(page, "").picture if page else None
        files = [path]
        with self.trainer.averaged():
            save_control(self.net, path, card, layout=self.plan.layout, preview=preview)
            if self._before:
                files.append(path.with_name(f"{path.stem}_decoder.safetensors"))
                save_decoder(self.base.unet, self._before, files[-1])
        return files

    def _loss(self, step: int, part: int) -> Tensor:
        loss = ControlLoss(
            self.base.unet, self.net, self.base.noise,
            lambda _: self.lessons.batch(step, part),
            empty=self.lessons.empty, options=self.plan.loss,
        )  # fmt: skip
        return loss(generator(self.plan.seed, step, part))


def new_net(base: Base, plan: Plan) -> ControlNet:
    """A fresh copy of the base's encoder, or a Control-LoRA over it; it changes nothing yet.

    What starts at random depends on the plan's seed alone.
    """
    config, device = base.unet.config, next(base.unet.parameters()).device
    if plan.paper_hint:
        config = config.like(paper_hint=True, hint_widths=PAPER_HINT_WIDTHS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        if plan.layout != "control-lora":
            return from_encoder(ControlNet(config), base.unet).to(device)
        check_layout(config, plan.layout)
        return control_lora(base.unet, rank=plan.rank).to(device)
