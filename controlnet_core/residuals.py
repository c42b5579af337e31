"""What a control net gives to the model it controls: one tensor for each place it acts on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from torch import Tensor

Site = Literal["input", "middle", "output"]
SITES: tuple[Site, ...] = ("input", "middle", "output")

Weigh = Callable[[Site, int, int, Tensor], Tensor]
Row = tuple[Tensor | None, ...]


@dataclass(frozen=True, eq=False)
class Residuals:
    """Tensors to add to a model, by site, each site in the order in which its blocks run.

    `output` and `input` hold index 0 for the shallowest block; None leaves a block alone.
    A UNet ControlNet fills `output` (B C h w, added to the skips of the decoder) and `middle`;
    an adapter fills `input` (added to trunk and skip). Families repeat one tensor object over
    many blocks, so nothing here is ever written in place.
    """

    input: Row = ()
    middle: Row = ()
    output: Row = ()

    def map(self, weigh: Weigh) -> Residuals:
        """`weigh(site, index, count, tensor)` of every tensor, at its place."""
        return Residuals(*(
            tuple(
                None if x is None else weigh(site, index, len(row), x)
                for index, x in enumerate(row)
            )
            for site, row in self.rows()
        ))  # fmt: skip

    def __add__(self, other: Residuals) -> Residuals:
        """Place by place sum; where only one side acts, its own tensor (not a copy)."""
        return Residuals(*(
            tuple(_add(a, b) for a, b in zip_longest(row, others))
            for (_, row), (_, others) in zip(self.rows(), other.rows(), strict=True)
        ))  # fmt: skip

    def rows(self) -> tuple[tuple[Site, Row], ...]:
        """Each site with its tensors."""
        return ("input", self.input), ("middle", self.middle), ("output", self.output)

    @property
    def least_height(self) -> int:
        """Height in cells of the deepest residual: 8 for SD1.5 at 512 pixels."""
        return min((x.shape[-2] for x in self.tensors()), default=1)

    def tensors(self) -> list[Tensor]:
        """Every tensor, sites in order; a repeated tensor object as often as it is used."""
        return [x for _, row in self.rows() for x in row if x is not None]


def _add(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
