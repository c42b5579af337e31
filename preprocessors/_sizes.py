"""How a picture of one size is brought to another, and which resolution wastes none of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..controlnet_core.errors import ControlInputError
from ._checks import check_choice

ResizeMode = Literal["Just Resize", "Crop and Resize", "Resize and Fill"]
"""The three ways of sd-webui: stretched, cut to fill the frame, or whole with a border."""

RESIZE_MODES: tuple[ResizeMode, ...] = get_args(ResizeMode)


@dataclass(frozen=True)
class Placement:
    """Size in pixels that a picture is scaled to, and where its corner lies in the new frame.

    `top` and `left` are negative where the picture is cut.
    """

    height: int
    width: int
    top: int
    left: int


def pixel_perfect(
    height: int, width: int, *, gen_height: int, gen_width: int, mode: ResizeMode
) -> int:
    """Shortest side in pixels at which a hint keeps one pixel for each pixel that is generated.

    It is the shortest side of the picture of `height` x `width` once it is scaled to the generated
    size. Source: pixel-perfect option of Mikubill/sd-webui-controlnet.
    """
    factor = _factor(height, width, gen_height=gen_height, gen_width=gen_width, mode=mode)
    return round(factor * min(height, width))


def placed(
    height: int, width: int, *, to_height: int, to_width: int, mode: ResizeMode
) -> Placement:
    """Where a picture of `height` x `width` comes to lie in a frame of `to_height` x `to_width`.

    Source: resize modes of Mikubill/sd-webui-controlnet; offsets are rounded down.
    """
    factor = _factor(height, width, gen_height=to_height, gen_width=to_width, mode=mode)
    if mode == "Just Resize":
        return Placement(to_height, to_width, 0, 0)
    tall, wide = max(1, round(height * factor)), max(1, round(width * factor))
    if mode == "Resize and Fill":
        return Placement(tall, wide, (to_height - tall) // 2, (to_width - wide) // 2)
    return Placement(tall, wide, -((tall - to_height) // 2), -((wide - to_width) // 2))


def _factor(height: int, width: int, *, gen_height: int, gen_width: int, mode: ResizeMode) -> float:
    """By how much the picture is scaled, where both sides are scaled alike."""
    check_choice(mode, RESIZE_MODES, where="resize mode")
    if min(height, width, gen_height, gen_width) < 1:
        raise ControlInputError(
            "CN-I03", "size", found=f"{width} x {height} to {gen_width} x {gen_height}",
            expected="at least one pixel on each side", fix="set both sides to 1 or more",
        )
    factors = gen_height / height, gen_width / width
    return min(factors) if mode == "Resize and Fill" else max(factors)
