"""What lint keeps of each example it looked at, so that no picture stays in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ControlInputError
from .alignment import edges
from .batches import MakeHint, made_hint
from .dataset import Dataset, Example
from .fit import is_drawing
from .pictures import Size

CLOSELY = 64
"""Examples whose hints are also compared with their pictures, spread over the dataset."""

StrangeWords = Callable[[str], Sequence[str]]
"""Caption -> the words of it that the text encoder does not know."""

_GREY = 2 / 255


@dataclass(frozen=True)
class HintSight:
    """The size of a hint and how its levels lie."""

    size: Size
    flat: bool
    drawing: bool
    """Black and white alone."""
    bright: float
    """Mean level, 0..1."""


@dataclass(frozen=True, eq=False)
class Sight:
    """One example, seen."""

    name: str
    size: Size
    digest: bytes
    grey: bool
    small: Tensor
    """The picture as 16 x 16 grey levels (256), without mean, of length 1 (zeros if it is flat)."""
    hint: HintSight | None
    edges: tuple[Tensor, Tensor] | None
    """Of the picture and of its hint, where they were looked at closely."""


@dataclass(frozen=True, eq=False)
class Survey:
    """Everything that checks are told of."""

    dataset: Dataset
    sights: tuple[Sight, ...]
    broken: tuple[tuple[str, str], ...]
    """Names of examples that cannot be read, and why."""
    makes_hints: bool
    skip_broken: bool
    strange_words: StrangeWords | None


def look(
    dataset: Dataset,
    indices: Sequence[int],
    *,
    make_hint: MakeHint | None,
    skip_broken: bool,
    strange_words: StrangeWords | None,
) -> Survey:
    """Reads the examples of these indices once."""
    sights: list[Sight] = []
    broken: list[tuple[str, str]] = []
    closely = set(spread(indices, CLOSELY))
    for index in indices:
        try:
            example = dataset[index]
        except ControlInputError as e:
            broken.append((dataset.records[index].name, e.found))
            continue
        sights.append(_sight(example, make_hint, close=index in closely))
    return Survey(
        dataset, tuple(sights), tuple(broken), make_hint is not None, skip_broken, strange_words
    )


def spread(indices: Sequence[int], count: int | None) -> list[int]:
    """`count` of the indices, evenly spread; all of them for None or where there are no more."""
    if count is None or count >= len(indices):
        return list(indices)
    return [indices[i * len(indices) // count] for i in range(count)]


def _sight(example: Example, make_hint: MakeHint | None, *, close: bool) -> Sight:
    image, hint = example.image, example.hint
    if make_hint is not None:  # slow, perhaps: for some of the pictures alone
        hint = made_hint(example.name, image, make_hint) if close else None
    grey = (image.amax(0) - image.amin(0)).max() <= _GREY
    return Sight(
        example.name, _size(image), _digest(image), bool(grey), _small(image),
        None if hint is None else _hint_sight(hint),
        (edges(image), edges(hint)) if close and hint is not None else None,
    )  # fmt: skip


def _hint_sight(hint: Tensor) -> HintSight:
    flat = bool(hint.amax() - hint.amin() <= _GREY)
    return HintSight(_size(hint), flat, is_drawing(hint), float(hint.mean()))


def _size(picture: Tensor) -> Size:
    return picture.shape[1], picture.shape[2]


def _digest(picture: Tensor) -> bytes:
    levels = (picture * 255.0).round().to(torch.uint8).numpy()
    hasher = hashlib.blake2b(repr(levels.shape).encode(), digest_size=16)
    hasher.update(levels.tobytes())
    return hasher.digest()


def _small(picture: Tensor) -> Tensor:
    tiny = F.interpolate(picture.mean(0)[None, None], (16, 16), mode="area").flatten()
    return F.normalize(tiny - tiny.mean(), dim=0, eps=1e-3)
