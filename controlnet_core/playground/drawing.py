"""Scenes drawn: the picture, and its exact outlines, depth and labels.

Each solid is a signed distance (pixels, negative inside) with a relief over it; light falls on the
relief's slopes from the upper left.
Source of the distances: the elementary formulas of Inigo Quilez's collection of 2D distances.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .scenes import RADII, SIZE, Ground, Scene, Solid
from .words import COLOURS, SHAPES

GROUND_NEARNESS = 0.1
_RELIEF = 0.12  # nearness between the rim of the largest solid and its top
_LIGHT = (-0.45, -0.60, 0.66)  # towards the lamp: left, up, out of the picture
_STAR = math.pi / 5

LABEL_COLOURS: tuple[tuple[int, int, int], ...] = (
    (60, 60, 60), (230, 60, 60), (60, 180, 75), (0, 130, 200), (255, 225, 25), (240, 50, 230),
    (70, 240, 240),
)  # fmt: skip
"""8-bit RGB in which a segmentation hint shows the ground and each shape."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A scene as pixels, all of them exact."""

    picture: Tensor
    """(3 128 128) in 0..1."""
    depth: Tensor
    """(1 128 128) in 0..1, near is 1."""
    labels: Tensor
    """(128 128) whole numbers: 0 the ground, 1 + the index of the shape in SHAPES."""
    colours: Tensor
    """(128 128) whole numbers: the index of the surface's colour in COLOURS."""
    edges: Tensor
    """(1 128 128), 1 on the outlines of the solids."""


def draw(scene: Scene) -> Drawing:
    """The scene drawn far to near, smooth at its outlines."""
    picture, depth = _ground(scene.ground), torch.full((1, SIZE, SIZE), GROUND_NEARNESS)
    names = tuple(COLOURS)
    labels = torch.zeros(SIZE, SIZE, dtype=torch.long)
    colours = torch.full((SIZE, SIZE), names.index(scene.ground.colour))
    owner = torch.zeros(SIZE, SIZE)
    for number, solid in enumerate(scene.solids, 1):
        x, y = _turned(solid)
        distance, height = _SOLIDS[solid.shape](x, y, solid.radius)
        picture = picture * (1.0 - 0.4 * _shadow(solid))
        cover = (0.5 - distance).clamp(0.0, 1.0)
        picture = torch.lerp(picture, _lit(solid, height), cover)
        inside = distance < 0
        scale = solid.radius / RADII[1]
        near = solid.nearness + _RELIEF * scale * height.clamp(0.0, 1.0)
        depth = torch.where(inside, near, depth)
        labels = torch.where(inside, 1 + SHAPES.index(solid.shape), labels)
        colours = torch.where(inside, names.index(solid.colour), colours)
        owner = torch.where(inside, float(number), owner)
    return Drawing(picture.clamp(0.0, 1.0), depth, labels, colours, _outlines(owner))


def label_hint(labels: Tensor) -> Tensor:
    """Segmentation hint (B 3 h w) in 0..1 of `labels` (B h w): each label in its colour."""
    palette = torch.tensor(LABEL_COLOURS, device=labels.device) / 255.0
    return palette[labels].movedim(-1, 1)


@cache
def _pixels() -> tuple[Tensor, Tensor]:
    """x (1 128) and y (128 1) of the pixels' centres."""
    centres = torch.arange(SIZE) + 0.5
    return centres[None], centres[:, None]


def _turned(solid: Solid) -> tuple[Tensor, Tensor]:
    """Pixel coordinates with the solid at the origin, upright."""
    x, y = _pixels()
    return _rotated(x - solid.x, y - solid.y, solid.angle)


