"""Buckets, crops and draws: the same part of picture and hint, every example in its turn."""

from __future__ import annotations

import io
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.training.data import (
    Dataset,
    Draw,
    Record,
    bucket_sizes,
    buckets_of,
    draw,
    fit_hint,
    fit_image,
    fit_pair,
    load_batch,
    nearest_bucket,
)
from controlstack.controlnet_core.training.loop import generator


def ramps(height: int, width: int) -> Tensor:
    """A picture (3 H W) in which every place has a colour of its own."""
    down = torch.linspace(0.1, 0.9, height)[:, None].expand(height, width)
    right = torch.linspace(0.1, 0.9, width).expand(height, width)
    return torch.stack((down, right, (down + right) / 2))


@pytest.mark.parametrize(("side", "multiple"), [(512, 64), (1024, 64), (64, 8), (768, 32)])
def test_buckets_keep_area_step_and_aspect(side: int, multiple: int) -> None:
    sizes = bucket_sizes(side * side, multiple=multiple)
    assert (side, side) in sizes
    assert len(set(sizes)) == len(sizes)
    assert set(sizes) == {(w, h) for h, w in sizes}
    for height, width in sizes:
        assert height % multiple == width % multiple == 0
        assert height * width <= side * side < (height + multiple) * (width + multiple)
        assert max(height, width) <= 2.0 * min(height, width)
    assert [w / h for h, w in sizes] == sorted(w / h for h, w in sizes)


def test_buckets_of_512() -> None:
    """By hand: of 64 cells, 6 columns leave 10 rows, 7 leave 9, 8 leave 8."""
    assert bucket_sizes(512 * 512) == (
        (640, 384), (576, 448), (512, 512), (448, 576), (384, 640),
    )  # fmt: skip


def test_area_below_one_step_is_refused() -> None:
    with pytest.raises(ControlInputError, match="CN-T23"):
        bucket_sizes(63 * 64)


def test_every_example_is_in_its_nearest_bucket() -> None:
    sizes = [(512, 512), (100, 1000), (3000, 2000), (511, 513), (1000, 100)]
    assert buckets_of(sizes, 512 * 512) == {
        (640, 384): (2, 4), (512, 512): (0, 3), (384, 640): (1,),
    }  # fmt: skip
    choice = bucket_sizes(512 * 512)
    assert all(nearest_bucket(size, choice) == size for size in choice)


@pytest.mark.parametrize("found", [(96, 64), (64, 96), (33, 47), (200, 64), (64, 64)])
@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3])
def test_picture_and_hint_show_the_same_part(found: tuple[int, int], seed: int | None) -> None:
    x = ramps(*found)
    draws = None if seed is None else generator(seed)
    image, hint = fit_pair(x, x.clone(), (64, 64), generator=draws, flip=True)
    assert image.shape == hint.shape == (3, 64, 64)
    step = 1.0 / min(found)  # one pixel of the source
    assert torch.allclose(image, hint, atol=1.5 * step)


def test_hint_of_another_size_shows_the_same_part() -> None:
    for seed in range(4):
        image, hint = fit_pair(
            ramps(200, 100), ramps(400, 200), (64, 64), generator=generator(seed), flip=True
        )
        assert torch.allclose(image, hint, atol=0.02)


def test_central_crop_and_mirroring() -> None:
    x = ramps(64, 128)
    image, hint = fit_pair(x, x, (64, 64), flip=True)
    assert torch.equal(hint, x[:, :, 32:96])
    assert torch.allclose(image, hint, atol=1e-6)
    square = ramps(64, 64)
    lefts = [
        float(fit_image(square, (64, 64), generator=generator(seed), flip=True)[1, 0, 0])
        for seed in range(40)
    ]
    assert 10 < sum(left > 0.5 for left in lefts) < 30
    kept = fit_image(ramps(64, 64), (64, 64), generator=generator(1))
    assert torch.allclose(kept, ramps(64, 64), atol=1e-6)


def test_random_crops_reach_both_ends_and_are_functions_of_the_generator() -> None:
    x = ramps(64, 70)
    lefts = Counter(
        round(float(fit_pair(x, x, (64, 64), generator=generator(seed))[1][1, 0, 0]), 5)
        for seed in range(200)
    )
    assert set(lefts) == {round(float(x[1, 0, left]), 5) for left in range(7)}
    once, again = (fit_image(x, (64, 64), generator=generator(5)) for _ in range(2))
    assert torch.equal(once, again)


def test_the_next_draw_does_not_hang_on_the_picture() -> None:
    def after(height: int, flip: bool) -> float:
        numbers = generator(3)
        fit_image(ramps(height, 64), (64, 64), generator=numbers, flip=flip)
        return float(torch.rand((), generator=numbers))

    assert after(64, False) == after(90, True)


