"""Segments of the 150 classes of ADE20K."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from ._networks import Net, OneOf
from ._registry import Choice, preprocessor
from ._segment_nets import ADE20K as NETWORKS
from .palettes import ADE20K, colour_labels


@preprocessor(
    title="Segments, ADE20K", group="segments",
    source="OneFormer (arXiv:2211.06220), Mask2Former (arXiv:2112.01527), SegFormer "
    "(arXiv:2105.15203) and UPerNet on Swin (arXiv:1807.10221), through transformers, in the "
    "colours of ADE20K",
)
def seg_ade20k(
    image: Tensor,
    net: Annotated[Net, OneOf("model", NETWORKS)],
    *,
    model: Annotated[
        Literal["oneformer", "mask2former", "segformer", "upernet"],
        Choice("the network; segformer is the smallest and not for commercial use"),
    ] = "oneformer",
) -> Tensor:
    """What is where, of 150 indoor and outdoor classes, each in its colour of ADE20K."""
    return colour_labels(net(image).long(), ADE20K)
