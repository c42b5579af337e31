"""Fetches weights from the Hugging Face hub: resumed, checked, and only when somebody asks for it.

Through huggingface_hub, so that HF_ENDPOINT, HF_TOKEN, proxies and HF_HUB_OFFLINE mean what they
mean everywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from ..controlnet_core.errors import ControlInputError
from ._catalogue import OTHER_NAME, Checkpoint
from ._libraries import library
from ._run import silent

Progress = Callable[[int, int], None]
"""Told (bytes here, bytes in all; 0 where unknown) of one file; raises to interrupt it."""

TIMEOUT = 10.0  # seconds until a hub that does not answer is an error
LOCK_PAUSE = 0.5  # seconds between two looks at a file that another process downloads
_CHUNK = 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")


def download(checkpoint: Checkpoint, folder: Path, *, progress: Progress = silent) -> Path:
    """The path of `checkpoint` below `folder`, after fetching each of its files not there yet.

    A file lies at `folder/repository/path` once it is whole and its size and sum are right; until
    then beside it as `.part`, from which the next call goes on. Raises `ControlInputError`
    (CN-DOWNLOAD, CN-Q26, CN-LIBRARY), and whatever `progress` raises.
    """
    home = folder / checkpoint.repo
    names = [_fetch_either(checkpoint, name, home, progress) for name in checkpoint.files]
    return home if checkpoint.is_folder else home / names[0]


def _fetch_either(checkpoint: Checkpoint, name: str, home: Path, progress: Progress) -> str:
    """Which name the file `name` came under: its own, or the one in older repositories."""
    names = [each for each in (name, OTHER_NAME.get(name)) if each]
    for each in names:
        if is_whole(checkpoint, home / each):
            return each
    for each in names[:-1]:
        with contextlib.suppress(_NoEntryError):
            _fetch(checkpoint, each, home / each, progress)
            return each
    _fetch(checkpoint, names[-1], home / names[-1], progress)
    return names[-1]


def is_whole(checkpoint: Checkpoint, path: Path) -> bool:
    """Whether the file is there and no shorter than published; longer ones hold wider numbers."""
    return path.is_file() and path.stat().st_size >= (checkpoint.size or 0)


class _NoEntryError(ControlInputError):
    """The hub has no file of that name."""


def _fetch(checkpoint: Checkpoint, name: str, target: Path, progress: Progress) -> None:
    hub = library("huggingface_hub")
    if library("huggingface_hub.constants").HF_HUB_OFFLINE:
        raise _failed(
            checkpoint, "offline mode (HF_HUB_OFFLINE)", fix="unset HF_HUB_OFFLINE and try again"
        )
    url = hub.hf_hub_url(checkpoint.repo, name, endpoint=os.environ.get("HF_ENDPOINT") or None)
    size, etag = _facts(checkpoint, hub, url)
    with _alone(checkpoint, target, progress):
        if is_whole(checkpoint, target):
            return  # another process was faster
        part = target.with_name(f"{target.name}.part")
        _receive(checkpoint, url, part, size, progress)
        _verify(checkpoint, part, checkpoint.sha256 or etag)
        part.replace(target)


@contextmanager
def _alone(checkpoint: Checkpoint, target: Path, progress: Progress) -> Generator[None]:
    """Holds the lock of one file; the lock's own file goes with it, whatever happens.

    It goes while it is still held: who waits opens it anew at every look, and so never takes the
    lock of a file that has no name any more.
    """
    guard = target.with_name(f"{target.name}.lock")
    lock = library("filelock").FileLock(guard)
    try:
        _wait_for(lock, checkpoint, target, progress)
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):  # Windows removes it on release, and no sooner
                guard.unlink()
            lock.release()


def _wait_for(lock: Any, checkpoint: Checkpoint, target: Path, progress: Progress) -> None:
    """Takes `lock`, which another process may hold as long as its download runs."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            with contextlib.suppress(library("filelock").Timeout):
                lock.acquire(timeout=LOCK_PAUSE)
            progress(0, checkpoint.size or 0)
    except OSError as e:
        raise _no_room(checkpoint, e.strerror or str(e)) from e


