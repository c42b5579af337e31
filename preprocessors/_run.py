"""How a batch goes through a preprocessor: in chunks of tensors, or frame by frame on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ._frame import Floats, Frame, into_hint

SPARE = 2  # threads beyond the cores, which work while others wait for memory: Canny gains 5 %

Progress = Callable[[int, int], None]
"""Told (pictures done, pictures in all) after every chunk; raises to interrupt the run."""


def silent(_done: int, _total: int) -> None:
    """Progress that nobody asked for."""


def run_chunks(
    run: Callable[[int, int], Tensor], count: int, *, chunk: int, progress: Progress
) -> Tensor:
    """Hints (count 3 h w) of `run(start, stop)` for consecutive chunks of pictures.

    One channel is repeated to three. The result is made once, so that the peak stays at input,
    output and one chunk.
    """
    hints: Tensor | None = None
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        hint = run(start, stop)
        if hints is None:
            hints = _empty_like(hint, count)
        hints[start:stop] = hint
        progress(stop, count)
    assert hints is not None
    return hints


def run_frames(
    run: Callable[[int], Frame | Floats], count: int, *, progress: Progress
) -> Tensor:
    """Hints (count 3 h w) of `run(index)` for every picture, on all cores.

    OpenCV and numpy let go of the GIL. Memory lies (count h w 3), as the host keeps pictures.
    """
    first = run(0)
    hints = np.empty((count, *first.shape[:2], 3), np.float32)
    into_hint(first, hints[0])
    progress(1, count)

    def fill(index: int) -> None:
        into_hint(run(index), hints[index])

    on_all_cores(fill, range(1, count), progress=progress)
    return torch.as_tensor(hints).movedim(-1, 1)


def on_all_cores(fill: Callable[[int], None], frames: range, *, progress: Progress) -> None:
    """Calls `fill` for each of the last frames of a batch, which ends with `frames`."""
    pool = ThreadPoolExecutor((os.cpu_count() or 1) + SPARE)
    try:
        for index, _ in zip(frames, pool.map(fill, frames), strict=True):
            progress(index + 1, frames.stop)
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt waits for the frames in flight only


def _empty_like(hint: Tensor, count: int) -> Tensor:
    """Room for `count` RGB hints, on the device and in the memory order of `hint`."""
    last = hint.movedim(1, -1).is_contiguous() and hint.shape[1] == 3
    height, width = hint.shape[-2:]
    shape = (count, height, width, 3) if last else (count, 3, height, width)
    if hint.device.type == "cpu":  # numpy asks for huge pages: filled in two thirds of the time
        hints = torch.from_numpy(np.empty(shape, np.float32))
    else:
        hints = torch.empty(shape, dtype=torch.float32, device=hint.device)
    return hints.movedim(-1, 1) if last else hints
