"""A run from its first step to its last: log, checkpoints, and a pause at any step."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from .checkpoint import resume, save_checkpoint
from .log import as_line, read_lines, write_lines
from .loop import Done, Trainer

OnStep = Callable[[Done], bool | None]
"""Called after each step; True stops the run, which can be resumed."""


def run(
    trainer: Trainer, folder: Path, *, save_every: int = 500, on_step: OnStep | None = None
) -> bool:
    """Trains to the recipe's last step, or until `on_step` says stop; whether it is finished.

    Goes on from the last checkpoint in `folder`. However it ends (also by an error or Ctrl-C
    between two steps), the weights of the last whole step are on the disk. Of a team of processes
    one writes and is told of steps; the others only compute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    resume(folder, trainer)
    if not trainer.leads:
        while trainer.step < trainer.recipe.steps:
            trainer.advance()
        return True
    saved = trainer.step
    log = _Log(folder / "log.jsonl", trainer.step)
    try:
        while trainer.step < trainer.recipe.steps:
            done = trainer.advance()
            log.write(done)
            if done.step % save_every == 0:
                save_checkpoint(folder, trainer)
                saved = done.step
            if on_step and on_step(done):
                break
    finally:
        log.close()
        if trainer.step != saved:
            save_checkpoint(folder, trainer)
    return trainer.step >= trainer.recipe.steps


class _Log:
    """One line of JSON a step: what a plot of the run needs."""

    def __init__(self, path: Path, step: int) -> None:
        write_lines(path, [line for line in read_lines(path) if line["step"] <= step])
        self._file = path.open("a")
        self._start = time.monotonic()

    def write(self, done: Done) -> None:
        seconds = round(time.monotonic() - self._start, 3)
        self._file.write(as_line({**done._asdict(), "seconds": seconds}))
        self._file.flush()

    def close(self) -> None:
        self._file.close()
