"""The one place that opens weight files: each is checked, then read into memory of its own."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from uuid import uuid4

import torch
from torch import Tensor

from . import _disk
from ._disk import DOWNLOAD_AGAIN, SAFETENSORS, Content, check_count, opened, quoted
from ._pickles import load_pickle
from ._safetensors import DTYPES, Slot, check_header, header_bytes, read_layout, read_slots
from .errors import ControlInputError

MAX_BYTES = 32 * 2**30  # the largest control net that we know, Flux Union in fp32, takes 13 GB
MAX_NDIM = 5  # the weight of a 3-D convolution

_PICKLE = (_disk.PICKLE_ZIP, _disk.PICKLE_RAW)
_SUFFIXES: dict[str, tuple[Content, ...]] = {
    ".safetensors": (SAFETENSORS,), ".sft": (SAFETENSORS,),
    ".pth": _PICKLE, ".pt": _PICKLE, ".ckpt": _PICKLE, ".bin": _PICKLE,
}
_DTYPES = frozenset(DTYPES.values()) - {torch.bool, torch.complex64}
_CHUNK = 2**20  # elements looked at in one go, so that no check needs a copy of a whole tensor
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class TensorInfo:
    """Shape and dtype of a tensor whose data stays in the file."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Header:
    """Names and shapes of what a file holds; `name` is what messages call it, `size` its bytes."""

    path: Path
    name: str
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    size: int


def read_header(path: str | os.PathLike[str], *, name: str | None = None) -> Header:
    """Names, shapes and metadata of the weight file at `path`; no tensor is read.

    `name` is the file as the user knows it, relative to the models folder. Raises
    `ControlInputError` for a broken file, with one of the codes in docs/errors.md.
    """
    path, name = Path(path), _called(path, name)
    with opened(path, name) as (file, size):
        content = _content(file, size, path, name)
        if content is SAFETENSORS:
            layout = read_layout(file, size, name)
            return Header(path, name, _checked(layout.slots, name), layout.metadata, size)
        shapes = _read_pickle(file, size, path, name, content, device="meta")
        return Header(path, name, _checked(shapes, name), {}, size)


def read_tensors(
    source: Header | str | os.PathLike[str], *, name: str | None = None
) -> dict[str, Tensor]:
    """Every tensor of the file, on the CPU, in memory that nothing else holds.

    Nothing of the file stays mapped: it may be replaced, cut or deleted afterwards. The header is
    checked again, since a file may change after `read_header`.
    """
    path = source.path if isinstance(source, Header) else Path(source)
    name = source.name if isinstance(source, Header) else _called(path, name)
    with opened(path, name) as (file, size):
        content = _content(file, size, path, name)
        if content is SAFETENSORS:
            slots = read_layout(file, size, name).slots
            _checked(slots, name)
            return read_slots(file, slots, name)
        mapped = _read_pickle(file, size, path, name, content, device="cpu")
        _checked(mapped, name)
        return {key: x.clone(memory_format=torch.contiguous_format) for key, x in mapped.items()}


def _called(path: str | os.PathLike[str], name: str | None) -> str:
    return quoted(name or Path(path).name, 120)


def _content(file: FileIO, size: int, path: Path, name: str) -> Content:
    """Which container the file is; raises where its name and its bytes disagree."""
    expected = _SUFFIXES.get(path.suffix.lower())
    if expected is None:
        raise ControlInputError(
            "CN-C22", name, found=f"a file that ends in '{quoted(path.suffix)}'",
            expected=" ".join(_SUFFIXES), fix="choose a file of weights",
        )
    if size < 8:
        raise ControlInputError(
            "CN-C02" if size else "CN-C01", name, found=f"{size} bytes", expected="at least 8",
            fix=DOWNLOAD_AGAIN,
        )
    content = _disk.sniff(file.read(512))
    file.seek(0)
    if content is None and expected == (SAFETENSORS,):
        return SAFETENSORS  # broken in its first bytes; its reader says how
    found = content or Content("bytes of no kind that we know", fix=DOWNLOAD_AGAIN)
    if found in expected:
        return found
    raise ControlInputError(
        found.code, name, found=found.kind, expected=expected[0].kind, fix=found.fix
    )


def _read_pickle(
    file: FileIO, size: int, path: Path, name: str, content: Content, *, device: str
) -> dict[str, Tensor]:
    """The tensors of a pickle, which mean no more bytes than its file can hold."""
    tensors = load_pickle(file, size, path, name, zipped=content is _disk.PICKLE_ZIP, device=device)
    need = sum(x.numel() * x.itemsize for x in tensors.values())
    if need > 2 * size:  # a net may tie two weights to one piece of data; more is an expanded view
        raise ControlInputError(
            "CN-C27", name, found=f"tensors that expand to {need:,} bytes from a file of {size:,}",
            expected="every weight stored", fix="use the .safetensors version of this model",
        )
    if any(x.layout != torch.strided for x in tensors.values()):
        raise _odd_tensor(name, "sparse tensors")
    return tensors


