"""Pasting a hint back: the identity with its own hint, and near OpenCV's Lab; colorsys's HSV."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._recolor_paste import LIGHTNESSES, recolored

MODES = pytest.mark.parametrize("mode", LIGHTNESSES)


def tensor(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame).movedim(-1, 0)[None] / 255


def levels(image: Tensor) -> np.ndarray:
    return (image[0].movedim(0, -1) * 255).round().numpy()


def hint_of(image: Tensor, mode: str, gamma: float = 1.0) -> Tensor:
    return PREPROCESSORS[f"recolor_{mode}"](image, gamma=gamma)


@MODES
@pytest.mark.parametrize("gamma", [0.4, 1.0, 2.0])
def test_a_picture_with_its_own_hint_is_itself(mode, gamma, pictures, chart):
    """In floats, where 8-bit Lab would be off by several levels."""
    for image in (pictures, tensor(chart)):
        again = recolored(image, hint_of(image, mode, gamma), mode=mode, gamma=gamma)
        assert (again - image).abs().max() < 1 / 255 / 4


@MODES
def test_what_comes_out_has_the_lightness_of_the_hint(mode, pictures):
    """Where the colour can be had at that lightness: pale colours, middle tones."""
    pale = 0.4 + 0.2 * pictures
    wanted = hint_of(0.35 + 0.3 * pictures.flip(-1), mode)
    found = hint_of(recolored(pale, wanted, mode=mode), mode)
    assert (found - wanted).abs().max() < 1e-4


def test_luminance_is_near_opencv(chart):
    lightness = cv2.cvtColor(chart[::-1].copy(), cv2.COLOR_RGB2LAB)[..., :1]
    lab = cv2.cvtColor(chart, cv2.COLOR_RGB2LAB)
    lab[..., :1] = lightness
    expected = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).astype(float)
    grey = tensor(np.repeat(lightness, 3, axis=2))
    off = np.abs(levels(recolored(tensor(chart), grey)) - expected)
    assert off.mean() < 1.0
    assert np.percentile(off, 99) <= 5  # a and b of one level are up to five levels of RGB


def test_intensity_replaces_v_of_hsv(pictures):
    value = pictures.flip(-1).amax(1, keepdim=True)
    found = recolored(pictures, value, mode="intensity")
    for row, y, x in np.random.default_rng(0).integers(0, (4, 40, 57), (200, 3)):
        hue, saturation, _ = colorsys.rgb_to_hsv(*pictures[row, :, y, x].double().tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, value[row, 0, y, x].item())
        assert found[row, :, y, x].tolist() == pytest.approx(expected, abs=1e-6)


def test_black_takes_the_intensity_as_grey():
    grey = recolored(torch.zeros(1, 3, 2, 2), torch.full((1, 1, 2, 2), 0.3), mode="intensity")
    assert (grey - 0.3).abs().max() < 1e-6


@MODES
def test_hints_are_cycled_over_the_batch(mode, pictures):
    hints = hint_of(pictures, mode)[:2]
    found = recolored(pictures, hints, mode=mode)
    for row, picture in enumerate(pictures):
        alone = recolored(picture[None], hints[row % 2][None], mode=mode)
        assert torch.equal(found[row], alone[0])


@MODES
def test_a_hint_of_another_size_is_resized(mode, pictures):
    small = torch.full((1, 3, 20, 28), 0.5)  # 40 x 57 to half, rounded
    same = recolored(pictures, torch.full((1, 3, 40, 57), 0.5), mode=mode)
    assert torch.allclose(recolored(pictures, small, mode=mode), same, atol=1e-6)


def test_a_hint_of_another_aspect_is_refused(pictures):
    with pytest.raises(ControlInputError, match=r"CN-I19.*30 x 40.*57 x 40"):
        recolored(pictures, torch.rand(1, 3, 40, 30))


@pytest.mark.parametrize("gamma", [0.0, -1.0, float("nan")])
def test_an_impossible_gamma_is_refused(gamma, pictures):
    with pytest.raises(ControlInputError, match="CN-PARAM"):
        recolored(pictures, pictures, gamma=gamma)


def test_inputs_are_untouched(pictures):
    before, hint = pictures.clone(), hint_of(pictures, "luminance")
    kept = hint.clone()
    recolored(pictures, hint).fill_(0.5)
    assert torch.equal(pictures, before)
    assert torch.equal(hint, kept)
