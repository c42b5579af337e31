"""What every stage of the playground's training has: its folder, its seed, and its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ...files import read_header, read_tensors, save_tensors
from ...training.loop import Done, Loss, Recipe, Trainer, generator
from ...training.run import run
from ..drawing import Drawing, draw
from ..scenes import Scene, random_scene

FAST = torch.bfloat16
"""Of the arithmetic; 2.3 times as fast as float32 on a CPU that knows it."""
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Stage:
    """One stage of a training: where its files lie, and how long it may take."""

    folder: Path
    seed: int = 0
    scenes: int = 12_000
    """Scenes that the base learns from."""
    hints: int = 4000
    """Scenes that a ControlNet learns from, the first of those."""
    steps: int | None = None
    """Optimiser steps, instead of the stage's own number."""
    minutes: float = float("inf")
    """After which it stops; it can be resumed."""

    def draw(self, number: int, step: int, part: int) -> torch.Generator:
        """What the stage of that number draws from in a part of a step."""
        return generator(self.seed, number, step, part)

    def train(
        self,
        name: str,
        parameters: Mapping[str, nn.Parameter],
        loss: Loss,
        recipe: Recipe,
        *,
        look: Callable[[int], None] | None = None,
        every: int = 100,
    ) -> Trainer:
        """A trainer that has gone to its last step, or as far as the minutes last.

        `look` is called with every so many steps done; the weights are then their average.
        """
        trainer = Trainer(parameters, loss, recipe)
        bar = tqdm(total=recipe.steps, desc=name, unit="step", mininterval=2.0)
        end = time.monotonic() + 60 * self.minutes

        def told(done: Done) -> bool:
            bar.update(done.step - bar.n)
            bar.set_postfix(loss=f"{done.loss:.4f}", refresh=False)
            if look and done.step % every == 0:
                with trainer.averaged():
                    look(done.step)
            return time.monotonic() > end

        run(trainer, self.folder / name, on_step=told)
        return trainer

    def keep(self, name: str, net: nn.Module, trainer: Trainer) -> None:
        """Writes the averaged weights of a net, where later stages find them."""
        with trainer.averaged():
            save_tensors(self.folder / f"{name}.safetensors", net.state_dict(), {})

    def kept(self, name: str, net: Net) -> Net:
        """A net that an earlier stage has trained, locked."""
        net.load_state_dict(read_tensors(read_header(self.folder / f"{name}.safetensors")))
        return net.requires_grad_(False)


def channels_last(net: Net) -> Net:
    """`net` with its weights in the order in which convolutions on a CPU are fastest."""
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def learning(net: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training may change."""
    return {name: p for name, p in net.named_parameters() if p.requires_grad}


def drawn(seeds: Iterable[int | str]) -> tuple[list[Scene], list[Drawing]]:
    """The scenes of these seeds, and their drawings."""
    scenes = [random_scene(seed) for seed in seeds]
    return scenes, [draw(scene) for scene in tqdm(scenes, desc="scenes", leave=False)]


def held_out(count: int) -> list[str]:
    """Seeds of scenes that no stage learns from."""
    return [f"held out {index}" for index in range(count)]


def eight_bit(pictures: Iterable[Tensor]) -> Tensor:
    """Pictures in 0..1 as one 8-bit tensor."""
    return torch.stack([picture.mul(255).round().byte() for picture in pictures])
