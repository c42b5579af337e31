"""Scenes: a caption tells the truth, and every label is where the picture shows it."""

from __future__ import annotations

import re

import pytest
import torch

from controlstack.controlnet_core.playground.drawing import (
    GROUND_NEARNESS,
    LABEL_COLOURS,
    draw,
    label_hint,
)
from controlstack.controlnet_core.playground.scenes import (
    RADII,
    RELATIONS,
    SIZE,
    Ground,
    Scene,
    Solid,
    random_scene,
)
from controlstack.controlnet_core.playground.words import (
    COLOURS,
    GROUNDS,
    SHAPES,
    strange_words,
    tokens,
)

SEEDS = range(200)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [random_scene(seed) for seed in SEEDS]


def test_a_seed_is_a_scene() -> None:
    assert random_scene(3) == random_scene(3)
    assert len({random_scene(seed).caption for seed in SEEDS}) > 190


def test_captions_name_every_solid_and_the_ground(scenes: list[Scene]) -> None:
    noun = re.compile(rf"({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})")
    for scene in scenes:
        named = sorted(noun.findall(scene.caption))
        assert named == sorted((solid.colour, solid.shape) for solid in scene.solids)
        assert f"{scene.ground.pattern} {scene.ground.colour} ground" in scene.caption
        assert not strange_words(scene.caption)
        assert len(tokens(scene.caption)) == 24


def test_relations_hold(scenes: list[Scene]) -> None:
    told = 0
    for scene in scenes:
        for name, holds in RELATIONS.items():
            if f" {name} " not in scene.caption:
                continue
            first, second = (
                next(s for s in scene.solids if f"{s.colour} {s.shape}" in part)
                for part in scene.caption.split(f" {name} ")
            )
            assert holds(second.x - first.x, second.y - first.y), scene.caption
            told += 1
    assert told > 50


def test_the_vocabulary_is_used_up(scenes: list[Scene]) -> None:
    assert {scene.ground.pattern for scene in scenes} == set(GROUNDS)
    assert {solid.colour for scene in scenes for solid in scene.solids} == set(COLOURS)
    assert {solid.shape for scene in scenes for solid in scene.solids} == set(SHAPES)
    assert {len(scene.solids) for scene in scenes} == {2, 3}


def test_solids_lie_inside_the_picture_and_apart(scenes: list[Scene]) -> None:
    for scene in scenes:
        for solid in scene.solids:
            assert RADII[0] <= solid.radius <= RADII[1]
            assert solid.radius <= min(solid.x, solid.y)
            assert max(solid.x, solid.y) + solid.radius <= SIZE
        colours = [solid.colour for solid in scene.solids]
        assert len({*colours, scene.ground.colour}) == len(colours) + 1


def one(shape: str = "ball", radius: float = 25.0, colour: str = "red") -> Scene:
    solid = Solid(shape, colour, 64.0, 64.0, radius, 0.0)
    return Scene((solid,), Ground("plain", "white", 24.0, 0.0), "")


def test_labels_of_a_ball_are_the_disc() -> None:
    drawing = draw(one(radius=25.0))
    centres = torch.arange(SIZE) + 0.5 - 64.0
    disc = torch.hypot(centres[None], centres[:, None]) < 25.0
    assert torch.equal(drawing.labels == 1 + SHAPES.index("ball"), disc)
    assert torch.equal(drawing.colours == list(COLOURS).index("red"), disc)
    assert torch.equal(drawing.depth[0] > GROUND_NEARNESS, disc)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_shows_its_colour_where_its_label_is(shape: str) -> None:
    drawing = draw(one(shape, colour="blue"))
    inside = drawing.labels == 1 + SHAPES.index(shape)
    assert 300 < int(inside.sum()) < 2500
    red, _, blue = drawing.picture
    assert float((blue - red)[inside].mean()) > 0.3
    assert float((blue - red)[~inside].mean()) < 0.05


def test_edges_lie_where_labels_change() -> None:
    drawing = draw(one("box"))
    labels = drawing.labels
    changes = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    changes[1:] |= labels[1:] != labels[:-1]
    changes[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    assert torch.equal(drawing.edges[0] == 1.0, changes)


def test_the_nearer_solid_hides_the_farther_one_and_is_brighter_in_depth() -> None:
    far, near = Solid("ball", "red", 50, 64, 20, 0), Solid("ball", "blue", 70, 64, 30, 0)
    drawing = draw(Scene((far, near), Ground("plain", "white", 24.0, 0.0), ""))
    overlap = drawing.colours[64, 55]
    assert overlap == list(COLOURS).index("blue")
    assert float(drawing.depth[0, 64, 70]) > float(drawing.depth[0, 64, 33])
    assert 0.0 <= float(drawing.depth.min()) <= float(drawing.depth.max()) <= 1.0


def test_label_hints_show_each_label_in_its_colour() -> None:
    labels = torch.arange(len(LABEL_COLOURS)).view(1, 1, -1)
    hint = label_hint(labels)
    assert hint.shape == (1, 3, 1, len(LABEL_COLOURS))
    assert (hint[0, :, 0].mT * 255).round().int().tolist() == [list(c) for c in LABEL_COLOURS]
