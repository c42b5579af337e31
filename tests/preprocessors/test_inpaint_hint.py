"""The inpaint hint by its formula: where(mask > 0.5, fill, image)."""

from __future__ import annotations

import pytest
import torch

from controlstack.preprocessors import PREPROCESSORS

inpaint_hint = PREPROCESSORS["inpaint_hint"]


@pytest.mark.parametrize(("fill", "value"), [("minus_one", -1.0), ("zero", 0.0)])
def test_masked_pixels_take_the_fill(pictures, fill, value):
    mask = torch.rand(4, 1, 40, 57)
    expected = torch.where(mask > 0.5, value, pictures)
    assert torch.equal(inpaint_hint(pictures, mask, fill=fill), expected)


def test_default_is_minus_one(pictures):
    assert (inpaint_hint(pictures, torch.ones(1, 1, 1, 1)) == -1).all()


def test_one_half_is_not_masked(pictures):
    mask = torch.full((1, 1, 40, 57), 0.5)
    assert torch.equal(inpaint_hint(pictures, mask), pictures)


def test_empty_mask_leaves_the_picture(pictures):
    assert torch.equal(inpaint_hint(pictures, torch.zeros(1, 1, 64, 64)), pictures)


def test_mask_of_another_size_is_resized():
    mask = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).view(1, 1, 2, 2)
    hints = inpaint_hint(torch.full((1, 1, 8, 8), 0.25), mask)
    assert (hints[..., :3, :2] == -1).all()
    assert (hints[..., 4:, :] == 0.25).all()
    assert (hints[..., 4:] == 0.25).all()


def test_mask_follows_the_resolution(pictures):
    mask = (torch.arange(57) < 20).float().expand(1, 1, 40, 57)
    hints = inpaint_hint(pictures, mask, resolution=80)
    assert hints.shape == (4, 3, 80, 114)
    assert ((hints == -1).float().mean() - 20 / 57).abs() < 0.01


def test_masks_are_cycled_over_pictures(pictures, monkeypatch):
    monkeypatch.setattr("controlstack.preprocessors._frame.CHUNK_PIXELS", 3 * 40 * 57)
    masks = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8), torch.zeros(1, 8, 8)])
    holes = (inpaint_hint(pictures, masks) == -1).flatten(1).all(1)
    assert holes.tolist() == [False, True, False, False]


def test_one_picture_with_many_masks_gives_a_hint_for_each(pictures):
    masks = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    hints = inpaint_hint(pictures[:1], masks)
    assert torch.equal(hints[0], pictures[0])
    assert (hints[1] == -1).all()


def test_bool_masks_are_masks(pictures):
    mask = torch.rand(1, 1, 40, 57) > 0.5
    assert torch.equal(inpaint_hint(pictures, mask), inpaint_hint(pictures, mask.float()))
