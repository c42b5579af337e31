"""Preprocessors on a batch of frames: ours against the packs that people have, as ratios.

`python benchmarks/preprocessors.py [--aux FOLDER]`: PyPI's controlnet-aux where it is installed,
and the checkout FOLDER of comfyui_controlnet_aux. All in one process and in turn, the pictures at
the resolution that they have, so that nobody resizes. Above 1: ours is that much faster.
"""

from __future__ import annotations

import argparse
import inspect
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from side_by_side import Run, pairs, timed
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import conftest  # noqa: E402, F401  # loads the pack as `controlstack`

from controlstack.preprocessors import PREPROCESSORS  # noqa: E402
from controlstack.preprocessors.canny_pyramid import SCALES  # noqa: E402

COUNT, HEIGHT, WIDTH = 32, 720, 1280


@dataclass(frozen=True)
class Case:
    """One of ours, and where the others have the same: module, class and settings of each."""

    name: str
    others: tuple[tuple[str, str], ...]
    settings: dict[str, Any] = field(default_factory=dict)
    bare: Callable[[Any], Any] | None = None
    """The OpenCV calls that do the work and nothing else, where there are such calls."""


def pyramid(frame: Any) -> None:
    """The edges of three channels at nine scales, not yet laid over each other."""
    for scale in SCALES:
        size = int(WIDTH * scale), int(HEIGHT * scale)
        for plane in cv2.split(cv2.resize(frame, size, interpolation=cv2.INTER_AREA)):
            cv2.Canny(plane, 64, 128)


AUX, PYPI = "custom_controlnet_aux", "controlnet_aux"
CASES = (
    Case("canny", ((f"{AUX}.canny", "CannyDetector"), (f"{PYPI}.canny", "CannyDetector")),
         bare=lambda frame: cv2.Canny(frame, 100, 200)),
    Case("canny_pyramid", ((f"{AUX}.pyracanny", "PyraCannyDetector"),), bare=pyramid),
    Case("lineart_standard", ((f"{AUX}.lineart_standard", "LineartStandardDetector"),
                              (f"{PYPI}.lineart_standard", "LineartStandardDetector"))),
    Case("scribble", ((f"{AUX}.scribble", "ScribbleDetector"),)),
    Case("scribble_xdog", ((f"{AUX}.scribble", "ScribbleXDog_Detector"),)),
    Case("binary", ((f"{AUX}.binary", "BinaryDetector"),), {"bin_threshold": 100}),
    Case("tile_pyramid", ((f"{AUX}.tile", "TileDetector"),)),
    Case("tile_guided", ((f"{AUX}.tile", "TTPlanet_Tile_Detector_GF"),),
         {"scale_factor": 1.0, "blur_strength": 2.0, "radius": 7, "eps": 0.01}),
    Case("recolor_luminance", ((f"{AUX}.recolor", "Recolorizer"),), {"mode": "luminance"}),
    Case("recolor_intensity", ((f"{AUX}.recolor", "Recolorizer"),), {"mode": "intensity"}),
    Case("shuffle", ((f"{AUX}.shuffle", "ContentShuffleDetector"),
                     (f"{PYPI}.shuffle", "ContentShuffleDetector")), {"seed": 1}),
    Case("color_grid", ((f"{AUX}.color", "ColorDetector"),)),
)  # fmt: skip


def main() -> None:
    """Prints a line for each of ours and each other that is here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aux", type=Path, help="a checkout of comfyui_controlnet_aux")
    parser.add_argument("--pairs", type=int, default=5, help="measured pairs of runs")
    parser.add_argument("--only", nargs="*", help="names of ours")
    options = parser.parse_args()
    if options.aux:
        sys.path.insert(0, str(options.aux / "src"))
    torch.set_num_threads(os.cpu_count() or 1)  # as in the host; the tests' set-up takes one
    images = pictures()
    print(f"{COUNT} frames of {WIDTH} x {HEIGHT}, {torch.get_num_threads()} torch threads")
    for case in CASES:
        if not options.only or case.name in options.only:
            for line in lines(case, images, options.pairs):
                print(line, flush=True)


def pictures() -> Tensor:
    """IMAGE (32 720 1280 3) in 0..1: views of a photo at its own sharpness, mirrored at its edges.

    A tenth of its pixels are Canny edges; on pictures without any, that call takes half the time.
    """
    from skimage.data import coffee  # a dependency of PyPI's controlnet-aux

    photo = coffee()
    height, width = photo.shape[:2]
    wide = np.pad(photo, ((0, HEIGHT - height), (0, WIDTH - width), (0, 0)), mode="reflect")
    views = [np.roll(wide, (37 * index, 59 * index), (0, 1)) for index in range(COUNT)]
    return torch.from_numpy(np.stack(views)).float() / 255


def lines(case: Case, images: Tensor, count: int) -> Iterator[str]:
    chosen = PREPROCESSORS[case.name]

    def ours() -> None:
        chosen(images.movedim(-1, 1))

    def bare() -> None:
        for frame in frames:
            case.bare(frame)  # type: ignore[misc]

    frames = [np.asarray(image * 255.0, dtype=np.uint8) for image in images]
    if case.bare is not None:
        ratio, bound = pairs(ours, bare, count).ratio
        yield f"{case.name}: {ratio:.2f} times the bare OpenCV calls (upper 95 % bound {bound:.2f})"
    for module, name in case.others:
        theirs = other(module, name, images, case.settings)
        if theirs is None:
            continue
        faster, _ = pairs(theirs, ours, count).ratio
        share = ""
        if case.bare is not None:
            seconds = statistics.median(timed(bare) for _ in range(count))
            share = f"; the bare calls are {seconds / timed(theirs):.0%} of theirs"
        yield f"{case.name}: {faster:.1f} times as fast as {module.partition('.')[0]}{share}"
    extra, allowed = memory(ours, images)
    yield f"{case.name}: peak {extra / allowed:.2f} of input and output"


def other(module: str, name: str, images: Tensor, settings: dict[str, Any]) -> Run | None:
    """The detector over the frames, as that pack's node calls it; None where it is not here."""
    try:
        detector = getattr(import_module(module), name)()
    except ImportError:
        return None
    known = inspect.signature(detector.__call__).parameters
    size = {"image_resolution": HEIGHT} if "image_resolution" in known else {}

    def run() -> None:
        hints: Tensor | None = None
        for index, image in enumerate(images):
            levels = np.asarray(image * 255.0, dtype=np.uint8)
            made = detector(
                levels, output_type="np", detect_resolution=HEIGHT, **size, **settings
            )
            hint = torch.from_numpy(made.astype(np.float32) / 255.0)
            hints = torch.zeros(len(images), *hint.shape) if hints is None else hints
            hints[index] = hint

    return run


def memory(run: Run, images: Tensor) -> tuple[float, float]:
    """Bytes that the process held at most with the pictures, and those of pictures and hints."""
    resident = Path("/proc/self/clear_refs")
    if not resident.exists():
        return float("nan"), 1.0
    before = status("VmRSS")
    resident.write_text("5")  # sets the high-water mark to what is resident now
    run()
    return status("VmHWM") - before + images.nbytes, 2.0 * images.nbytes


def status(name: str) -> int:
    """A size from the process's own status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise LookupError(name)


if __name__ == "__main__":
    main()
