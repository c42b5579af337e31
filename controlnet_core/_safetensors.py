"""The safetensors container: a header, checked before it is believed, then plain bytes.

Layout: 8 bytes (length of the header, little-endian), the header (JSON, spaces at its end), data.
"""

# Source: the format as described at https://github.com/huggingface/safetensors (Apache-2.0).
# Differences from that library's reader: a header of at most 8 MB, no name twice, tensors in memory
# of their own instead of a map of the file, and errors that say what to do.

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from threading import Lock
from typing import NamedTuple, cast

import torch
from torch import Tensor

from ._disk import DOWNLOAD_AGAIN, check_count, quoted
from .errors import ControlInputError

MAX_HEADER = 8_000_000  # bytes; a tensor takes about 100, and 20,000 tensors are the most we read
MAX_NAME = 512

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8,
    "BOOL": torch.bool, "C64": torch.complex64,
}
if hasattr(torch, "float8_e8m0fnu"):  # from torch 2.7 on
    DTYPES["F8_E8M0"] = torch.float8_e8m0fnu
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Slot(NamedTuple):
    """One tensor's place in the data, in bytes from its start."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class Layout(NamedTuple):
    """A checked header: the slots cover the data in this order, without a gap."""

    slots: dict[str, Slot]
    metadata: dict[str, str]


def read_layout(file: FileIO, size: int, name: str) -> Layout:
    """The header of `file` (`size` bytes), every claim in it checked against the file."""
    length = _header_length(file.read(8), size, name)
    return _layout(file.read(length), size - 8 - length, name)


def check_header(head: bytes, data_size: int, name: str) -> None:
    """Raises where `read_layout` would, for length and header `head` before `data_size` bytes."""
    _layout(head[8 : 8 + _header_length(head, len(head) + data_size, name)], data_size, name)


def _header_length(head: bytes, size: int, name: str) -> int:
    length, room = int.from_bytes(head[:8], "little"), size - 8
    found = f"a header of {length:,} bytes in a file of {size:,} bytes"
    if length > MAX_HEADER:
        code = "CN-C07" if length > room else "CN-C10"
        raise _fault(code, name, found, f"a safetensors header of at most {MAX_HEADER:,}")
    if length > room:
        raise _fault("CN-C03", name, found, "a whole file (this one is cut short)")
    return length


def _layout(raw: bytes, data_size: int, name: str) -> Layout:
    table = _table(raw, name)
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not _is_text(cast("dict[str, object]", metadata)):
        raise _fault("CN-C09", name, "metadata that is not text", "metadata of names and texts")
    check_count(len(table), name)
    slots = {key: _slot(key, entry, name) for key, entry in table.items()}
    slots = dict(sorted(slots.items(), key=_place))
    _check_cover(slots, data_size, name)
    return Layout(slots, cast("dict[str, str]", metadata))


def _table(raw: bytes, name: str) -> dict[str, object]:
    """The JSON object in `raw`; an object that holds a key twice has no meaning and is refused."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(pairs)
        if len(table) < len(pairs):
            raise KeyError(Counter(key for key, _ in pairs).most_common(1)[0][0])
        return table

    expected = "a JSON table that describes each tensor"
    if not raw.startswith(b"{"):
        start = quoted(raw[:16].decode("utf-8", "replace"))
        raise _fault("CN-C09", name, f"a header that begins with '{start}'", expected)
    try:
        return json.loads(raw, object_pairs_hook=unique)
    except KeyError as e:
        found = f"the name {quoted(str(e.args[0]))} twice in the header"
        raise _fault("CN-C13", name, found, "every name once") from e
    except RecursionError as e:
        raise _fault("CN-C12", name, "a header of JSON nested without end", expected) from e
    except ValueError as e:  # not JSON, or not UTF-8
        raise _fault("CN-C09", name, "a header that is not JSON", expected) from e


def _is_text(metadata: dict[str, object]) -> bool:
    return all(isinstance(value, str) for value in metadata.values())


