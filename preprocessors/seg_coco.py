"""Segments of the 133 classes of COCO."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from ._networks import Net, OneOf
from ._registry import Choice, preprocessor
from ._segment_nets import COCO as NETWORKS
from .palettes import COCO, colour_labels


@preprocessor(
    title="Segments, COCO", group="segments",
    source="OneFormer (arXiv:2211.06220) and Mask2Former (arXiv:2112.01527), through "
    "transformers, in the colours of COCO's panoptic classes",
)
def seg_coco(
    image: Tensor,
    net: Annotated[Net, OneOf("model", NETWORKS)],
    *,
    model: Annotated[Literal["oneformer", "mask2former"], Choice("the network")] = "oneformer",
) -> Tensor:
    """What is where, of 133 classes of things and stuff, each in its colour of COCO."""
    return colour_labels(net(image).long(), COCO)
