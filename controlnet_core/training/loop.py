"""The loop: one optimiser step after another, each a function of its number alone.

What a step sees (its pictures, noise, dropped prompts) is drawn from a generator that is seeded by
the step's number. So there is no random state to keep: a run that is stopped and resumed goes on
bit for bit as if it had never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from ..errors import ControlInputError

Loss = Callable[[int, int], Tensor]
"""(optimiser step, part of its batch) -> mean loss of that part, a scalar."""


@dataclass(frozen=True)
class Recipe:
    """How weights are changed; a step is always an optimiser step."""

    learning_rate: float = 1e-5
    warmup: int = 100
    """Steps in which the learning rate rises from 0."""
    decay_to: float = 1.0
    """Share of the learning rate at the last step, reached along a cosine; 1 keeps it."""
    steps: int = 10_000
    accumulate: int = 1
    """Parts that the batch of one step is cut into, so that it fits the memory."""
    clip: float = 1.0
    """Largest norm of a step's gradients; larger ones are scaled down."""
    weight_decay: float = 0.01
    average: float = 0.0
    """Decay of the moving average of the weights; 0 keeps none."""
    precision: torch.dtype = torch.float32
    """Dtype of the arithmetic; the weights stay as they are."""
    eight_bit: bool = False
    """AdamW that keeps its state in 8 bit (needs bitsandbytes)."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        fall = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / max(1, self.steps)))
        return self.learning_rate * rise * (self.decay_to + (1.0 - self.decay_to) * fall)


class Team(Protocol):
    """Processes that train one net together; an `accelerate.Accelerator` is one.

    Each takes its share of a step's parts. Their gradients are summed once a step, so that all of
    them take the same step from the same weights.
    """

    @property
    def num_processes(self) -> int: ...
    @property
    def process_index(self) -> int: ...
    def reduce(self, tensor: Any, reduction: str) -> Any: ...


class Done(NamedTuple):
    """What one optimiser step was like."""

    step: int
    """Steps done, this one included."""
    loss: float
    gradient: float
    """Norm of the gradients before clipping."""


def generator(*numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A random generator of its own for each sequence of numbers, such as (seed, step, part)."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(device).manual_seed(seed)


class Trainer:
    """Weights on their way: the optimiser's state, the moving average, and the steps done."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Loss,
        recipe: Recipe,
        *,
        team: Team | None = None,
    ) -> None:
        self.parameters, self.loss, self.recipe = dict(parameters), loss, recipe
        self.device = next(iter(self.parameters.values())).device
        self.team = team
        _check(recipe, self.device, team)
        self.scaler = GradScaler(self.device.type, enabled=recipe.precision == torch.float16)
        self.optimizer = _optimizer(self.parameters, recipe)
        self.average = (
            {name: p.detach().clone() for name, p in self.parameters.items()}
            if recipe.average
            else {}
        )
        self.step = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.team is None or self.team.process_index == 0

    def advance(self) -> Done:
        """Takes one optimiser step."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in self._parts():
            with self._autocast():
                loss = self.loss(self.step, part) / recipe.accumulate
            self.scaler.scale(loss).backward()
            total += float(loss.detach())
        total = self._joined(total)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        self._follow()
        return Done(self.step, total, float(norm))

    def _parts(self) -> range:
        """The parts of a step that this process computes."""
        if self.team is None:
            return range(self.recipe.accumulate)
        return range(self.team.process_index, self.recipe.accumulate, self.team.num_processes)

    def _joined(self, loss: float) -> float:
        """The loss of all processes, whose gradients are summed as well."""
        if self.team is None:
            return loss
        for parameter in self.parameters.values():
            if parameter.grad is not None:
                parameter.grad = self.team.reduce(parameter.grad, "sum")
        return float(self.team.reduce(torch.tensor(loss, device=self.device), "sum"))

    @contextmanager
    def averaged(self) -> Generator[None]:
        """Within it the weights are their moving average."""
        kept = {name: p.detach().clone() for name, p in self.parameters.items() if self.average}
        try:
            self._put(self.average)
            yield
        finally:
            self._put(kept)

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in weights.items():
                self.parameters[name].copy_(weight)

    def _follow(self) -> None:
        """Moves the average; early on it is that of few steps, so that the start is forgotten."""
        if not self.average:
            return
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        averages = [self.average[name] for name in self.parameters]
        with torch.no_grad():
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
                averages, list(self.parameters.values()), 1.0 - decay
            )

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        if self.recipe.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.recipe.precision)


def _check(recipe: Recipe, device: torch.device, team: Team | None) -> None:
    """Raises CN-T06 for what this machine cannot do, before anything is computed."""
    if recipe.precision == torch.float16 and device.type != "cuda":
        raise ControlInputError(
            "CN-T06", "precision", found=f"fp16 on the device {device.type}",
            expected="fp16 on a CUDA device alone, where small gradients are scaled up",
            fix="choose bf16 or fp32",
        )
    if team and recipe.accumulate % team.num_processes:
        raise ControlInputError(
            "CN-T06", "accumulate",
            found=f"{recipe.accumulate} parts of a step for {team.num_processes} processes",
            expected="as many parts for each of them",
            fix=f"accumulate {team.num_processes}, or a multiple of it",
        )


def _optimizer(parameters: Mapping[str, nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; biases and norms are not decayed."""
    groups = [
        {"params": [p for p in parameters.values() if p.ndim > 1]},
        {"params": [p for p in parameters.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = _bitsandbytes().optim.AdamW8bit if recipe.eight_bit else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _bitsandbytes() -> Any:
    try:
        return import_module("bitsandbytes")
    except ImportError as e:
        raise ControlInputError(
            "CN-T07", "eight_bit", found=f"no usable Python package bitsandbytes ({e})",
            expected="the library that has AdamW in 8 bit", fix="pip install bitsandbytes",
        ) from e
