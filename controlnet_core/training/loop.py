"""The loop: one optimiser step after another, each a function of its number alone.

What a step sees (its pictures, noise, dropped prompts) is drawn from a generator that is seeded by
the step's number. So there is no random state to keep: a run that is stopped and resumed goes on
bit for bit as if it had never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

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

    def __init__(self, parameters: Mapping[str, nn.Parameter], loss: Loss, recipe: Recipe) -> None:
        self.parameters, self.loss, self.recipe = dict(parameters), loss, recipe
        self.optimizer = _optimizer(self.parameters, recipe)
        self.average = (
            {name: p.detach().clone() for name, p in self.parameters.items()}
            if recipe.average
            else {}
        )
        self.step = 0

    def advance(self) -> Done:
        """Takes one optimiser step."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(recipe.accumulate):
            with self._autocast():
                loss = self.loss(self.step, part) / recipe.accumulate
            loss.backward()
            total += float(loss.detach())
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), recipe.clip)
        self.optimizer.step()
        self.step += 1
        self._follow()
        return Done(self.step, total, float(norm))

    @contextmanager
    def averaged(self) -> Iterator[None]:
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

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the average; early on it is that of few steps, so that the start is forgotten."""
        if not self.average:
            return
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        averages = [self.average[name] for name in self.parameters]
        torch._foreach_lerp_(averages, list(self.parameters.values()), 1.0 - decay)

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        if self.recipe.precision == torch.float32:
            return nullcontext()
        device = next(iter(self.parameters.values())).device.type
        return torch.autocast(device, self.recipe.precision)


def _optimizer(parameters: Mapping[str, nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; biases and norms are not decayed."""
    groups = [
        {"params": [p for p in parameters.values() if p.ndim > 1]},
        {"params": [p for p in parameters.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.eight_bit:
        import bitsandbytes  # type: ignore[import-not-found]  # optional

        kind = bitsandbytes.optim.AdamW8bit
    else:
        kind = torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
