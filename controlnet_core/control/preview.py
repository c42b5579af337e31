"""What a spec will do in a run, in numbers: a strength for every step and block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from ..residuals import Site
from .progress import PercentToSigma, Progress
from .spec import ControlSpec
from .steps import Moment, Steps


@dataclass(frozen=True)
class Block:
    """A place where a net adds a residual, as layer weights are told it, and what to call it."""

    label: str
    site: Site
    index: int
    count: int
    height: float = 1.0


@dataclass(frozen=True)
class Forecast:
    """Strengths of one run: `gains` by step, `weights` by block and step; a residual gets their
    product."""

    sigmas: tuple[float, ...]
    moments: tuple[Moment, ...]
    gains: tuple[float, ...]
    blocks: tuple[Block, ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def table(self) -> tuple[tuple[float, ...], ...]:
        """A row for each block, shallow to deep, with a strength for each step."""
        return tuple(tuple(map(mul, self.gains, weights)) for weights in self.weights)

    @property
    def running(self) -> int:
        """In how many steps the net runs at all."""
        return sum(gain != 0.0 for gain in self.gains)


def forecast(
    spec: ControlSpec,
    sigmas: Sequence[float],
    *,
    percent_to_sigma: PercentToSigma,
    blocks: tuple[Block, ...],
) -> Forecast:
    """What `spec` will do at the noise levels `sigmas` (steps + 1) on a net with these blocks."""
    steps = Steps(sigmas)
    progress = Progress(percent_to_sigma, spec.knots)
    moments = tuple(steps.moment(progress(sigma), sigma) for sigma in sigmas[:-1])
    turns = [spec.at(moment) for moment in moments]
    return Forecast(
        tuple(sigmas[:-1]),
        moments,
        tuple(spec.gain(moment) for moment in moments),
        blocks,
        tuple(
            tuple(turn.weights(each.site, each.index, each.count, each.height) for turn in turns)
            for each in blocks
        ),
    )


def unet_blocks(strides: Sequence[int]) -> tuple[Block, ...]:
    """The blocks of a UNet net from the strides of its residuals, the middle last."""
    *output, middle = strides
    named = [
        Block(f"{index}  1/{stride}", "output", index, len(output), middle / stride)
        for index, stride in enumerate(output)
    ]
    return *named, Block(f"middle  1/{middle}", "middle", 0, 1)


def token_blocks(count: int) -> tuple[Block, ...]:
    """The blocks of a transformer, all of one height."""
    return tuple(Block(f"{index}", "output", index, count) for index in range(count))
