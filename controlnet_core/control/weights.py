"""How deep a control acts: a factor for every residual, by its place in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import ControlInputError
from ..residuals import Site
from .schedule import check_strength


class LayerWeights(Protocol):
    """(site, index, count, height) -> factor.

    `index` of `count` counts in the order in which blocks run, shallow to deep; `height` is the
    residual's as a multiple of the deepest one's (SD1.5: 8, 4, 2, 1), whatever the picture's size.
    """

    def __call__(self, site: Site, index: int, count: int, height: float) -> float: ...


@dataclass(frozen=True)
class Uniform:
    """Every residual alike."""

    value: float = 1.0

    def __call__(self, site: Site, index: int, count: int, height: float) -> float:
        return self.value


@dataclass(frozen=True)
class Soft:
    """`base ** (count - index)` at the blocks, 1 in the middle: details give way, structure stays.

    Source: guess mode of the official ControlNet code, 0.825 ** (12 - i) for SD1.5, here over the
    real number of blocks.
    """

    base: float = 0.825

    def __call__(self, site: Site, index: int, count: int, height: float) -> float:
        return 1.0 if site == "middle" else self.base ** (count - index)


@dataclass(frozen=True)
class LogSoft:
    """From `low` at the shallowest to 1 in the middle, evenly in the logarithm.

    Source: diffusers' guess mode, `torch.logspace(-1, 0, n)`: Soft made exact for any number.
    """

    low: float = 0.1

    def __call__(self, site: Site, index: int, count: int, height: float) -> float:
        return 1.0 if site == "middle" else self.low ** (1 - index / count)


@dataclass(frozen=True)
class ResolutionWeighted:
    """Deeper blocks more, in proportion to their coarseness: 1/8, 1/4, 1/2, 1 for SD1.5.

    Source: arXiv 2302.05543, section 3.3, w = 64 / h, normalised so that the deepest has 1.
    """

    def __call__(self, site: Site, index: int, count: int, height: float) -> float:
        return 1.0 / height


@dataclass(frozen=True)
class LinearSoft:
    """From `1 - softness` at the shallowest to 1 in the middle, in equal steps.

    Source: Fooocus, which always weighs its control nets so, with 0.25.
    """

    softness: float = 0.25

    def __call__(self, site: Site, index: int, count: int, height: float) -> float:
        return 1.0 if site == "middle" else 1.0 - self.softness * (1.0 - index / count)


def _check_weights(weights: tuple[float, ...]) -> None:
    for index, weight in enumerate(weights):
        check_strength(weight, where=f"layer weight {index}")


@dataclass(frozen=True)
class Levels:
    """The blocks in as many equal parts as there are `values`, shallow to deep; each part its own.

    The middle takes the last value. Three values are details, shapes and composition; four are the
    feature levels of a T2I-Adapter.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ControlInputError(
                "CN-L01", "layer weights", found="no weights", expected="at least one",
                fix="write a weight for each part of the net",
            )
        _check_weights(self.values)

    def __call__(self, site: Site, index: int, count: int, height: float) -> float:
        return self.values[-1 if site == "middle" else index * len(self.values) // count]


@dataclass(frozen=True)
class PerLayer:
    """A factor for each block of a site in the order in which they run, and one for the middle."""

    blocks: tuple[float, ...]
    middle: float = 1.0

    def __post_init__(self) -> None:
        _check_weights((*self.blocks, self.middle))

    def __call__(self, site: Site, index: int, count: int, height: float) -> float:
        if len(self.blocks) != count and site != "middle":
            raise ControlInputError(
                "CN-L01", "layer weights", found=f"{len(self.blocks)} weights",
                expected=f"{count}, one for each block of this net",
                fix="give as many as Inspect ControlNet shows residuals, without the middle",
            )
        return self.middle if site == "middle" else self.blocks[index]


@dataclass(frozen=True)
class Both:
    """The product of two layer weights."""

    first: LayerWeights
    second: LayerWeights

    def __call__(self, site: Site, index: int, count: int, height: float) -> float:
        args = (site, index, count, height)
        return self.first(*args) * self.second(*args)


@dataclass(frozen=True)
class AtSite:
    """`weights` at one site; the others are left alone."""

    site: Site
    weights: LayerWeights

    def __call__(self, site: Site, index: int, count: int, height: float) -> float:
        return self.weights(site, index, count, height) if site == self.site else 1.0


SOFT_WEIGHTS: dict[str, LayerWeights] = {
    "soft 0.825 (A1111, guess mode)": Soft(),
    "soft, even (diffusers, InvokeAI)": LogSoft(),
    "by resolution (paper)": ResolutionWeighted(),
    "gentle (Fooocus)": LinearSoft(),
    "A1111 on SDXL": PerLayer(tuple(0.825 ** (12 - i) for i in range(9)), middle=0.825**3),
    "T2I-Adapter (A1111)": Levels((0.25, 0.62, 0.825, 1.0)),
    "flat": Uniform(),
}
"""Published rules by name. A1111 on SDXL is its SD1.5 list cut to ten, kept for old pictures: no
block gets more than 0.5615. It fits nets of 9 blocks alone."""
