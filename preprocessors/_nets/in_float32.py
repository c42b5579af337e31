"""Networks that need float32, whatever a keeper of networks runs the others in."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

HALVES = (torch.float16, torch.bfloat16)


class InFloat32(nn.Module):
    """A module whose weights become float32 where they are asked to become halves.

    For networks with instance norms: where a picture is flat these divide by a deviation close to
    0, down to sqrt(1e-5), and so multiply the rounding of halves, 5e-4, by up to 300, layer after
    layer. A flat picture came out up to 0.5 of the range apart.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> InFloat32:
        def wide(x: Tensor) -> Tensor:
            made = fn(x)
            return x.to(made.device, torch.float32) if made.dtype in HALVES else made

        return super()._apply(wide, recurse)
