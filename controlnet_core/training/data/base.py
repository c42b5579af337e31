"""What a layout of datasets is, and the errors that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from ...errors import ControlInputError
from .dataset import Dataset


@dataclass(frozen=True)
class DatasetFormat:
    """One layout of datasets on a disk."""

    id: str
    title: str
    """What it looks like, for a message."""
    claims: Callable[[Path], bool]
    """Whether a file or folder is of this layout, from names alone."""
    read: Callable[[Path], Dataset]


def only(paths: list[Path], where: Path, kind: str) -> Path:
    """The one of `paths`; raises `ControlInputError` (CN-T18) where there are several."""
    if len(paths) == 1:
        return paths[0]
    names = ", ".join(path.name for path in paths[:5])
    raise ControlInputError(
        "CN-T18", str(where), found=f"{len(paths)} {kind} ({names})", expected="one",
        fix="name the one that you mean",
    )


def optional(name: str, where: str) -> ModuleType:
    """A library that only some datasets need; raises `ControlInputError` (CN-T14) without it."""
    try:
        return import_module(name)
    except ImportError as e:
        raise ControlInputError(
            "CN-T14", where, found=f"no usable Python package {name} ({e})",
            expected="the library that reads this kind of dataset",
            fix=f"pip install {name}",
        ) from e
