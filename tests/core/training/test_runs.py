"""A run can be stopped at any moment, and goes on as if it had not been."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_training import tiny_trainer

from controlstack.controlnet_core import files
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.training.checkpoint import checkpoints, resume, save_checkpoint
from controlstack.controlnet_core.training.loop import Recipe, Trainer, generator
from controlstack.controlnet_core.training.run import run

PROGRAM = Path(__file__).with_name("tiny_training.py")
START = (
    "import sys, runpy; sys.path[:0] = [{tests!r}, {here!r}]; import conftest;"
    "sys.argv = [{program!r}, {folder!r}, '40']; runpy.run_path({program!r}, run_name='__main__')"
)


def assert_same(one: Trainer, other: Trainer) -> None:
    """Bit for bit: weights, optimiser, average and step."""
    assert one.step == other.step
    for name, p in one.parameters.items():
        q = other.parameters[name]
        assert torch.equal(p, q), name
        assert torch.equal(one.average[name], other.average[name]), name
        mine, theirs = one.optimizer.state[p], other.optimizer.state[q]
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine), name


def test_resumed_run_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    whole = tiny_trainer(6)
    assert run(whole, tmp_path / "whole", save_every=2)
    first = tiny_trainer(6)
    assert not run(first, tmp_path / "parts", on_step=lambda done: done.step == 3)
    second = tiny_trainer(6)
    assert run(second, tmp_path / "parts")
    assert_same(whole, second)
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "parts")]
    whole_log, parts_log = ([json.loads(line)["loss"] for line in log] for log in logs)
    assert whole_log == parts_log
    assert len(whole_log) == 6


def test_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """kill -9 at some moment, twice, between or within steps and checkpoints."""
    whole = tiny_trainer(40)
    run(whole, tmp_path / "whole", save_every=100)
    folder = tmp_path / "killed"
    for steps in (5, 12):
        process = started(folder)
        wait_for(folder, steps)
        process.send_signal(signal.SIGKILL)
        process.wait()
    again = tiny_trainer(40)
    assert resume(folder, again)
    assert 12 <= again.step < 40
    assert run(again, folder)
    assert_same(whole, again)
    parts = list(folder.glob("*.part"))
    assert len(parts) <= 2  # what a kill left is never read


def started(folder: Path) -> subprocess.Popen[bytes]:
    code = START.format(
        tests=str(PROGRAM.parents[2]), here=str(PROGRAM.parent), program=str(PROGRAM),
        folder=str(folder),
    )  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", code])


def wait_for(folder: Path, step: int) -> None:
    name, end = f"checkpoint-{step:08}.safetensors", time.monotonic() + 120
    while not any(path.name >= name for path in checkpoints(folder)):
        assert time.monotonic() < end, "the run did not come so far"
        time.sleep(0.005)


def test_full_disk_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tiny_trainer(6)
    run(trainer, tmp_path, on_step=lambda done: done.step == 2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write", full)
    with pytest.raises(ControlInputError, match="CN-Q27"):
        run(tiny_trainer(6), tmp_path, save_every=1)
    monkeypatch.undo()
    kept = tiny_trainer(6)
    assert resume(tmp_path, kept)
    assert kept.step == 2
    assert_same(trainer, kept)


def test_interrupt_saves_the_last_whole_step(tmp_path: Path) -> None:
    def interrupt(done: object) -> None:
        if done.step == 3:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny_trainer(6), tmp_path, on_step=interrupt)
    kept = tiny_trainer(6)
    resume(tmp_path, kept)
    assert kept.step == 3


def test_only_the_last_checkpoints_stay(tmp_path: Path) -> None:
    run(tiny_trainer(5), tmp_path, save_every=1)
    assert [path.stem for path in checkpoints(tmp_path)] == [
        "checkpoint-00000004", "checkpoint-00000005"
    ]  # fmt: skip


def test_checkpoint_of_another_net_is_refused(tmp_path: Path) -> None:
    trainer = tiny_trainer(1)
    save_checkpoint(tmp_path, trainer)
    other = Trainer(
        {"weight": torch.nn.Parameter(torch.zeros(3))}, lambda *_: torch.zeros(()), Recipe()
    )
    with pytest.raises(ControlInputError, match="CN-T01"):
        resume(tmp_path, other)


def test_parts_of_a_batch_make_one_step() -> None:
    """Two parts of one step have the gradient of their mean; one optimiser step is counted."""
    weights = {"w": torch.nn.Parameter(torch.tensor([1.0, 2.0]))}
    targets = torch.tensor([[3.0, 0.0], [5.0, -2.0]])
    recipe = Recipe(learning_rate=0.1, warmup=1, accumulate=2, clip=1e9)
    trainer = Trainer(
        weights, lambda _, part: (weights["w"] - targets[part]).square().mean(), recipe
    )
    done = trainer.advance()
    assert done.step == 1
    torch.testing.assert_close(weights["w"].grad, torch.tensor([-3.0, 3.0]))
    assert done.loss == pytest.approx((4 + 4 + 16 + 16) / 4)


def test_rate_rises_then_falls() -> None:
    recipe = Recipe(learning_rate=1.0, warmup=4, decay_to=0.1, steps=100)
    rates = [recipe.rate(step) for step in (0, 1, 3, 50, 100)]
    assert rates == pytest.approx([0.25, 0.5, 1.0, 0.55, 0.1], abs=2e-2)
    assert Recipe(learning_rate=1.0, warmup=4, steps=100).rate(99) == 1.0


def test_average_is_used_within_and_gone_after() -> None:
    trainer = tiny_trainer(6)
    for _ in range(3):
        trainer.advance()
    name, p = next(iter(trainer.parameters.items()))
    before = p.detach().clone()
    with trainer.averaged():
        assert torch.equal(p, trainer.average[name])
        assert not torch.equal(p, before)
    assert torch.equal(p, before)


def test_generators_differ_by_every_number() -> None:
    drawn = {float(torch.rand((), generator=generator(*n))) for n in [(0, 1), (1, 0), (0, 0)]}
    assert len(drawn) == 3
    assert torch.equal(
        torch.rand(3, generator=generator(1, 2)), torch.rand(3, generator=generator(1, 2))
    )
