"""Captioned scenes with exact labels: two or three solids in front of a ground.

The playground's data. Everything a caption says can be seen, and everything a hint needs is known
exactly: which pixel belongs to which solid, how near it is, and where the outlines run. A larger
solid is a nearer one, so that depth can be told from the picture too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from random import Random

from .words import COLOURS, GROUNDS, SHAPES

SIZE = 128
"""Pixels along a side of a scene."""
RADII = (18.0, 34.0)
"""Radius in pixels of the farthest and the nearest solid."""

Relation = Callable[[float, float], bool]
RELATIONS: dict[str, Relation] = {
    "left of": lambda dx, dy: dx > 1.5 * abs(dy),
    "right of": lambda dx, dy: -dx > 1.5 * abs(dy),
    "above": lambda dx, dy: dy > 1.5 * abs(dx),
    "below": lambda dx, dy: -dy > 1.5 * abs(dx),
}
"""What must hold for the way (dx, dy), y downward, from the first solid to the second."""


@dataclass(frozen=True)
class Ground:
    """The wall behind the solids: a colour, in two tones where it has a pattern."""

    pattern: str
    colour: str
    period: float
    """Pixels from one stripe, square or dot to the next."""
    angle: float
    """Radians by which the pattern is turned."""


@dataclass(frozen=True)
class Solid:
    """A shape of one colour; `x`, `y` and `radius` in pixels, `angle` in radians."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float
    angle: float

    @property
    def nearness(self) -> float:
        """How near its rim is: 0.35 to 0.85, by its size (the ground lies at 0.1)."""
        far, near = RADII
        return 0.35 + 0.5 * (self.radius - far) / (near - far)

    def touches(self, other: Solid, *, share: float) -> bool:
        """Whether the centres are nearer than `share` of the sum of the radii."""
        away = (self.x - other.x) ** 2 + (self.y - other.y) ** 2
        return away < (share * (self.radius + other.radius)) ** 2


@dataclass(frozen=True)
class Scene:
    """Solids from far to near, in front of a ground, and the words that tell of them."""

    solids: tuple[Solid, ...]
    ground: Ground
    caption: str

    @property
    def named(self) -> frozenset[tuple[str, str]]:
        """Colour and shape of each solid, as the caption names them."""
        return frozenset((solid.colour, solid.shape) for solid in self.solids)


def random_scene(seed: int | str) -> Scene:
    """The scene of a seed: two solids (three in one scene of three), 8 colours, 6 shapes."""
    random = Random(f"scene {seed}")
    ground = Ground(
        random.choice(GROUNDS), random.choice(tuple(COLOURS)),
        random.uniform(20.0, 28.0), random.uniform(-0.6, 0.6),
    )  # fmt: skip
    count = 3 if random.random() < 1 / 3 else 2
    colours = random.sample([name for name in COLOURS if name != ground.colour], count)
    shapes = random.choices(SHAPES, k=count)
    relation = random.choice(tuple(RELATIONS)) if count == 2 and random.random() < 0.6 else None
    solids = _placed(random, list(zip(shapes, colours, strict=True)), relation)
    caption = _caption(solids, ground, relation)
    return Scene(tuple(sorted(solids, key=lambda solid: solid.radius)), ground, caption)


def _placed(
    random: Random, kinds: list[tuple[str, str]], relation: str | None
) -> tuple[Solid, ...]:
    """Solids that keep apart enough to be recognised, and stand as `relation` says."""
    largest = RADII[1] if len(kinds) == 2 else 25.0
    while True:
        solids = tuple(_solid(random, *kind, largest) for kind in kinds)
        if any(a.touches(b, share=0.8) for a, b in combinations(solids, 2)):
            continue
        first, second = solids[:2]
        if relation is None or RELATIONS[relation](second.x - first.x, second.y - first.y):
            return solids


def _solid(random: Random, shape: str, colour: str, largest: float) -> Solid:
    radius = random.uniform(RADII[0], largest)
    x, y = (random.uniform(radius + 2, SIZE - radius - 2) for _ in range(2))
    return Solid(shape, colour, x, y, radius, random.uniform(-0.3, 0.3))


def _caption(solids: tuple[Solid, ...], ground: Ground, relation: str | None) -> str:
    names = [_noun(solid.colour, solid.shape) for solid in solids]
    if relation:
        told = f" {relation} ".join(names)
    else:
        told = " and ".join([", ".join(names[:-1]), names[-1]])
    return f"{told} on {_noun(ground.pattern, ground.colour)} ground"


def _noun(*words: str) -> str:
    """The words with their article."""
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join((article, *words))
