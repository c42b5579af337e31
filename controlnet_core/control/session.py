"""One control during one sampling run: the only object here that changes."""

from __future__ import annotations

from collections.abc import Callable
from operator import mul
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ..residuals import Residuals
from .area import Area
from .masks import Lit, MaskSource
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
        hints: Callable[[Tensor, Rows, Area | None], Embedding],
        spec: ControlSpec,
        progress: Callable[[float], float],
    ) -> None:
        self._evaluate, self._hints = evaluate, hints
        self._spec, self._progress = spec, progress
        self._turns: dict[tuple[int, ...], _Turn] = {}
        self._lit = Lit(spec.every_mask)

    def acts(
        self, sigma: float, rows: Rows, *, latent: tuple[int, int], area: Area | None = None
    ) -> bool:
        """Whether any row of the call is controlled at noise level `sigma`; costs nothing.

        `latent` is the size (h, w) of the call's latents, `area` the part of the picture that
        they show; None = all of it.
        """
        t = self._progress(sigma)
        turn = self._turn(t)
        return turn.spec.gain(t) != 0.0 and any(turn.strengths(rows, latent, area))

    def residuals(
        self, step: Step, *, x: Tensor, sigma: float, rows: Rows, area: Area | None = None
    ) -> Residuals | None:
        """The weighted residuals for latents `x` (B C h w) at noise level `sigma`.

        None where the control does not act: nothing is computed at all. Rows of strength 0, or
        whose mask is black, are not computed either: the net sees the others, and they get zeros.
        """
        latent = (x.shape[-2], x.shape[-1])
        if not self.acts(sigma, rows, latent=latent, area=area):
            return None
        t = self._progress(sigma)
        turn = self._turn(t)
        kept = turn.kept(rows, latent, area, x.device)
        residuals = self._evaluate(step, self._hints(x, rows, area), kept)
        if kept is not None:
            residuals = residuals.map(lambda site, index, count, r: _placed(r, kept, rows.count))
        return turn.spec.apply(
            residuals, t, rows=rows, latent=latent, area=area, masks=turn.masks
        )

    def _turn(self, t: float) -> _Turn:
        held = tuple(map(id, self._spec.held(t)))
        if held not in self._turns:
            self._turns[held] = _Turn(self._spec.at(t), self._lit)
        return self._turns[held]


class _Turn:
    """What a spec is between two changes of its timelines, and what that means for rows."""

    def __init__(self, spec: ControlSpec, lit: Lit) -> None:
        self.spec = spec
        self.masks = MaskSource(*spec.masks) if spec.masks else None
        self._lit = lit
        self._strengths: dict[tuple[object, ...], tuple[float, ...]] = {}
        self._indices: dict[tuple[object, ...], Tensor] = {}

    def strengths(
        self, rows: Rows, latent: tuple[int, int], area: Area | None
    ) -> tuple[float, ...]:
        """The strength of every row, 0 where its mask is black; found once for each layout."""
        key = (rows, latent, area)
        if key not in self._strengths:
            live = self._lit.live(self.spec.masks, rows, latent=latent, area=area)
            self._strengths[key] = tuple(map(mul, self.spec.row_strengths(rows), live))
        return self._strengths[key]

    def kept(
        self, rows: Rows, latent: tuple[int, int], area: Area | None, device: torch.device
    ) -> Kept:
        """The rows that have a strength; uploaded once for each layout of rows."""
        strengths = self.strengths(rows, latent, area)
        if all(strengths):
            return None
        key = (rows, latent, area, device)
        if key not in self._indices:
            live = [index for index, strength in enumerate(strengths) if strength]
            self._indices[key] = torch.tensor(live, device=device)
        return self._indices[key]


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
