"""Where a net takes its layers from, so that a host can give its own.

A host manages memory by handing out layer classes that load, cast and offload their weights, and
knows the fastest attention on the machine. The nets here never name a layer class: they ask
`Layers`, whose default is `torch.nn` with torch's fused attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Attention(Protocol):
    """Multi-head attention of projected rows."""

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, heads: int, *, upcast: bool = False
    ) -> Tensor:
        """(B N D) rows from q (B N D) and k, v (B M D); `upcast` asks for float32 inside."""
        ...


class LayerClasses(Protocol):
    """A namespace of layer classes, called as those of `torch.nn`."""

    Linear: Any
    Conv2d: Any
    GroupNorm: Any
    LayerNorm: Any


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, heads: int, *, upcast: bool = False
) -> Tensor:
    """softmax(q k^T / sqrt(d)) v per head, through torch's fused kernel."""
    dtype = q.dtype
    q, k, v = (rearrange(x, "b n (h d) -> b h n d", h=heads) for x in (q, k, v))
    if upcast:
        q, k, v = q.float(), k.float(), v.float()
    rows = F.scaled_dot_product_attention(q, k, v)
    return rearrange(rows, "b h n d -> b n (h d)").to(dtype)


def plain_attention(
    q: Tensor, k: Tensor, v: Tensor, heads: int, *, upcast: bool = False
) -> Tensor:
    """The same from matrix products. On CPUs its gradient is five times as fast in bfloat16."""
    dtype = q.dtype
    q, k, v = (rearrange(x, "b n (h d) -> (b h) n d", h=heads) for x in (q, k, v))
    if upcast:
        q, k, v = q.float(), k.float(), v.float()
    weights = torch.bmm(q * q.shape[-1] ** -0.5, k.mT).softmax(dim=-1)
    rows = torch.bmm(weights.to(v.dtype), v)
    return rearrange(rows, "(b h) n d -> b n (h d)", h=heads).to(dtype)


class Unset:
    """The layers of `torch.nn` without their random start, for nets whose weights come from a file.

    On meta tensors that start costs 0.6 s the first time: torch imports its decompositions for it.
    """

    class Linear(nn.Linear):
        def reset_parameters(self) -> None:
            pass

    class Conv2d(nn.Conv2d):
        def reset_parameters(self) -> None:
            pass

    class GroupNorm(nn.GroupNorm):
        def reset_parameters(self) -> None:
            pass

    class LayerNorm(nn.LayerNorm):
        def reset_parameters(self) -> None:
            pass


@dataclass(frozen=True)
class Layers:
    """Makes the layers of one net: class, dtype and device are decided once, here."""

    classes: LayerClasses = nn  # type: ignore[assignment]  # the module is the namespace
    attention: Attention = fused_attention
    dtype: torch.dtype | None = None
    device: torch.device | str | None = None

    def linear(self, inputs: int, outputs: int, *, bias: bool = True) -> nn.Module:
        return self.classes.Linear(
            inputs, outputs, bias=bias, dtype=self.dtype, device=self.device
        )

    def conv(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int | None = None
    ) -> nn.Module:
        """A convolution, padded by `padding` cells a side.

        None = half the kernel, which keeps the size at stride 1 if the kernel is odd.
        """
        return self.classes.Conv2d(
            inputs, outputs, kernel, stride=stride,
            padding=kernel // 2 if padding is None else padding,
            dtype=self.dtype, device=self.device,
        )

    def group_norm(self, channels: int, *, eps: float = 1e-5) -> nn.Module:
        """Normalisation over 32 groups, the number of every ldm network."""
        return self.classes.GroupNorm(32, channels, eps=eps, dtype=self.dtype, device=self.device)

    def layer_norm(self, width: int) -> nn.Module:
        return self.classes.LayerNorm(width, dtype=self.dtype, device=self.device)

    def parameter(self, *shape: int) -> nn.Parameter:
        """A bare weight of the net; its value comes from a file or from training."""
        return nn.Parameter(torch.zeros(shape, dtype=self.dtype, device=self.device))
