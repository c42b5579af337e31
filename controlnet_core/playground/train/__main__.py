"""Trains the playground's models: `python -m controlstack.controlnet_core.playground.train all`.

Every stage goes on where it was stopped. With nothing but the seed the same weights come out on
the same machine; `pack` puts them where the playground finds them.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...files import read_header, read_tensors, save_tensors
from ..family import CONTROL_FOLDER, CONTROLS, WEIGHTS, control_file
from .annotator import train_annotator
from .base import train_base
from .check import check_painter
from .controls import train_control
from .curves import draw_curves
from .stage import Stage
from .vae import train_vae


def main() -> None:
    """Runs the stage that was asked for."""
    options = _options()
    stage = Stage(
        options.out, options.seed, options.scenes, options.hints, options.steps, options.minutes
    )
    (_all if options.stage == "all" else STAGES[options.stage])(stage)


def _options() -> argparse.Namespace:
    default = Stage(Path("playground"))
    parser = argparse.ArgumentParser(prog="playground.train", description=__doc__)
    add = parser.add_argument
    add("stage", choices=["all", *STAGES], help="what to train")
    add("-o", "--out", type=Path, default=default.folder, help="folder of the training's files")
    add("--seed", type=int, default=default.seed, help="of weights, scenes and noise")
    add("--scenes", type=int, default=default.scenes, help="scenes that the base learns from")
    add("--hints", type=int, default=default.hints, help="scenes that a ControlNet learns from")
    add("--steps", type=int, help="optimiser steps, instead of the stage's own")
    add("--minutes", type=float, default=default.minutes, help="stop after so long; resumable")
    return parser.parse_args()


def _pack(stage: Stage) -> None:
    """The shipped weights: everything in half precision."""
    CONTROL_FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ("vae", "unet", "text", "annotator"):
        tensors = read_tensors(read_header(stage.folder / f"{name}.safetensors"))
        halves = {key: x.half() for key, x in tensors.items()}
        save_tensors(WEIGHTS / f"{name}.safetensors", halves, {"seed": str(stage.seed)})
    for kind in CONTROLS:
        shutil.copyfile(control_file(kind, stage.folder), control_file(kind))


STAGES: dict[str, Callable[[Stage], None]] = {
    "vae": train_vae,
    "base": train_base,
    "annotator": train_annotator,
    "check": check_painter,
    **{kind: partial(train_control, kind) for kind in CONTROLS},
    "pack": _pack,
    "curves": draw_curves,
}


def _all(stage: Stage) -> None:
    for train in STAGES.values():
        train(stage)


if __name__ == "__main__":
    main()
