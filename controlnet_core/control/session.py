"""One control during one sampling run: the only object here that changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ..residuals import Residuals
from .hints import HintSource
from .masks import MaskSource
from .rows import Rows
from .spec import ControlSpec

Step = TypeVar("Step")
Embedding = TypeVar("Embedding")
Kept = Tensor | None
"""Indices (n) of the rows that are computed, on the device of the latents; None = all."""


class ControlSession(Generic[Step, Embedding]):
    """Any net, its hints and its spec, for one sampling run. Owns every cache; one for each run.

    `evaluate(step, embedding, kept)` returns the Residuals of the rows `kept` (None = all); what a
    step is (latent, noise level, text), only the caller and its net know. A net that a host
    implements is controlled by the same code.
    """

    def __init__(
        self,
        evaluate: Callable[[Step, Embedding, Kept], Residuals],
        *,
        hints: HintSource[Embedding],
        spec: ControlSpec,
        progress: Callable[[float], float],
    ) -> None:
        self._evaluate, self._hints = evaluate, hints
        self._spec, self._progress = spec, progress
        self._masks = MaskSource(*spec.masks) if spec.masks else None
        self._indices: dict[tuple[object, ...], Tensor] = {}

    def acts(self, sigma: float, rows: Rows) -> bool:
        """Whether any row of the call is controlled at noise level `sigma`; costs nothing."""
        gain = self._spec.gain(self._progress(sigma))
        return gain != 0.0 and any(self._spec.row_strengths(rows))

    def residuals(self, step: Step, *, x: Tensor, sigma: float, rows: Rows) -> Residuals | None:
        """The weighted residuals for latents `x` (B C h w) at noise level `sigma`.

        None where the control does not act: nothing is computed at all. Rows of strength 0 are
        not computed either: the net sees the others, and they get zeros.
        """
        if not self.acts(sigma, rows):
            return None
        kept = self._kept(rows, x.device)
        residuals = self._evaluate(step, self._hints.embedding(x, rows), kept)
        if kept is not None:
            residuals = residuals.map(lambda site, index, count, r: _placed(r, kept, rows.count))
        return self._spec.apply(
            residuals, self._progress(sigma), rows=rows, latent=(x.shape[-2], x.shape[-1]),
            masks=self._masks,
        )  # fmt: skip

    def _kept(self, rows: Rows, device: torch.device) -> Kept:
        """The rows that have a strength; uploaded once for each layout of rows."""
        strengths = self._spec.row_strengths(rows)
        if all(strengths):
            return None
        if (rows, device) not in self._indices:
            live = [index for index, strength in enumerate(strengths) if strength]
            self._indices[rows, device] = torch.tensor(live, device=device)
        return self._indices[rows, device]


def take(x: Tensor, kept: Kept) -> Tensor:
    """The rows `kept` of `x`; all of them for None, and a single row that broadcasts as it is."""
    if kept is None or x.shape[0] == 1:
        return x
    return x.index_select(0, kept)


def _placed(x: Tensor, kept: Tensor, count: int) -> Tensor:
    """`x` at the rows `kept` of `count` rows, zeros at the others."""
    if x.shape[0] == 1:
        x = x.expand(kept.shape[0], *x.shape[1:])
    return x.new_zeros(count, *x.shape[1:]).index_copy(0, kept, x)