def _rotated(x: Tensor, y: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


Form = tuple[Tensor, Tensor]
"""Signed distance in pixels, and relief 0..1 inside."""


def _ball(x: Tensor, y: Tensor, radius: float) -> Form:
    away = torch.hypot(x, y)
    return away - radius, (1.0 - (away / radius) ** 2).clamp(min=0.0).sqrt()


def _box(x: Tensor, y: Tensor, radius: float) -> Form:
    side = 0.86 * radius
    distance = torch.maximum(x.abs(), y.abs()) - side
    return distance, _bevel(distance, 0.22 * radius)


def _cone(x: Tensor, y: Tensor, radius: float) -> Form:
    """Round seen from the side: the relief is that of a cylinder that narrows upward."""
    base = 0.8 * radius
    length = math.hypot(1.8 * radius, base)
    sides = (x.abs() * (1.8 * radius) - (y + radius) * base) / length
    distance = torch.maximum(sides, y - base)
    width = ((y + radius) / (radius + base) * radius * 0.95).clamp(min=1.0)
    return distance, (1.0 - (x / width) ** 2).clamp(min=0.0).sqrt()


def _star(x: Tensor, y: Tensor, radius: float) -> Form:
    """Five points; each half of a point is a plane of its own."""
    angle = torch.atan2(x, -y)
    sector = (torch.remainder(angle, 2 * _STAR) - _STAR).abs() - _STAR
    away = torch.hypot(x, y)
    px, py = away * torch.cos(sector), -away * torch.sin(sector)
    inner = 0.45 * radius
    ax, ay = radius, 0.0
    bx, by = inner * math.cos(_STAR), inner * math.sin(_STAR)
    length = math.hypot(bx - ax, by - ay)
    distance = ((px - ax) * (ay - by) + (py - ay) * (bx - ax)) / length
    return -distance, (distance / (0.35 * radius)).clamp(0.0, 1.0)


def _ring(x: Tensor, y: Tensor, radius: float) -> Form:
    thick = 0.26 * radius
    distance = (torch.hypot(x, y) - (radius - thick)).abs() - thick
    return distance, (1.0 - (1.0 + distance / thick).clamp(0.0, 1.0) ** 2).sqrt()


def _cross(x: Tensor, y: Tensor, radius: float) -> Form:
    arm = 0.3 * radius
    x, y = x.abs(), y.abs()
    long = torch.minimum(
        torch.maximum(x - radius, y - arm), torch.maximum(x - arm, y - radius)
    )  # fmt: skip
    return long, _bevel(long, 0.3 * radius)


def _bevel(distance: Tensor, width: float) -> Tensor:
    return (-distance / width).clamp(0.0, 1.0)


_SOLIDS: dict[str, Callable[[Tensor, Tensor, float], Form]] = {
    "ball": _ball, "box": _box, "cone": _cone, "star": _star, "ring": _ring, "cross": _cross,
}  # fmt: skip


def _lit(solid: Solid, height: Tensor) -> Tensor:
    """The solid's surface (3 128 128): its colour under the lamp, with a small highlight."""
    rise = height * solid.radius * 0.55
    dy, dx = torch.gradient(rise)
    left, up, out = _LIGHT
    facing = ((out - left * dx - up * dy) / (1.0 + dx**2 + dy**2).sqrt()).clamp(min=0.0)
    shine = facing**24 * 0.25
    return _rgb(solid.colour) * (0.62 + 0.5 * facing) + shine


def _shadow(solid: Solid) -> Tensor:
    """How dark the solid's shadow on what lies behind it is, 0..1."""
    dx, dy = 0.22 * solid.radius, 0.26 * solid.radius
    thrown = Solid(solid.shape, solid.colour, solid.x + dx, solid.y + dy, solid.radius, solid.angle)
    distance, _ = _SOLIDS[solid.shape](*_turned(thrown), solid.radius)
    return torch.sigmoid(-distance / 2.5)


def _ground(ground: Ground) -> Tensor:
    """The wall (3 128 128), a little lighter at the top."""
    base = _rgb(ground.colour)
    other = base * 0.55 + 0.45 if ground.colour == "black" else base * 0.62
    _, y = _pixels()
    picture = torch.lerp(base, other, _PATTERNS[ground.pattern](ground))
    return picture * (1.04 - 0.12 * y / SIZE)


def _plain(_: Ground) -> Tensor:
    return torch.zeros(SIZE, SIZE)


def _striped(ground: Ground) -> Tensor:
    x, _ = _rotated(*_pixels(), math.pi / 4 + ground.angle)
    return _step(torch.sin(2 * math.pi * x / ground.period), ground.period)


def _checkered(ground: Ground) -> Tensor:
    x, y = (torch.sin(math.pi * axis / (0.75 * ground.period)) for axis in _pixels())
    return _step(x * y, ground.period)


def _dotted(ground: Ground) -> Tensor:
    period = ground.period
    x, y = (torch.remainder(axis, period) - period / 2 for axis in _pixels())
    return (0.5 + 0.27 * period - torch.hypot(x, y)).clamp(0.0, 1.0)


def _step(wave: Tensor, period: float) -> Tensor:
    """0 or 1 by the sign of a wave of that period, smooth over about a pixel."""
    return (wave * period / (2 * math.pi) + 0.5).clamp(0.0, 1.0).expand(SIZE, SIZE)


_PATTERNS: dict[str, Callable[[Ground], Tensor]] = {
    "plain": _plain, "striped": _striped, "checkered": _checkered, "dotted": _dotted,
}  # fmt: skip


def _rgb(name: str) -> Tensor:
    return torch.tensor(COLOURS[name]).view(3, 1, 1) / 255.0


def _outlines(owner: Tensor) -> Tensor:
    """1 where the pixel above or to the left belongs to another solid."""
    edges = torch.zeros_like(owner)
    edges[1:] += owner[1:] != owner[:-1]
    edges[:, 1:] += owner[:, 1:] != owner[:, :-1]
    return edges.clamp(max=1.0)[None]
