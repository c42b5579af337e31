"""Whether hints lie on their pictures: edges of both, correlated over small shifts.

One example says little (a hint has fewer edges than its picture); the mean over a sample has a
peak where hints lie. Hints without edges in common with their picture have none and are let be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 96
"""Pictures are looked at as squares of this side, in pixels."""

ENOUGH = 8
"""Pairs from which on the mean can be believed: one pair alone peaks at 0.15 by chance."""

# Measured on 12 and 64 scenes of boxes with their outlines: 0.48 to 0.58 where the hints lie, also
# shifted, mirrored or with noise on the pictures; 0.12 at most elsewhere, and with hints of other
# pictures or of noise.
_PEAK = 0.15
_CLEARLY = 1.2
"""How many times better than in place another place must be."""


class Alignment(NamedTuple):
    """Mean correlations (-1..1) of a sample of hints with their pictures, and the best shift."""

    in_place: float
    mirrored: float
    best: float
    shift: tuple[float, float]
    """How far hints lie below and to the right of their pictures, in shares of the side."""

    @property
    def is_mirrored(self) -> bool:
        """The hints fit clearly better when they are mirrored, and better than any shift."""
        return self.mirrored > max(_PEAK, _CLEARLY * self.in_place, self.best)

    @property
    def is_shifted(self) -> bool:
        """The hints fit clearly better two pixels of the square or more away."""
        far = max(map(abs, self.shift)) >= 1.5 / SIDE
        return far and self.best > max(_PEAK, _CLEARLY * self.in_place)


def edges(picture: Tensor) -> Tensor:
    """The edges of a picture (3 H W) on a square (SIDE SIDE), without mean, of length 1.

    Gradients of the grey picture, taken after it was made small. Flat pictures give zeros.
    """
    grey = F.interpolate(picture.mean(0)[None, None], (SIDE, SIDE), mode="area")
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")[0, 0]
    down, right = padded[2:, 1:-1] - padded[:-2, 1:-1], padded[1:-1, 2:] - padded[1:-1, :-2]
    strength = torch.hypot(down, right)
    return F.normalize((strength - strength.mean()).flatten(), dim=0).view(SIDE, SIDE)


def alignment(pairs: Iterable[tuple[Tensor, Tensor]]) -> Alignment:
    """How the hints of some pairs (edges of the picture, edges of the hint) lie."""
    images, hints = map(torch.stack, zip(*pairs, strict=True))
    reach, wide = SIDE // 8, 2 * (SIDE // 8) + 1
    near = F.conv2d(images[None], hints[:, None], padding=reach, groups=len(images))[0].mean(0)
    up, left = divmod(int(near.argmax()), wide)  # where in the picture the hint's corner fits
    return Alignment(
        in_place=float(near[reach, reach]),
        mirrored=float((images * hints.flip(-1)).sum((1, 2)).mean()),
        best=float(near.max()),
        shift=((reach - up) / SIDE, (reach - left) / SIDE),
    )
