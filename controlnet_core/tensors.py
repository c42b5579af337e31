"""The letters in which this project writes tensor shapes, and the check that holds them.

| letter | axis                                  | letter | axis                           |
|--------|---------------------------------------|--------|--------------------------------|
| B      | batch                                 | N      | tokens                         |
| C      | channels                              | D      | width of a token               |
| H, W   | height and width in pixels            | h, w   | height and width in latent cells |

`B 3 H W` is a batch of pictures, `B 4 h w` a batch of latents, `B N D` a batch of token rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import ControlInputError


class ShapeError(ControlInputError):
    """A tensor whose shape is not the one that its place asks for."""


def check_shape(x: Tensor, shape: str, *, name: str) -> dict[str, int]:
    """The size of every letter of `shape`; raises `ShapeError` where `x` does not fit.

    A number must be met exactly; a letter takes any size, but the same letter the same size.
    """
    axes = shape.split()
    sizes: dict[str, int] = {}
    fits = len(axes) == x.ndim and all(
        size == (int(axis) if axis.isdigit() else sizes.setdefault(axis, size))
        for axis, size in zip(axes, x.shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            "CN-SHAPE", name, found=f"shape {tuple(x.shape)}", expected=f"({', '.join(axes)})",
            fix="connect a tensor of that shape",
        )
    return sizes


def repeat_to_batch(x: Tensor, batch: int) -> Tensor:
    """`x` (B ...) with exactly `batch` rows: cut when it is longer, cycled when it is shorter.

    Three hints on seven latents act as 0 1 2 0 1 2 0, the order that ComfyUI gives them.
    """
    count = x.shape[0]
    if count >= batch:
        return x if count == batch else x.narrow(0, 0, batch)
    return torch.cat([x] * (batch // count) + [x.narrow(0, 0, batch % count)])
