"""Line art by the network of informative drawings, in few lines."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from ._nets.informative import COARSE, SMALLEST
from ._networks import Net
from ._registry import preprocessor


@preprocessor(
    title="Line art, coarse", group="lines", multiple=SMALLEST,
    source="lineart_coarse of Mikubill/sd-webui-controlnet, after Chan, Durand & Isola 2022: "
    "Learning to generate line drawings that convey geometry and semantics",
)
def lineart_coarse(image: Tensor, net: Annotated[Net, COARSE]) -> Tensor:
    """White lines on black, few and rough, as in a quick pencil sketch."""
    return 1 - net(image)
