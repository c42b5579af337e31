"""Line art by the network of informative drawings, in fine lines."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from ._nets.informative import NETWORK, SMALLEST
from ._networks import Net
from ._registry import preprocessor


@preprocessor(
    title="Line art, realistic", group="lines", multiple=SMALLEST,
    source="lineart_realistic of Mikubill/sd-webui-controlnet, after Chan, Durand & Isola 2022: "
    "Learning to generate line drawings that convey geometry and semantics",
)
def lineart_realistic(image: Tensor, net: Annotated[Net, NETWORK]) -> Tensor:
    """White lines on black, as an illustrator would draw a photo."""
    return 1 - net(image)
