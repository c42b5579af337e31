"""Downloads from a hub on this machine: whole, resumed, broken, refused, and from a shell."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors._catalogue import CATALOGUE
from controlstack.preprocessors._download import download

CONTENT = bytes(range(256)) * 4096  # 1 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HED = replace(CATALOGUE["hed"], size=len(CONTENT), sha256=SHA256)
NAME = "lllyasviel/Annotators/ControlNetHED.pth"


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for files of `files`, by `repository/path`."""

    files: dict[str, bytes]
    asked: list[tuple[str, str, str | None]]
    cut: int | None  # bytes after which the next answer breaks off
    etag: str | None

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        name, ranged = self.path[1:].replace("/resolve/main", ""), self.headers.get("Range")
        type(self).asked.append((self.command, name, ranged))
        if name not in self.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.files[name]
        start = int(ranged[6:].split("-")[0]) if ranged else 0
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
            )
        self.send_header("ETag", f'"{self.etag or hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            self.wfile.write(content[start:][: self.cut])
            type(self).cut = None

    def log_message(self, *_args: object) -> None:
        """Nothing: the test's output is not the place."""


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub of these tests is this machine; a test run may be told to stay offline."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(monkeypatch):
    """A hub that has HED's weights, and to which HF_ENDPOINT points."""
    Hub.files, Hub.asked, Hub.cut, Hub.etag = {NAME: CONTENT}, [], None, None
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 2**16)
    yield Hub
    server.shutdown()
    thread.join()
    server.server_close()


def gets(hub) -> list[str | None]:
    """The ranges that were asked for."""
    return [ranged for command, _, ranged in hub.asked if command == "GET"]


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_file_comes_whole_and_once(hub, tmp_path):
    seen = []
    path = download(HED, tmp_path, progress=lambda *now: seen.append(now))
    assert path == tmp_path / NAME
    assert path.read_bytes() == CONTENT
    assert left(tmp_path) == {"ControlNetHED.pth"}
    done = [now for now, _ in seen]
    assert done == sorted(done)
    assert len(seen) > 10
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    asked = len(hub.asked)
    assert download(HED, tmp_path) == path
    assert len(hub.asked) == asked


class StoppedError(Exception):
    """What the stop button raises."""


def stop_at(limit: int):
    def progress(done: int, _total: int) -> None:
        if done >= limit:
            raise StoppedError

    return progress


def test_an_interrupted_download_goes_on_where_it_stopped(hub, tmp_path):
    with pytest.raises(StoppedError):
        download(HED, tmp_path, progress=stop_at(400_000))
    part = tmp_path / f"{NAME}.part"
    half = part.stat().st_size
    assert 400_000 <= half < len(CONTENT)
    assert left(tmp_path) == {"ControlNetHED.pth.part"}
    assert download(HED, tmp_path).read_bytes() == CONTENT
    assert gets(hub) == [None, f"bytes={half}-"]
    assert left(tmp_path) == {"ControlNetHED.pth"}


def test_a_download_that_is_stopped_before_its_first_byte_leaves_nothing(hub, tmp_path):
    """And holds nothing: another one, while this one's error is still looked at, need not wait."""
    with pytest.raises(StoppedError) as caught:
        download(HED, tmp_path, progress=stop_at(0))
    assert left(tmp_path) == set()
    assert download(HED, tmp_path, progress=stop_at(2 * len(CONTENT))).read_bytes() == CONTENT
    assert caught.value.__traceback__ is not None


def test_a_connection_that_breaks_is_taken_up_again(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    hub.cut = 300_000
    assert download(HED, tmp_path).read_bytes() == CONTENT
    first, second = gets(hub)
    assert first is None
    assert second is not None


def test_a_whole_part_is_checked_and_kept(hub, tmp_path):
    part = tmp_path / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert download(HED, tmp_path).read_bytes() == CONTENT
    assert gets(hub) == []


def test_a_part_of_a_longer_file_is_begun_anew(hub, tmp_path):
    part = tmp_path / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + b"more")
    assert download(HED, tmp_path).read_bytes() == CONTENT
    assert gets(hub) == [None]


