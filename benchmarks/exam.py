"""Held-out scenes of the playground, painted with controls and scored: what the pages measure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import conftest  # noqa: E402, F401  # loads the pack as `controlstack`
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from controlstack.controlnet_core.control import ControlSpec  # noqa: E402
from controlstack.controlnet_core.playground.family import (  # noqa: E402
    NOISE,
    Family,
    load_family,
)
from controlstack.controlnet_core.playground.sampling import (  # noqa: E402
    control_session,
    sample,
)
from controlstack.controlnet_core.playground.scenes import Scene  # noqa: E402
from controlstack.controlnet_core.playground.train.controls import (  # noqa: E402
    as_hint,
    reader,
    stored,
)
from controlstack.controlnet_core.playground.train.stage import drawn, held_out  # noqa: E402
from controlstack.controlnet_core.training.adherence import MEASURES  # noqa: E402

AT_ONCE = 8
"""Pictures of a batch."""


@dataclass(frozen=True, eq=False)
class Exam:
    """Scenes that no net learned from, with the hints of each, painted always from one noise."""

    family: Family
    scenes: list[Scene]
    """Whose captions are the prompts."""
    hints: Mapping[str, Tensor]
    """(N 3 128 128) for each kind; those of these scenes, unless someone mixed them."""

    def paint(self, specs: Mapping[str, ControlSpec]) -> Tensor:
        """Pictures (N 3 128 128) with the controls of these kinds summed."""
        parts = [self._part(rows, specs) for rows in _chunks(len(self.scenes))]
        return torch.cat(parts)

    def _part(self, rows: slice, specs: Mapping[str, ControlSpec]) -> Tensor:
        captions = [scene.caption for scene in self.scenes[rows]]
        noise = torch.Generator().manual_seed(rows.start)
        start = torch.randn(len(captions), 4, 16, 16, generator=noise)
        with torch.inference_mode():
            controls = [
                control_session(
                    self.family.controls[kind], self.hints[kind][rows], spec, noise=NOISE
                )
                for kind, spec in specs.items()
            ]
            cond, uncond = self.family.read(captions), self.family.read([""])
            latent = sample(
                self.family.unet, start, cond, uncond, steps=20, noise=NOISE, controls=controls
            )
            return self.family.vae.decode(latent)

    def score(self, kind: str, pictures: Tensor, columns: slice = slice(None)) -> float:
        """Mean adherence to the hints of a kind, over these columns of the pictures alone."""
        with torch.inference_mode():
            read = torch.cat([reader(kind, self.family.annotator)(p[None]) for p in pictures])
        hint = self.hints[kind]
        return float(MEASURES[kind](hint[..., columns], read[..., columns]).mean())

    def seen(self, pictures: Tensor) -> float:
        """Share of the prompts' solids that the annotator finds, with their colours."""
        with torch.inference_mode():
            found = [self.family.annotator.find(picture[None])[0] for picture in pictures]
        asked = [scene.named for scene in self.scenes]
        hits = sum(len(a & f.solids) for a, f in zip(asked, found, strict=True))
        return hits / sum(map(len, asked))


def open_exam(count: int) -> Exam:
    """`count` held-out scenes for the shipped family."""
    family = load_family()
    scenes, drawings = drawn(held_out(count))
    hints = {
        kind: as_hint(kind, torch.stack([stored(kind, drawing) for drawing in drawings]))
        for kind in family.controls
    }
    return Exam(family, scenes, hints)


def _chunks(count: int) -> list[slice]:
    return [slice(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
