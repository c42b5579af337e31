"""Writes a dataset: its pictures as PNG files, and the list that names them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ...errors import ControlInputError
from .dataset import Example
from .lists import FILL50K_NAME
from .pictures import write_picture


@dataclass(frozen=True)
class _Layout:
    list_name: str
    image: str
    hint: str
    caption: str
    folders: tuple[str, str]


_JSONL = _Layout(
    "dataset.jsonl", "image", "conditioning_image", "text", ("image", "conditioning_image")
)
_FILL50K = _Layout(FILL50K_NAME, "target", "source", "prompt", ("target", "source"))


def write_jsonl(folder: Path, examples: Iterable[Example]) -> Path:
    """Writes `folder/dataset.jsonl` and the pictures beside it; returns the list's path.

    The list appears last, so that a folder with one is whole. Raises `ControlInputError` (CN-T22)
    where there is one already.
    """
    return _write(folder, examples, _JSONL)


def write_fill50k(folder: Path, examples: Iterable[Example]) -> Path:
    """Writes `folder/prompt.json`, source/ (hints) and target/ (pictures), as fill50k has them."""
    return _write(folder, examples, _FILL50K)


def _write(folder: Path, examples: Iterable[Example], layout: _Layout) -> Path:
    path = folder / layout.list_name
    if path.exists():
        raise ControlInputError(
            "CN-T22", str(path), found="a dataset", expected="a folder without one",
            fix="choose another folder, or remove the dataset in this one",
        )
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8") as file:
        for i, example in enumerate(examples):
            entry = _entry(folder, f"{i:06}.png", example, layout)
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    return unfinished.replace(path)


def _entry(folder: Path, name: str, example: Example, layout: _Layout) -> dict[str, str]:
    images, hints = layout.folders
    entry = {layout.image: _put(folder, f"{images}/{name}", example.image)}
    if example.hint is not None:
        entry[layout.hint] = _put(folder, f"{hints}/{name}", example.hint)
    return entry | {layout.caption: example.caption}


def _put(folder: Path, name: str, picture: Tensor) -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        write_picture(picture, file)
    return name
