"""Scribbles along the edges that HED finds."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from ._nets.hed import MULTIPLE, NETWORK
from ._networks import Net
from ._registry import preprocessor
from ._soft_edges import strokes


@preprocessor(
    title="Scribble, HED", group="lines", multiple=MULTIPLE,
    source="scribble_hed of lllyasviel/ControlNet: HED (Xie & Tu 2015), thinned and inked",
)
def scribble_hed(image: Tensor, net: Annotated[Net, NETWORK]) -> Tensor:
    """White strokes on black along the strong edges, as drawn with a felt pen."""
    return strokes(net(image))
