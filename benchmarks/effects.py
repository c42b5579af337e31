"""What strength, range, mask and mode do to pictures, measured on the playground.

`python benchmarks/effects.py` writes docs/strength.md and its plots, with the shipped nets. It
needs matplotlib and about ten minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from exam import ROOT, Exam, open_exam

# isort: split
from controlstack.controlnet_core.control import CONTROL_MODES, ControlSpec, Window
from controlstack.controlnet_core.playground.scenes import SIZE
from controlstack.controlnet_core.sheet import Panel, save_sheet
from controlstack.controlnet_core.training.adherence import MEASURES

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
PERCENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LEFT, RIGHT = slice(None, SIZE // 2), slice(SIZE // 2, None)
MODES = ("balanced", "my prompt is more important", "ControlNet is more important", "cond only",
         "paper", "guess mode (diffusers)")  # fmt: skip
SHOWN = 6
"""Pictures in a row of the sheet."""


@dataclass(frozen=True)
class Curve:
    """One line of a plot."""

    title: str
    x: Sequence[float]
    y: Sequence[float]


def main() -> None:
    """Measures all four, writes plots, sheet and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=24, help="held-out scenes")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs", help="where the page goes")
    options = parser.parse_args()
    exam, folder = open_exam(options.count), options.folder
    lines = list(strengths(exam))
    plot(folder / "strength-value.png", lines, "strength", "adherence won")
    plot(folder / "strength-range.png", list(ranges(exam)), "percent of sampling", "edge F1")
    halves = masked(exam, folder / "strength-mask.png")
    points = list(modes(exam))
    plot_modes(folder / "strength-modes.png", points)
    text = page(options.count, lines, halves, points)
    (folder / "strength.md").write_text(text, encoding="utf-8")


def strengths(exam: Exam) -> Iterator[Curve]:
    """Adherence of each kind over strength: 0 is that without control, 1 a perfect picture."""
    plain = exam.paint({})
    for kind, measure in MEASURES.items():
        without = exam.score(kind, plain)
        scores = [exam.score(kind, exam.paint({kind: ControlSpec(s)})) for s in STRENGTHS]
        yield Curve(kind, STRENGTHS, [measure.gain(score, without) for score in scores])


def ranges(exam: Exam) -> Iterator[Curve]:
    """Edge F1 of controls that end early, and of those that start late."""

    def scores(windows: Iterator[Window]) -> list[float]:
        specs = (ControlSpec(schedule=window) for window in windows)
        return [exam.score("edges", exam.paint({"edges": spec})) for spec in specs]

    yield Curve("from 0 to there", PERCENTS, scores(Window(0.0, p) for p in PERCENTS))
    yield Curve("from there to 1", PERCENTS, scores(Window(p, 1.0) for p in PERCENTS))


def masked(exam: Exam, path: Path) -> dict[str, tuple[float, float]]:
    """Edge F1 in the left and in the right half, and a sheet of the first pictures."""
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., LEFT] = 1.0
    pictures = {
        "no control": exam.paint({}),
        "mask: left half": exam.paint({"edges": ControlSpec(mask=mask)}),
        "everywhere": exam.paint({"edges": ControlSpec()}),
    }
    rows = {"hint": exam.hints["edges"], **pictures}
    panels = [Panel(p[None], title) for title, row in rows.items() for p in row[:SHOWN]]
    save_sheet(path, panels, columns=SHOWN, width=144)
    return {
        title: (exam.score("edges", row, LEFT), exam.score("edges", row, RIGHT))
        for title, row in pictures.items()
    }


def modes(exam: Exam) -> Iterator[tuple[str, float, float]]:
    """Edge F1, and the share of the prompt that is seen, where hint and prompt disagree."""
    others = replace(exam, scenes=exam.scenes[1:] + exam.scenes[:1])
    plain = others.paint({})
    yield "no control", others.score("edges", plain), others.seen(plain)
    for mode in MODES:
        pictures = others.paint({"edges": CONTROL_MODES[mode]})
        yield mode, others.score("edges", pictures), others.seen(pictures)


def plot(path: Path, curves: Sequence[Curve], x: str, y: str) -> None:
    figure, axes = _figure()
    for curve in curves:
        axes.plot(curve.x, curve.y, marker=".", label=curve.title)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def plot_modes(path: Path, points: Sequence[tuple[str, float, float]]) -> None:
    """A bar for each mode: how well it follows the hint, and what it leaves of the prompt."""
    figure, axes = _figure()
    titles, followed, seen = zip(*reversed(points), strict=True)
    bars = axes.barh(titles, followed)
    axes.bar_label(bars, [f" {share:.0%} of the prompt" for share in seen])
    axes.set(xlabel="edge F1", xlim=(0, 1))
    figure.savefig(path, dpi=110)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # optional, for this page alone

    figure = Figure(figsize=(7, 4), layout="constrained")
    return figure, figure.subplots()


def page(
    count: int,
    lines: Sequence[Curve],
    halves: dict[str, tuple[float, float]],
    points: Sequence[tuple[str, float, float]],
) -> str:
    """The text of docs/strength.md."""
    shown = [STRENGTHS.index(strength) for strength in (0.25, 0.5, 1.0, 1.5, 2.0)]
    won = [f"| {c.title} | {' | '.join(f'{c.y[k]:.2f}' for k in shown)} |" for c in lines]
    parts = [f"| {title} | {a:.3f} | {b:.3f} |" for title, (a, b) in halves.items()]
    by_mode = [f"| {title} | {f:.3f} | {seen:.2f} |" for title, f, seen in points]
    return "\n".join([
        "# What strength, range, mask and mode do", "",
        f"Made by `benchmarks/effects.py`: {count} held-out scenes of the playground, its shipped",
        "nets, 20 steps, cfg 4, the same noise throughout. Edge F1 and mean IoU: 1 is best.", "",
        "## Strength", "",
        "*Won* is the part of what was missing without control: 0 is no control, 1 a picture that",
        "follows perfectly.", "",
        "| control | 0.25 | 0.5 | 1 | 1.5 | 2 |", "|---|---|---|---|---|---|", *won, "",
        "![Adherence over strength](strength-value.png)", "",
        "## Range", "",
        "A control that acts from 0 to some percent of the sampling, and one from there to 1.", "",
        "![Adherence over range](strength-range.png)", "",
        "## Mask", "",
        "Edges at strength 1, inside of a mask that is white in the left half.", "",
        "| | left half | right half |", "|---|---|---|", *parts, "",
        "![Hints and pictures](strength-mask.png)", "",
        "## Modes", "",
        "The edges of one scene with the prompt of another: they cannot both be followed.", "",
        "| mode | edge F1 | solids of the prompt seen |", "|---|---|---|", *by_mode, "",
        "![Edge F1 of each mode, and the share of the prompt's solids](strength-modes.png)", "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
