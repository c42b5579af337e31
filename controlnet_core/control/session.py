"""One control during one sampling run: the only object here that changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

from ..residuals import Residuals
from .hints import HintSource
from .masks import MaskSource
from .rows import Rows
from .spec import ControlSpec

Step = TypeVar("Step")
Embedding = TypeVar("Embedding")


class ControlSession(Generic[Step, Embedding]):
    """Any net, its hints and its spec, for one sampling run. Owns every cache; one for each run.

    `evaluate(step, embedding)` returns Residuals; what a step is (latent, noise level, text), only
    the caller and its net know. A net that a host implements is controlled by the same code.
    """

    def __init__(
        self,
        evaluate: Callable[[Step, Embedding], Residuals],
        *,
        hints: HintSource[Embedding],
        spec: ControlSpec,
        progress: Callable[[float], float],
    ) -> None:
        self._evaluate, self._hints = evaluate, hints
        self._spec, self._progress = spec, progress
        self._masks = None if spec.mask is None else MaskSource(spec.mask)

    def residuals(self, step: Step, *, x: Tensor, sigma: float, rows: Rows) -> Residuals | None:
        """The weighted residuals for latents `x` (B C h w) at noise level `sigma`.

        None where the control does not act: at gain 0 nothing is computed at all.
        """
        t = self._progress(sigma)
        if self._spec.gain(t) == 0.0:
            return None
        residuals = self._evaluate(step, self._hints.embedding(x, rows))
        latent = (x.shape[-2], x.shape[-1])
        return self._spec.apply(residuals, t, rows=rows, latent=latent, masks=self._masks)
