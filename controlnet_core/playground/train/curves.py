"""The curves of the whole training as one picture."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...training.adherence import MEASURES
from ...training.plots import draw_loss, draw_scores
from ...training.validation import Reports
from ..family import CONTROLS
from .stage import Stage

_LEARNED = {"vae": "VAE", "base": "UNet and text encoder", "annotator": "annotator"}


def draw_curves(stage: Stage) -> None:
    """Writes `curves.png`: above the losses, below how well each ControlNet follows.

    Without matplotlib (optional) it writes nothing.
    """
    try:
        figure: Any = import_module("matplotlib.figure")
    except ImportError:
        return
    page = figure.Figure(figsize=(13, 7), layout="constrained")
    axes = page.subplots(2, len(_LEARNED))
    for panel, (name, title) in zip(axes[0], _LEARNED.items(), strict=True):
        draw_loss(panel, stage.folder / name)
        panel.set_title(title)
    for panel, kind in zip(axes[1], CONTROLS, strict=True):
        draw_scores(panel, Reports(stage.folder / kind, MEASURES[kind]))
        panel.set_title(f"ControlNet for {kind}")
    for panel in axes.flat:
        panel.set_xlabel("optimiser step")
    page.savefig(stage.folder / "curves.png", dpi=90)
