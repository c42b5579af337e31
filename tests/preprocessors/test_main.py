"""The command line, end to end on a temporary folder."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors.__main__ import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with two photos in `in/`."""
    levels = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    for name, each in zip(("a.png", "b.png"), levels, strict=True):
        photo = cv2.resize(each, (80, 60), interpolation=cv2.INTER_CUBIC)
        Image.fromarray(photo).save(tmp_path / "in" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def levels(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_one_file_with_a_parameter(folder):
    assert main(["canny", "in/a.png", "-o", "edges.png", "--low-threshold", "80"]) == 0
    expected = cv2.Canny(levels(folder / "in/a.png"), 80, 200)
    assert (levels(folder / "edges.png") == expected[..., None]).all()


@pytest.mark.parametrize("source", ["in", "in/*.png"])
def test_folder_and_glob(folder, source):
    (folder / "in" / "notes.txt").write_text("no picture")
    assert main(["invert", source, "-o", "out/deep", "--resolution", "30"]) == 0
    assert sorted(each.name for each in (folder / "out/deep").iterdir()) == ["a.png", "b.png"]
    assert levels(folder / "out/deep/b.png").shape == (30, 40, 3)


def test_the_module_runs_from_a_shell(folder, shell):
    command = [sys.executable, "-m", "controlstack.preprocessors"]
    ran = subprocess.run(
        [*command, "invert", "in/a.png", "-o", "b.png"], env=shell, capture_output=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert (levels(folder / "b.png") == 255 - levels(folder / "in/a.png")).all()


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(PREPROCESSORS)


def test_sixteen_bits_stay_sixteen_bits(folder):
    depth = np.arange(0, 60000, 25, dtype=np.uint16).reshape(40, 60)
    Image.fromarray(depth).save("depth.png")
    assert main(["invert", "depth.png", "-o", "out.png"]) == 0
    assert levels("out.png").dtype == np.uint16
    assert (levels("out.png") == 65535 - depth).all()


def test_exif_rotation_is_honoured(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees
    Image.open("in/a.png").save("turned.png", exif=exif)
    assert main(["invert", "turned.png", "-o", "out.png"]) == 0
    assert (levels("out.png") == 255 - np.rot90(levels("in/a.png"), -1)).all()


def test_alpha_is_laid_on_white(folder):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save("clear.png")
    assert main(["invert", "clear.png", "-o", "out.png"]) == 0
    assert (levels("out.png") == 0).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK"])
def test_other_modes_are_read(folder, mode):
    name = "other.tif"
    Image.open("in/a.png").convert(mode).save(name)
    assert main(["invert", name, "-o", "out.png"]) == 0
    assert levels("out.png").shape == (60, 80, 3)


def test_inpaint_hint_takes_a_mask_and_keeps_minus_one_in_npy(folder):
    Image.new("L", (10, 10), 255).save("mask.png")
    assert main(["inpaint_hint", "in/a.png", "--mask", "mask.png", "-o", "hint.npy"]) == 0
    hint = np.load("hint.npy")
    assert hint.shape == (60, 80, 3)
    assert (hint == -1).all()


def broken_png(folder) -> None:
    whole = (folder / "in" / "a.png").read_bytes()
    (folder / "bad.png").write_bytes(whole[: len(whole) // 2])


def animation(folder) -> None:
    frames = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (0, 200)]
    frames[0].save(folder / "bad.png", save_all=True, append_images=frames[1:])


BAD = {
    "missing": ("CN-FILE", lambda folder: None),
    "text": ("CN-I28", lambda folder: (folder / "bad.png").write_text("<!DOCTYPE html>")),
    "empty": ("CN-I28", lambda folder: (folder / "bad.png").write_bytes(b"")),
    "truncated": ("CN-I27", broken_png),
    "animation": ("CN-I26", animation),
    "ratio": ("CN-I18", lambda folder: Image.new("L", (99, 3)).save(folder / "bad.png")),
}


@pytest.mark.parametrize("row", BAD)
def test_bad_file(folder, row, capsys):
    code, make = BAD[row]
    make(folder)
    assert main(["canny", "bad.png", "-o", "out.png"]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"[{code}] bad.png")
    assert str(folder) not in message
    assert not (folder / "out.png").exists()


def test_minus_one_does_not_fit_a_png(folder, capsys):
    Image.new("L", (10, 10), 255).save("mask.png")
    assert main(["inpaint_hint", "in/a.png", "--mask", "mask.png", "-o", "out.png"]) == 1
    assert "--fill zero" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["in", "in/a.png"])
def test_sources_are_never_overwritten(folder, output, capsys):
    before = levels("in/a.png")
    assert main(["invert", "in/a.png", "-o", output]) == 1
    assert "CN-FILE" in capsys.readouterr().err
    assert (levels("in/a.png") == before).all()


def test_parameters_out_of_range_are_told(folder, capsys):
    assert main(["canny", "in/a.png", "-o", "out.png", "--low-threshold", "300"]) == 1
    assert "low_threshold" in capsys.readouterr().err


def test_16_bit_picture_in_floats(folder):
    from controlstack.preprocessors._pictures import read_picture

    Image.fromarray(np.full((4, 4), 257, np.uint16)).save("dark.png")
    picture = read_picture(folder / "dark.png")
    assert picture.bits == 16
    torch.testing.assert_close(picture.image, torch.full((1, 1, 4, 4), 1 / 255))
