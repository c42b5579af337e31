"""The last step of recolouring: the lightness of the hint put back into the generated picture."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.tensors import repeat_to_batch
from ._checks import IMAGE, check_choice, check_image, check_values
from ._frame import as_rgb, resized

Lightness = Literal["luminance", "intensity"]
LIGHTNESSES: tuple[Lightness, ...] = get_args(Lightness)

# XYZ of linear sRGB over the D65 white, so that white is (1, 1, 1); IEC 61966-2-1, CIE 15.
_XYZ = (
    (0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754),
)
_KNEE = 6 / 29  # of CIE Lab: below its cube, f is a line


def recolored(
    picture: Tensor, hint: Tensor, *, mode: Lightness = "luminance", gamma: float = 1.0
) -> Tensor:
    """`picture` (B 3 H W) in its own colours, each pixel as light as `hint` (b C h w) says.

    luminance replaces L of CIE Lab, intensity V of HSV: choose the preprocessor's own. `gamma` is
    the one that the hint was made with, and is undone. Hints of another size are resized, of
    another aspect refused; hints of a smaller batch are cycled, as they are in sampling.

    Source: recolor modes of Mikubill/sd-webui-controlnet, their post-processing. *Difference*:
    floats, not 8-bit tables.
    """
    picture = _rgb(picture, "recolor paste, picture")
    light = _lightness_of(hint, picture, gamma)
    check_choice(mode, LIGHTNESSES, where="recolor paste, mode")
    replaced = _with_luminance if mode == "luminance" else _with_intensity
    return torch.cat([  # one by one: five copies of a picture in between, not of the batch
        replaced(*each)
        for each in zip(torch.split(picture, 1), torch.split(light, 1), strict=True)
    ])


def _lightness_of(hint: Tensor, picture: Tensor, gamma: float) -> Tensor:
    """(B 1 H W) what the hint says for every picture, its gamma undone."""
    if not 0.1 <= gamma <= 10.0:
        raise ControlInputError(
            "CN-PARAM", "recolor paste, gamma", found=str(gamma)[:40],
            expected="a number from 0.1 to 10", fix="set it to the gamma of the preprocessor",
        )
    hint = _rgb(hint, "recolor paste, hint").to(picture.device)
    (height, width), (tall, wide) = hint.shape[-2:], picture.shape[-2:]
    if abs(height * wide - width * tall) > max(height, width, tall, wide):
        raise ControlInputError(
            "CN-I19", "recolor paste, hint", found=f"{width} x {height}, of another aspect",
            expected=f"the aspect of the picture, {wide} x {tall}",
            fix="bring it to the picture's size by Resize Hint, in the mode of the generation",
        )
    hint = resized(hint, (tall, wide)).mean(1, keepdim=True)
    return repeat_to_batch(hint ** (1 / gamma), len(picture))


def _rgb(image: Tensor, where: str) -> Tensor:
    image = check_image(image, where=where)
    return as_rgb(image, clamp=check_values(image, IMAGE, where=where))


def _with_intensity(rgb: Tensor, value: Tensor) -> Tensor:
    """`rgb` with V of HSV replaced: hue and saturation are the ratios of the channels."""
    own = rgb.amax(1, keepdim=True)
    return torch.where(own > 0, rgb / own.clamp(min=1e-12), 1.0) * value


def _with_luminance(rgb: Tensor, lightness: Tensor) -> Tensor:
    """`rgb` with L of Lab replaced; a and b are the differences of f(X), f(Y) and f(Z)."""
    weights = rgb.new_tensor(_XYZ)
    f = _f(torch.einsum("ij,bjhw->bihw", weights, _linear(rgb)))
    f = f - f[:, 1:2] + (lightness + 0.16) / 1.16
    light = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(weights), _f_inverse(f))
    return _encoded(light.clamp(0.0, 1.0))


def _linear(rgb: Tensor) -> Tensor:
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _encoded(light: Tensor) -> Tensor:
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _f(x: Tensor) -> Tensor:
    return torch.where(x > _KNEE**3, x ** (1 / 3), x / (3 * _KNEE**2) + 4 / 29)


def _f_inverse(f: Tensor) -> Tensor:
    return torch.where(f > _KNEE, f**3, 3 * _KNEE**2 * (f - 4 / 29))
