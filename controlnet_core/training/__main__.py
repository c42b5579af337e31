"""Trains ControlNets from a shell: `python -m controlstack.controlnet_core.training train ...`.

`lint` looks at a dataset, `train` trains on it. A run that is stopped, or killed, goes on where it
was when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ...preprocessors import PREPROCESSORS
from ..errors import ControlInputError
from ..nets import ControlNet
from ..playground.family import NOISE, load_family
from ..playground.sampling import paint
from ..playground.words import strange_words
from .adherence import MEASURES
from .base import Base, Text
from .data import STRICT, Dataset, MakeHint, lint, open_dataset, open_hub, strict, usable
from .lessons import LessonOptions
from .loop import Done, Recipe
from .losses import LossOptions
from .pipelines import pipeline_base
from .result import LAYOUTS, Card
from .session import Plan, Session
from .validation import Paint, Report

PLAYGROUND = "playground"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    """Reads the command, and says in one line what is wrong with it."""
    options = _options()
    try:
        options.command(options)
    except ControlInputError as e:
        sys.exit(str(e))
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from the last step")


def _lint(options: argparse.Namespace) -> None:
    make_hint = _make_hint(options.hint)
    findings = lint(
        _dataset(options), sample=options.sample, skip_broken=options.skip_broken,
        make_hint=make_hint,
    )  # fmt: skip
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings")
    if any(finding.severity == "error" for finding in findings):
        sys.exit(1)


def _train(options: argparse.Namespace) -> None:
    team = _team()
    if team:
        options.device = str(team.device)
    plan, base, make_hint = _plan(options), _base(options), _make_hint(options.hint)
    dataset = _checked(_dataset(options), base, options, make_hint)
    session = Session(base, dataset, plan, options.out, make_hint=make_hint, team=team)
    if not session.trainer.leads:
        session.train()
        return
    exam = session.exam(
        _painter(base, options.validation_steps), MEASURES[options.measure],
        pictures=options.validation_images,
    )  # fmt: skip
    session.train(validation=exam, watch=_Bar(session))
    card = Card(
        options.out.resolve().name, base.name, options.hint or "given with the dataset",
        options.polarity, session.trainer.step, options.strength, options.end,
    )  # fmt: skip
    for file in session.save(options.out / f"{card.title}.safetensors", card):
        print(f"wrote {file}")


def _team() -> Any:
    """The processes that `accelerate launch` started; None where this one is alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    return import_module("accelerate").Accelerator()


def _base(options: argparse.Namespace) -> Base:
    if options.base == PLAYGROUND:
        return _playground(options.device)
    # Locked weights may be as coarse as the arithmetic; those that learn may not.
    dtype = torch.float32 if options.unlocked else PRECISIONS[options.precision]
    return pipeline_base(options.base, device=options.device, dtype=dtype)


def _playground(device: str) -> Base:
    """The models that come with the pack."""
    family = load_family()
    for net in (family.unet, family.text, family.vae):
        net.to(device)
    return Base(
        name=PLAYGROUND, unet=family.unet, noise=NOISE,
        encode=lambda picture: family.vae.encode(picture.to(device)), decode=family.vae.decode,
        read=lambda prompts, _: Text(family.read(list(prompts))), strange_words=strange_words,
    )  # fmt: skip


def _dataset(options: argparse.Namespace) -> Dataset:
    if options.data.startswith("hub:"):
        return open_hub(options.data.removeprefix("hub:"))
    return open_dataset(options.data)


def _checked(
    dataset: Dataset, base: Base, options: argparse.Namespace, make_hint: MakeHint | None
) -> Dataset:
    """The dataset, looked at before the first step; what is odd is printed."""
    findings = lint(
        dataset, sample=options.sample, skip_broken=options.skip_broken, make_hint=make_hint,
        strange_words=base.strange_words,
    )  # fmt: skip
    for finding in findings:
        print(finding)
    return usable(dataset, strict(findings, allow=options.allow))


def _make_hint(name: str | None) -> MakeHint | None:
    return None if name is None else lambda picture: PREPROCESSORS[name](picture)


def _plan(options: argparse.Namespace) -> Plan:
    recipe = Recipe(
        learning_rate=options.learning_rate, warmup=options.warmup, decay_to=options.decay_to,
        steps=options.steps, accumulate=options.accumulate, clip=options.clip,
        weight_decay=options.weight_decay, average=options.average,
        precision=PRECISIONS[options.precision], eight_bit=options.eight_bit,
    )  # fmt: skip
    lessons = LessonOptions(
        resolution=options.resolution, multiple=min(64, options.resolution), batch=options.batch,
        parts=options.accumulate, flip=options.flip, random_crop=options.random_crop,
        hint_name=options.hint or "", seed=options.seed,
    )  # fmt: skip
    return Plan(
        recipe, LossOptions(options.empty_share, options.min_snr, options.only_middle), lessons,
        layout=options.layout, rank=options.rank, paper_hint=options.paper_hint,
        unlocked=options.unlocked, checkpointing=options.checkpointing,
        save_every=options.save_every, validate_every=options.validate_every, seed=options.seed,
    )  # fmt: skip


