"""How the rows of one sampler call are laid out, and how a picture per item is spread over them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..tensors import repeat_to_batch


@dataclass(frozen=True)
class Rows:
    """`chunks` conditionings (cond, uncond, areas) of `batch` latents each, chunk after chunk."""

    batch: int
    chunks: int = 1
    uncond: tuple[bool, ...] = ()
    """Which chunks are unconditional; empty where nobody says."""

    @property
    def count(self) -> int:
        """All rows of the call."""
        return self.batch * self.chunks

    def is_uncond(self, chunk: int) -> bool:
        return chunk < len(self.uncond) and self.uncond[chunk]

    def spread(self, x: Tensor) -> Tensor:
        """`x` (n ...) over all rows: one row stays one and broadcasts; others are cut or cycled.

        The count is held against the latents of one chunk, never against the whole call: two hints
        on one latent must not become one for cond and the other for uncond.
        """
        if x.shape[0] == 1:
            return x
        each = repeat_to_batch(x, self.batch)
        return torch.cat([each] * self.chunks) if self.chunks > 1 else each
