"""Lines of JSON in a file, which a kill at any moment does not spoil."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path


def read_lines(path: Path) -> list[dict[str, float]]:
    """The whole lines of a file; none where it is not there. What a kill cut off is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def write_lines(path: Path, lines: Iterable[Mapping[str, float]]) -> None:
    """Writes the file anew, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text("".join(map(as_line, lines)))
    unfinished.replace(path)


def as_line(numbers: Mapping[str, float]) -> str:
    return json.dumps(dict(numbers)) + "\n"
