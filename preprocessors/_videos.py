"""Videos for the command line, through OpenCV: never more than a few frames are in memory.

The sound is not carried over.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..controlnet_core.errors import ControlInputError

SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
_AT_ONCE = 8  # frames: a learned preprocessor runs them as one batch
_CODECS = {".avi": "MJPG", ".webm": "VP90"}  # others take MPEG-4, which every OpenCV can write


@dataclass(frozen=True)
class Video:
    """A video file: frames a second, and how many frames its header promises (0: unknown)."""

    path: Path
    rate: float
    count: int

    def chunks(self) -> Iterator[Tensor]:
        """Its frames in order, a few at a time, (b 3 H W) in 0..1."""
        with _opened(self.path) as capture:
            held: list[np.ndarray[Any, Any]] = []
            while (frame := _next(capture)) is not None:
                held.append(frame)
                if len(held) == _AT_ONCE:
                    yield _batch(held)
                    held = []
            if held:
                yield _batch(held)


def open_video(path: Path) -> Video:
    """The video at `path`; raises CN-I27 for a file that holds no frames."""
    import cv2

    with _opened(path) as capture:
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if _next(capture) is None:
            raise _refusal(path, "no frame that can be read", "a video", "convert it to .mp4")
        return Video(path, capture.get(cv2.CAP_PROP_FPS) or 24.0, max(0, int(count)))


def write_video(path: Path, chunks: Iterator[Tensor], *, rate: float) -> None:
    """Saves hints (b 3 h w) in 0..1 as a video; the file has its name once it is whole.

    Sides are cut to even numbers, which video codecs ask for.
    """
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    writer: Any = None
    try:
        for chunk in chunks:
            frames = _bgr(chunk, path)
            writer = writer or _writer(part, rate, frames.shape[2], frames.shape[1])
            for frame in frames:
                writer.write(frame)
        if writer is not None:
            writer.release()
            part.replace(path)
    finally:
        if writer is not None:
            writer.release()
        part.unlink(missing_ok=True)


def _bgr(hints: Tensor, path: Path) -> np.ndarray[Any, Any]:
    """Hints (b 3 h w) in 0..1 as OpenCV's frames (b h w 3), 8 bit, of even sides."""
    if min(hints.shape[-2:]) < 2:
        found = f"hints of {hints.shape[-1]} x {hints.shape[-2]} pixels"
        raise _refusal(path, found, "2 x 2 or more", "choose a larger resolution")
    frames = hints.movedim(1, -1).mul(255).round().byte().cpu().numpy()
    return np.ascontiguousarray(frames[:, : frames.shape[1] & ~1, : frames.shape[2] & ~1, ::-1])


def _writer(path: Path, rate: float, width: int, height: int) -> Any:
    import cv2

    codec = cv2.VideoWriter.fourcc(*_CODECS.get(path.suffix.lower(), "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, rate, (width, height))
    if not writer.isOpened():
        raise _refusal(path, f"no codec for {path.suffix} in this OpenCV", "one that it can write",
                       "write a .mp4 or a .avi file")  # fmt: skip
    return writer


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    import cv2

    if not path.is_file():
        raise ControlInputError(
            "CN-FILE", path.name, found="no such file", expected="a video", fix="check the path"
        )
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise _refusal(path, "no video that OpenCV can read", "a video", "convert it to .mp4")
        yield capture
    finally:
        capture.release()


def _next(capture: Any) -> np.ndarray[Any, Any] | None:
    """The next frame (H W 3) RGB, 8 bit; None after the last."""
    found, frame = capture.read()
    return frame[..., ::-1] if found else None


def _batch(frames: list[np.ndarray[Any, Any]]) -> Tensor:
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1).float() / 255.0


def _refusal(path: Path, found: str, expected: str, fix: str) -> ControlInputError:
    return ControlInputError("CN-I27", path.name, found=found, expected=expected, fix=fix)
