"""Preview Spec: what a spec will do in the run that is wired up, as a picture and as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from torch import Tensor

from ..controlnet_core.control import (
    Block,
    ControlSpec,
    Forecast,
    forecast,
    token_blocks,
    unet_blocks,
)
from ._chart import chart
from ._fit import unet_config
from ._types import CATEGORY, ControlSpecSocket

_TITLE = "Control strength by step and block"
_LISTS = ("double_blocks", "transformer_blocks", "joint_blocks", "blocks", "layers")
"""Where the host's transformers keep the blocks that controls act on."""


class PreviewSpec(io.ComfyNode):
    """Draws strength over the steps of a run and the blocks of its model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPreviewSpec",
            display_name="Preview Control Spec",
            category=f"{CATEGORY}/inspect",
            description="Draws how strongly a control acts at each step of these sigmas and at "
            "each block of the model, before anything is sampled.",
            search_aliases=["strength preview", "schedule graph", "print_keyframes", "heat map"],
            inputs=[
                io.Model.Input("model", tooltip="The model that is sampled: its blocks and noise."),
                io.Sigmas.Input("sigmas", tooltip="The steps of the run, from a scheduler node."),
                ControlSpecSocket.Input(
                    "spec", optional=True, tooltip="What to draw; without one, a full control."
                ),
            ],
            outputs=[
                io.Image.Output(display_name="chart", tooltip="Strength by step and block."),
                io.String.Output(display_name="numbers", tooltip="The same, as a table."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, model: ModelPatcher, sigmas: Tensor, spec: ControlSpec | None = None
    ) -> io.NodeOutput:
        spec = spec or ControlSpec()
        sampling: Any = model.get_model_object("model_sampling")
        found = forecast(
            spec, sigmas.tolist(), blocks=blocks_of(model),
            percent_to_sigma=sampling.percent_to_sigma,
        )  # fmt: skip
        picture = chart(found, title=_TITLE, notes=_notes(spec, found))
        return io.NodeOutput(picture, _numbers(spec, found), ui=ui.PreviewImage(picture, cls=cls))


def blocks_of(model: ModelPatcher) -> tuple[Block, ...]:
    """The blocks of `model` that a control acts on; one where nobody can tell."""
    config = unet_config(model.model)
    if config is not None:
        return unet_blocks([stride for _, stride in config.residual_layout])
    net = model.model.diffusion_model
    counts = (len(getattr(net, name)) for name in _LISTS if hasattr(net, name))
    return token_blocks(next(counts, 1))


def _notes(spec: ControlSpec, found: Forecast) -> str:
    """What the picture cannot show, in one line."""
    notes = [f"the net runs in {found.running} of {len(found.gains)} steps"]
    if spec.uncond_strength != 1.0:
        notes.append(f"negative prompt x {spec.uncond_strength:g}")
    masks = len(spec.masks) + len(spec.contents)
    if masks:
        notes.append("inside a mask" if masks == 1 else f"inside {masks} masks")
    if spec.items:
        notes.append("by picture of the batch")
    if spec.timelines:
        notes.append("keyframes may also change masks and pictures")
    return "   |   ".join(notes)


def _numbers(spec: ControlSpec, found: Forecast) -> str:
    """A line for each step, then a line for each block."""
    steps = [
        f"{moment.step + 1:>4}  {moment:>8.2%}  {sigma:>9.4f}  {gain:>8.4f}"
        for moment, sigma, gain in zip(found.moments, found.sigmas, found.gains, strict=True)
    ]
    blocks = [
        f"{block.label:>12}  {_span(weights)}"
        for block, weights in zip(found.blocks, found.weights, strict=True)
    ]
    return "\n".join([
        _notes(spec, found), "", "step  sampling      sigma  strength", *steps, "",
        "       block    weight", *blocks,
    ])  # fmt: skip


def _span(weights: Sequence[float]) -> str:
    """A block's weight; its least and greatest where keyframes change it."""
    low, high = min(weights), max(weights)
    return f"{low:>8.4f}" if low == high else f"{low:>8.4f} to {high:.4f}"