@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("side", [192, 200, 511])
def test_thin_lines_survive_shrinking(side: int, white: bool) -> None:
    """Every row that a line crosses still has it, at full contrast."""
    hint = torch.zeros(3, 512, 512)
    hint[:, torch.arange(512), torch.arange(512)] = 1.0
    hint[:, :, 77] = 1.0
    small = fit_hint(hint if white else 1.0 - hint, (side, side))
    lines = small if white else 1.0 - small
    assert lines.unique().tolist() == [0.0, 1.0]
    assert bool((lines[:, torch.arange(side), torch.arange(side)] == 1.0).all())
    assert bool((lines[:, :, 77 * side // 512] == 1.0).all())
    assert lines.mean() < 0.03


def test_soft_hints_keep_their_mean_and_class_colours_stay_when_enlarged() -> None:
    soft = ramps(96, 96)
    assert torch.allclose(fit_hint(soft, (48, 48)), F.avg_pool2d(soft, 2), atol=1e-6)
    classes = torch.tensor([0.2, 0.4, 0.7]).repeat(3, 5, 4)
    assert set(fit_hint(classes, (64, 96)).unique().tolist()) == set(classes.unique().tolist())
    assert torch.equal(fit_hint(classes, (5, 12)), classes)


BUCKETS = {(64, 64): (0, 2, 4, 6, 7, 8, 9), (32, 96): (1, 3, 5)}


def test_one_bucket_shows_every_example_once_an_epoch() -> None:
    one = {(64, 64): tuple(range(12))}
    orders = []
    for epoch in range(3):
        seen = [
            index
            for step in range(epoch * 3, epoch * 3 + 3)
            for part in range(2)
            for index in draw(one, seed=5, step=step, part=part, parts=2, batch=2).indices
        ]
        assert sorted(seen) == list(range(12))
        orders.append(tuple(seen))
    assert len(set(orders)) == 3


def test_epochs_meet_within_a_batch() -> None:
    one = {(64, 64): (0, 1, 2)}
    seen = [i for step in range(3) for i in draw(one, seed=1, step=step, batch=4).indices]
    assert [sorted(seen[i : i + 3]) for i in range(0, 12, 3)] == [[0, 1, 2]] * 4


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_buckets_come_in_proportion_and_their_examples_in_turn(batch: int) -> None:
    rounds = [
        [draw(BUCKETS, seed=3, step=step, batch=batch) for step in range(turn * 10, turn * 10 + 10)]
        for turn in range(2)
    ]
    for draws in rounds:
        assert Counter(d.size for d in draws) == {(64, 64): 7, (32, 96): 3}
        assert Counter(i for d in draws for i in d.indices) == dict.fromkeys(range(10), batch)
        assert all(len(d.indices) == batch for d in draws)
        assert all(set(d.indices) <= set(BUCKETS[d.size]) for d in draws)
    for size, members in BUCKETS.items():
        row = [i for draws in rounds for d in draws if d.size == size for i in d.indices]
        turns = [row[i : i + len(members)] for i in range(0, len(row), len(members))]
        assert all(sorted(turn) == sorted(members) for turn in turns)


def test_draws_are_functions_of_their_numbers() -> None:
    def all_draws(seed: int) -> list[Draw]:
        return [draw(BUCKETS, seed=seed, step=step, batch=2) for step in range(20)]

    first, other, again = all_draws(1), all_draws(2), all_draws(1)
    assert first == again
    assert first != other
    assert draw(BUCKETS, seed=1, step=19, batch=2) == first[19]
    assert draw(BUCKETS, seed=1, step=3, part=1, parts=2, batch=2) == first[7]


def as_file(x: Tensor) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(np.rint(x.movedim(0, -1).numpy() * 255).astype(np.uint8)).save(file, "PNG")
    return io.BytesIO(file.getvalue())


def dataset(*, hints: bool = True) -> Dataset:
    x = ramps(64, 96)
    opener = partial(as_file, x)
    return Dataset("test", tuple(
        Record(f"{i}", f"caption {i}", opener, opener if hints else None) for i in range(3)
    ))  # fmt: skip


def test_batch_holds_its_examples_in_order() -> None:
    batch = load_batch(dataset(), Draw((32, 32), (2, 0)), generator=generator(1), flip=True)
    assert batch.image.shape == batch.hint.shape == (2, 3, 32, 32)
    assert batch.captions == ("caption 2", "caption 0")
    assert torch.allclose(batch.image, batch.hint, atol=0.03)
    assert not torch.equal(batch.image[0], batch.image[1])


@pytest.mark.parametrize("hints", [True, False])
def test_hints_are_made_from_the_picture_that_is_trained_on(hints: bool) -> None:
    seen: list[Tensor] = []

    def make_hint(image: Tensor) -> Tensor:
        seen.append(image)
        return 1.0 - image

    drawn = Draw((32, 32), (0, 1))
    batch = load_batch(dataset(hints=hints), drawn, generator=generator(1), make_hint=make_hint)
    assert torch.equal(torch.cat(seen), batch.image)
    assert torch.equal(batch.hint, 1.0 - batch.image)


def test_made_hints_of_another_size_are_fitted() -> None:
    def half(image: Tensor) -> Tensor:
        return F.avg_pool2d(image, 2)

    batch = load_batch(dataset(), Draw((32, 32), (0,)), make_hint=half)
    assert batch.hint.shape == (1, 3, 32, 32)


def test_missing_and_odd_hints_are_refused() -> None:
    with pytest.raises(ControlInputError, match=r"CN-T20.*1: found a picture without a hint"):
        load_batch(dataset(hints=False), Draw((32, 32), (1,)))
    with pytest.raises(ControlInputError, match=r"CN-T21.*\(1, 1, 32, 32\)"):
        load_batch(dataset(), Draw((32, 32), (1,)), make_hint=lambda x: x[:, :1])
