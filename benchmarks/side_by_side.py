"""Two ways to do one thing, timed in turn in one process: what counts is their ratio."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LIMIT = 1.03
T95 = 1.7  # one-sided 95 % of Student's t for about 20 pairs

Run = Callable[[], Any]


@dataclass(frozen=True)
class Pairs:
    """Seconds of two runs, measured in turn."""

    seconds: tuple[tuple[float, float], ...]

    @property
    def medians(self) -> tuple[float, float]:
        first, second = (statistics.median(side) for side in zip(*self.seconds, strict=True))
        return first, second

    @property
    def ratio(self) -> tuple[float, float]:
        """Mean of first / second, and its upper 95 % bound (t test of the logarithms)."""
        logs = [math.log(first / second) for first, second in self.seconds]
        mean, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
        return math.exp(mean), math.exp(mean + T95 * error)


def pairs(first: Run, second: Run, count: int) -> Pairs:
    """Both in turn, so that a machine whose speed drifts favours neither; each begins by halves."""
    first(), second()
    measured = []
    for index in range(count):
        order = [(0, first), (1, second)] if index % 2 else [(1, second), (0, first)]
        seconds = [0.0, 0.0]
        for place, run in order:
            seconds[place] = timed(run)
        measured.append((seconds[0], seconds[1]))
    return Pairs(tuple(measured))


def timed(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
