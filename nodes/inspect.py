"""Inspect ControlNet: what a control is, in words."""

from __future__ import annotations

from comfy.controlnet import ControlBase
from comfy_api.latest import io, ui

from ..controlnet_core.nets import UNION_TYPES, ControlNetConfig
from ._bridge import HostControl
from ._own_nets import OwnNet
from ._types import CATEGORY


def describe(control: ControlBase) -> str:
    """Family, base model, dtype, size and residual layout of a control, one fact a line."""
    if isinstance(control, HostControl) and isinstance(control.net, OwnNet):
        return "\n".join(f"{key}: {value}" for key, value in _own_facts(control.net).items())
    net = getattr(control, "control_model", None) or getattr(control, "t2i_model", None)
    weights = [] if net is None else list(net.parameters())
    facts = {
        "control": type(control).__name__,
        "run by": "ComfyUI",
        "network": "made at the start of each run" if net is None else type(net).__name__,
        "size": _size(sum(w.numel() for w in weights), sum(w.nbytes for w in weights)),
        "hint": "latents (needs a VAE)" if control.latent_format else "picture",
    }
    return "\n".join(f"{key}: {value}" for key, value in facts.items())


def _own_facts(net: OwnNet) -> dict[str, str]:
    config, weights = net.module.config, list(net.module.parameters())
    return {
        "file": net.name,
        "family": "union ControlNet" if config.union_types else "ControlNet",
        "base model": f"{config.family} (text width {config.context_dim or 'none'})",
        "run by": "ControlStack",
        "format": net.format,
        "dtype": f"{weights[0].dtype}".removeprefix("torch."),
        "size": _size(sum(w.numel() for w in weights), sum(w.nbytes for w in weights)),
        "hint": f"{config.hint_channels} channels, {config.hint_scale} pixels a latent cell",
        "residuals": _layout(config),
    } | ({"types": ", ".join([*UNION_TYPES][: config.union_types])} if config.union_types else {})


def _layout(config: ControlNetConfig) -> str:
    *output, middle = (f"{channels}@1/{stride}" for channels, stride in config.residual_layout)
    return f"{len(output)} output ({' '.join(output)}), 1 middle ({middle})"


def _size(parameters: int, size: int) -> str:
    return f"{parameters / 1e6:,.1f} M parameters, {size / 2**20:,.0f} MiB"


class Inspect(io.ComfyNode):
    """Shows what a ControlNet is, in the node and as text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackInspect",
            display_name="Inspect ControlNet",
            category=f"{CATEGORY}/inspect",
            description="Family, base model it fits, dtype, size and residual layout of a "
            "ControlNet, as text.",
            search_aliases=["controlnet info", "what is this controlnet", "show controlnet"],
            inputs=[io.ControlNet.Input("control_net", tooltip="Any CONTROL_NET.")],
            outputs=[io.String.Output(display_name="info", tooltip="The facts, one a line.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, control_net: ControlBase) -> io.NodeOutput:
        text = describe(control_net)
        return io.NodeOutput(text, ui=ui.PreviewText(text))