def _painter(base: Base, steps: int) -> Paint:
    weight = next(base.unet.parameters())
    coarse = weight.dtype != torch.float32

    def painted(net: ControlNet | None, hints: Tensor, prompts: Sequence[str]) -> Tensor:
        size = (hints.shape[-2], hints.shape[-1])
        cond, uncond = base.read(prompts, size), base.read([""], size)
        hints = hints.to(weight.device)
        with torch.no_grad(), torch.autocast(weight.device.type, weight.dtype, enabled=coarse):
            latent = paint(base.unet, base.noise, net, hints, cond, uncond, steps=steps)
        return base.decode(latent.float()).detach().cpu()

    return painted


class _Bar:
    """The progress of a run in one line, with time left; and TensorBoard where it is installed."""

    def __init__(self, session: Session) -> None:
        self.bar = tqdm(total=session.plan.recipe.steps, unit="step", mininterval=1.0)
        self.board = _board(session.folder)

    def __call__(self, done: Done, report: Report | None) -> None:
        self.bar.update(done.step - self.bar.n)
        self.bar.set_postfix(loss=f"{done.loss:.4f}", refresh=False)
        numbers = {"loss": done.loss, "gradient": done.gradient}
        if report and report.scores:
            self.bar.write(f"step {report.step}: adherence {report.scores}")
            numbers |= {f"adherence/{key}": x for key, x in report.scores._asdict().items()}
        if self.board:
            for name, number in numbers.items():
                self.board.add_scalar(name, number, done.step)
            if report:
                page = np.asarray(report.page)
                self.board.add_image("sheet", page, done.step, dataformats="HWC")


def _board(folder: Path) -> Any:
    """TensorBoard's writer into the run's folder; None where it is not installed."""
    try:
        return import_module("torch.utils.tensorboard").SummaryWriter(str(folder / "tensorboard"))
    except ImportError:
        return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("controlstack.controlnet_core.training", description=__doc__)
    commands = parser.add_subparsers(required=True)
    look = commands.add_parser("lint", help="look at a dataset")
    look.set_defaults(command=_lint)
    _data_options(look)
    train = commands.add_parser("train", help="train a ControlNet")
    train.set_defaults(command=_train)
    _data_options(train)
    _train_options(train)
    return parser.parse_args()


def _data_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("data").add_argument
    add("data", help="folder, jsonl, prompt.json, parquet, tar; hub:NAME downloads from the hub")
    add("--hint", choices=sorted(PREPROCESSORS), help="make hints by this preprocessor")
    add("--sample", type=int, help="look at so many examples only, before the first step")
    add("--skip-broken", action="store_true", help="leave out pictures that cannot be read")
    add("--allow", choices=STRICT, nargs="+", default=(), help="train in spite of these findings")


def _train_options(parser: argparse.ArgumentParser) -> None:
    base, target = Recipe(), LossOptions()
    add = parser.add_argument_group("model").add_argument
    add("-o", "--out", type=Path, required=True, help="folder of the run and of its result")
    add("--base", default=PLAYGROUND, help="folder or file of a Stable Diffusion model")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--layout", choices=LAYOUTS, default="ldm", help="of the file that comes out")
    add("--rank", type=int, default=64, help="of a Control-LoRA (--layout control-lora)")
    add("--paper-hint", action="store_true", help="the hint encoder that the paper tells of")
    add = parser.add_argument_group("loss").add_argument
    add("--empty-share", type=float, default=target.empty_share, help="share of prompts left out")
    add("--min-snr", type=float, help="gamma of min-SNR weighting, such as 5")
    add("--only-middle", action="store_true", help="only the middle residual acts")
    add("--unlocked", action="store_true", help="train the base's decoder too; late, lr 2e-6")
    add = parser.add_argument_group("recipe").add_argument
    add("--steps", type=int, default=base.steps, help="optimiser steps")
    add("--batch", type=int, default=4, help="pictures of one part of a step")
    add("--accumulate", type=int, default=base.accumulate, help="parts of one optimiser step")
    add("--learning-rate", type=float, default=base.learning_rate)
    add("--warmup", type=int, default=base.warmup, help="steps in which the rate rises")
    add("--decay-to", type=float, default=base.decay_to, help="share of the rate at the end")
    add("--weight-decay", type=float, default=base.weight_decay)
    add("--clip", type=float, default=base.clip, help="largest norm of the gradients")
    add("--average", type=float, default=0.999, help="decay of the weights' average; 0 for none")
    add("--precision", choices=PRECISIONS, default="fp32", help="of the arithmetic and the base")
    add("--eight-bit", action="store_true", help="AdamW in 8 bit (bitsandbytes)")
    add("--checkpointing", action="store_true", help="less memory, a third slower")
    add("--resolution", type=int, default=512, help="side of a square picture")
    add("--flip", action="store_true", help="mirror half of the examples")
    add("--random-crop", action="store_true", help="another part of the picture each time")
    add("--seed", type=int, default=0)
    add = parser.add_argument_group("card, for those who use the file").add_argument
    add("--polarity", default="as in training", help="such as 'white lines on black'")
    add("--strength", type=float, default=1.0, help="recommended strength")
    add("--end", type=float, default=1.0, help="recommended end of the range, 0 to 1")
    add = parser.add_argument_group("looking").add_argument
    add("--save-every", type=int, default=500, help="steps between checkpoints")
    add("--validate-every", type=int, default=500, help="steps between sheets")
    add("--validation-images", type=int, default=4)
    add("--validation-steps", type=int, default=20, help="of the sampler that paints them")
    add("--measure", choices=MEASURES, default="edges", help="how adherence is scored")


if __name__ == "__main__":
    main()
