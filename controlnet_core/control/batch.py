"""For whom a control acts: a strength for each picture of the batch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ControlInputError


@dataclass(frozen=True)
class BatchStrengths:
    """(index, count) -> strength of one picture of a batch; where nothing is said, `rest`.

    `values` are (index, strength) pairs, negative indices counted from the end. Of two that mean
    the same picture the later one wins.
    """

    values: tuple[tuple[int, float], ...]
    rest: float = 0.0

    def __call__(self, index: int, count: int) -> float:
        strengths = [self.rest] * count
        for place, strength in self.values:
            if not -count <= place < count:
                raise ControlInputError(
                    "CN-S18", "batch strengths", found=f"index {place} in a batch of {count}",
                    expected=f"an index from {-count} to {count - 1}",
                    fix="correct the index, or the batch size of the latents",
                )
            strengths[place] = strength
        return strengths[index]
