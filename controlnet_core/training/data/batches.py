"""Which examples a part of a step sees, and their tensors: functions of numbers, without a state.

A bucket is an endless row of permutations of its examples, each of its batches the next few of
them: every one is seen once before any is seen again, and no batch is short. A round has as many
batches as there are examples, as many of each bucket as it has examples, in random order; so
buckets come in exact proportion to their size. With one bucket that is an epoch as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import ControlInputError
from ..loop import generator
from .buckets import Buckets
from .dataset import Dataset, Example
from .fit import fit_hint, fit_image, fit_pair
from .pictures import Size

MakeHint = Callable[[Tensor], Tensor]
"""Picture (1 3 H W) in 0..1 -> its hint (1 3 h w) in 0..1."""

# Second numbers of generators, which no step has: (seed, step, part) stays free for the caller.
_ORDER, _SHUFFLE = 2**40 + 1, 2**40 + 2


class Draw(NamedTuple):
    """The examples of one batch, all of one bucket, and the size that they are cut to."""

    size: Size
    indices: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures and hints (B 3 h w) in 0..1, with their captions."""

    image: Tensor
    hint: Tensor
    captions: tuple[str, ...]


def draw(
    buckets: Buckets, *, seed: int, step: int, part: int = 0, parts: int = 1, batch: int = 1
) -> Draw:
    """The `batch` examples of one part of a step, a step having `parts` parts."""
    counts = tuple(len(indices) for indices in buckets.values())
    turn, place = divmod(step * parts + part, sum(counts))
    order = _order(seed, turn, counts)
    bucket = int(order[place])
    size, members = list(buckets.items())[bucket]
    before = turn * len(members) + int((order[:place] == bucket).sum())
    rows = range(before * batch, (before + 1) * batch)
    return Draw(size, tuple(members[_shuffled(seed, bucket, len(members), row)] for row in rows))


def load_batch(
    dataset: Dataset,
    drawn: Draw,
    *,
    generator: torch.Generator | None = None,
    flip: bool = False,
    make_hint: MakeHint | None = None,
) -> Batch:
    """The examples of a draw, read and fitted; crops are central without a generator.

    `make_hint` sees the picture as it is trained on, after crop and mirroring; with it, hints of
    the dataset are left aside. Raises `ControlInputError`: CN-T15, CN-T20 no hint, CN-T21.
    """
    examples = [dataset[index] for index in drawn.indices]
    pairs = [
        _pair(example, drawn.size, generator=generator, flip=flip, make_hint=make_hint)
        for example in examples
    ]
    images, hints = zip(*pairs, strict=True)
    return Batch(
        torch.stack(images), torch.stack(hints), tuple(example.caption for example in examples)
    )


def _pair(
    example: Example,
    size: Size,
    *,
    generator: torch.Generator | None,
    flip: bool,
    make_hint: MakeHint | None,
) -> tuple[Tensor, Tensor]:
    if make_hint is None:
        hint = given_hint(example)
        return fit_pair(example.image, hint, size, generator=generator, flip=flip)
    image = fit_image(example.image, size, generator=generator, flip=flip)
    return image, fit_hint(made_hint(example.name, image, make_hint), size)


def given_hint(example: Example) -> Tensor:
    """The hint (3 H W) that the dataset has; raises `ControlInputError` (CN-T20) without one."""
    if example.hint is None:
        raise ControlInputError(
            "CN-T20", example.name, found="a picture without a hint",
            expected="a hint for each picture",
            fix="add the hint, or have hints made by a preprocessor",
        )
    return example.hint


def made_hint(name: str, image: Tensor, make_hint: MakeHint) -> Tensor:
    """The hint (3 h w) made from a picture; `ControlInputError` (CN-T21) if it is none."""
    hint = make_hint(image[None])
    if hint.ndim != 4 or hint.shape[:2] != (1, 3):
        raise ControlInputError(
            "CN-T21", name, found=f"a made hint of shape {tuple(hint.shape)}",
            expected="(1, 3, h, w)", fix="use a preprocessor that returns a colour picture",
        )
    return hint[0]


@lru_cache(maxsize=4)
def _order(seed: int, turn: int, counts: Sequence[int]) -> Tensor:
    """The bucket of each batch of a round (N), each as often as it has examples."""
    buckets = torch.repeat_interleave(torch.tensor(counts))
    return buckets[torch.randperm(len(buckets), generator=generator(seed, _ORDER, turn))]


def _shuffled(seed: int, bucket: int, count: int, row: int) -> int:
    """The member at `row` of a bucket's endless row of permutations."""
    epoch, place = divmod(row, count)
    return _permutation(seed, bucket, count, epoch)[place]


@lru_cache(maxsize=64)
def _permutation(seed: int, bucket: int, count: int, epoch: int) -> list[int]:
    order = torch.randperm(count, generator=generator(seed, _SHUFFLE, bucket, epoch))
    return [int(index) for index in order]
