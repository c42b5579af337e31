"""Webdataset shards: tar archives whose members belong together up to the first dot of their names.

`0001.image.png 0001.conditioning.png 0001.txt`, or `0001.jpg` for the picture. Read by the standard
library, since the webdataset package streams and cannot go to an example by its number; one pass
over the headers of an archive says where its members lie. Source: webdataset's format description.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ...errors import ControlInputError
from .base import DatasetFormat
from .dataset import Dataset, Record
from .findings import Finding
from .pictures import SUFFIXES
from .words import CAPTION, HINT, IMAGE, first_of


@dataclass(frozen=True)
class Member:
    """Opens one member of an archive."""

    archive: Path
    start: int
    size: int

    def __call__(self) -> BinaryIO:
        return io.BytesIO(self.read())

    def read(self) -> bytes:
        with self.archive.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


Group = dict[str, Member]
"""The parts of one example by what they are: image, hint, caption."""


def _shards(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.glob("*.tar") if not file.name.startswith("."))
    return [path] if path.suffix.lower() == ".tar" else []


def _read_shards(path: Path) -> Dataset:
    records: list[Record] = []
    lone: list[str] = []
    shards = _shards(path)
    for shard in shards:
        for key, group in _groups(shard).items():
            name = f"{shard.stem}/{key}" if len(shards) > 1 else key
            if "image" in group:
                records.append(_record(name, group))
            else:
                lone.append(name)
    message = f"{len(lone)} members without a picture, left out"
    findings = (Finding("warning", "unpaired", message, tuple(lone)),) if lone else ()
    return Dataset(str(path), tuple(records), findings)


def _record(name: str, group: Group) -> Record:
    caption = group["caption"].read() if "caption" in group else b""
    text = caption.decode("utf-8-sig", errors="replace").strip()
    return Record(name, text, group["image"], group.get("hint"))


def _groups(shard: Path) -> dict[str, Group]:
    """The examples in an archive by their key, in order."""
    groups: dict[str, Group] = {}
    try:
        with tarfile.open(shard, "r:") as archive:  # ":" refuses compression: no way into it
            for member in archive:
                folder, _, file = member.name.rpartition("/")
                key, _, ending = file.partition(".")
                part = _part(ending.lower())
                if member.isreg() and key and part:
                    place = Member(shard, member.offset_data, member.size)
                    name = f"{folder}/{key}" if folder else key
                    groups.setdefault(name, {}).setdefault(part, place)
    except (tarfile.TarError, OSError) as e:
        raise ControlInputError(
            "CN-T19", str(shard), found=f"an archive that cannot be read ({e})",
            expected="a whole tar archive without compression",
            fix="copy it again, or unpack a compressed one",
        ) from e
    return groups


def _part(ending: str) -> str | None:
    """What a member is, from its name after the first dot: `conditioning.png` is a hint."""
    *words, suffix = ending.split(".")
    if f".{suffix}" not in SUFFIXES:
        return "caption" if first_of(CAPTION, [*words, suffix]) else None
    if first_of(HINT, words):
        return "hint"
    return "image" if not words or first_of(IMAGE, words) else None


SHARDS = DatasetFormat(
    "webdataset", "webdataset shards (.tar) with image.png, conditioning.png and txt for each key",
    claims=lambda path: bool(_shards(path)),
    read=_read_shards,
)  # fmt: skip
