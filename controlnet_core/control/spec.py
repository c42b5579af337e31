"""How a control acts, as one small value: strength x schedule x layer weights x mask."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from ..residuals import Residuals, Site
from .masks import MaskSource
from .rows import Rows
from .schedule import Constant, Schedule
from .weights import Both, LayerWeights, Uniform


@dataclass(frozen=True, eq=False)
class ControlSpec:
    """Strength of a control over time, depth and place. The default changes nothing."""

    strength: float = 1.0
    schedule: Schedule = field(default_factory=Constant)
    weights: LayerWeights = field(default_factory=Uniform)
    mask: Tensor | None = None
    """(B 1 H W) in 0..1, picture space; None = everywhere."""

    def gain(self, t: float) -> float:
        """The strength at progress `t` (0 = first step, 1 = last); 0 = the net need not run."""
        return self.strength * self.schedule(t)

    def apply(
        self,
        residuals: Residuals,
        t: float,
        *,
        rows: Rows,
        latent: tuple[int, int],
        masks: MaskSource | None = None,
    ) -> Residuals:
        """`residuals` scaled for progress `t`, by layer, inside the mask; `latent` is (h, w).

        `masks` keeps the resized mask between steps; without it the mask is resized anew.
        """
        gain = self.gain(t)
        if masks is None and self.mask is not None:
            masks = MaskSource(self.mask)

        def weigh(site: Site, index: int, count: int, x: Tensor) -> Tensor:
            factor = gain * self.weights(site, index, count, x.shape[-2])
            if masks is not None:
                return x * (masks.on(x, rows, latent=latent) * factor)
            return x if factor == 1.0 else x * factor

        return residuals.map(weigh)

    def __mul__(self, other: ControlSpec) -> ControlSpec:
        """Both at once: strengths, schedules, layer weights and masks multiply."""
        return ControlSpec(
            self.strength * other.strength,
            self.schedule * other.schedule,
            Both(self.weights, other.weights),
            _both(self.mask, other.mask),
        )


def _both(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    rows = Rows(max(a.shape[0], b.shape[0]))
    return rows.spread(a) * rows.spread(F.interpolate(b, size=a.shape[-2:], mode="bilinear"))
