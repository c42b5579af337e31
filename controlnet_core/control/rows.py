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
    frames: tuple[int, ...] = ()
    """Which pictures of a longer batch the latents are (a context window); empty: all, in order."""
    total: int = 0
    """Pictures of that longer batch."""

    @property
    def count(self) -> int:
        """All rows of the call."""
        return self.batch * self.chunks

    @property
    def whole(self) -> int:
        """Pictures of the batch that is sampled, of which a call may see a window."""
        return self.total or self.batch

    def is_uncond(self, chunk: int) -> bool:
        return chunk < len(self.uncond) and self.uncond[chunk]

    def spread(self, x: Tensor) -> Tensor:
        """`x` (n ...) over all rows: one row stays one and broadcasts; others are cut or cycled.

        The count is held against the latents of one chunk, never against the whole call: two hints
        on one latent must not become one for cond and the other for uncond.
        """
        if x.shape[0] == 1:
            return x
        if self.frames:
            return x.index_select(0, torch.tensor(self.picks(x.shape[0]), device=x.device))
        each = repeat_to_batch(x, self.batch)
        return torch.cat([each] * self.chunks) if self.chunks > 1 else each

    def picks(self, count: int) -> list[int]:
        """Which of `count` pictures, cycled over the batch, each row of the call shows."""
        return [frame % count for frame in self.frames or range(self.batch)] * self.chunks
