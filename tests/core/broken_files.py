"""Weight files that are broken in one way each, made on the spot: (folder) -> path of the file.

Rows and codes are those of the catalogue of bad inputs, sections 1 and 3. Rows that it calls "the
same" as another carry the code of that other one.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

Make = Callable[[Path], Path]
GOOD: dict[str, dict[str, object]] = {
    "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
}


class Row(NamedTuple):
    id: str
    code: str
    says: str
    """A part of what was found."""
    make: Make


def container(header: Mapping[str, object] | bytes = GOOD, data: bytes = b"\0" * 8) -> bytes:
    """A safetensors file, right or wrong as `header` and `data` are."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + data


def changed(**b: object) -> bytes:
    """The good file with the description of its tensor b changed."""
    return container({**GOOD, "b": {**GOOD["b"], **b}})


def wrote(data: bytes, name: str, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def safe(data: bytes) -> Make:
    return partial(wrote, data, "net.safetensors")


def pth(data: bytes) -> Make:
    return partial(wrote, data, "net.pth")


def with_length(length: int, size: int = 0) -> Make:
    """A file whose header claims `length` bytes, stretched (sparse) to `size` bytes."""

    def make(folder: Path) -> Path:
        data = length.to_bytes(8, "little") + container()[8:]
        path = wrote(data, "net.safetensors", folder)
        if size:
            os.truncate(path, size)
        return path

    return make


def huge(folder: Path) -> Path:
    """40 GB of zeros in one tensor; sparse, so that it takes no room."""
    size = 40 * 10**9
    head = container({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}, b"")
    path = wrote(head, "net.safetensors", folder)
    os.truncate(path, len(head) + size)
    return path


def many(count: int) -> bytes:
    return container(
        {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(count)}, b""
    )


def saved(value: object, *, legacy: bool = False) -> Make:
    """What torch.save makes of `value`."""

    def make(folder: Path) -> Path:
        buffer = io.BytesIO()
        torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
        return wrote(buffer.getvalue(), "net.pth", folder)

    return make


def archive(entries: Mapping[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return buffer.getvalue()


def repacked(
    change: Callable[[dict[str, bytes]], dict[str, bytes]], packing: int = zipfile.ZIP_STORED
) -> Make:
    """A good file of torch.save with other entries in its archive."""
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(1_000_003)}, buffer)
    with zipfile.ZipFile(buffer) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    return pth(archive(change(entries), packing))


def overlapping() -> bytes:
    """An archive whose two large entries are the same bytes of the file."""
    data = archive({"net/data.pkl": b"\x80\2}.", "net/data/0": b"\0" * 5000})
    first, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry = data[data.index(b"PK\1\2", first + 1) : end]
    tail = bytearray(data[end:])
    tail[8:12] = b"\3\0\3\0"  # entries, here and in all
    tail[12:16] = (end - first + len(entry)).to_bytes(4, "little")  # bytes of the directory
    return data[:end] + entry + bytes(tail)


def short_storage(entries: dict[str, bytes]) -> dict[str, bytes]:
    """4 MB of weights are claimed, 16 bytes lie there, and 3 MB of filling hide it."""
    return {
        name: data[:16] if name.endswith("data/0") else data for name, data in entries.items()
    } | {"archive/data/1": b"\0" * 3_000_000}


class Call:
    """Pickles into a call of `function`, which any careless reader makes."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


def marker(folder: Path) -> Path:
    """The file that a canary makes when it is let out."""
    return folder / "canary"


def canary(wrap: Callable[[object], object], *, via: str = "os", how: str = "zip") -> Make:
    """A pickle that wants to make the marker file."""

    def make(folder: Path) -> Path:
        code = f"open({str(marker(folder))!r}, 'w')"
        call = {
            "os": Call(os.system, f"touch {marker(folder)}"),
            "eval": Call(eval, code),
            "getattr": Call(getattr, Path, "unlink"),
            "torch": Call(torch.hub.load_state_dict_from_url, "https://example.invalid"),
        }[via]
        value = wrap(call)
        if how == "raw":
            return wrote(pickle.dumps(value, 2), "net.pth", folder)
        if how == "protocol 4":
            return wrote(pickle.dumps(value, 4), "net.pth", folder)
        return saved(value, legacy=how == "legacy")(folder)

    return make


def itself(value: object) -> object:
    return value


def cut(make: Make, keep: float) -> Make:
    def shorter(folder: Path) -> Path:
        path = make(folder)
        os.truncate(path, int(path.stat().st_size * keep))
        return path

    return shorter


def a_folder(folder: Path) -> Path:
    path = folder / "net.safetensors"
    path.mkdir()
    return path


def missing(folder: Path) -> Path:
    return folder / "net.safetensors"


def dangling(folder: Path) -> Path:
    path = folder / "net.safetensors"
    path.symlink_to(folder / "gone.safetensors")
    return path


def pipe(folder: Path) -> Path:
    path = folder / "net.safetensors"
    os.mkfifo(path)
    return path


def a_socket(folder: Path) -> Path:
    path = folder / "net.safetensors"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1445\n"
HTML = b"\n<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
WEIGHT = torch.ones(2, 2)

ROWS = (
    Row("C01", "CN-C01", "0 bytes", safe(b"")),
    Row("C01 pth", "CN-C01", "0 bytes", pth(b"")),
    Row("C02", "CN-C02", "7 bytes", safe(b"1234567")),
    Row("C03", "CN-C03", "in a file of 40 bytes", safe(container()[:40])),
    Row("C04", "CN-C04", "4 of 8 bytes of data (50.0 %)", safe(container(data=b"\0" * 4))),
    Row("C05", "CN-C04", "7 of 8 bytes of data", safe(container(data=b"\0" * 7))),
    Row("C06", "CN-C06", "1 extra bytes", safe(container(data=b"\0" * 9))),
    Row("C07", "CN-C07", "9,223,372,036,854,775,808 bytes", with_length(2**63)),
    Row("C08", "CN-C07", "50,000,000 bytes in a file of", with_length(50_000_000)),
    Row("C08 small", "CN-C03", "1,000 bytes in a file of", with_length(1000)),
    Row("C09", "CN-C09", "begins with '[1, 2]", safe(container(b"[1, 2]"))),
    Row("C09 text", "CN-C09", "not JSON", safe(container(b"{not JSON}"))),
    Row("C09 bytes", "CN-C09", "not JSON", safe(container(b'{"\xff": 1}'))),
    Row("C09 entry", "CN-C09", "tensor a without", safe(container({"a": 3}))),
    Row("C09 text as shape", "CN-C09", "tensor b without", safe(changed(shape="1"))),
    Row("C09 metadata", "CN-C09", "metadata", safe(container({**GOOD, "__metadata__": {"a": 1}}))),
    Row("C09 name", "CN-C09", "tensor a?b", safe(container({"a\nb": GOOD["a"]}))),
    Row("C09 long name", "CN-C09", "5000 characters", safe(container({"n" * 5000: GOOD["a"]}))),
    Row("C10", "CN-C10", "99,000,000 bytes", with_length(99_000_000, 99_001_000)),
    Row("C11", "CN-C10", "101,000,000 bytes", with_length(101_000_000, 101_001_000)),
    Row("C12", "CN-C12", "nested", safe(container(b'{"a":' + b"[" * 100_000))),
    Row("C13", "CN-C13", "the name a twice", safe(container(
        b'{"a": %s, "a": %s}' % tuple(json.dumps(x).encode() for x in GOOD.values())))),
    Row("C14", "CN-C14", "a and b overlapping by 4", safe(changed(data_offsets=[0, 4]))),
    Row("C14 gap", "CN-C14", "a and b apart by 4", safe(container(
        {**GOOD, "b": {**GOOD["b"], "data_offsets": [8, 12]}}, b"\0" * 12))),
    Row("C14 far", "CN-C14", "more than 2^63", safe(changed(
        data_offsets=[10**4000, 10**4000 + 4]))),
    Row("C15", "CN-C14", "overlapping", safe(container(
        {**GOOD, "c": {"dtype": "F32", "shape": [0], "data_offsets": [2, 2]}}))),
    Row("C16", "CN-C16", "tensor b at bytes -4 to 0", safe(changed(data_offsets=[-4, 0]))),
    Row("C16 backwards", "CN-C16", "tensor b at bytes 8 to 4", safe(changed(data_offsets=[8, 4]))),
    Row("C17", "CN-C17", "tensor b with 4 bytes", safe(changed(shape=[2**40, 2**40]))),
    Row("C17 short", "CN-C17", "tensor b with 4 bytes", safe(changed(shape=[2]))),
    Row("C17 negative", "CN-C17", "tensor b with odd sizes", safe(changed(shape=[-1]))),
    Row("C17 float", "CN-C17", "tensor b with odd sizes", safe(changed(shape=[1.0]))),
    Row("C17 axes", "CN-C17", "tensor b with odd sizes", safe(changed(shape=[2**62] * 10_000))),
    Row("C18", "CN-C18", "tensor b of dtype F99", safe(changed(dtype="F99"))),
    Row("C19", "CN-C19", "0 tensors", safe(container({}, b""))),
    Row("C19 metadata", "CN-C19", "0 tensors", safe(container({"__metadata__": {"a": "b"}}, b""))),
    Row("C19 pth", "CN-C19", "0 tensors", saved({"epoch": 3})),
    Row("C20", "CN-C20", "an HTML page", safe(HTML)),
    Row("C20 pth", "CN-C20", "an HTML page", pth(HTML)),
    Row("C21", "CN-C21", "a Git LFS pointer, which only names a large file of 1,445", safe(LFS)),
    Row("C22", "CN-C22", "a zip archive", lambda folder: saved({"w": WEIGHT})(folder).rename(
        folder / "net.safetensors")),
    Row("C22 legacy", "CN-C22", "a pickle", lambda folder: saved({"w": WEIGHT}, legacy=True)(
        folder).rename(folder / "net.safetensors")),
    Row("C22 reverse", "CN-C22", "a safetensors file", pth(container())),
    Row("C22 GGUF", "CN-C22", "a GGUF file", safe(b"GGUF" + b"\3" + b"\0" * 40)),
    Row("C22 PNG", "CN-C22", "a PNG picture", safe(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)),
    Row("C22 brace", "CN-C22", "a PNG picture", safe(b"\x89PNG\r\n\x1a\n{" + b"\0" * 40)),
    Row("C22 tar", "CN-C22", "a tar archive", pth(b"name" + b"\0" * 253 + b"ustar" + b"\0" * 250)),
    Row("C22 noise", "CN-C22", "no kind that we know", pth(b"\x17" * 600)),
    Row("C22 other zip", "CN-C22", "without the one data.pkl", pth(archive({"a.txt": b"a"}))),
    Row("C22 suffix", "CN-C22", "ends in '.onnx'", partial(wrote, container(), "net.onnx")),
    Row("C23", "CN-C23", "TorchScript", pth(archive(
        {"net/data.pkl": b"\x80\2}.", "net/constants.pkl": b"", "net/code/a.py": b""}))),
    Row("C24 zip", "CN-C24", f"({os.name if os.name == 'nt' else 'posix'}.system)", canary(itself)),
    Row("C24 eval", "CN-C24", "eval)", canary(itself, via="eval")),
    Row("C24 getattr", "CN-C24", "getattr)", canary(itself, via="getattr")),
    Row("C24 torch", "CN-C24", "(torch.hub.load_state_dict_from_url)", canary(itself, via="torch")),
    Row("C24 raw", "CN-C24", "system)", canary(itself, how="raw")),
    Row("C24 protocol 4", "CN-C24", "system)", canary(itself, how="protocol 4")),
    Row("C24 legacy", "CN-C24", "system)", canary(itself, how="legacy")),
    Row("C24 state_dict", "CN-C24", "system)", canary(lambda call: {"state_dict": {"w": call}})),
    Row("C24 optimizer", "CN-C24", "system)", canary(
        lambda call: {"state_dict": {"w": WEIGHT}, "optimizer": [call]}, how="legacy")),
    Row("C25 not torch", "CN-C25", "torch.save did not write", pth(pickle.dumps({"a": 1}, 2))),
    Row("C25 noise", "CN-C25", "a pickle that is damaged", pth(b"\x80\2" + b"\xfe" * 90)),
    Row("C25 torch refuses", "CN-C25", "damaged", saved({"w": Call(torch.set_num_threads, 1)})),
    Row("C26", "CN-C26", "a zip archive cut short", cut(saved({"w": torch.ones(999)}), 0.9)),
    Row("C26 legacy", "CN-C25", "damaged", cut(saved({"w": WEIGHT}, legacy=True), 0.5)),
    Row("C27", "CN-C27", "compressed entries", repacked(itself, zipfile.ZIP_DEFLATED)),
    Row("C27 packed", "CN-C27", "compressed entries", pth(archive(
        {"net/data.pkl": b"\x80\2}.", "net/data/0": os.urandom(5000)}, zipfile.ZIP_DEFLATED))),
    Row("C27 overlap", "CN-C27", "overlapping entries that expand to 10,0", pth(overlapping())),
    Row("C27 view", "CN-C27", "tensors that expand to 4,000,000,000 bytes", saved(
        {"w": torch.ones(1).expand(10**9)})),
    Row("C28 folder", "CN-C28", "a folder", a_folder),
    Row("C28 missing", "CN-C28", "no such file", missing),
    Row("C28 dangling", "CN-C28", "a link to a file that is gone", dangling),
    Row("C28 pipe", "CN-C28", "a named pipe", pipe),
    Row("C28 socket", "CN-C28", "a socket", a_socket),
    Row("W19 complex", "CN-W19", "complex64", safe(container(
        {"a": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}))),
    Row("W19 bool", "CN-W19", "bool", saved({"w": WEIGHT > 0})),
    Row("W19 axes", "CN-W19", "6 axes", safe(changed(shape=[1] * 6))),
    Row("W19 axes pth", "CN-W19", "6 axes", saved({"w": WEIGHT.view(1, 1, 1, 1, 2, 2)})),
    Row("W19 sparse", "CN-W19", "sparse", saved({"w": WEIGHT.to_sparse()})),
    Row("W20 list", "CN-W20", "a list", saved([WEIGHT])),
    Row("W20 None", "CN-W20", "None", saved(None)),
    Row("W20 int", "CN-W20", "a int", saved(3)),
    Row("W20 tensor", "CN-W20", "a tensor", saved(WEIGHT)),
    Row("W21 name", "CN-W21", "the name 3, which is a int", saved({"a": WEIGHT, 3: WEIGHT})),
    Row("W21 value", "CN-W21", "b, which is a str", saved({"a": WEIGHT, "b": "text"})),
    Row("W21 deep", "CN-W21", "a.b, which is a dict", saved({"a": {"b": {"c": WEIGHT}}})),
    Row("W24 size", "CN-W24", "40,000,000,000 bytes", huge),
    Row("W24 count", "CN-W24", "20,001 tensors", safe(many(20_001))),
    Row("W24 count pth", "CN-W24", "20,001 tensors", saved(
        {f"t{i}": t for i, t in enumerate([WEIGHT] * 20_001)})),
)
