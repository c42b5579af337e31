"""Where a hint has content: a mask made from the hint itself, so that its silence is no order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ControlInputError
from .area import Area, part
from .edges import feathered, grown


@dataclass(frozen=True)
class HintContent:
    """Which parts of a hint count, in latent cells (8 pixels of the picture to be).

    A cell has content where a channel of any of its pixels is over `threshold`, away from black.
    The control acts there and `grow` cells around, and fades out over twice `feather` more.
    """

    threshold: float = 0.1
    grow: int = 2
    feather: int = 2

    def __post_init__(self) -> None:
        if not (0.0 <= self.threshold < 1.0 and min(self.grow, self.feather) >= 0):
            raise ControlInputError(
                "CN-S37", "hint content",
                found=f"threshold {self.threshold:g}, grow {self.grow}, feather {self.feather}",
                expected="a threshold from 0 to below 1, and whole numbers of cells from 0",
                fix="start from 0.1, 2 and 2",
            )

    def mask(self, hint: Tensor, latent: tuple[int, int], area: Area | None = None) -> Tensor:
        """The mask (B 1 h w) in 0..1 of `hint` (B C H W) on a latent of (h, w) cells."""
        cut = part(hint, latent=latent, area=area)
        loud = (cut.abs().amax(dim=1, keepdim=True) > self.threshold).float()
        reach = self.grow + self.feather
        cells = F.adaptive_max_pool2d(loud, latent)
        return feathered(grown(cells, reach), self.feather)


@dataclass(frozen=True, eq=False)
class HintMask:
    """The mask that `content` makes of hints (B C H W); where any of them has content."""

    hints: tuple[Tensor, ...]
    content: HintContent

    @property
    def loud(self) -> Tensor:
        """Whether any pixel (B 1 1 1) of any hint of each item has content."""
        count = math.lcm(*(hint.shape[0] for hint in self.hints))
        found = [
            (hint.abs() > self.content.threshold).flatten(1).any(dim=1).repeat(
                count // hint.shape[0]
            )
            for hint in self.hints
        ]
        return torch.stack(found).any(dim=0).view(-1, 1, 1, 1)

    def on(
        self, grid: tuple[int, ...], latent: tuple[int, int], area: Area | None = None
    ) -> Tensor:
        """The mask (B 1 *grid): a coarse cell acts as much as the latent cell in it that does most.

        So a thin line is not lost at the deepest blocks.
        """
        masks = [self.content.mask(hint, latent, area) for hint in self.hints]
        count = math.lcm(*(mask.shape[0] for mask in masks))
        together = masks[0].new_zeros(count, 1, *latent)
        for mask in masks:
            together = together.maximum(mask.repeat(count // mask.shape[0], 1, 1, 1))
        return F.adaptive_max_pool2d(together, grid)
