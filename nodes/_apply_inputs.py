"""What the nodes that apply a control share: their inputs, and how the pieces become one spec."""

from __future__ import annotations

from functools import reduce
from operator import mul

from comfy_api.latest import io

from ..controlnet_core.control import ControlSpec
from ._types import ControlSpecSocket
from .when import stock_curve

VAE = io.Vae.Input(
    "vae", optional=True, tooltip="For nets that read their hint as latents (Flux, SD3, Qwen)."
)


def net_inputs() -> list[io.Input]:
    return [
        io.ControlNet.Input("control_net", tooltip="From Load ControlNet."),
        io.Image.Input("image", tooltip="The hint: edges, depth, a pose ... in any size."),
    ]


def strength_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            "strength", default=1.0, min=0.0, max=10.0, step=0.01,
            tooltip="How strongly the control acts. 0 turns it off and costs nothing.",
        ),
        io.Float.Input(
            "start_percent", default=0.0, min=0.0, max=1.0, step=0.001,
            tooltip="Where in the sampling the control begins to act; 0 is the first step.",
        ),
        io.Float.Input(
            "end_percent", default=1.0, min=0.0, max=1.0, step=0.001,
            tooltip="Where it stops; 1 is the last step. Poses often need only 0.5.",
        ),
    ]


def place_inputs() -> list[io.Input]:
    return [
        io.Mask.Input(
            "mask", optional=True,
            tooltip="Where the control acts (white). Any size; one for all pictures, or one each.",
        ),
        ControlSpecSocket.Input(
            "spec", optional=True,
            tooltip="When and how deep it acts. Strength, range and mask multiply those in here.",
        ),
    ]


def piece_inputs() -> list[io.Input]:
    """Pieces of a spec that need no chain; they multiply what is in `spec`."""
    return [
        ControlSpecSocket.Input(
            "layer_weights", optional=True,
            tooltip="From a weights node. Multiplies the weights in spec.",
        ),
        ControlSpecSocket.Input(
            "batch_strengths", optional=True,
            tooltip="From a node that names pictures of the batch. Multiplies those in spec.",
        ),
        io.Custom("CURVE").Input(
            "curve", optional=True, extra_dict={"forceInput": True},
            tooltip="A curve from ComfyUI's Curve Editor: strength from the first step (left) to "
            "the last (right). Multiplies what spec says.",
        ),
    ]


def joined(
    *specs: ControlSpec | None, curve: object | None = None
) -> ControlSpec | None:
    """All these specs and the host's CURVE at once; None where there are none."""
    drawn = None if curve is None else ControlSpec(schedule=stock_curve(curve))
    given = [spec for spec in (*specs, drawn) if spec is not None]
    return reduce(mul, given) if given else None
