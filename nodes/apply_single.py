"""Apply ControlNet (One Prompt): for graphs with a single conditioning."""

from __future__ import annotations

from comfy.controlnet import ControlBase
from comfy_api.latest import io
from torch import Tensor

from ..controlnet_core.control import ControlSpec
from ._apply_inputs import VAE, joined, net_inputs, piece_inputs, place_inputs, strength_inputs
from ._types import CATEGORY
from .apply import Conditioning, Item, apply_item


class ApplySingle(io.ComfyNode):
    """Adds one control to one conditioning; the sampler lends it to the other side."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackApplySingle",
            display_name="Apply ControlNet (One Prompt)",
            category=f"{CATEGORY}/apply",
            description="Adds a ControlNet to one prompt. ComfyUI also uses it for the negative "
            "prompt, unless that one has a control of its own.",
            search_aliases=["ControlNetApply", "Apply Advanced ControlNet(1)", "apply controlnet"],
            inputs=[
                io.Conditioning.Input("conditioning", tooltip="The prompt."),
                *net_inputs(),
                *strength_inputs(),
                VAE,
                *place_inputs(),
                *piece_inputs(),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="The prompt, controlled."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        conditioning: Conditioning,
        control_net: ControlBase,
        image: Tensor,
        strength: float,
        start_percent: float,
        end_percent: float,
        vae: object | None = None,
        mask: Tensor | None = None,
        spec: ControlSpec | None = None,
        layer_weights: ControlSpec | None = None,
        batch_strengths: ControlSpec | None = None,
        curve: object | None = None,
    ) -> io.NodeOutput:
        spec = joined(spec, layer_weights, batch_strengths, curve=curve)
        item = Item(control_net, image, strength, start_percent, end_percent, mask, spec)
        return io.NodeOutput(*apply_item(item, (conditioning,), vae=vae, lend_to_uncond=True))
