"""Lists: one JSON object a line that names the files of an example and gives its caption.

Both kinds are read alike; paths are relative to the list. fill50k's `prompt.json` (source = hint,
target = picture) is one of them: the words of the fields say what is what.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from ...errors import ControlInputError
from .base import DatasetFormat, only
from .dataset import Dataset, Opener, Record, file_opener
from .words import CAPTION, HINT, IMAGE, first_of

FILL50K_NAME = "prompt.json"


def _fill50k_list(path: Path) -> list[Path]:
    file = path / FILL50K_NAME if path.is_dir() else path
    return [file] if file.name == FILL50K_NAME and file.is_file() else []


def _jsonl_lists(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.glob("*.jsonl") if not file.name.startswith("."))
    return [path] if path.suffix.lower() == ".jsonl" else []


def _read_list(file: Path) -> Dataset:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise _refusal(file, f"text that is no UTF-8 ({e})", "save it as UTF-8") from e
    records = (_record(file, i, line) for i, line in enumerate(lines, 1) if line.strip())
    return Dataset(str(file), tuple(records))


def _record(file: Path, number: int, line: str) -> Record:
    try:
        entry: object = json.loads(line)
    except json.JSONDecodeError as e:
        raise _refusal(file, f"line {number}, which is no JSON ({e})", "mend that line") from e
    if not isinstance(entry, dict):
        raise _refusal(file, f"line {number}, which is no JSON object", "mend that line")
    fields = {
        key.lower(): value
        for key, value in cast("dict[str, object]", entry).items()
        if isinstance(value, str)
    }
    image = first_of(IMAGE, fields)
    if image is None:
        found = f"line {number} with the fields {', '.join(fields) or 'none'}"
        raise _refusal(file, found, f"name the picture in a field {IMAGE[0]}")
    caption = first_of(CAPTION, fields)
    return Record(
        fields[image], fields[caption].strip() if caption else "", _opener(file, fields[image]),
        _opener(file, fields[hint]) if (hint := first_of(HINT, fields)) else None,
    )  # fmt: skip


def _opener(file: Path, relative: str) -> Opener:
    return file_opener(file.parent / relative.replace("\\", "/"))


def _refusal(file: Path, found: str, fix: str) -> ControlInputError:
    expected = "on each line a JSON object such as "
    example = '{"image": "a.png", "conditioning_image": "b.png", "text": "a ball"}'
    return ControlInputError("CN-T13", str(file), found=found, expected=expected + example, fix=fix)


FILL50K = DatasetFormat(
    "fill50k", f"{FILL50K_NAME} with source (hint), target (picture) and prompt on each line",
    claims=lambda path: bool(_fill50k_list(path)),
    read=lambda path: _read_list(_fill50k_list(path)[0]),
)  # fmt: skip
JSONL = DatasetFormat(
    "jsonl", "a .jsonl with image, conditioning_image and text on each line",
    claims=lambda path: bool(_jsonl_lists(path)),
    read=lambda path: _read_list(only(_jsonl_lists(path), path, "lists")),
)  # fmt: skip
