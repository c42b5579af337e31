"""How deep a control acts: a factor for every residual, by its place in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..residuals import Site


class LayerWeights(Protocol):
    """(site, index, count, height) -> factor.

    `index` of `count` counts in the order in which blocks run, shallow to deep; `height` is the
    residual's, in its own cells.
    """

    def __call__(self, site: Site, index: int, count: int, height: int) -> float: ...


@dataclass(frozen=True)
class Uniform:
    """Every residual alike."""

    value: float = 1.0

    def __call__(self, site: Site, index: int, count: int, height: int) -> float:
        return self.value


@dataclass(frozen=True)
class Soft:
    """`base ** (count - index)` at the blocks, 1 in the middle: details give way, structure stays.

    Source: guess mode of the official ControlNet code, 0.825 ** (12 - i) for SD1.5, here over the
    real number of blocks.
    """

    base: float = 0.825

    def __call__(self, site: Site, index: int, count: int, height: int) -> float:
        return 1.0 if site == "middle" else self.base ** (count - index)


@dataclass(frozen=True)
class Both:
    """The product of two layer weights."""

    first: LayerWeights
    second: LayerWeights

    def __call__(self, site: Site, index: int, count: int, height: int) -> float:
        args = (site, index, count, height)
        return self.first(*args) * self.second(*args)
