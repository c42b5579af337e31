"""Folders of pictures: image/ beside conditioning/ with equal base names, or one without hints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .base import DatasetFormat
from .dataset import Dataset, Record, file_opener
from .findings import Finding, Severity
from .pictures import SUFFIXES
from .words import HINT, IMAGE, first_of


def _pair(folder: Path) -> tuple[Path, ...]:
    """The folders of the pictures and of the hints in `folder`; () where one is not there."""
    inside = folder.iterdir() if folder.is_dir() else ()
    found = {path.name.lower(): path for path in inside if path.is_dir()}
    images, hints = first_of(IMAGE, found), first_of(HINT, found)
    return (found[images], found[hints]) if images and hints else ()


def _pictures(folder: Path) -> Iterator[Path]:
    """Every picture below `folder`; hidden files (macOS leaves `._a.png`) are none."""
    for path in folder.rglob("*"):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """The pictures below `folder` by their path without its ending, in order."""
    found: dict[str, list[Path]] = {}
    for path in sorted(_pictures(folder)):
        found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return found


def _is_flat(path: Path) -> bool:
    """Pictures, and none in a folder of hints, which would be taken for pictures."""
    if not path.is_dir():
        return False
    inside = {folder for file in _pictures(path) for folder in file.relative_to(path).parents}
    return bool(inside) and first_of(HINT, {folder.name.lower() for folder in inside}) is None


def _read_pairs(path: Path) -> Dataset:
    images, hints = _pair(path)
    pictures, partners = _by_name(images), _by_name(hints)
    paired = {name: paths for name, paths in pictures.items() if name in partners}
    captions, odd = _captions(images, paired)
    records = tuple(
        Record(name, captions[name], file_opener(paths[0]), file_opener(partners[name][0]))
        for name, paths in paired.items()
    )
    odd += _told("warning", "unpaired", "without a hint, left out", pictures.keys() - partners)
    odd += _told("warning", "unpaired", "hints without a picture", partners.keys() - pictures)
    odd += _twice(paired) + _twice({name: partners[name] for name in paired})
    return Dataset(str(path), records, tuple(odd + _lone_captions(images, pictures)))


def _read_flat(path: Path) -> Dataset:
    pictures = _by_name(path)
    captions, odd = _captions(path, pictures)
    records = tuple(
        Record(name, captions[name], file_opener(paths[0])) for name, paths in pictures.items()
    )
    odd += _twice(pictures) + _lone_captions(path, pictures)
    return Dataset(str(path), records, tuple(odd))


def _captions(folder: Path, names: dict[str, list[Path]]) -> tuple[dict[str, str], list[Finding]]:
    """The text beside each picture, "" where there is none or where it is no UTF-8."""
    captions, odd = dict.fromkeys(names, ""), set[str]()
    for name, paths in names.items():
        text = paths[0].with_suffix(".txt")
        if text.is_file():
            try:
                captions[name] = text.read_text(encoding="utf-8-sig").strip()
            except UnicodeDecodeError:
                odd.add(text.relative_to(folder).as_posix())
    return captions, _told("error", "encoding", "captions that are no UTF-8", odd)


def _lone_captions(folder: Path, pictures: dict[str, list[Path]]) -> list[Finding]:
    texts = {
        text.relative_to(folder).with_suffix("").as_posix()
        for text in folder.rglob("*.txt")
        if not text.name.startswith(".")
    }
    return _told("warning", "unpaired", "captions without a picture", texts - pictures.keys())


def _twice(pictures: dict[str, list[Path]]) -> list[Finding]:
    names = {name for name, paths in pictures.items() if len(paths) > 1}
    return _told("warning", "names", "several pictures of one name, the first one is used", names)


def _told(severity: Severity, check: str, message: str, names: set[str]) -> list[Finding]:
    if not names:
        return []
    return [Finding(severity, check, f"{len(names)} {message}", tuple(sorted(names)))]


PAIRED_FOLDERS = DatasetFormat(
    "folders",
    "a folder image/ (pictures, with .txt captions) beside conditioning/ (hints of equal names)",
    claims=lambda path: bool(_pair(path)),
    read=_read_pairs,
)
FLAT_FOLDER = DatasetFormat(
    "flat", "a folder of pictures with .txt captions, for hints made on the fly",
    claims=_is_flat, read=_read_flat,
)  # fmt: skip
