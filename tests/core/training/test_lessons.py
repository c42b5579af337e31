"""What a step learns from is a function of its numbers, whether it was kept or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_training import scenes, tiny_base
from torch import Tensor

from controlstack.controlnet_core.training.lessons import LessonOptions, Lessons
from controlstack.controlnet_core.training.losses import Batch


def lessons(folder: Path, *, cache: Path | None = None, y: int = 0, **options: Any) -> Lessons:
    make_hint = options.pop("make_hint", None)
    chosen = LessonOptions(**{"resolution": 64, "batch": 3, "parts": 2, **options})
    return Lessons(tiny_base(y), scenes(folder), chosen, make_hint=make_hint, cache=cache)


def same(one: Batch, other: Batch) -> bool:
    return all(
        (a is None and b is None) or torch.equal(a, b) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("random_crop", [False, True])
def test_same_numbers_give_the_same_batch(tmp_path: Path, random_crop: bool) -> None:
    one, other = (lessons(tmp_path, flip=True, random_crop=random_crop) for _ in range(2))
    other.batch(7, 1)  # what was asked before does not matter
    assert same(one.batch(3, 0), other.batch(3, 0))
    assert not same(one.batch(3, 0), one.batch(3, 1))
    assert not same(one.batch(3, 0), one.batch(4, 0))


def test_kept_on_disk_equals_made_anew(tmp_path: Path) -> None:
    plain = lessons(tmp_path / "data", flip=True)
    kept = lessons(tmp_path / "data", cache=tmp_path / "cache", flip=True)
    kept.prepare()
    files = len(list((tmp_path / "cache").iterdir()))
    again = lessons(tmp_path / "data", cache=tmp_path / "cache", flip=True)
    again.base = None  # type: ignore[assignment]  # whatever it is asked, it has at hand
    again._text = kept._text  # type: ignore[method-assign]
    for step in range(4):
        batch = plain.batch(step, 0)
        assert same(batch, kept.batch(step, 0))
    assert files == len(list((tmp_path / "cache").iterdir()))  # all of it was prepared


def test_cache_of_another_hint_is_not_used(tmp_path: Path) -> None:
    def grey(level: float) -> Any:
        return lambda picture: torch.full_like(picture, level)

    for name, level in (("dark", 0.2), ("light", 0.8)):
        course = lessons(
            tmp_path / "data", cache=tmp_path / "cache", hint_name=name, make_hint=grey(level)
        )
        assert float(course.batch(0, 0).hint.mean()) == pytest.approx(level, abs=1e-6)


def test_flips_keep_picture_and_hint_aligned(tmp_path: Path) -> None:
    """The boxes lie left of the middle; mirrored they lie right, and their outlines with them."""
    course = lessons(tmp_path, flip=True)
    sides = set()
    for step in range(6):
        batch = course.batch(step, 0)
        for latent, hint in zip(batch.latent, batch.hint, strict=True):
            box, outline = _side(latent[0]), _side(hint[0])
            assert box == outline
            sides.add(box)
    assert sides == {"left", "right"}


def _side(plane: Tensor) -> str:
    left, right = plane.chunk(2, dim=-1)
    return "left" if left.mean() > right.mean() else "right"


def test_made_hints_are_of_the_picture_as_it_is_trained_on(tmp_path: Path) -> None:
    """A hint with a direction: brightness falls to the right, also in a mirrored example."""

    def ramp(picture: Tensor) -> Tensor:
        return torch.linspace(1, 0, picture.shape[-1]).expand_as(picture)

    batch = lessons(tmp_path, flip=True, batch=12, make_hint=ramp).batch(0, 0)
    assert {_side(hint[0]) for hint in batch.hint} == {"left"}
    assert {_side(latent[0]) for latent in batch.latent} == {"left", "right"}


def test_random_crops_differ_by_step(tmp_path: Path) -> None:
    course = lessons(tmp_path, random_crop=True, resolution=64, batch=4)
    course.dataset = scenes(tmp_path / "wide", 1)
    noise = torch.randint(0, 255, (64, 128, 3), generator=torch.Generator().manual_seed(0))
    for part in ("image", "conditioning"):
        Image.fromarray(noise.byte().numpy()).save(tmp_path / "wide" / part / "0.png")
    course.buckets = {(64, 64): (0,)}
    hints = [course.batch(step, 0).hint[0] for step in range(3)]
    assert not torch.equal(hints[0], hints[1])
    assert not torch.equal(hints[1], hints[2])


def test_pooled_text_of_the_prompt_and_of_the_empty_one(tmp_path: Path) -> None:
    batch = lessons(tmp_path, y=3, batch=4).batch(0, 0)
    assert batch.y is not None
    assert batch.empty_y is not None
    assert sorted(batch.y[:, 0].tolist()) == [5.0, 9.0, 13.0, 17.0]  # lengths of the captions
    assert batch.empty_y.tolist() == [[0.0, 64.0, 64.0]] * 4
