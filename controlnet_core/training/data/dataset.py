"""A dataset: examples by their number, read from the disk each time they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from ...errors import ControlInputError
from .findings import Finding
from .pictures import BROKEN, Size, picture_size, read_picture

Opener = Callable[[], BinaryIO]
"""Opens the bytes of one picture file, wherever they lie."""


@dataclass(frozen=True)
class Record:
    """Where one example is: its caption, and how its pictures are opened."""

    name: str
    caption: str
    image: Opener
    hint: Opener | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """A picture (3 H W), its hint (3 H W) or None, both in 0..1, and its caption."""

    name: str
    image: Tensor
    hint: Tensor | None
    caption: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples by index. Captions are held in memory, pictures are not."""

    title: str
    """What messages call it."""
    records: tuple[Record, ...]
    findings: tuple[Finding, ...] = ()
    """What was already odd when it was opened, such as files without a partner."""

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        """The example, decoded. Raises `ControlInputError` (CN-T15) for a broken picture."""
        record = self.records[index]
        with self._told_of(record, "picture"), record.image() as file:
            image = read_picture(file)
        if record.hint is None:
            return Example(record.name, image, None, record.caption)
        with self._told_of(record, "hint"), record.hint() as file:
            return Example(record.name, image, read_picture(file), record.caption)

    def size(self, index: int) -> Size:
        """Height and width of a picture, from its header alone."""
        record = self.records[index]
        with self._told_of(record, "picture"), record.image() as file:
            return picture_size(file)

    def without(self, names: Collection[str]) -> Dataset:
        """The same dataset, the examples of these names left out."""
        kept = tuple(record for record in self.records if record.name not in names)
        return replace(self, records=kept)

    @contextmanager
    def _told_of(self, record: Record, part: str) -> Generator[None]:
        try:
            yield
        except BROKEN as e:
            raise ControlInputError(
                "CN-T15", f"{self.title}: {record.name}",
                found=f"a {part} that cannot be read ({e})",
                expected="a whole PNG, JPEG, WebP or other picture file",
                fix="replace or remove it, or ask for broken pictures to be skipped",
            ) from e


def file_opener(path: Path) -> Opener:
    """Opens a file of its own."""
    return _FileOpener(path)


@dataclass(frozen=True)
class _FileOpener:
    path: Path

    def __call__(self) -> BinaryIO:
        return self.path.open("rb")
