"""A forecast as a picture: strength by step above, strength by step and block below it."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..controlnet_core.control import Forecast

Color = tuple[int, int, int]

PAPER: Color = (23, 25, 31)
INK: Color = (226, 229, 235)
FAINT: Color = (138, 145, 158)
RULE: Color = (52, 57, 68)
SILENT: Color = (33, 36, 44)
_WARM: tuple[tuple[float, Color], ...] = (
    (0.0, (40, 52, 92)), (0.3, (37, 108, 142)), (0.55, (38, 160, 134)), (0.8, (132, 204, 88)),
    (1.0, (250, 222, 80)),
)  # fmt: skip
_COLD: tuple[tuple[float, Color], ...] = ((0.0, (74, 36, 58)), (1.0, (238, 92, 92)))

_LEFT, _RIGHT, _WIDTH = 118, 112, 760
_TOP, _CURVE, _GAP, _MAP, _BOTTOM = 84, 96, 26, 364, 78


def color_of(strength: float, most: float) -> Color:
    """Dark blue to yellow over 0..`most`, red below 0, and nearly the paper where nothing acts."""
    if strength == 0.0:
        return SILENT
    scale = _WARM if strength > 0.0 else _COLD
    share = min(abs(strength) / most, 1.0)
    right = min(bisect_right(scale, share, key=lambda stop: stop[0]), len(scale) - 1)
    (x0, low), (x1, high) = scale[right - 1 : right + 1]
    mix = (share - x0) / (x1 - x0)
    red, green, blue = (round(a + (b - a) * mix) for a, b in zip(low, high, strict=True))
    return red, green, blue


@dataclass
class _Sheet:
    """The picture being drawn, and where its steps and blocks lie on it."""

    forecast: Forecast
    most: float
    """The strength at the top of the curve and of the legend."""

    def __post_init__(self) -> None:
        size = (_LEFT + _WIDTH + _RIGHT, _TOP + _CURVE + _GAP + _MAP + _BOTTOM)
        self.image = Image.new("RGB", size, PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self.floor = _TOP + _CURVE
        self.map_top = self.floor + _GAP

    def column(self, step: int) -> tuple[int, int]:
        count = len(self.forecast.gains)
        return _LEFT + _WIDTH * step // count, _LEFT + _WIDTH * (step + 1) // count

    def row(self, block: int) -> tuple[int, int]:
        count = len(self.forecast.blocks)
        return self.map_top + _MAP * block // count, self.map_top + _MAP * (block + 1) // count

    def cell(self, x: tuple[int, int], y: tuple[int, int], color: Color) -> None:
        """A filled cell with a hair of paper around it, where there is room for one."""
        gap_x, gap_y = (1 if b - a > 8 else 0 for a, b in (x, y))
        self.pen.rectangle((x[0], y[0], max(x[1] - 1 - gap_x, x[0]), y[1] - 1 - gap_y), fill=color)

    def write(
        self, x: float, y: float, text: str, *, anchor: str, size: int = 13, color: Color = FAINT
    ) -> None:
        font = ImageFont.load_default(size)
        self.pen.text((x, y), text, fill=color, anchor=anchor, font=font)


def chart(forecast: Forecast, *, title: str, notes: str) -> Tensor:
    """IMAGE (1 H W 3) in 0..1 of a forecast, with axes and a legend."""
    strengths = [abs(x) for row in (forecast.gains, *forecast.table) for x in row]
    sheet = _Sheet(forecast, most=math.ceil(4 * max(1.0, *strengths)) / 4)
    sheet.write(_LEFT, 24, title, anchor="ls", size=19, color=INK)
    sheet.write(_LEFT, 47, notes, anchor="ls")
    _draw_curve(sheet)
    _draw_map(sheet)
    _draw_steps(sheet)
    _draw_legend(sheet)
    return torch.from_numpy(np.asarray(sheet.image, dtype=np.float32) / 255.0)[None]


def _draw_curve(sheet: _Sheet) -> None:
    """A bar for each step, with rules at half and at full height."""
    low = min(0.0, *sheet.forecast.gains)
    span = sheet.most - low

    def at(strength: float) -> int:
        return round(sheet.floor - _CURVE * (strength - low) / span)

    for mark in (sheet.most, sheet.most / 2, 0.0):
        sheet.pen.line((_LEFT, at(mark), _LEFT + _WIDTH, at(mark)), fill=RULE)
        sheet.write(_LEFT - 10, at(mark), f"{mark:.3g}", anchor="rm")
    for step, gain in enumerate(sheet.forecast.gains):
        top, bottom = sorted((at(gain), at(0.0)))
        if top < bottom:
            sheet.cell(sheet.column(step), (top, bottom + 1), color_of(gain, sheet.most))
    sheet.write(_LEFT - 52, (_TOP + sheet.floor) / 2, "strength", anchor="rm", color=INK)


def _draw_map(sheet: _Sheet) -> None:
    """A cell for each step and block, the shallowest block on top."""
    blocks = sheet.forecast.blocks
    for index, (block, strengths) in enumerate(zip(blocks, sheet.forecast.table, strict=True)):
        rows = sheet.row(index)
        for step, strength in enumerate(strengths):
            sheet.cell(sheet.column(step), rows, color_of(strength, sheet.most))
        if index % _stride(len(blocks), 20) == 0 or block.site == "middle":
            sheet.write(_LEFT - 10, sum(rows) / 2, block.label, anchor="rm")
    sheet.write(_LEFT - 10, sheet.map_top - 12, "block", anchor="rm", color=INK)


def _draw_steps(sheet: _Sheet) -> None:
    """Under the map: the number of each step, and how far the sampling has come."""
    moments, base = sheet.forecast.moments, sheet.map_top + _MAP
    for moment in moments[:: _stride(len(moments), 20)]:
        middle = sum(sheet.column(moment.step)) / 2
        sheet.write(middle, base + 16, f"{moment.step + 1}", anchor="mm")
        sheet.write(middle, base + 36, f"{moment:.0%}", anchor="mm", size=11)
    sheet.write(_LEFT - 10, base + 16, "step", anchor="rm", color=INK)
    sheet.write(_LEFT - 10, base + 36, "of sampling", anchor="rm", color=INK)


def _draw_legend(sheet: _Sheet) -> None:
    """The colours with their strengths, and the colour of what is not computed."""
    left, top = _LEFT + _WIDTH + 26, sheet.map_top
    height = _MAP - 54
    for y in range(height):
        strength = sheet.most * (1.0 - y / (height - 1)) or 1e-9
        sheet.pen.line((left, top + y, left + 16, top + y), fill=color_of(strength, sheet.most))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + (height - 1) * (1.0 - share)
        sheet.write(left + 25, y, f"{sheet.most * share:.3g}", anchor="lm")
    sheet.pen.rectangle((left, top + _MAP - 22, left + 16, top + _MAP - 6), fill=SILENT)
    sheet.write(left + 25, top + _MAP - 14, "off", anchor="lm")


def _stride(count: int, most: int) -> int:
    """Which share of `count` labels to draw so that at most `most` stand side by side."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 10**6) if count <= most * step)
