"""Aspect buckets: the few sizes that pictures of every aspect are cut to.

Source: NovelAI, "NovelAI Improvements on Stable Diffusion" (2022), aspect ratio bucketing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...errors import ControlInputError
from .pictures import Size

Buckets = dict[Size, tuple[int, ...]]
"""Indices of examples by the size (height, width) that they are cut to."""


def bucket_sizes(area: int, *, multiple: int = 64, widest: float = 2.0) -> tuple[Size, ...]:
    """Sizes (height, width) of about `area` pixels and never more, from tallest to widest.

    Both sides are multiples of `multiple` (8 pixels are one latent cell; 64 keeps every level of
    the UNet whole), neither more than `widest` times the other. `area` is that of the resolution:
    512 * 512. Raises `ControlInputError` (CN-T23) where not even one square fits.
    """
    cells = area // multiple**2
    if cells < 1 or widest < 1.0:
        raise ControlInputError(
            "CN-T23", "buckets", found=f"{area} pixels in steps of {multiple}, {widest} wide",
            expected=f"at least {multiple} x {multiple} pixels, and an aspect of 1 or more",
            fix="raise the resolution or lower the step",
        )
    square = math.isqrt(cells)
    tall = {
        (cells // width, width)
        for width in range(1, square + 1)
        if cells // width <= widest * width
    } | {(square, square)}
    both = tall | {(width, height) for height, width in tall}
    ordered = sorted(both, key=lambda size: (size[1] / size[0], -size[0]))
    return tuple((height * multiple, width * multiple) for height, width in ordered)


def nearest_bucket(size: Size, buckets: Iterable[Size]) -> Size:
    """The bucket whose aspect is nearest; of equal aspects the largest."""
    aspect = math.log(size[1] / size[0])
    return min(buckets, key=lambda b: (abs(math.log(b[1] / b[0]) - aspect), -b[0] * b[1]))


def buckets_of(
    sizes: Iterable[Size], area: int, *, multiple: int = 64, widest: float = 2.0
) -> Buckets:
    """Every example, by its index in `sizes`, under the bucket nearest to its aspect."""
    choice = bucket_sizes(area, multiple=multiple, widest=widest)
    found: dict[Size, list[int]] = {}
    for index, size in enumerate(sizes):
        found.setdefault(nearest_bucket(size, choice), []).append(index)
    return {size: tuple(found[size]) for size in choice if size in found}
