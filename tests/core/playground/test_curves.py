"""The picture of the whole training's curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from controlstack.controlnet_core.playground.family import CONTROLS
from controlstack.controlnet_core.playground.train.curves import draw_curves
from controlstack.controlnet_core.playground.train.stage import Stage
from controlstack.controlnet_core.training.log import write_lines


def logged(folder: Path, losses: list[float], scores: list[float]) -> None:
    for name in ("vae", "base", "annotator", *CONTROLS):
        steps = [{"step": k, "loss": loss} for k, loss in enumerate(losses, 1)]
        (folder / name).mkdir(parents=True)
        write_lines(folder / name / "log.jsonl", steps)
    for kind in CONTROLS:
        exams = [
            {"step": 100 * k, "score": score, "without": 0.2, "blind": score / 2}
            for k, score in enumerate(scores, 1)
        ]
        write_lines(folder / kind / "validation.jsonl", exams)


def test_every_stage_has_its_curve(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    logged(tmp_path / "fell", [1.0, 0.5, 0.3], [0.2, 0.25, 0.7])
    logged(tmp_path / "rose", [0.3, 0.5, 1.0], [0.7, 0.25, 0.2])
    pages = []
    for name in ("fell", "rose"):
        draw_curves(Stage(tmp_path / name))
        with Image.open(tmp_path / name / "curves.png") as page:
            pages.append(np.asarray(page.convert("L")))
    height, width = pages[0].shape
    different = pages[0] != pages[1]
    for row in np.split(different[: height // 2 * 2], 2):
        panels = np.array_split(row, 3, axis=1)
        assert all(panel.any() for panel in panels)
    assert width > height
