"""Scribbles along the edges that PiDiNet finds."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from ._nets.pidinet import NETWORK, SMALLEST
from ._networks import Net
from ._registry import preprocessor
from ._soft_edges import strokes


@preprocessor(
    title="Scribble, PiDiNet", group="lines", multiple=SMALLEST,
    source="scribble_pidinet of Mikubill/sd-webui-controlnet: PiDiNet (Su et al. 2021), thinned "
    "and inked",
)
def scribble_pidinet(image: Tensor, net: Annotated[Net, NETWORK]) -> Tensor:
    """White strokes on black along the strong edges, fewer than with HED."""
    return strokes(net(image.flip(1)))  # it was trained on B, G, R
