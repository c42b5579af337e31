"""Sheets and scores of a run, as they lie in its folder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import Tensor

from controlstack.controlnet_core.training.adherence import MEASURES
from controlstack.controlnet_core.training.log import read_lines
from controlstack.controlnet_core.training.plots import plot_run
from controlstack.controlnet_core.training.validation import (
    Report,
    Reports,
    Scores,
    Validation,
    last_page,
)

PAGE = Image.new("RGB", (8, 8))


def report(step: int, score: float = 0.5) -> Report:
    return Report(step, Scores(score, 0.1, 0.2), PAGE)


def exam(read: object = lambda picture: picture) -> Validation:
    """The net `gain` paints hint x gain, x 0.8 without a prompt; without a net all is black."""
    hints = torch.zeros(2, 3, 16, 24)
    hints[:, :, 4:8] = 1.0

    def paint(net: SimpleNamespace | None, hints: Tensor, prompts: list[str]) -> Tensor:
        return hints * (net.gain if net else 0.0) * (1.0 if prompts[0] else 0.8)

    return Validation(
        hints, ["a box", "a ball"], paint=paint,  # type: ignore[arg-type]
        read=read, measure=MEASURES["edges"],  # type: ignore[arg-type]
    )  # fmt: skip


def test_scores_with_and_without_control_and_prompt() -> None:
    assert exam()(SimpleNamespace(gain=1.0), 5).scores == Scores(1.0, 0.0, 1.0)  # type: ignore[arg-type]
    assert exam()(SimpleNamespace(gain=0.6), 5).scores == Scores(1.0, 0.0, 0.0)  # type: ignore[arg-type]


def test_sheet_has_a_column_for_each_prompt() -> None:
    page = exam()(SimpleNamespace(gain=1.0), 5).page  # type: ignore[arg-type]
    assert page.width == 12 + 2 * (160 + 12)
    assert page.height > 4 * 160 * 16 // 24  # hint, no control, control, no prompt


def test_without_a_reader_there_are_sheets_alone(tmp_path: Path) -> None:
    seen = exam(None)(SimpleNamespace(gain=1.0), 5)  # type: ignore[arg-type]
    assert seen.scores is None
    reports = Reports(tmp_path, MEASURES["edges"])
    reports.add(seen)
    assert reports.lines() == [{"step": 5}]
    assert reports.sudden_step() is None


def test_later_lines_give_way_to_a_resumed_run(tmp_path: Path) -> None:
    reports = Reports(tmp_path, MEASURES["edges"])
    for step in (10, 20, 30):
        reports.add(report(step))
    Reports(tmp_path, MEASURES["edges"]).add(report(20, 0.9))
    assert [(line["step"], line["score"]) for line in reports.lines()] == [(10, 0.5), (20, 0.9)]
    assert last_page(tmp_path) is not None
    assert last_page(tmp_path / "elsewhere") is None


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    reports = Reports(tmp_path, MEASURES["edges"])
    reports.add(report(10))
    with reports.path.open("a") as file:
        file.write('{"step": 20, "sco')
    assert [line["step"] for line in read_lines(reports.path)] == [10]
    reports.add(report(20))
    assert [line["step"] for line in read_lines(reports.path)] == [10, 20]


def test_sudden_step_is_found_in_the_lines(tmp_path: Path) -> None:
    reports = Reports(tmp_path, MEASURES["edges"])
    for step, score in enumerate([0.1, 0.1, 0.12, 0.8, 0.85, 0.86, 0.87]):
        reports.add(report(100 * step, score))
    assert reports.sudden_step() == 200


def test_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = [f'{{"step": {step}, "loss": {1 / step}}}\n' for step in range(1, 201)]
    (tmp_path / "log.jsonl").write_text("".join(lines))
    reports = Reports(tmp_path, MEASURES["edges"])
    for step, score in enumerate([0.1, 0.1, 0.8, 0.85]):
        reports.add(report(50 * step, score))
    path = plot_run(tmp_path, reports)
    assert path is not None
    with Image.open(path) as page:
        assert page.size == (800, 600)
