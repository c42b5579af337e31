"""Depth by one of several networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from torch import Tensor

from ._depth import INVERSE, RELATIVE, ZOE_DISTANCE, Normalise, Reading
from ._depth_anything import V1
from ._depth_nets import DEPTH_PRO, MIDAS_HYBRID, MIDAS_LARGE, ZOE
from ._finish import Step
from ._networks import Net, Network, OneOf
from ._registry import Choice, preprocessor

MODELS: Mapping[str, tuple[Network, Reading]] = {
    "midas_hybrid": (MIDAS_HYBRID, RELATIVE),
    "midas_large": (MIDAS_LARGE, RELATIVE),
    "zoe": (ZOE, ZOE_DISTANCE),
    **{f"depth_anything_{size}": (network, RELATIVE) for size, network in V1.items()},
    "depth_pro": (DEPTH_PRO, INVERSE),
}


def stretched(near: Tensor, *, model: str, normalise: Normalise = "each picture") -> Step:
    """From nearness to hints, between the bounds of each picture or of all."""
    _, reading = MODELS[model]
    return reading.stretch(near, normalise)


@preprocessor(
    title="Depth", group="depth", finish=stretched,
    source="MiDaS 3 (DPT, arXiv:2103.13413), ZoeDepth (arXiv:2302.12288), Depth Anything 1 "
    "(arXiv:2401.10891) and Depth Pro (arXiv:2410.02073), through transformers. "
    "Difference: floats from end to end",
)
def depth(
    image: Tensor,
    net: Annotated[Net, OneOf("model", {name: network for name, (network, _) in MODELS.items()})],
    *,
    model: Annotated[
        Literal[
            "midas_hybrid", "midas_large", "zoe", "depth_anything_small", "depth_anything_base",
            "depth_anything_large", "depth_pro",
        ],
        Choice("the network; ControlNets for depth saw midas and zoe while they were trained"),
    ] = "midas_hybrid",
) -> Tensor:
    """Depth of a picture, by a network of your choice: near is white, far is black.

    Each picture, or the whole batch, is stretched to black and white; zoe leaves out the nearest 2
    and the farthest 15 percent, as ControlNet's training did.
    """
    _, reading = MODELS[model]
    return reading.near(net(image))
