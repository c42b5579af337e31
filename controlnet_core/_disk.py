"""What lies on the disk: opens only what is a file, and tells by its first bytes what it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from .errors import ControlInputError

MAX_TENSORS = 20_000
DOWNLOAD_AGAIN = "download the file again and compare its size with the publisher's"


class Content(NamedTuple):
    """What the first bytes of a file say that it is; `code` and `fix` where weights were wanted."""

    kind: str
    code: str = "CN-C22"
    fix: str = "look for the right file at its publisher, and keep the name that it has there"


SAFETENSORS = Content("a safetensors file")
PICKLE_ZIP = Content("a zip archive, as torch.save writes it")
PICKLE_RAW = Content("a pickle, as old versions of torch.save wrote it")

_HTML = Content("an HTML page (a failed download)", "CN-C20", "download it again while logged in")
_POINTER = Content(
    "a Git LFS pointer, which only names a large file", "CN-C21",
    "run `git lfs pull`, or download the real file from its page",
)
_MAGIC: tuple[tuple[int, bytes, Content], ...] = (  # where, what in lower case, and its meaning
    (0, b"pk\x03\x04", PICKLE_ZIP),
    (0, b"\x80\x02", PICKLE_RAW),
    (0, b"\x80\x03", PICKLE_RAW),
    (0, b"\x80\x04", PICKLE_RAW),
    (0, b"\x80\x05", PICKLE_RAW),
    (0, b"version https://git-lfs", _POINTER),
    (0, b"<!doctype html", _HTML),
    (0, b"<html", _HTML),
    (0, b"<?xml", Content("an XML page (a failed download)")),
    (0, b"{", Content("JSON text (an index, a configuration or a failed download)")),
    (0, b"gguf", Content("a GGUF file")),
    (0, b"\x89png", Content("a PNG picture")),
    (0, b"\xff\xd8\xff", Content("a JPEG picture")),
    (8, b"webp", Content("a WebP picture")),
    (0, b"\x1f\x8b", Content("a gzip archive")),
    (0, b"7z\xbc\xaf\x27\x1c", Content("a 7z archive")),
    (0, b"rar!", Content("a RAR archive")),
    (257, b"ustar", Content("a tar archive")),
    (0, b"\x93numpy", Content("a NumPy array")),
    (0, b"\x89hdf", Content("an HDF5 file")),
)


def sniff(head: bytes) -> Content | None:
    """The kind of file that begins with `head` (512 bytes do), None where no known mark is found.

    A safetensors file is told by the brace after an 8-byte length below the format's limit of
    100,000,000. It comes first, since such a length may look like the mark of a pickle.
    """
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000:
        return SAFETENSORS
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()  # a page may start with space
    found = next((content for at, mark, content in _MAGIC if head[at:].startswith(mark)), None)
    size = head.partition(b"\nsize ")[2].partition(b"\n")[0]
    if found is _POINTER and size.isdigit():
        return _POINTER._replace(kind=f"{_POINTER.kind} of {int(size):,} bytes")
    return found


_NOT_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def opened(path: Path, name: str) -> Generator[tuple[FileIO, int]]:
    """The file at `path`, unbuffered, and its size in bytes; CN-C28 names what cannot be opened.

    Looks before it opens: to open a pipe would block until somebody writes into it.
    """
    try:
        mode = path.stat().st_mode
        found = next((kind for is_kind, kind in _NOT_FILES if is_kind(mode)), None)
        file = None if found else FileIO(path)
    except OSError as e:
        link = isinstance(e, FileNotFoundError) and path.is_symlink()
        found = "a link to a file that is gone" if link else _REASONS.get(type(e), "no good file")
        raise _unreadable(name, found) from e
    if file is None:
        raise _unreadable(name, found or "no file")
    with file:
        yield file, os.fstat(file.fileno()).st_size


_REASONS: dict[type[OSError], str] = {
    FileNotFoundError: "no such file",
    NotADirectoryError: "no such file",
    PermissionError: "a file that may not be read (no permission)",
}


def _unreadable(name: str, found: str) -> ControlInputError:
    return ControlInputError(
        "CN-C28", name, found=found, expected="a file of weights that can be read",
        fix="choose a file that exists, or give this user the right to read it",
    )


def check_count(count: int, name: str) -> None:
    """Raises CN-W24 for more tensors than a control net has, before time is spent on each."""
    if count > MAX_TENSORS:
        raise ControlInputError(
            "CN-W24", name, found=f"{count:,} tensors", expected=f"at most {MAX_TENSORS:,}",
            fix="choose a ControlNet; this is a larger kind of file",
        )


def quoted(text: str, limit: int = 80) -> str:
    """`text` fit for a message: what does not print replaced, the middle of a long one left out."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}...{text[3 - limit // 2 :]}"
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