def _slot(key: str, entry: object, name: str) -> Slot:
    """The description of tensor `key`, checked by itself."""
    tensor = f"tensor {quoted(key)}"
    if not key.isprintable() or len(key) > MAX_NAME:
        found = f"{tensor}, a name of {len(key)} characters" if key.isprintable() else tensor
        raise _fault("CN-C09", name, found, f"names of at most {MAX_NAME} printable characters")
    match entry:
        case {"dtype": str(kind), "shape": list(), "data_offsets": [int(begin), int(end)]}:
            sizes = cast("dict[str, list[object]]", entry)["shape"]
            shape = tuple(n for n in sizes if type(n) is int and 0 <= n < 2**63)
        case _:
            raise _fault("CN-C09", name, f"{tensor} without dtype, shape and offsets", "all three")
    if kind not in DTYPES:
        raise ControlInputError(
            "CN-C18", name, found=f"{tensor} of dtype {quoted(kind)}",
            expected="a dtype that torch knows",
            fix="update torch if the dtype is new, or use a file in fp16, bf16 or fp32",
        )
    if len(shape) < len(sizes) or len(shape) > 64:
        raise _fault("CN-C17", name, f"{tensor} with odd sizes", "sizes that are counts")
    if not 0 <= begin <= end:
        place = quoted(f"{begin} to {end}")
        raise _fault("CN-C16", name, f"{tensor} at bytes {place}", "offsets in order, from 0 on")
    need = math.prod(shape) * DTYPES[kind].itemsize
    if need != end - begin:
        found = f"{tensor} with {_count(end - begin)} bytes of data"
        raise _fault("CN-C17", name, found, f"{_count(need)} bytes for its shape and dtype {kind}")
    return Slot(DTYPES[kind], shape, begin, end)


def _count(n: int) -> str:
    return f"{n:,}" if n < 2**63 else "more than 2^63"


def _place(item: tuple[str, Slot]) -> tuple[int, int]:
    return item[1].begin, item[1].end


def _check_cover(slots: Mapping[str, Slot], data_size: int, name: str) -> None:
    """Each byte of the data belongs to one tensor: nothing shared, hidden, missing or left over."""
    last, end = "the start of the data", 0
    for key, slot in slots.items():
        if slot.begin != end:
            how = "overlapping" if slot.begin < end else "apart"
            by = _count(abs(slot.begin - end))
            found = f"{quoted(last)} and {quoted(key)} {how} by {by} bytes"
            raise _fault("CN-C14", name, found, "tensors one after the other")
        last, end = key, slot.end
    if data_size < end:
        share = 100 * data_size / end
        found = f"{data_size:,} of {_count(end)} bytes of data ({share:.1f} %)"
        raise _fault("CN-C04", name, found, "all of them (the download was cut short)")
    if data_size > end:
        found = f"{data_size - end:,} extra bytes at the end"
        raise _fault("CN-C06", name, found, "no byte after the data")


def read_slots(file: FileIO, slots: Mapping[str, Slot], name: str) -> dict[str, Tensor]:
    """The tensors of `slots`, each read straight into memory of its own; `file` stands at the data.

    On several threads: half of the time goes into first touches of fresh memory, and the cores
    share it (measured on two: 0.6 s for 1.4 GB against 1.3 s on one).
    """
    start = file.tell()

    def read(slot: Slot) -> Tensor:
        return _read_slot(file, slot, start, name)

    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(slots, pool.map(read, slots.values()), strict=True))


def _read_slot(file: FileIO, slot: Slot, start: int, name: str) -> Tensor:
    tensor = torch.empty(slot.shape, dtype=slot.dtype, device="cpu")
    room, offset = tensor.reshape(-1).view(torch.uint8).numpy().data, start + slot.begin
    while room.nbytes:
        got = _read_at(file, room, offset)  # Linux gives at most 2 GB a call
        if not got:
            raise _fault("CN-C04", name, "a file that shrank while it was read", "a whole file")
        room, offset = room[got:], offset + got
    return tensor


def _read_at(file: FileIO, room: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [room], offset)
    with _SEEK:  # Windows has one position for all threads
        file.seek(offset)
        return file.readinto(room)


_READERS = 4
_SEEK = Lock()


def header_bytes(
    tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], metadata: Mapping[str, str]
) -> bytes:
    """Length and header of a file that holds `tensors` one after the other, padded to 8 bytes."""
    table: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for key, (dtype, shape) in tensors.items():
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        table[key] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": (begin, end)}
    raw = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw


def _fault(code: str, name: str, found: str, expected: str) -> ControlInputError:
    return ControlInputError(code, name, found=found, expected=expected, fix=DOWNLOAD_AGAIN)
