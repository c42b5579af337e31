"""The playground's text encoder: a CLIP text model at small width over its own few words.

Parameter names and arithmetic are those of transformers' `CLIPTextModel`, so that a host's own
class loads the weights. Source: Radford et al. (arXiv 2103.00020), section 2.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from .words import END, LENGTH, VOCABULARY, tokens

WIDTH, DEPTH, HEADS = 96, 3, 4

HOST_CONFIG = {
    "num_hidden_layers": DEPTH, "hidden_size": WIDTH, "num_attention_heads": HEADS,
    "intermediate_size": 4 * WIDTH, "hidden_act": "quick_gelu", "max_position_embeddings": LENGTH,
    "eos_token_id": END, "vocab_size": len(VOCABULARY),
}  # fmt: skip
"""The same network in the words of transformers' configuration."""


class TextEncoder(nn.Module):
    """Prompts to text (B 24 96)."""

    def __init__(self) -> None:
        super().__init__()
        self.text_model = TextModel()

    def forward(self, numbers: Tensor) -> Tensor:
        """Text (B 24 96) of token numbers (B 24)."""
        return self.text_model(numbers)

    def encode(self, prompts: Sequence[str]) -> Tensor:
        device = self.text_model.final_layer_norm.weight.device
        return self(torch.tensor([tokens(prompt) for prompt in prompts], device=device))


class TextModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = Layers()
        self.final_layer_norm = nn.LayerNorm(WIDTH)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.final_layer_norm(self.encoder(self.embeddings(numbers)))


class Embeddings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(len(VOCABULARY), WIDTH)
        self.position_embedding = nn.Embedding(LENGTH, WIDTH)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.token_embedding(numbers) + self.position_embedding.weight


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(DEPTH))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Layer(nn.Module):
    """Attention to the words before, then a feed-forward; each on a normalised residual path."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_norm1, self.self_attn = nn.LayerNorm(WIDTH), Attention()
        self.layer_norm2, self.mlp = nn.LayerNorm(WIDTH), FeedForward()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(WIDTH, WIDTH) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            rearrange(project(x), "b n (h d) -> b h n d", h=HEADS)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        ahead = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(ahead, float("-inf"))
        return self.out_proj(rearrange(scores.softmax(dim=-1) @ v, "b h n d -> b n (h d)"))


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        return self.fc2(h * torch.sigmoid(1.702 * h))  # OpenAI's quick GELU
