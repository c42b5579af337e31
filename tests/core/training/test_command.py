"""The command line, on a tiny dataset and the playground's base; it is told of every bad input."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_runs import wait_for
from tiny_training import write_scenes

from controlstack.controlnet_core.files import read_header, read_tensors
from controlstack.controlnet_core.formats import open_file
from controlstack.controlnet_core.training import __main__ as command
from controlstack.controlnet_core.training.checkpoint import checkpoints

TESTS = Path(__file__).resolve().parents[2]
QUICK = (
    "--resolution", "64", "--batch", "1", "--validation-images", "1", "--validation-steps", "1",
    "--validate-every", "99", "--device", "cpu", "--learning-rate", "1e-3", "--warmup", "1",
)  # fmt: skip


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["training", *words])
    command.main()


def train(monkeypatch: pytest.MonkeyPatch, data: Path, out: Path, *more: str) -> None:
    call(monkeypatch, "train", str(data), "-o", str(out), *QUICK, *more)


def test_dataset_becomes_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_scenes(tmp_path / "data", hints=False), tmp_path / "boxes"
    card = ("--polarity", "white on black", "--strength", "0.7", "--end", "0.8")
    words = ("--hint", "canny", "--steps", "2", "--allow", "words", *card)
    strange_word(tmp_path / "data")
    train(monkeypatch, data, out, *words)
    assert "unknown words" in capsys.readouterr().out
    assert open_file(out / "boxes.safetensors").format.id == "ldm"
    told = dict(read_header(out / "boxes.safetensors").metadata)
    assert told["controlstack.hint"] == "canny"
    assert told["controlstack.strength"] == "0.7"
    assert told["modelspec.thumbnail"].startswith("data:image/jpeg")
    assert [path.name for path in (out / "sheets").iterdir()] == ["00000002.png"]
    train(monkeypatch, data, out, *words)  # finished: nothing is lost, the file is written again
    assert dict(read_header(out / "boxes.safetensors").metadata) == told


def test_killed_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_scenes(tmp_path / "data")
    small = ("--layout", "control-lora", "--rank", "2", "--average", "0")  # quick to save
    more = ("--steps", "6", "--save-every", "1", *small)
    code = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r}); import conftest\n"
        "from controlstack.controlnet_core.training.__main__ import main; main()"
    )
    words = ["train", str(data), "-o", str(tmp_path / "killed"), *QUICK, *more]
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL)
    (tmp_path / "killed").mkdir()
    wait_for(tmp_path / "killed", 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert int(checkpoints(tmp_path / "killed")[-1].stem.rpartition("-")[2]) < 6
    for name in ("killed", "whole"):
        train(monkeypatch, data, tmp_path / name, *more)
    files = [tmp_path / name / f"{name}.safetensors" for name in ("killed", "whole")]
    one, other = (read_tensors(read_header(file)) for file in files)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def unpaired(data: Path) -> None:
    (data / "conditioning" / "2.png").unlink()


def corrupt(data: Path) -> None:
    (data / "image" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")


def truncated_hint(data: Path) -> None:
    path = data / "conditioning" / "3.png"
    path.write_bytes(path.read_bytes()[:60])


def other_size(data: Path) -> None:
    Image.new("RGB", (32, 32), "white").save(data / "conditioning" / "0.png")


def other_aspect(data: Path) -> None:
    Image.new("RGB", (64, 32), "white").save(data / "conditioning" / "0.png")


def no_pictures(data: Path) -> None:
    for folder in data.iterdir():
        for file in folder.iterdir():
            file.unlink()


def nowhere(data: Path) -> None:
    shutil.rmtree(data)


def strange_word(data: Path) -> None:
    (data / "image" / "0.txt").write_text("a box of Biedermeier")


def as_it_is(data: Path) -> None:
    """Good data, for what is bad beside it."""


@pytest.mark.parametrize(
    ("spoil", "more", "told"),
    [
        (unpaired, (), r"\[CN-T16\].*without a hint.*\(2\)"),
        (corrupt, (), r"\[CN-T16\].*broken.*\(1\)"),
        (truncated_hint, (), r"\[CN-T16\].*broken.*\(3\)"),
        (other_size, (), r"\[CN-T16\].*another size.*\(0\)"),
        (other_aspect, (), r"\[CN-T16\].*another aspect.*\(0\)"),
        (no_pictures, (), r"\[CN-T12\]"),
        (nowhere, (), r"\[CN-T10\]"),
        (strange_word, (), r"\[CN-T16\].*unknown words: biedermeier"),
        (as_it_is, ("--base", "/nowhere"), r"\[CN-T04\]"),
        (as_it_is, ("--precision", "fp16"), r"\[CN-T06\]"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_bad_input_is_told_before_the_first_step(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
    more: tuple[str, ...],
    told: str,
) -> None:
    data = write_scenes(tmp_path / "data")
    spoil(data)
    with pytest.raises(SystemExit, match=told) as stopped:
        train(monkeypatch, data, tmp_path / "out", "--steps", "1", *more)
    assert isinstance(stopped.value.code, str)  # a message on stderr, and status 1
    assert "\n" not in stopped.value.code
    assert not (tmp_path / "out" / "log.jsonl").exists()


def test_broken_pictures_are_left_out_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_scenes(tmp_path / "data")
    corrupt(data)
    call(monkeypatch, "lint", str(data), "--skip-broken")
    assert "1 broken examples, left out" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, "lint", str(data))
    assert stopped.value.code == 1
    assert "(1)" in capsys.readouterr().out


def test_message_and_status_of_the_process(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r}); import conftest\n"
        "from controlstack.controlnet_core.training.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "lint", str(tmp_path / "nothing")],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("[CN-T10]")
    assert len(done.stderr.splitlines()) == 1
