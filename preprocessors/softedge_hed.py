"""Soft edges by HED."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from ._nets.hed import MULTIPLE, NETWORK
from ._networks import Net
from ._registry import Flag, preprocessor
from ._soft_edges import stepped


@preprocessor(
    title="Soft edges, HED", group="lines", multiple=MULTIPLE,
    source="HED of lllyasviel/ControlNet, after Xie & Tu 2015: Holistically-nested edge "
    "detection. Difference: no 8-bit rounding unless safe",
)
def softedge_hed(
    image: Tensor,
    net: Annotated[Net, NETWORK],
    *,
    safe: Annotated[
        bool, Flag("black, grey and white alone, so that no texture hides in faint edges")
    ] = True,
) -> Tensor:
    """White edges on black, broad and soft, the brighter the surer."""
    edges = net(image)
    return stepped(edges, 2) if safe else edges