def _facts(checkpoint: Checkpoint, hub: Any, url: str) -> tuple[int | None, str | None]:
    """Size and sha256 that the hub gives for the file; the catalogue's size must be the same."""
    try:
        found = hub.get_hf_file_metadata(url, timeout=TIMEOUT)
    except library("huggingface_hub.utils").EntryNotFoundError as e:
        raise _NoEntryError(
            "CN-DOWNLOAD", checkpoint.name, found=f"no such file at {url}", expected="one",
            fix="look whether a newer version of this pack knows where it is now",
        ) from e
    except _network_errors() as e:
        raise _unreachable(checkpoint, e) from e
    if checkpoint.size is not None and found.size not in (None, checkpoint.size):
        raise _failed(
            checkpoint, f"{found.size:,} bytes at {url}", fix="update this pack, the file changed"
        )
    return found.size, found.etag if _SHA256.fullmatch(found.etag or "") else None


def _receive(
    checkpoint: Checkpoint, url: str, part: Path, size: int | None, progress: Progress
) -> None:
    """Brings `part` to its full length, from where it ended last time."""
    from_hub = library("huggingface_hub.file_download")
    headers = library("huggingface_hub.utils").build_hf_headers()
    try:
        file = _Reporting(part, size or 0, progress)
    except OSError as e:
        raise _no_room(checkpoint, e.strerror or str(e)) from e
    with file:
        done = file.seek(0, os.SEEK_END)
        if size is not None and done > size:  # of another version of the file
            done = file.truncate(file.seek(0))
        if size is not None and (free := shutil.disk_usage(part.parent).free) < size - done:
            raise _no_room(checkpoint, f"{free:,} bytes free")
        try:
            from_hub.http_get(
                url, file, resume_size=done, headers=headers, expected_size=size,
                displayed_filename=checkpoint.name,
            )
        except _network_errors() as e:
            raise _unreachable(checkpoint, e) from e
        os.fsync(file.fileno())


class _Reporting(FileIO):
    """A file that is written on from what it holds, and tells its length after every write."""

    def __init__(self, path: Path, total: int, progress: Progress) -> None:
        super().__init__(path, "r+" if path.exists() else "x+")
        self._total, self._progress = total, progress

    def write(self, data: Any, /) -> int:
        rest = memoryview(data)
        while rest.nbytes:
            rest = rest[super().write(rest) :]
        self._progress(self.tell(), self._total)
        return memoryview(data).nbytes


def _verify(checkpoint: Checkpoint, part: Path, sha256: str | None) -> None:
    """Removes `part` and raises where its sum is not the one that is known."""
    if sha256 is None:
        return
    found = _sum_of(part)
    if found != sha256:
        part.unlink()
        raise _failed(
            checkpoint, f"bytes with the sha256 {found}", expected=sha256,
            fix="try again; a proxy or a mirror may have changed the file",
        )


def _sum_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _network_errors() -> tuple[type[Exception], ...]:
    """What the hub's library raises: OSErrors, and those of httpx, of which there are two."""
    clients = (sys.modules.get(name) for name in ("httpx", "httpx2"))
    return (OSError, *(client.HTTPError for client in clients if client is not None))


def _unreachable(checkpoint: Checkpoint, e: Exception) -> ControlInputError:
    words = " ".join(str(e).split()) or type(e).__name__
    return _failed(
        checkpoint, f"no way to get it ({words[:200]})",
        fix="check the connection, or set HF_ENDPOINT to a mirror; what came so far is kept",
    )


def _failed(
    checkpoint: Checkpoint, found: str, *, fix: str, expected: str | None = None
) -> ControlInputError:
    return ControlInputError(
        "CN-DOWNLOAD", checkpoint.name, found=found,
        expected=expected or f"{checkpoint.weight} from {checkpoint.repo} on the hub", fix=fix,
    )


def _no_room(checkpoint: Checkpoint, reason: str) -> ControlInputError:
    return ControlInputError(
        "CN-Q26", checkpoint.name, found=f"no way to save it ({reason})",
        expected=f"a folder with room for {checkpoint.weight} that may be written",
        fix="free some room, or choose another folder",
    )
