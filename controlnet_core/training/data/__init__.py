"""Pictures, hints and captions for training: opened, checked, fitted, drawn.

`open_dataset` recognises a layout on the disk; `lint` looks at it before the first step, `usable`
refuses it or leaves out what is broken; `buckets_of` sorts it by aspect, `draw` picks the examples
of a part of a step, `load_batch` fits them to one size. A new layout is one file and one line in
`FORMATS`.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ...errors import ControlInputError
from .base import DatasetFormat
from .batches import Batch, Draw, MakeHint, draw, load_batch
from .buckets import bucket_sizes, buckets_of, nearest_bucket
from .dataset import Dataset, Example, Record
from .findings import Finding
from .fit import fit_hint, fit_image, fit_pair
from .folders import FLAT_FOLDER, PAIRED_FOLDERS
from .lint import STRICT, lint, strict, usable
from .lists import FILL50K, JSONL
from .shards import SHARDS
from .tables import PARQUET, SAVED_TABLE, open_hub
from .write import write_fill50k, write_jsonl

__all__ = [
    "FORMATS", "STRICT", "Batch", "Dataset", "DatasetFormat", "Draw", "Example", "Finding",
    "MakeHint", "Record", "bucket_sizes", "buckets_of", "draw", "fit_hint", "fit_image",
    "fit_pair", "lint", "load_batch", "nearest_bucket", "open_dataset", "open_hub", "strict",
    "usable", "write_fill50k", "write_jsonl",
]  # fmt: skip

FORMATS: tuple[DatasetFormat, ...] = (
    FILL50K, JSONL, SAVED_TABLE, PARQUET, SHARDS, PAIRED_FOLDERS, FLAT_FOLDER,
)  # fmt: skip
"""Tried in this order; the first that claims a path reads it."""


def open_dataset(path: str | PathLike[str]) -> Dataset:
    """The dataset in a file or folder, its pictures not read yet.

    Raises `ControlInputError`: CN-T10 no such path, CN-T11 no layout that we know, CN-T12 not one
    example, and what the layouts themselves refuse.
    """
    place = Path(path)
    if not place.exists():
        raise ControlInputError(
            "CN-T10", str(path), found="no such file or folder", expected="a dataset",
            fix="check the path; a dataset of the Hugging Face hub must be asked for by open_hub",
        )  # fmt: skip
    for format in FORMATS:
        if format.claims(place):
            return _with_examples(format.read(place))
    raise ControlInputError(
        "CN-T11", str(path), found="no dataset that we know",
        expected="one of: " + "; ".join(format.title for format in FORMATS),
        fix="bring the pictures into one of these layouts",
    )


def _with_examples(dataset: Dataset) -> Dataset:
    if len(dataset):
        return dataset
    found = "; ".join(map(str, dataset.findings)) or "an empty list"
    raise ControlInputError(
        "CN-T12", dataset.title, found=f"not one example ({found})",
        expected="pictures, each with its hint",
        fix="give a picture and its hint the same name",
    )
