"""Rows of the catalogue of bad inputs that a tensor can show: each refused with its own code."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import PREPROCESSORS

GOOD = torch.full((2, 3, 8, 8), 0.5)


def spoilt(value: float) -> Tensor:
    image = GOOD.clone()
    image[1, 2, 3, 4] = value
    return image


def huge(*shape: int) -> Tensor:
    """A tensor of that shape that owns one number."""
    return torch.tensor(0.5).expand(shape)


IMAGES: dict[str, tuple[str, Callable[[], Tensor], str]] = {
    "empty batch": ("CN-I02", lambda: GOOD[:0], "empty batch"),
    "zero height": ("CN-I03", lambda: GOOD[:, :, :0], "without pixels"),
    "zero width": ("CN-I03", lambda: GOOD[..., :0], "without pixels"),
    "two channels": ("CN-I06", lambda: GOOD[:, :2], r"\(2, 2, 8, 8\)"),
    "five channels": ("CN-I06", lambda: torch.zeros(1, 5, 8, 8), r"\(1, 5, 8, 8\)"),
    "(H W 3)": ("CN-I07", lambda: GOOD[0].permute(1, 2, 0), r"\(8, 8, 3\)"),
    "(H W)": ("CN-I07", lambda: GOOD[0, 0], r"\(8, 8\)"),
    "video": ("CN-I08", lambda: GOOD[None], "as a batch"),
    "(B H W 3)": ("CN-I09", lambda: GOOD.permute(0, 2, 3, 1), "permute"),
    "uint8": ("CN-I11", lambda: torch.full((1, 3, 8, 8), 200, dtype=torch.uint8), "dtype uint8"),
    "float 0..255": ("CN-I12", lambda: GOOD * 255, "divide by 255"),
    "beyond the slack": ("CN-I13", lambda: GOOD * 2.2, "1.1"),
    "negative": ("CN-I13", lambda: GOOD - 0.6, "-0.1"),
    "-1..1": ("CN-I13", lambda: torch.linspace(-1, 1, 192).view(1, 3, 8, 8), "from -1 to 1"),
    "NaN": ("CN-I14", lambda: spoilt(torch.nan), "1 NaN .* picture 1, channel 2, at x 4, y 3"),
    "infinite": ("CN-I15", lambda: spoilt(torch.inf), "1 infinite .* picture 1, channel 2"),
    "-infinite": ("CN-I15", lambda: spoilt(-torch.inf), "1 infinite"),
    "1 x 2048": ("CN-I18", lambda: huge(1, 3, 1, 2048), "2048 x 1"),
    "ratio 33": ("CN-I18", lambda: huge(1, 3, 66, 2), "32:1"),
    "16384 x 16384": ("CN-I21", lambda: huge(1, 3, 16384, 16384), "64 megapixels"),
}

MASKS: dict[str, tuple[str, Callable[[], Tensor | None], str]] = {
    "none": ("CN-MASK", lambda: None, "connect a mask"),
    "zero height": ("CN-K01", lambda: torch.zeros(1, 1, 0, 8), "without pixels"),
    "empty batch": ("CN-K03", lambda: torch.zeros(0, 1, 8, 8), "empty batch"),
    "NaN": ("CN-K06", lambda: torch.full((1, 1, 8, 8), torch.nan), "64 NaN"),
    "times 255": ("CN-K07", lambda: torch.full((1, 1, 8, 8), 255.0), "divide by 255"),
    "negative": ("CN-K07", lambda: torch.full((1, 1, 8, 8), -1.0), "-1"),
    "uint8": ("CN-K10", lambda: torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "uint8"),
    "three channels": ("CN-K10", lambda: torch.zeros(1, 3, 8, 8), r"\(1, 3, 8, 8\)"),
}


def check(error: ControlInputError, code: str) -> None:
    assert error.code == code
    assert error.found
    assert error.expected
    assert error.fix
    assert len(str(error)) <= 600


@pytest.mark.parametrize("name", PREPROCESSORS)
@pytest.mark.parametrize("row", IMAGES)
def test_bad_image(name, row, run):
    code, make, message = IMAGES[row]
    with pytest.raises(ControlInputError, match=message) as caught:
        run(PREPROCESSORS[name], make())
    check(caught.value, code)
    assert name in str(caught.value)


@pytest.mark.parametrize("row", MASKS)
def test_bad_mask(row):
    code, make, message = MASKS[row]
    with pytest.raises(ControlInputError, match=message) as caught:
        PREPROCESSORS["inpaint_hint"](GOOD, make())
    check(caught.value, code)


def test_a_mask_that_nobody_asked_for_is_refused():
    with pytest.raises(ControlInputError, match="disconnect") as caught:
        PREPROCESSORS["canny"](GOOD, torch.zeros(1, 1, 8, 8))
    check(caught.value, "CN-MASK")


def test_a_hint_over_budget_is_refused_before_it_is_made():
    with pytest.raises(ControlInputError, match="4096 x 4096") as caught:
        PREPROCESSORS["invert"](GOOD, resolution=4096, max_pixels=1_000_000)
    check(caught.value, "CN-I21")


def test_a_large_picture_may_become_a_small_hint():
    image = torch.rand(1, 3, 200, 300)
    hints = PREPROCESSORS["invert"](image, resolution=10, max_pixels=1000)
    assert hints.shape == (1, 3, 10, 15)
