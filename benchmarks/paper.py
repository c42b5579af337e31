"""The paper's claims at playground scale: what zero convolutions, the copy and the data are worth.

`python benchmarks/paper.py FOLDER` trains each variant on the edges of scenes, from the files that
`python -m controlstack.controlnet_core.playground.train` left in FOLDER, sets the first steps of
its ControlNet for edges beside them, and writes docs/paper.md and docs/paper.png. Every training
can be stopped, and goes on where it was.
Claims: Zhang et al., arXiv 2302.05543, sections 3.3 and 4.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from exam import ROOT, open_exam
from side_by_side import timed
from torch import Tensor, nn

# isort: split
from controlstack.controlnet_core.control import ControlSpec
from controlstack.controlnet_core.nets import ControlNet, ControlNetConfig, Layers
from controlstack.controlnet_core.nets.blocks import zero_conv
from controlstack.controlnet_core.nets.hint import HintEncoder
from controlstack.controlnet_core.playground.family import NOISE
from controlstack.controlnet_core.playground.train.controls import Course, open_course
from controlstack.controlnet_core.playground.train.stage import Stage
from controlstack.controlnet_core.residuals import Residuals
from controlstack.controlnet_core.training.adherence import sudden_step
from controlstack.controlnet_core.training.log import read_lines
from controlstack.controlnet_core.training.loop import generator
from controlstack.controlnet_core.training.losses import ControlLoss, trainable

Lines = Sequence[dict[str, float]]
PAPER_TIME, PAPER_MEMORY = 1.34, 1.23


class Lite(nn.Module):
    """ControlNet-lite, the paper's ablation: one convolution a block in place of the copy."""

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__()
        self.config, layers = config, Layers()
        hint = (config.hint_channels, config.hint_widths, config.model_channels, layers)
        self.input_hint_block = HintEncoder(*hint)
        self.blocks, self.zero_convs = nn.ModuleList(), nn.ModuleList()
        width, stride = config.in_channels, 1
        for channels, cells in config.residual_layout:
            self.blocks.append(layers.conv(width, channels, 3, stride=cells // stride))
            self.zero_convs.append(zero_conv(channels, layers))
            width, stride = channels, cells

    def encode_hint(self, hint: Tensor) -> Tensor:
        return self.input_hint_block(hint)

    def forward(
        self, x: Tensor, timesteps: Tensor, context: Tensor, embedding: Tensor, y: object = None
    ) -> Residuals:
        h, rows = self.blocks[0](x) + embedding, []
        for index, zero in enumerate(self.zero_convs):
            h = self.blocks[index](torch.relu(h)) if index else h
            rows.append(zero(h))
        return Residuals(output=tuple(rows[:-1]), middle=(rows[-1],))


def gaussian(net: ControlNet) -> ControlNet:
    """`net` with Gaussian convolutions where its zero convolutions were."""
    draw = generator(99)
    for module in (*net.zero_convs, net.middle_block_out):
        weight = module[0].weight
        weight.data = torch.randn(weight.shape, generator=draw) * weight[0].numel() ** -0.5
    return net


@dataclass(frozen=True)
class Variant:
    """A net to train, and on how many scenes."""

    title: str
    claim: str
    """What the paper found of it."""
    make: Callable[[Course], nn.Module]
    scenes: int | None = None


PLAIN = "ControlNet (zero convolutions)"
PAPER = "follows, also without a prompt"
VARIANTS = {
    "gaussian": Variant(
        "Gaussian convolutions instead", "as weak as lite", lambda c: gaussian(c.fresh())
    ),
    "lite": Variant(
        "ControlNet-lite (no copy)", "too weak without a prompt",
        lambda c: Lite(c.painter.unet.config),
    ),
    "small": Variant("ControlNet, 1000 scenes", "still follows", Course.fresh, scenes=1000),
}  # fmt: skip


def main() -> None:
    """Trains what is not trained yet, measures a step and the shipped nets, writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the playground's training")
    parser.add_argument("--steps", type=int, default=1000, help="optimiser steps of each variant")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="for each of them")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "paper.md")
    options = parser.parse_args()
    stage = Stage(options.folder, steps=options.steps, minutes=options.minutes)
    course = open_course("edges", stage)
    for name, variant in VARIANTS.items():
        torch.manual_seed(stage.seed)
        own = course if variant.scenes is None else cut(course, variant.scenes)
        own.train(variant.make(own), stage, name=f"paper/{name}")  # type: ignore[arg-type]
    lines = {PLAIN: scored(stage.folder / "edges", up_to=options.steps)} | {
        variant.title: scored(stage.folder / "paper" / name, up_to=options.steps)
        for name, variant in VARIANTS.items()
    }
    base_steps = int(read_lines(stage.folder / "base" / "log.jsonl")[-1]["step"])
    variants = trained(lines, len(course.hints), base_steps)
    page = "\n".join((*variants, *shipped(), *cost(course)))
    options.page.write_text(page, encoding="utf-8")
    plot(lines, options.page.with_suffix(".png"))


def cut(course: Course, scenes: int) -> Course:
    """The same course on its first scenes alone."""
    return replace(course, hints=course.hints[:scenes])


def scored(folder: Path, *, up_to: int) -> Lines:
    lines = read_lines(folder / "validation.jsonl")
    return [line for line in lines if line["step"] <= up_to]


def trained(lines: dict[str, Lines], scenes: int, base_steps: int) -> list[str]:
    """The table of the variants."""
    claims = {PLAIN: PAPER} | {each.title: each.claim for each in VARIANTS.values()}
    rows = [
        f"| {title} | {last['score']:.3f} | {last['blind']:.3f} | {jump(own)} | {claims[title]} |"
        for title, own in lines.items()
        if (last := own[-1])
    ]
    first = next(iter(lines.values()))[-1]
    return [
        "# The paper's claims at playground scale", "",
        "Made by `benchmarks/paper.py`. The playground's own pictures, 128 x 128; everything was",
        "trained on a CPU, so what is measured is how the variants differ, not how good they get.",
        "", "## What the parts are worth", "",
        f"Edges, {int(first['step'])} optimiser steps of 32 scenes out of {scenes}, for a base of",
        f"{base_steps} steps. Scores are edge F1 of held-out scenes, 1 is best; without control,",
        f"the base scores {first['without']:.3f} by chance.", "",
        "| net | with its prompt | without a prompt | began to follow suddenly at step | paper |",
        "|---|---|---|---|---|", *rows, "",
        "![Adherence over the steps of each variant](paper.png)", "",
        "*Sudden* means that half of the whole rise fell within a tenth of the run.", "",
    ]  # fmt: skip


def jump(own: Lines) -> str:
    step = sudden_step([int(line["step"]) for line in own], [line["score"] for line in own])
    return "it did not" if step is None else str(step)


def shipped(count: int = 24) -> list[str]:
    """Adherence of the shipped nets: alone, and two of them summed."""
    exam, rows = open_exam(count), []
    for kinds in ((), ("edges",), ("depth",), ("labels",), ("edges", "depth")):
        pictures = exam.paint({kind: ControlSpec() for kind in kinds})
        scores = [f"{exam.score(kind, pictures):.3f}" for kind in exam.hints]
        rows.append(f"| {' + '.join(kinds) or 'none'} | {' | '.join(scores)} |")
    return [
        "## The shipped nets, alone and summed", "",
        f"{count} held-out scenes, strength 1 each. Edge F1 and mean IoU: 1 is best; depth RMSE:",
        "0 is best.", "",
        "| control | edge F1 | depth RMSE | mean IoU |", "|---|---|---|---|", *rows, "",
    ]  # fmt: skip


def cost(course: Course, pairs: int = 8) -> list[str]:
    """Time and memory of a training step against the base's own."""
    unet, net = course.painter.unet, course.fresh()
    empty = course.painter.text.encode([""]).detach()
    loss = ControlLoss(unet, net, NOISE, course.batch, empty=empty)
    parameters = dict(unet.named_parameters())

    def base_step() -> None:
        unet.requires_grad_(True)
        base_loss(course).backward()
        unet.requires_grad_(False)
        unet.zero_grad(set_to_none=True)

    def control_step() -> None:
        trainable(net, unet)
        loss(generator(1)).backward()
        net.zero_grad(set_to_none=True)

    def hint_step() -> None:
        net.encode_hint(hint).square().mean().backward()
        net.zero_grad(set_to_none=True)

    hint = course.batch(generator(1)).hint
    base_step(), control_step(), hint_step()
    times = [(timed(control_step), timed(base_step), timed(hint_step)) for _ in range(pairs)]
    ratio = statistics.median(control / own for control, own, _ in times)
    apart = statistics.median((control - hints) / own for control, own, hints in times)
    unet.requires_grad_(True)
    whole = states(parameters) + kept(lambda: base_loss(course))
    learned = trainable(net, unet)
    controlled = states(learned) + nbytes(parameters) + kept(lambda: loss(generator(1)))
    return [
        "## What a training step costs", "",
        "Against a training step of the base itself, 32 scenes, AdamW, float32.", "",
        "| | here | paper |", "|---|---|---|",
        f"| time | {ratio:.2f} | {PAPER_TIME} |",
        f"| time, hint encoder apart | {apart:.2f} | |",
        f"| memory | {controlled / whole:.2f} | {PAPER_MEMORY} |", "",
        "Memory is counted: weights, gradients, both states of the optimiser, what the backward",
        "pass keeps. The playground's hints are 64 times as large as its latents, and its nets so",
        "narrow that the hint encoder counts for more than in Stable Diffusion.", "",
    ]  # fmt: skip


def base_loss(course: Course) -> Tensor:
    """The base's own training loss of one batch."""
    batch = course.batch(generator(1))
    draw = generator(2)
    unit = torch.randn(batch.latent.shape, generator=draw)
    timesteps = torch.randint(1000, (len(batch.latent),), generator=draw)
    x = NOISE.noised(batch.latent, unit, timesteps)
    answer = course.painter.unet(x, timesteps.float(), batch.context)
    return (answer - NOISE.target(batch.latent, unit, timesteps)).square().mean()


def states(parameters: dict[str, nn.Parameter]) -> int:
    """Bytes of weights, gradients and AdamW's two averages."""
    return 4 * nbytes(parameters)


def nbytes(parameters: dict[str, nn.Parameter]) -> int:
    return sum(p.nbytes for p in parameters.values())


def kept(loss: Callable[[], Tensor]) -> int:
    """Bytes of activations that a loss keeps for its backward pass, weights apart."""
    seen: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):
            storage = x.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss()
    return sum(seen.values())


def plot(lines: dict[str, Lines], path: Path) -> None:
    import matplotlib.pyplot as plt  # optional, for this page alone

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for title, own in lines.items():
        steps = [line["step"] for line in own]
        scores = [line["score"] for line in own]
        axes.plot(steps, scores, marker=".", label=title)
    chance = next(iter(lines.values()))[-1]["without"]
    axes.axhline(chance, color="grey", linestyle=":", label="no control")
    axes.set(xlabel="optimiser steps", ylabel="edge F1")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
