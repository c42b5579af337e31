"""`python -m controlstack.controlnet_core.formats`: inspect and convert."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_nets import FAMILIES

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.formats import __main__ as command_line
from controlstack.controlnet_core.nets import build

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["formats", *map(str, arguments)])
        command_line.main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def pickle(tmp_path: Path) -> Path:
    net = build(FAMILIES["sd15"])
    path = tmp_path / "net.pth"
    torch.save({f"control_model.{name}": weight for name, weight in net.state_dict().items()}, path)
    return path


def test_inspect_tells_format_family_and_layout(
    run: Run, pickle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="controlstack")
    told = run("inspect", pickle)
    assert "without their prefix control_model." in caplog.text
    assert "ControlNet in ldm layout, prefix control_model." in told
    assert "base model: SD1.5" in told


@pytest.mark.parametrize("layout", ["ldm", "diffusers"])
def test_convert_keeps_every_weight(layout: str, run: Run, pickle: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.safetensors"
    run("convert", pickle, "-o", out, "--layout", layout)
    assert formats.open_file(out).format.id == layout
    before, after = formats.load(pickle).state_dict(), formats.load(out).state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_convert_to_half_precision(run: Run, pickle: Path) -> None:
    run("convert", pickle, "--dtype", "fp16")
    net = formats.load(pickle.with_suffix(".safetensors"))
    assert {weight.dtype for weight in net.parameters()} == {torch.float16}


def test_nothing_is_written_over_and_bad_input_is_one_line(
    run: Run, pickle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("convert", pickle)
    for arguments in (("convert", pickle), ("inspect", tmp_path / "gone.pth")):
        with pytest.raises(SystemExit) as error:
            run(*arguments)
        assert error.value.code == 2
        assert capsys.readouterr().err.startswith("[CN-")
    run("convert", pickle, "--force")