def _checked(
    tensors: Mapping[str, Slot] | Mapping[str, Tensor], name: str
) -> dict[str, TensorInfo]:
    """Shape and dtype of each, after refusing what no control net needs."""
    infos = {key: TensorInfo(tuple(x.shape), x.dtype) for key, x in tensors.items()}
    if not infos:
        raise ControlInputError(
            "CN-C19", name, found="0 tensors", expected="the weights of a net", fix=DOWNLOAD_AGAIN
        )
    check_count(len(infos), name)
    need = sum(math.prod(x.shape) * x.dtype.itemsize for x in infos.values())
    if need > MAX_BYTES:
        raise ControlInputError(
            "CN-W24", name, found=f"{need:,} bytes of weights", expected=f"at most {MAX_BYTES:,}",
            fix="choose a ControlNet; this is a larger kind of file",
        )
    for key, x in infos.items():
        if x.dtype not in _DTYPES or len(x.shape) > MAX_NDIM:
            kind = str(x.dtype).removeprefix("torch.")
            raise _odd_tensor(name, f"tensor {quoted(key)}, {kind} with {len(x.shape)} axes")
    return infos


def _odd_tensor(name: str, found: str) -> ControlInputError:
    return ControlInputError(
        "CN-W19", name, found=found, expected=f"real numbers in at most {MAX_NDIM} axes",
        fix="use the file that the model's publisher offers for inference",
    )


def check_finite(header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Raises CN-W15 where a weight is NaN or infinite, and says how many of its values are.

    A sum is not finite if one of its terms is not, so one pass clears a good tensor. A sum may
    overflow too; only then are the values counted. Neither copies more than a chunk.
    """
    for key, x in tensors.items():
        chunks = torch.split(x.reshape(-1), _CHUNK) if x.is_floating_point() else ()
        if all(math.isfinite(_wide(part).sum().item()) for part in chunks):
            continue
        bad = sum(int((~torch.isfinite(_wide(part))).sum()) for part in chunks)
        if bad:
            raise ControlInputError(
                "CN-W15", header.name,
                found=f"{bad:,} of {x.numel():,} values NaN or infinite in {quoted(key)}",
                expected="finite weights", fix=DOWNLOAD_AGAIN,
            )


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.itemsize == 1 else x  # torch adds no 8-bit floats


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes `tensors` to `path` as safetensors: whole, or not at all with the old file kept.

    Written beside the target, brought to the disk, then renamed over it; an interruption removes
    what it wrote. Raises CN-Q26 where the folder cannot take the file, CN-Q27 where the disk
    fills up on the way, and for names or values that `read_header` would refuse its own codes.
    """
    path = Path(path)
    order = sorted(tensors, key=lambda key: (-tensors[key].itemsize, key))  # keeps each one aligned
    head = _header_of({key: tensors[key] for key in order}, metadata, path.name)
    size = len(head) + sum(x.nbytes for x in tensors.values())
    temp = path.with_name(f".controlstack-{uuid4().hex}.part")
    try:
        _check_room(path, size)
        with temp.open("xb", buffering=0) as file:  # "x" gives it the mode that the umask asks for
            _write(file, memoryview(head))
            for key in order:
                _write(file, _bytes_of(tensors[key]))
            os.fsync(file.fileno())
        temp.replace(path)
    except OSError as e:
        code = "CN-Q27" if e.errno in _DISK_FULL else "CN-Q26"
        raise _unsaved(code, path, size, e.strerror or type(e).__name__) from e
    finally:
        with contextlib.suppress(OSError):  # a folder that is none has no file to remove
            temp.unlink()
    _sync_folder(path.parent)


def _header_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], name: str) -> bytes:
    """Length and header of the file to write; what we would not read, we do not write."""
    try:
        infos = _checked(tensors, name)
        head = header_bytes({key: (x.dtype, x.shape) for key, x in infos.items()}, metadata)
        check_header(head, sum(x.nbytes for x in tensors.values()), name)
    except ControlInputError as e:
        raise ControlInputError(
            e.code, name, found=e.found, expected=e.expected, fix="change what is to be saved"
        ) from e
    return head


def _check_room(path: Path, size: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise _unsaved("CN-Q26", path, size, f"{free:,} bytes free")


def _unsaved(code: str, path: Path, size: int, reason: str) -> ControlInputError:
    return ControlInputError(
        code, quoted(path.name, 120), found=f"no way to save {size:,} bytes ({reason})",
        expected="a folder with room that may be written",
        fix="free some room or choose another folder; a file that was there before is unchanged",
    )


def _bytes_of(x: Tensor) -> memoryview:
    return x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _write(file: FileIO, data: memoryview) -> None:
    while data.nbytes:
        data = data[file.write(data) :]


def _sync_folder(folder: Path) -> None:
    """Brings the new name to the disk, on systems that can."""
    if hasattr(os, "O_DIRECTORY"):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # some network folders cannot; the file is in place
                os.fsync(fd)
        finally:
            os.close(fd)
