"""Soft edges by PiDiNet."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from ._nets.pidinet import NETWORK, SMALLEST
from ._networks import Net
from ._registry import Flag, preprocessor
from ._soft_edges import stepped


@preprocessor(
    title="Soft edges, PiDiNet", group="lines", multiple=SMALLEST,
    source="softedge_pidinet of Mikubill/sd-webui-controlnet, after Su et al. 2021: Pixel "
    "difference networks. Difference: no 8-bit rounding unless safe",
)
def softedge_pidinet(
    image: Tensor,
    net: Annotated[Net, NETWORK],
    *,
    safe: Annotated[
        bool, Flag("black, grey and white alone, so that no texture hides in faint edges")
    ] = True,
    apply_filter: Annotated[
        bool, Flag("white from half on and black below, for sketch T2I-Adapters")
    ] = False,
) -> Tensor:
    """White edges on black, soft and thinner than those of HED."""
    edges = net(image.flip(1))  # it was trained on B, G, R
    if apply_filter:
        return (edges > 0.5).to(edges.dtype)
    return stepped(edges, 2) if safe else edges
