"""A dataset as a base model sees it: latents, text and hints, each made once and kept."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..files import read_header, read_tensors, save_tensors
from .base import Base, Size, Text
from .data import Dataset, Draw, MakeHint, buckets_of, load_batch
from .data import draw as draw_examples
from .data.pictures import read_picture, write_picture
from .loop import generator
from .losses import Batch

Tensors = dict[str, Tensor]
_CROPS = 2**40 + 3  # second number of the crops' generators; the loss has (seed, step, part)


@dataclass(frozen=True)
class LessonOptions:
    """How examples are cut and put together."""

    resolution: int = 512
    """Side in pixels of a square picture; others have about as many pixels."""
    multiple: int = 64
    """Sides are multiples of it."""
    batch: int = 4
    """Examples of one part of a step."""
    parts: int = 1
    """Parts of a step: the recipe's `accumulate`."""
    flip: bool = False
    """Half of the examples mirrored, with their hints."""
    random_crop: bool = False
    """Another part of the picture each time; latents are then not kept."""
    hint_name: str = ""
    """What makes the hints, so that none of another kind is taken from the cache."""
    seed: int = 0


class Seen(NamedTuple):
    """An example's latent (1 4 h w) and hint (1 3 H W)."""

    latent: Tensor
    hint: Tensor


class Lessons:
    """Batches of a dataset by step and part; the same numbers always give the same batch."""

    def __init__(
        self,
        base: Base,
        dataset: Dataset,
        options: LessonOptions,
        *,
        make_hint: MakeHint | None = None,
        cache: Path | None = None,
    ) -> None:
        self.base, self.dataset, self.options = base, dataset, options
        self.make_hint, self.cache = make_hint, _Cache(cache)
        sizes = (dataset.size(index) for index in range(len(dataset)))
        self.buckets = buckets_of(sizes, options.resolution**2, multiple=options.multiple)
        self.empty = self._text("", (options.resolution, options.resolution))["context"]

    def batch(self, step: int, part: int) -> Batch:
        """The latents, hints and text of one part of a step, on the base's device."""
        options = self.options
        drawn = draw_examples(
            self.buckets, seed=options.seed, step=step, part=part, parts=options.parts,
            batch=options.batch,
        )  # fmt: skip
        rows = [self._row(index, drawn.size, step, part) for index in drawn.indices]
        latent, hint, context, *y = (torch.cat(column) for column in zip(*rows, strict=True))
        if y:
            y += [self._text("", drawn.size)["y"].expand_as(y[0])]
        device = next(self.base.unet.parameters()).device
        return Batch(*(x.to(device) for x in (latent, hint, context, *y)))

    def prepare(self, tick: Callable[[], object] = lambda: None) -> None:
        """Encodes every picture and caption now, so that training needs neither VAE nor text.

        Nothing to do for random crops, which are never the same. `tick` is called for each.
        """
        for size, indices in self.buckets.items():
            for index in indices if not self.options.random_crop else ():
                for mirrored in (False, True)[: 1 + self.options.flip]:
                    tick()
                    self._seen(index, size, mirrored, None)
                    self._text(self.dataset.records[index].caption, size)

    def example(self, index: int, size: Size) -> Seen:
        """An example, cut from its middle."""
        return self._seen(index, size, False, None)

    def _row(self, index: int, size: Size, step: int, part: int) -> tuple[Tensor, ...]:
        """One example: latent, hint, context, and y where the base has one."""
        options, record = self.options, self.dataset.records[index]
        crops = generator(options.seed, _CROPS, step, part, index)
        mirrored = options.flip and float(torch.rand((), generator=crops)) < 0.5
        seen = self._seen(index, size, mirrored, crops if options.random_crop else None)
        text = self._text(record.caption, size)
        return seen.latent, seen.hint, *text.values()

    def _text(self, caption: str, size: Size) -> Tensors:
        key = _key("text", self.base.name, caption, size)
        kept = self.cache.get(key, lambda: _named(self.base.read([caption], size)))
        return {name: tensor.float() for name, tensor in kept.items()}

    def _seen(
        self, index: int, size: Size, mirrored: bool, crops: torch.Generator | None
    ) -> Seen:
        """Latent and hint of an example; kept where they are cut from the middle."""
        if crops is not None:
            kept = self._encoded(index, size, mirrored, crops)
        else:
            name, maker = self.dataset.records[index].name, self.options.hint_name
            key = _key(
                "pair", self.base.name, self.dataset.title, name, index, size, mirrored, maker
            )
            kept = self.cache.get(key, lambda: self._encoded(index, size, mirrored, None))
        return Seen(kept["latent"], _unpacked(kept["hint"]))

    def _encoded(
        self, index: int, size: Size, mirrored: bool, crops: torch.Generator | None
    ) -> Tensors:
        make = self.make_hint
        if make is not None and mirrored:  # the hint is made of the picture as it is trained on
            make = _of_mirrored(make)
        pair = load_batch(self.dataset, Draw(size, (index,)), generator=crops, make_hint=make)
        image, hint = (x.flip(-1) if mirrored else x for x in (pair.image, pair.hint))
        with torch.no_grad():
            latent = self.base.encode(image)
        return {"latent": latent.float().cpu(), "hint": _packed(hint[0])}


def _of_mirrored(make_hint: MakeHint) -> MakeHint:
    """What draws the mirrored picture's hint, mirrored back."""
    return lambda picture: make_hint(picture.flip(-1)).flip(-1)


def _packed(hint: Tensor) -> Tensor:
    """The bytes of the hint (3 H W) as a PNG file: 8 bits, as most hints are given, and small."""
    file = io.BytesIO()
    write_picture(hint, file)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def _unpacked(png: Tensor) -> Tensor:
    return read_picture(io.BytesIO(png.numpy().tobytes()))[None]


def _named(text: Text) -> Tensors:
    """Text to be kept: in half precision, since a caption of SDXL takes 300 KB even so."""
    parts = {"context": text.context.half().cpu()}
    return parts if text.y is None else {**parts, "y": text.y.half().cpu()}


def _key(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


class _Cache:
    """Tensors by their key: on the disk, or in memory where there is no folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self._kept = folder, dict[str, Tensors]()
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str, make: Callable[[], Tensors]) -> Tensors:
        if self.folder is None:
            if key not in self._kept:
                self._kept[key] = make()
            return self._kept[key]
        path = self.folder / f"{key}.safetensors"
        if not path.exists():
            save_tensors(path, make(), {})
        return read_tensors(read_header(path))
