"""What the painter really paints: the annotator looks for the words of held-out captions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tqdm import tqdm

from ..annotator import Annotator, Found
from ..drawing import draw
from ..scenes import Scene, random_scene
from .base import painted, trained_painter
from .stage import Stage, held_out
from .vae import trained_vae

COUNT = 200
_AT_ONCE = 20
_SEED = 7


@dataclass(frozen=True)
class Seen:
    """Shares of scenes, 0..1, of which the annotator found ..."""

    words: float
    """Every shape and every colour of the solids, and the ground with its pattern and colour."""
    prompted: float
    """That, and each shape in its own colour."""
    alone: float
    """That, and no other solid."""
    solids: float
    shapes: float
    colours: float
    grounds: float


def check_painter(stage: Stage) -> None:
    """Writes `check.json`: what of `COUNT` held-out captions is seen in pictures without control.

    Beside it, what is seen of them in the scenes themselves (more than that the annotator could
    not find) and in the pictures of other captions (what is there by chance).
    """
    vae, painter = trained_vae(stage), trained_painter(stage)
    annotator = stage.kept("annotator", Annotator())
    scenes = [random_scene(seed) for seed in held_out(COUNT)]
    found: list[Found] = []
    for start in tqdm(range(0, COUNT, _AT_ONCE), desc="check"):
        captions = [scene.caption for scene in scenes[start : start + _AT_ONCE]]
        found += annotator.find(painted(painter, vae, captions, seed=_SEED + start))
    drawings = torch.stack([draw(scene).picture for scene in scenes])
    with torch.inference_mode():
        known = [annotator.find(picture[None])[0] for picture in drawings]
    others = found[1:] + found[:1]
    rows = {"painted": found, "drawn": known, "by chance": others}
    shares = {name: vars(seen(scenes, row)) for name, row in rows.items()}
    (stage.folder / "check.json").write_text(json.dumps(shares, indent=1))


def seen(scenes: Iterable[Scene], found: Iterable[Found]) -> Seen:
    """How much of the scenes was found."""
    rows = [_hits(scene, each) for scene, each in zip(scenes, found, strict=True)]
    return Seen(*(sum(column) / len(rows) for column in zip(*rows, strict=True)))


def _hits(scene: Scene, found: Found) -> tuple[bool, ...]:
    solids = scene.named
    colours, shapes = ({each[place] for each in solids} for place in (0, 1))
    ground = found.ground == (scene.ground.pattern, scene.ground.colour)
    shapes_there = shapes <= {shape for _, shape in found.solids}
    colours_there = colours <= {colour for colour, _ in found.solids}
    return (
        shapes_there and colours_there and ground,
        solids <= found.solids and ground,
        solids == found.solids and ground,
        solids <= found.solids,
        shapes_there,
        colours_there,
        ground,
    )
