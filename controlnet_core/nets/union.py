"""A union net: one ControlNet that knows several control types and takes some of them at once.

Source: xinsir, ControlNet++ (ControlNetPlus, Apache-2.0), the SDXL union and ProMax nets.
*Differences*: written from the published structure and key names, the misspelt ones included.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import ControlInputError
from ..residuals import Residuals
from .blocks import timestep_embedding
from .config import ControlNetConfig
from .controlnet import ControlNet
from .layers import Layers

UNION_TYPES = {
    "openpose": 0,
    "depth": 1,
    "hed/pidi/scribble/ted": 2,
    "canny/lineart/anime_lineart/mlsd": 3,
    "normal": 4,
    "segment": 5,
    "tile": 6,
    "repaint": 7,
}
"""Control types by number; a union file has the first 6, ProMax all 8."""

_TYPE_WAVES = 256


class UnionControlNet(ControlNet):
    """A ControlNet whose hint embedding is a fusion of several hints, each of a named type."""

    def __init__(self, config: ControlNetConfig, layers: Layers | None = None) -> None:
        layers = layers or Layers()
        super().__init__(config, layers)
        width = config.model_channels
        self.task_embedding = layers.parameter(config.union_types, width)
        self.transformer_layes = nn.Sequential(_TokenBlock(width, layers))
        self.spatial_ch_projs = layers.linear(width, width)
        self.control_add_embedding = _TypeEmbedding(
            config.union_types, config.time_embed_dim, layers
        )

    def fuse(self, features: Sequence[Tensor], types: Sequence[int]) -> Tensor:
        """One hint embedding (B C h w) out of the encoded hints of `types`.

        A token, the mean of a feature map plus its type's embedding, tells how far to shift that
        map; then the maps are summed. Tokens do not read each other (see `_TokenAttention`), so the
        token of the noisy latent, which the published code adds, would change nothing, and the
        fusion is the same at every step. Without types, the first hint passes as it is.
        """
        check_types(types, self.config.union_types)
        if not types:
            return features[0]
        names = self.task_embedding.to(features[0]).unbind()
        return reduce(add, (
            feature + self._shift(feature.mean(dim=(2, 3)) + names[kind])
            for feature, kind in zip(features, types, strict=True)
        ))  # fmt: skip

    def _shift(self, token: Tensor) -> Tensor:
        shift = self.spatial_ch_projs(self.transformer_layes(token))
        return rearrange(shift, "b c -> b c 1 1")

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        hint_embedding: Tensor,
        y: Tensor | None = None,
        *,
        types: Sequence[int] = (),
    ) -> Residuals:
        """As `ControlNet.forward`; `types` are the control types that `hint_embedding` fuses."""
        check_types(types, self.config.union_types)
        emb = self.embed(x, timesteps, y, extra=self.control_add_embedding(types, x))
        return self.residuals(x, emb, context, hint_embedding)


def check_types(types: Sequence[int], known: int, *, where: str = "control type") -> None:
    """Raises for a type that a file of `known` types does not have."""
    if wrong := [kind for kind in types if not 0 <= kind < known]:
        names = [*UNION_TYPES]
        name = f" ({names[wrong[0]]})" if 0 <= wrong[0] < len(names) else ""
        raise ControlInputError(
            "CN-W23", where, found=f"type {wrong[0]}{name}",
            expected=f"one of the {known} types of this file: {', '.join(names[:known])}",
            fix="choose another type, or load a union net that has it (ProMax has 8)",
        )


class _TypeEmbedding(nn.Module):
    """Which types are present, as a vector (1 D) added to the noise level's embedding."""

    def __init__(self, count: int, width: int, layers: Layers) -> None:
        super().__init__()
        self.count = count
        self.linear_1 = layers.linear(_TYPE_WAVES * count, width)
        self.linear_2 = layers.linear(width, width)

    def forward(self, types: Sequence[int], like: Tensor) -> Tensor:
        flags = [float(kind in types) for kind in range(self.count)]
        waves = timestep_embedding(torch.tensor(flags, device=like.device), _TYPE_WAVES)
        return self.linear_2(F.silu(self.linear_1(waves.to(like.dtype).reshape(1, -1))))


class _TokenAttention(nn.Module):
    """Attention of every token (B D) to itself alone, which is its own value.

    The published code, and diffusers after it, take the batch for the sequence: there a token
    attends to the same token of the other rows. Where all rows share their hints, those are equal
    and it gets its own value; that is how the net is used, and what is computed here for any rows.
    ComfyUI attends along the tokens, of which it has one.
    """

    def __init__(self, width: int, layers: Layers) -> None:
        super().__init__()
        self.in_proj = layers.linear(width, 3 * width)
        self.out_proj = layers.linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        _, _, value = self.in_proj(x).chunk(3, dim=-1)
        return self.out_proj(value)


class _QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class _TokenBlock(nn.Module):
    """A CLIP-style transformer block on one token (B D)."""

    def __init__(self, width: int, layers: Layers) -> None:
        super().__init__()
        self.attn = _TokenAttention(width, layers)
        self.ln_1 = layers.layer_norm(width)
        self.mlp = nn.Sequential(OrderedDict(
            c_fc=layers.linear(width, 4 * width), gelu=_QuickGelu(),
            c_proj=layers.linear(4 * width, width),
        ))  # fmt: skip
        self.ln_2 = layers.layer_norm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))
