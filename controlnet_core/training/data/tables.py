"""Tables of Hugging Face's `datasets`: saved to disk, as parquet files, or on its hub.

Columns image, conditioning_image and text, by any of the names in `words.py`. Rows stay where the
library keeps them (memory-mapped Arrow files); pictures come out as the bytes of their files.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from ...errors import ControlInputError
from .base import DatasetFormat, only, optional
from .dataset import Dataset, Record
from .words import CAPTION, HINT, IMAGE, first_of

_SAVED_FILES = ("state.json", "dataset_dict.json")  # of one split, and of several


def open_hub(name: str, *, split: str = "train") -> Dataset:
    """Downloads the dataset `name` (owner/name) from the Hugging Face hub, or reads its cache.

    The one function here that uses a network. Raises `ControlInputError`.
    """
    library = optional("datasets", name)
    return _dataset(library, library.load_dataset(name, split=split), name)


def _read_saved(path: Path) -> Dataset:
    library = optional("datasets", str(path))
    found = library.load_from_disk(str(path))
    if isinstance(found, library.DatasetDict):
        found = found[_split(path, list(found))]
    return _dataset(library, found, str(path))


def _split(path: Path, splits: list[str]) -> str:
    """The split called train, or the only one."""
    if "train" in splits:
        return "train"
    return only([path / split for split in splits], path, "splits").name


def _parquet_files(path: Path) -> list[Path]:
    """Parquet files of `path` or of its data/, where the hub has them; train- before all others."""
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    files = sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet"))
    return [file for file in files if file.name.startswith("train")] or files


def _read_parquet(path: Path) -> Dataset:
    library = optional("datasets", str(path))
    files = [str(file) for file in _parquet_files(path)]
    return _dataset(library, library.Dataset.from_parquet(files), str(path))


def _dataset(library: Any, table: Any, title: str) -> Dataset:
    columns: list[str] = table.column_names
    image, hint, caption = (first_of(words, columns) for words in (IMAGE, HINT, CAPTION))
    if image is None:
        raise ControlInputError(
            "CN-T17", title, found=f"the columns {', '.join(columns)}",
            expected=f"a column {' or '.join(IMAGE)}", fix="rename the column of the pictures",
        )
    for column in filter(None, (image, hint)):
        table = table.cast_column(column, library.Image(decode=False))
    captions = [_text(cell) for cell in table[caption]] if caption else [""] * len(table)
    pictures = table.select_columns([image])
    hints = table.select_columns([hint]) if hint else None
    records = (
        Record(str(row), text, Cell(pictures, image, row), Cell(hints, hint, row) if hint else None)
        for row, text in enumerate(captions)
    )
    return Dataset(title, tuple(records))


def _text(cell: Any) -> str:
    """A caption, or the first where a picture has several (COCO)."""
    first = next(iter(cast("list[object]", cell)), "") if isinstance(cell, list) else cell
    return str(first or "").strip()


@dataclass(frozen=True, eq=False)
class Cell:
    """Opens the picture in one cell of a table."""

    table: Any
    column: str
    row: int

    def __call__(self) -> BinaryIO:
        value: Mapping[str, Any] = self.table[self.row][self.column] or {}
        if value.get("bytes"):
            return io.BytesIO(value["bytes"])
        if value.get("path"):
            return Path(value["path"]).open("rb")
        raise ValueError("the cell is empty")


SAVED_TABLE = DatasetFormat(
    "saved", "a folder that datasets.save_to_disk wrote",
    claims=lambda path: any((path / name).is_file() for name in _SAVED_FILES),
    read=_read_saved,
)  # fmt: skip
PARQUET = DatasetFormat(
    "parquet", "parquet files with the columns image, conditioning_image and text",
    claims=lambda path: bool(_parquet_files(path)),
    read=_read_parquet,
)  # fmt: skip
