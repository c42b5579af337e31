"""The negative of a picture."""

from __future__ import annotations

from torch import Tensor

from ._registry import preprocessor


@preprocessor(title="Invert", group="lines", source="1 - x")
def invert(image: Tensor) -> Tensor:
    """The negative: black lines on white become the white lines on black that nets expect."""
    return 1.0 - image
