"""Seeing it learn: sheets at fixed seeds, and how well the net follows, against none at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ..nets import ControlNet
from ..sheet import Panel, sheet
from .adherence import Measure, sudden_step
from .data import MakeHint
from .log import read_lines, write_lines

Paint = Callable[[ControlNet | None, Tensor, Sequence[str]], Tensor]
"""Pictures (B 3 H W) of prompts, from fixed noise, with a net that follows hints or without."""


class Scores(NamedTuple):
    """Mean adherence of a few pictures."""

    score: float
    """With the net."""
    without: float
    """Without it, which the net has to beat."""
    blind: float
    """With the net and an empty prompt: what it reads from the hint alone."""

    def __str__(self) -> str:
        return (
            f"{self.score:.3f}, without control {self.without:.3f}, without a prompt "
            f"{self.blind:.3f}"
        )


@dataclass(frozen=True, eq=False)
class Report:
    """What a net could do at one step."""

    step: int
    scores: Scores | None
    """None where nothing reads hints from pictures."""
    page: Image.Image

    @property
    def line(self) -> dict[str, float]:
        return {"step": self.step, **(self.scores._asdict() if self.scores else {})}


class Validation:
    """Paints the same few prompts and hints again and again, and scores what comes out.

    `read` makes the hint of a picture again: the preprocessor that made the hints. Without one
    there are sheets and no scores.
    """

    def __init__(
        self,
        hints: Tensor,
        prompts: Sequence[str],
        *,
        paint: Paint,
        read: MakeHint | None,
        measure: Measure,
    ) -> None:
        self.hints, self.prompts = hints, tuple(prompts)
        self.paint, self.read, self.measure = paint, read, measure
        self.plain = paint(None, hints, self.prompts)
        self.without = self._score(self.plain) if read else 0.0

    def __call__(self, net: ControlNet, step: int) -> Report:
        steered = self.paint(net, self.hints, self.prompts)
        blind = self.paint(net, self.hints, [""] * len(self.prompts))
        page = sheet(self._panels(steered, blind), columns=len(self.prompts), width=160)
        if self.read is None:
            return Report(step, None, page)
        return Report(step, Scores(self._score(steered), self.without, self._score(blind)), page)

    def _score(self, pictures: Tensor) -> float:
        assert self.read  # asked for a score only where there is one
        with torch.no_grad():
            read = torch.cat([self.read(picture[None]) for picture in pictures.cpu()])
        return float(self.measure(self.hints, read).mean())

    def _panels(self, steered: Tensor, blind: Tensor) -> list[Panel]:
        """A column for each prompt: its hint, without control, with it, and without the prompt."""
        rows = (
            (self.hints, ("hint",) * len(self.prompts)),
            (self.plain, ("no control",) * len(self.prompts)),
            (steered, self.prompts),
            (blind, ("no prompt",) * len(self.prompts)),
        )
        return [
            Panel(picture[None], caption)
            for pictures, captions in rows
            for picture, caption in zip(pictures, captions, strict=True)
        ]


class Reports:
    """The reports of a run, in its folder: sheets as PNG, scores as JSON lines."""

    def __init__(self, folder: Path, measure: Measure) -> None:
        self.folder, self.measure = folder, measure
        self.path = folder / "validation.jsonl"

    def add(self, report: Report) -> None:
        """Keeps a report; of a step that was reached before, the newer one."""
        pages = self.folder / "sheets"
        pages.mkdir(parents=True, exist_ok=True)
        report.page.save(pages / f"{report.step:08}.png")
        lines = [line for line in self.lines() if line["step"] < report.step] + [report.line]
        write_lines(self.path, lines)

    def lines(self) -> list[dict[str, float]]:
        """Step, score, score without the net and without a prompt, in order."""
        return read_lines(self.path)

    def sudden_step(self) -> int | None:
        """The step at which the net suddenly began to follow, if it did."""
        lines = [line for line in self.lines() if "score" in line]
        gains = [self.measure.gain(line["score"], line["without"]) for line in lines]
        return sudden_step([int(line["step"]) for line in lines], gains)


def last_page(folder: Path) -> Image.Image | None:
    """The newest sheet of the run in `folder`, if there is one."""
    pages = sorted((folder / "sheets").glob("*.png"))
    return Image.open(pages[-1]).convert("RGB") if pages else None
