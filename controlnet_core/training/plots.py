"""The curves of a run as one picture: loss and adherence over the optimiser steps."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .log import read_lines
from .validation import Reports


def plot_run(folder: Path, reports: Reports | None = None) -> Path | None:
    """Writes `folder/curves.png`; None where matplotlib (optional) is not installed.

    The step at which the net suddenly began to follow is marked, if there was one.
    """
    try:
        figure: Any = import_module("matplotlib.figure")
    except ImportError:
        return None
    page = figure.Figure(figsize=(8, 6), layout="constrained")
    upper, lower = page.subplots(2, sharex=True)
    draw_loss(upper, folder)
    if reports:
        draw_scores(lower, reports)
    lower.set_xlabel("optimiser step")
    path = folder / "curves.png"
    page.savefig(path, dpi=100)
    return path


def draw_loss(axes: Any, folder: Path) -> None:
    """Into `axes` of matplotlib: the loss of each step of the run in `folder`, and their mean."""
    lines = read_lines(folder / "log.jsonl")
    steps, losses = [line["step"] for line in lines], [line["loss"] for line in lines]
    axes.plot(steps, losses, color="0.8", linewidth=0.5)
    width = max(1, len(losses) // 50)  # the loss of one step says little: it is that of its noise
    if losses:
        smooth = np.convolve(losses, np.full(width, 1.0 / width), mode="valid")
        axes.plot(steps[width - 1 :], smooth, label=f"mean of {width} steps")
        axes.legend()
    axes.set_ylabel("loss")


def draw_scores(axes: Any, reports: Reports) -> None:
    """Into `axes`: adherence with the net, without a prompt, without the net."""
    lines = [line for line in reports.lines() if "score" in line]
    steps = [line["step"] for line in lines]
    names = {"score": "with control", "blind": "with control, no prompt", "without": "no control"}
    for key, name in names.items():
        axes.plot(steps, [line[key] for line in lines], marker=".", label=name)
    sudden = reports.sudden_step()
    if sudden is not None:
        axes.axvline(sudden, color="0.3", linestyle="--", label=f"began to follow at {sudden}")
    if lines:
        axes.legend()
    axes.set_ylabel(reports.measure.title)
