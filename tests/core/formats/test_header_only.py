"""Detection reads the header of a file and none of its data; also at full size."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_nets import FAMILIES, header_of, random_net

from controlstack.controlnet_core import _disk, files, formats
from controlstack.controlnet_core._safetensors import header_bytes
from controlstack.controlnet_core.formats import FORMATS, Format
from controlstack.controlnet_core.nets import (
    PAPER_HINT_WIDTHS,
    SD15,
    SD21,
    SDXL,
    ControlNetConfig,
)

FULL = {
    "SD15": SD15, "SD21": SD21, "SDXL": SDXL, "union": SDXL.like(union_types=8),
    "paper": SD15.like(paper_hint=True, hint_widths=PAPER_HINT_WIDTHS),
}  # fmt: skip


def sparse_file(config: ControlNetConfig, format: Format, path: Path) -> int:
    """A file of the true size whose header is written and whose data is a hole; header's length."""
    header = header_of(config, format, dtype=torch.float16)
    head = header_bytes({name: (x.dtype, x.shape) for name, x in header.tensors.items()}, {})
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(len(head) + sum(2 * math.prod(x.shape) for x in header.tensors.values()))
    return len(head)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of bytes of every read from a file that our code opens."""
    counts: list[int] = []

    class Counted(_disk.FileIO):
        def read(self, size: int = -1) -> bytes:
            data = super().read(size)
            counts.append(len(data))
            return data

        def readinto(self, buffer: memoryview) -> int:
            counts.append(super().readinto(buffer))
            return counts[-1]

    def preadv(*args: Any) -> int:
        counts.append(real(*args))
        return counts[-1]

    real = getattr(os, "preadv", None)  # Windows has none, and reads through `readinto`
    monkeypatch.setattr(_disk, "FileIO", Counted)
    if real is not None:
        monkeypatch.setattr(os, "preadv", preadv)
    return counts


@pytest.mark.parametrize("name", FULL)
def test_full_size_file_is_recognised_by_its_header(
    name: str, tmp_path: Path, reads: list[int]
) -> None:
    """Heads and float32 attention are guessed right for all published families."""
    config, path = FULL[name], tmp_path / "net.safetensors"
    for format in FORMATS:
        if not format.fits(config):
            continue
        head = sparse_file(config, format, path)
        reads.clear()
        file = formats.open_file(path)
        assert (file.format, file.config) == (format, config)
        assert head <= sum(reads) <= head + 1024
        assert path.stat().st_size > 700e6


def test_loading_reads_every_byte_once(tmp_path: Path, reads: list[int]) -> None:
    """The counter works: with data it counts the data too."""
    path = tmp_path / "net.safetensors"
    formats.save(random_net(FAMILIES["sd15"]), path)
    reads.clear()
    formats.open_file(path)
    header = sum(reads)
    reads.clear()
    formats.load(path)
    assert sum(reads) - path.stat().st_size in range(header + 2048)


def test_pickle_is_recognised_without_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shapes come as meta tensors; the reader of data is not called."""
    path = tmp_path / "net.pth"
    torch.save(random_net(FAMILIES["sd15"]).state_dict(), path)
    seen: list[set[str]] = []
    real = files.load_pickle

    def spied(*args, **kwargs):
        tensors = real(*args, **kwargs)
        seen.append({x.device.type for x in tensors.values()})
        return tensors

    monkeypatch.setattr(files, "load_pickle", spied)
    assert formats.open_file(path).config == FAMILIES["sd15"]
    assert seen == [{"meta"}]
