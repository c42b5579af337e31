"""Videos from a shell: frame by frame, in order, and never half a file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors.__main__ import main
from controlstack.preprocessors._videos import open_video, write_video

FRAMES = 19


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Grey frames that grow brighter, at 12 frames a second; a codec without loss of order."""
    path = tmp_path / "way.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (48, 32))
    for index in range(FRAMES):
        writer.write(np.full((32, 48, 3), 10 * index + 20, np.uint8))
    writer.release()
    return path


def levels(path: Path) -> list[float]:
    """The mean level of every frame, 0..255."""
    return [255 * float(frame.mean()) for chunk in open_video(path).chunks() for frame in chunk]


def test_frames_come_in_order_a_few_at_a_time(video: Path) -> None:
    found = open_video(video)
    assert (found.rate, found.count) == (12.0, FRAMES)
    assert [len(chunk) for chunk in found.chunks()] == [8, 8, 3]
    assert levels(video) == pytest.approx([10 * index + 20 for index in range(FRAMES)], abs=1.5)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_becomes_a_video_of_its_hints(video: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"hints{suffix}"
    assert main(["invert", str(video), "-o", str(target)]) == 0
    assert open_video(target).rate == pytest.approx(12.0)
    expected = [255 - (10 * index + 20) for index in range(FRAMES)]
    assert levels(target) == pytest.approx(expected, abs=3.0)
    assert list(tmp_path.glob("*.part*")) == []


class Brightness(torch.nn.Module):
    """Says that what is bright is near."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(1, keepdim=True)


def test_a_video_is_one_batch_where_the_whole_batch_counts(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """19 frames, read 8 at a time: their depths lie between those of the first and the last."""
    keeper = SimpleNamespace(ready=lambda *_: Brightness(), free_bytes=lambda _: 2**30)
    monkeypatch.setattr("controlstack.preprocessors.__main__.InProcess", lambda _: keeper)
    command = ["depth", str(video), "--normalise", "the whole batch", "-o"]
    assert main([*command, str(tmp_path / "hints.avi")]) == 0
    expected = [255 * index / (FRAMES - 1) for index in range(FRAMES)]
    assert levels(tmp_path / "hints.avi") == pytest.approx(expected, abs=4.0)


def test_folders_take_pictures_and_videos(video: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "still.png"), np.full((9, 9, 3), 50, np.uint8))
    assert main(["invert", str(tmp_path), "-o", str(tmp_path / "out")]) == 0
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"way.mp4", "still.png"}


def test_odd_sides_are_cut_to_even_ones(tmp_path: Path) -> None:
    write_video(tmp_path / "odd.avi", iter([torch.rand(2, 3, 33, 47)]), rate=5.0)
    (chunk,) = open_video(tmp_path / "odd.avi").chunks()
    assert chunk.shape == (2, 3, 32, 46)


def test_an_interrupted_video_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    target = tmp_path / "hints.avi"
    target.write_bytes(b"what was there")

    def broken():
        yield torch.rand(2, 3, 32, 32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(target, broken(), rate=5.0)
    assert target.read_bytes() == b"what was there"
    assert [each.name for each in tmp_path.iterdir()] == ["hints.avi"]


def test_colours_keep_their_channels(tmp_path: Path) -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    write_video(tmp_path / "red.avi", iter([red]), rate=5.0)
    (chunk,) = open_video(tmp_path / "red.avi").chunks()
    assert chunk.mean(dim=(0, 2, 3)).tolist() == pytest.approx([1.0, 0.0, 0.0], abs=0.05)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("none.mp4", None, "CN-FILE"),
        ("text.mp4", b"no video", "CN-I27"),
        ("empty.avi", b"", "CN-I27"),
    ],
)  # fmt: skip
def test_what_is_no_video_is_told(
    name: str, content: bytes | None, code: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ControlInputError, match=code):
        open_video(path)
    capfd.readouterr()  # OpenCV tells it in its own words too


def test_a_video_is_not_written_as_a_picture(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["invert", str(video), "-o", str(tmp_path / "one.png")]) == 1
    assert "a video for a video" in capsys.readouterr().err


def test_a_hint_that_is_too_small_is_told(tmp_path: Path) -> None:
    with pytest.raises(ControlInputError, match="1 x 1 pixels"):
        write_video(tmp_path / "dot.avi", iter([torch.rand(1, 3, 1, 1)]), rate=5.0)


def test_every_weight_free_preprocessor_takes_frames(video: Path) -> None:
    (first, *_) = open_video(video).chunks()
    for each in PREPROCESSORS.values():
        if not (each.learned or each.needs_mask):
            assert len(each(first)) == len(first), each.name
