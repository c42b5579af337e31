"""Palettes: inverses of each other, known colours, and what is no class."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors.palettes import ADE20K, COCO, PALETTES, colour_labels, labels_of

EVERY = pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
ROAD, SKYSCRAPER = 6, 48  # of ADE20K: one colour


def all_labels(palette) -> torch.Tensor:
    """(1 h w), each class once."""
    return torch.arange(len(palette.names)).view(1, 10 if palette is ADE20K else 7, -1)


@EVERY
def test_every_class_has_a_name_and_a_colour(palette):
    assert len(palette.names) == len(set(palette.names)) == len(palette.colors)
    assert all(name == name.strip() != "" for name in palette.names)
    assert all(0 <= level <= 255 for color in palette.colors for level in color)
    shared = {ROAD, SKYSCRAPER} if palette is ADE20K else set()
    assert len(set(palette.colors)) == len(palette.colors) - len(shared) // 2


@pytest.mark.parametrize(
    ("palette", "count", "known"),
    [
        (ADE20K, 150, {"wall": (120, 120, 120), "person": (150, 5, 61), "sky": (6, 230, 230)}),
        (COCO, 133, {"person": (220, 20, 60), "car": (0, 0, 142), "bird": (165, 42, 42)}),
    ],
)
def test_known_colours(palette, count, known):
    assert len(palette.names) == count
    for name, color in known.items():
        assert palette.colors[palette.index(name)] == color


@pytest.mark.parametrize(
    ("palette", "known"),
    [
        # md5 of json.dumps([[name, [r, g, b]], ...]) over the tables of the reference, in order
        (ADE20K, "036b9d41e1c3863ebee013983185aeaa"),
        (COCO, "a86dc9ce7358c96feea1b7e0458d5b83"),
    ],
)
def test_the_whole_table_equals_the_reference(palette, known):
    rows = [[name, list(rgb)] for name, rgb in zip(palette.names, palette.colors, strict=True)]
    assert hashlib.md5(json.dumps(rows).encode()).hexdigest() == known


@EVERY
def test_labels_and_colours_are_inverse(palette):
    labels = all_labels(palette)
    found = labels_of(colour_labels(labels, palette), palette)
    if palette is ADE20K:
        assert found.flatten()[SKYSCRAPER] == ROAD
        found.view(-1)[SKYSCRAPER] = SKYSCRAPER
    assert torch.equal(found, labels)


@EVERY
def test_colours_that_are_off_by_a_level_keep_their_class(palette):
    labels = torch.randint(len(palette.names), (3, 20, 31), generator=torch.manual_seed(0))
    labels[labels == SKYSCRAPER] = ROAD
    hint = colour_labels(labels, palette)
    noise = (torch.rand(hint.shape) - 0.5) * 2 / 255
    assert torch.equal(labels_of((hint + noise).clamp(0, 1), palette), labels)


@EVERY
def test_nearest_is_nearest(palette):
    hint = torch.rand(2, 3, 13, 17, generator=torch.manual_seed(1))
    colors = torch.tensor(palette.colors, dtype=torch.float64) / 255
    apart = torch.cdist(hint.double().movedim(1, -1).reshape(-1, 3), colors)
    found = labels_of(hint, palette).flatten()
    assert torch.allclose(apart.gather(1, found[:, None])[:, 0], apart.amin(1), atol=1e-7)


def test_large_hints_are_read_in_parts(monkeypatch):
    hint = torch.rand(2, 3, 30, 40)
    whole = labels_of(hint, COCO)
    monkeypatch.setattr("controlstack.preprocessors.palettes._AT_ONCE", 7)
    assert torch.equal(labels_of(hint, COCO), whole)


@EVERY
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_colours_are_the_palettes_levels(palette, dtype):
    hint = colour_labels(all_labels(palette).to(dtype), palette)
    assert hint.dtype == torch.float32
    levels = (hint * 255).round().long()[0].flatten(1).T.tolist()
    assert [tuple(color) for color in levels] == list(palette.colors)


@EVERY
@pytest.mark.parametrize("beyond", [-1, 150, 255])
def test_a_label_beyond_the_palette_is_refused(palette, beyond):
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, 1, 2] = beyond
    with pytest.raises(ControlInputError, match=f"CN-G01.*{beyond}.*{palette.name}"):
        colour_labels(labels, palette)


@pytest.mark.parametrize("labels", [torch.zeros(4, 4, dtype=torch.int64), torch.zeros(1, 4, 4)])
def test_what_is_no_labels_is_refused(labels):
    with pytest.raises(ControlInputError, match="CN-SHAPE"):
        colour_labels(labels, COCO)


def test_names_are_found_by_each_of_their_words():
    assert ADE20K.index(" Road ") == ADE20K.index("road, route") == ROAD
    with pytest.raises(ControlInputError, match=r"CN-G02.*did you mean .*skyscraper"):
        ADE20K.index("skyscrape")
    with pytest.raises(ControlInputError, match="CN-G02"):
        COCO.index("")
