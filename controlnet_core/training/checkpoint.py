"""Checkpoints of a run: everything that the next step depends on, in one file, written whole.

A checkpoint is a safetensors file of the weights, the optimiser's state and the moving average,
with the step in its metadata. It is written beside its place and renamed, so that a kill at any
moment leaves the one before it intact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ControlInputError
from ..files import read_header, read_tensors, save_tensors
from .loop import Trainer

KEPT = 2
"""Checkpoints that are left on the disk: the last one, and one in case its disk fails."""


def save_checkpoint(folder: Path, trainer: Trainer) -> Path:
    """Writes `folder/checkpoint-00000500.safetensors` and removes the oldest ones."""
    path = folder / f"checkpoint-{trainer.step:08}.safetensors"
    tensors, numbers = _state(trainer)
    metadata = {"step": str(trainer.step), "optimizer": json.dumps(numbers)}
    if trainer.scaler.is_enabled():
        metadata["scaler"] = json.dumps(trainer.scaler.state_dict())
    save_tensors(path, tensors, metadata)
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("checkpoint-*.safetensors"))


def resume(folder: Path, trainer: Trainer) -> bool:
    """Puts `trainer` where the last checkpoint in `folder` was; False where there is none."""
    paths = checkpoints(folder)
    if not paths:
        return False
    header = read_header(paths[-1])
    tensors = read_tensors(header)
    names = {name.removeprefix("weights.") for name in tensors if name.startswith("weights.")}
    if names != trainer.parameters.keys():
        odd = sorted(names ^ trainer.parameters.keys())
        raise ControlInputError(
            "CN-T01",
            str(paths[-1]),
            found=f"weights of another net ({odd[0]} and others differ)",
            expected="a checkpoint of the run that is to go on",
            fix="choose another output folder, or remove the checkpoints in this one",
        )
    metadata = dict(header.metadata)
    _restore(trainer, tensors, json.loads(metadata["optimizer"]))
    if trainer.scaler.is_enabled() and "scaler" in metadata:
        trainer.scaler.load_state_dict(json.loads(metadata["scaler"]))
    trainer.step = int(metadata["step"])
    return True


def _state(trainer: Trainer) -> tuple[dict[str, Tensor], dict[str, dict[str, float]]]:
    """Every tensor by its name in the file, and what the optimiser keeps as plain numbers."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, float]] = {}
    for name, parameter in trainer.parameters.items():
        tensors[f"weights.{name}"] = parameter.detach()
        for key, value in trainer.optimizer.state[parameter].items():
            if torch.is_tensor(value):
                tensors[f"optimizer.{name}.{key}"] = value
            else:
                numbers.setdefault(name, {})[key] = value
    tensors |= {f"average.{name}": value for name, value in trainer.average.items()}
    return tensors, numbers


def _restore(
    trainer: Trainer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Mapping[str, float]]
) -> None:
    with torch.no_grad():
        for name, parameter in trainer.parameters.items():
            parameter.copy_(tensors[f"weights.{name}"])
            start = f"optimizer.{name}."
            state = {
                key.removeprefix(start): value
                for key, value in tensors.items()
                if key.startswith(start)
            }
            device = parameter.device
            trainer.optimizer.state[parameter] = {
                key: value if key == "step" else value.to(device) for key, value in state.items()
            } | dict(numbers.get(name, {}))
    trainer.average = {
        name: tensors[f"average.{name}"].to(p.device)
        for name, p in trainer.parameters.items()
        if trainer.average
    }
