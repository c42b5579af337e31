"""Surface normals by NormalBAE."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from ._nets.normal_bae import MULTIPLE, NETWORK
from ._networks import Net
from ._registry import preprocessor
from ._transformers import IMAGENET, standardised


@preprocessor(
    title="Normals, BAE", group="depth", multiple=MULTIPLE,
    source="normal_bae of Mikubill/sd-webui-controlnet, after Bae, Budvytis & Cipolla 2021: "
    "Estimating and exploiting the aleatoric uncertainty in surface normal estimation",
)
def normal_bae(image: Tensor, net: Annotated[Net, NETWORK]) -> Tensor:
    """Surface normals of a photo, drawn as colours.

    Red faces left, green up, blue towards you, as normalbae and union nets expect. Needs timm.
    """
    normals = net(standardised(image, *IMAGENET))[:, :3]
    return (normals / 2 + 0.5).clamp(0.0, 1.0)