@pytest.mark.parametrize("known", [True, False])
def test_a_wrong_sum_is_refused_and_thrown_away(hub, tmp_path, known):
    """The catalogue's sum where it has one, else the one that the hub gives."""
    hub.files[NAME] = CONTENT[:-1] + b"!"
    if not known:
        hub.etag = SHA256
    checkpoint = replace(HED, sha256=SHA256 if known else None)
    with pytest.raises(ControlInputError, match=SHA256) as caught:
        download(checkpoint, tmp_path)
    assert caught.value.code == "CN-DOWNLOAD"
    assert left(tmp_path) == set()


def test_another_size_on_the_hub_is_refused_before_a_byte_is_fetched(hub, tmp_path):
    hub.files[NAME] = CONTENT * 2
    with pytest.raises(ControlInputError, match="2,097,152 bytes") as caught:
        download(HED, tmp_path)
    assert caught.value.code == "CN-DOWNLOAD"
    assert gets(hub) == []


def test_a_truncated_file_is_replaced(hub, tmp_path):
    (tmp_path / NAME).parent.mkdir(parents=True)
    (tmp_path / NAME).write_bytes(CONTENT[:100])
    assert download(HED, tmp_path).read_bytes() == CONTENT


def test_offline_is_an_error_at_once(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ControlInputError, match="HF_HUB_OFFLINE") as caught:
        download(HED, tmp_path)
    assert caught.value.code == "CN-DOWNLOAD"
    assert hub.asked == []


def test_no_hub_is_an_error_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the port that discards
    with pytest.raises(ControlInputError, match="check the connection") as caught:
        download(HED, tmp_path)
    assert caught.value.code == "CN-DOWNLOAD"


def test_without_the_library_pip_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ControlInputError, match="pip install huggingface_hub"):
        download(HED, tmp_path)


def test_a_folder_that_is_a_file_is_told(hub, tmp_path):
    (tmp_path / "lllyasviel").write_text("in the way")
    with pytest.raises(ControlInputError) as caught:
        download(HED, tmp_path)
    assert caught.value.code == "CN-Q26"


def test_a_folder_for_transformers_comes_with_all_of_its_files(hub, tmp_path):
    entry = CATALOGUE["zoedepth"]
    hub.files |= {f"{entry.repo}/config.json": b"{}", f"{entry.repo}/pytorch_model.bin": CONTENT}
    home = download(entry, tmp_path)
    assert home == tmp_path / entry.repo
    assert left(home) == {"config.json", "pytorch_model.bin"}  # this one has no model.safetensors
    asked = len(hub.asked)
    assert download(entry, tmp_path) == home
    assert len(hub.asked) == asked
    hub.files[f"{entry.repo}/model.safetensors"] = CONTENT
    (home / "pytorch_model.bin").unlink()
    assert left(download(entry, tmp_path)) == {"config.json", "model.safetensors"}


def test_a_file_that_the_hub_does_not_have_is_told(hub, tmp_path):
    hub.files.clear()
    with pytest.raises(ControlInputError, match="no such file at http") as caught:
        download(HED, tmp_path)
    assert caught.value.code == "CN-DOWNLOAD"


def test_two_at_once_fetch_it_once(hub, tmp_path):
    entered, errors = threading.Event(), []

    def slow(done: int, _total: int) -> None:
        if done:
            entered.set()
            time.sleep(0.01)

    def fetch(progress=lambda *_now: None) -> None:
        try:
            download(HED, tmp_path, progress=progress)
        except Exception as e:
            errors.append(e)

    first = threading.Thread(target=fetch, args=(slow,))
    first.start()
    assert entered.wait(20)
    second = threading.Thread(target=fetch)
    second.start()
    for thread in (first, second):
        thread.join(30)
    assert errors == []
    assert gets(hub) == [None]
    assert left(tmp_path) == {"ControlNetHED.pth"}


def test_from_a_shell(hub, tmp_path, shell):
    """In a process of its own, where nothing else has imported parts of the hub's library."""
    entry = CATALOGUE["sam_base"]
    hub.files |= {f"{entry.repo}/config.json": b"{}", f"{entry.repo}/model.safetensors": CONTENT}
    command = [sys.executable, "-m", "controlstack.preprocessors", "download", "sam_base"]
    ran = subprocess.run(
        [*command, "--to", str(tmp_path)], env=shell, capture_output=True, check=False, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"sam_base: {tmp_path / entry.repo} [{entry.terms}]\n"
    assert (tmp_path / entry.repo / "model.safetensors").read_bytes() == CONTENT
