"""Masks made from hints, soft edges, and their laws."""

from __future__ import annotations

import pytest
import torch

from controlstack.controlnet_core.control import ControlSpec, HintContent, Rows, feathered, grown
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.residuals import Residuals

LATENT = (16, 16)
ROWS = Rows(2)


def dot(row: int, column: int, *, value: float = 1.0) -> torch.Tensor:
    """A hint (1 3 128 128), black but for one pixel."""
    hint = torch.zeros(1, 3, 128, 128)
    hint[0, 1, row, column] = value
    return hint


def acting(spec: ControlSpec, side: int, rows: int = 2) -> torch.Tensor:
    """What is left of ones on a grid of `side` x `side`."""
    ones = Residuals(output=(torch.ones(rows, 1, side, side), torch.ones(rows, 1, 2, 2)))
    (found, _) = spec.apply(ones, 0.5, rows=Rows(rows), latent=LATENT).output
    assert found is not None
    return found


def test_one_pixel_lights_its_cell_and_those_around_it() -> None:
    mask = HintContent(grow=2, feather=0).mask(dot(64, 40), LATENT)
    expected = torch.zeros(1, 1, 16, 16)
    expected[..., 6:11, 3:8] = 1.0  # cell (8, 5) and two around it
    assert torch.equal(mask, expected)


def test_it_acts_fully_within_grow_and_fades_over_twice_feather() -> None:
    hint = torch.zeros(1, 1, 128, 128)
    hint[..., :8] = 1.0
    row = HintContent(grow=2, feather=2).mask(hint, LATENT)[0, 0, 8]
    assert row[:3].tolist() == [1.0] * 3
    assert row[3:7].tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert not row[7:].any()


def test_a_thin_line_is_not_lost_at_the_deepest_blocks() -> None:
    spec = ControlSpec(contents=(HintContent(grow=0, feather=0),)).on_hints(dot(3, 3))
    assert acting(spec, 2)[0, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_full_hint_is_no_mask_and_black_hint_no_control() -> None:
    content = ControlSpec(contents=(HintContent(),))
    assert acting(content.on_hints(torch.ones(1, 3, 50, 50)), 8).eq(1.0).all()
    assert not acting(content.on_hints(torch.zeros(1, 3, 50, 50)), 8).any()


def test_masked_pixels_of_inpaint_hints_are_content() -> None:
    mask = HintContent(grow=0, feather=0).mask(dot(64, 40, value=-1.0) - 0.0, LATENT)
    assert mask.sum() == 1.0


def test_each_picture_has_its_own_mask_and_several_hints_share_one() -> None:
    content = ControlSpec(contents=(HintContent(grow=0, feather=0),))
    two = content.on_hints(torch.cat([dot(0, 0), dot(127, 127)]))
    first, second = acting(two, 16)
    assert first[0, 0, 0] == second[0, 15, 15] == 1.0
    assert first.sum() == second.sum() == 1.0
    union = content.on_hints(dot(0, 0), dot(127, 127))
    assert acting(union, 16).sum() == 4.0  # both places, for both latents


def test_contents_multiply_with_masks_and_survive_products() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 0.5
    spec = ControlSpec(contents=(HintContent(grow=0, feather=0),)) * ControlSpec(mask=mask)
    assert not spec.on_hints(dot(0, 127)).contents
    assert acting(spec.on_hints(dot(0, 127)), 16).sum() == 0.0
    assert acting(spec.on_hints(dot(0, 0)), 16)[0].sum() == 0.5


@pytest.mark.parametrize("radius", [0, 1, 5])
def test_feathered_mask_and_its_feathered_inverse_are_the_whole(radius: int) -> None:
    mask = torch.rand(2, 1, 20, 12, generator=torch.Generator().manual_seed(1)).round()
    both = feathered(mask, radius) + feathered(1.0 - mask, radius)
    torch.testing.assert_close(both, torch.ones_like(mask))
    assert feathered(torch.ones(1, 1, 4, 4), radius).eq(1.0).all()


def test_feathered_edge_is_a_straight_ramp() -> None:
    edge = torch.zeros(1, 1, 4, 12)
    edge[..., 6:] = 1.0
    row = feathered(edge, 2)[0, 0, 1].tolist()
    assert row == pytest.approx([0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])
    assert grown(edge, 2)[0, 0, 0].tolist() == [0.0] * 4 + [1.0] * 8


@pytest.mark.parametrize("bad", [{"threshold": 1.0}, {"threshold": float("nan")}, {"grow": -1}])
def test_what_is_no_content_is_refused(bad: dict) -> None:
    with pytest.raises(ControlInputError, match="CN-S37"):
        HintContent(**bad)
