"""For whom a control acts: a strength for each picture of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ControlInputError
from .easing import check_easing, eased
from .schedule import check_strength


@dataclass(frozen=True)
class Span:
    """The pictures from index `first` to `last`, both included, with strengths `start` to `stop`.

    Negative indices count from the end, so that 0 to -1 is the whole batch, however large.
    """

    first: int
    last: int
    start: float = 1.0
    stop: float = 1.0
    easing: str = "linear"

    def __post_init__(self) -> None:
        check_easing(self.easing, where="batch strengths")
        for strength in (self.start, self.stop):
            check_strength(strength, where="batch strengths")

    def strengths(self, count: int) -> Iterator[tuple[int, float]]:
        """(index, strength) of each picture of the span in a batch of `count`."""
        first, last = (_place(index, count) for index in (self.first, self.last))
        if first > last:
            raise ControlInputError(
                "CN-S36", "batch strengths",
                found=f"{self.first} to {self.last}, which in a batch of {count} runs backwards",
                expected="a range from a lower to a higher index", fix="swap the two",
            )
        for place in range(first, last + 1):
            share = (place - first) / max(last - first, 1)
            yield place, eased(self.start, self.stop, share, self.easing)


@dataclass(frozen=True)
class BatchStrengths:
    """A strength for each picture of a batch; where nothing is said, `rest`.

    `values` are spans, or (index, strength) pairs, negative indices counted from the end. Of two
    that mean the same picture the later one wins.
    """

    values: tuple[tuple[int, float] | Span, ...]
    rest: float = 0.0

    def __post_init__(self) -> None:
        check_strength(self.rest, where="batch strengths")
        for each in self.values:
            if not isinstance(each, Span):
                check_strength(each[1], where=f"strength of picture {each[0]}")

    def then(self, *values: tuple[int, float] | Span, rest: float) -> BatchStrengths:
        """These strengths with further ones behind them, which win, and another `rest`."""
        return BatchStrengths((*self.values, *values), rest)

    def row(self, count: int) -> tuple[float, ...]:
        """The strength of every picture in a batch of `count`."""
        strengths = [self.rest] * count
        for each in self.values:
            named = each.strengths(count) if isinstance(each, Span) else (each,)
            for index, strength in named:
                strengths[_place(index, count)] = strength
        return tuple(strengths)


def up_to(
    first: int, end: int, start: float = 1.0, stop: float = 1.0, easing: str = "linear"
) -> tuple[Span, ...]:
    """The span from `first` up to, not including, `end`; none where the two are equal.

    -3 up to 0 are the last three pictures.
    """
    if first == end:
        return ()
    last = -1 if first < 0 and end == 0 else end - 1
    return (Span(first, last, start, stop, easing),)


def _place(index: int, count: int) -> int:
    """`index` counted from the start; raises where the batch has no such picture."""
    if not -count <= index < count:
        raise ControlInputError(
            "CN-S18", "batch strengths", found=f"index {index} in a batch of {count}",
            expected=f"an index from {-count} to {count - 1}",
            fix="correct the index, or the batch size of the latents",
        )
    return index % count
