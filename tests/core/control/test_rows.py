"""Pictures per item over the rows of a call: finding F3, hints split over cond and uncond."""

from __future__ import annotations

import pytest
import torch

from controlstack.controlnet_core.control import Rows

GRID = [(4, 4), (4, 2), (6, 3), (8, 4), (3, 2), (5, 4), (2, 4), (2, 3), (3, 4), (1, 4), (2, 1)]


@pytest.mark.parametrize("chunks", [1, 2, 3])
@pytest.mark.parametrize(("hints", "latents"), GRID)
def test_each_latent_keeps_its_hint_in_every_chunk(hints: int, latents: int, chunks: int) -> None:
    """(2, 1) in two chunks is the finding: its second hint must not go to uncond."""
    pictures = torch.arange(hints).view(-1, 1, 1, 1)
    spread = Rows(latents, chunks).spread(pictures)
    assert spread.expand(latents * chunks, 1, 1, 1).flatten().tolist() == [
        i % hints for i in range(latents)
    ] * chunks
    assert len(spread) == (1 if hints == 1 else latents * chunks)


def test_what_fits_is_not_copied() -> None:
    pictures = torch.zeros(4, 3, 2, 2)
    assert Rows(4).spread(pictures) is pictures
    assert Rows(4, 2).spread(pictures[:1]).data_ptr() == pictures.data_ptr()
