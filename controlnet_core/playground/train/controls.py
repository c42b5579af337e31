"""What the playground's ControlNets learn from: scenes with their edges, depth and labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ...files import read_header, read_tensors, save_tensors
from ..drawing import Drawing, draw, label_hint
from ..scenes import random_scene
from ..text import TextEncoder

BATCH = 32
Edges = Callable[[Tensor], Tensor]
"""Edges (1 3 H W), white on black, of a picture (1 3 H W)."""


@dataclass(frozen=True, eq=False)
class Lessons:
    """Scenes as a ControlNet sees them; `hints` (N h w): 8 bit, or whole numbers for labels."""

    latents: Tensor
    prompts: Tensor
    hints: Tensor
    kind: str

    def batch(self, text: TextEncoder, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, hints and text of 32 random scenes."""
        picks = torch.randint(len(self.hints), (BATCH,), generator=generator)
        with torch.no_grad():
            context = text(self.prompts[picks])
        return self.latents[picks].float(), as_hint(self.kind, self.hints[picks]), context


def as_hint(kind: str, stored: Tensor) -> Tensor:
    """Hints (B 3 h w) in 0..1 from their stored form (B h w)."""
    if kind == "labels":
        return label_hint(stored.long())
    return (stored.float() / 255.0)[:, None].expand(-1, 3, -1, -1)


def stored_hint(kind: str, drawing: Drawing, edges: Edges) -> Tensor:
    """The hint of one scene in its stored form (h w), 8 bit."""
    if kind == "labels":
        return drawing.labels.byte()
    plane = drawing.depth[0] if kind == "depth" else edges(drawing.picture[None])[0, 0]
    return plane.mul(255).round().byte()


def scene_hints(kind: str, count: int, edges: Edges, path: Path) -> Tensor:
    """Stored hints (N 128 128) of the first `count` scenes, kept in `path`."""
    if not path.exists():
        drawings = (draw(random_scene(seed)) for seed in tqdm(range(count), desc=f"{kind} hints"))
        hints = torch.stack([stored_hint(kind, drawing, edges) for drawing in drawings])
        save_tensors(path, {"hints": hints}, {})
    return read_tensors(read_header(path))["hints"]
