"""Spec nodes that say how deep a control acts: soft weights, groups of blocks, single blocks."""

from __future__ import annotations

from comfy_api.latest import io

from ..controlnet_core.control import (
    SOFT_WEIGHTS,
    ControlSpec,
    Levels,
    PerLayer,
    Soft,
    check_strength,
    parse_numbers,
)
from ._spec import changed, spec_schema, strength_input, uncond_input

OWN_BASE = "base ^ blocks from the middle"


class SoftWeightsSpec(io.ComfyNode):
    """Details give way and structure stays, by a published rule."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackSoftWeights",
            "Control Soft Weights",
            io.Combo.Input(
                "rule", options=[*SOFT_WEIGHTS, OWN_BASE],
                tooltip="In brackets who weighs the blocks so. The last one takes the base below.",
            ),
            io.Float.Input(
                "base", default=0.825, min=0.0, max=1.0, step=0.001,
                tooltip="For the last rule alone: what each block keeps of the next deeper one.",
            ),
            about="Shallow blocks, which carry details, act less than deep ones, which carry "
            "structure. Control Mode has this with the negative prompt left out.",
            aliases=["Scaled Soft Weights", "ControlNet Soft Weights", "T2IAdapter Soft Weights"],
            appended=(uncond_input(optional=True),),
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        rule: str,
        base: float,
        spec: ControlSpec | None = None,
        uncond_multiplier: float = 1.0,
    ) -> io.NodeOutput:
        check_strength(uncond_multiplier, where="uncond_multiplier")
        weights = Soft(base) if rule == OWN_BASE else SOFT_WEIGHTS[rule]
        return changed(spec, ControlSpec(weights=weights, uncond_strength=uncond_multiplier))


class GroupWeightsSpec(io.ComfyNode):
    """A weight each for details, shapes and composition."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackGroupWeights",
            "Control Group Weights",
            strength_input("fine", "The shallowest third of the blocks: details, texture."),
            strength_input("medium", "The second third: shapes."),
            strength_input("coarse", "The deepest third and the middle block: composition."),
            about="Three weights that suit every family: its blocks in the order in which they "
            "run, in thirds.",
            aliases=["layer weights", "block weights", "detail structure", "Middle Weight Extras"],
        )

    @classmethod
    def execute(
        cls, fine: float, medium: float, coarse: float, spec: ControlSpec | None = None
    ) -> io.NodeOutput:
        return changed(spec, ControlSpec(weights=Levels((fine, medium, coarse))))


class LayerWeightsSpec(io.ComfyNode):
    """A weight for each block."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackLayerWeights",
            "Control Layer Weights",
            io.String.Input(
                "weights", default="1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1", multiline=True,
                tooltip="One number for each block, shallow to deep, without the middle: 12 for "
                "SD1.5, 9 for SDXL, 19 or as many as there are double blocks for Flux.",
            ),
            strength_input("middle", "Weight of the middle block; families without one ignore it."),
            about="A weight for each block in the order in which the blocks run, on every family. "
            "The number must fit the net; Inspect ControlNet shows it.",
            aliases=[
                "ControlNet Custom Weights", "T2IAdapter Custom Weights", "advanced_weighting",
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, weights: str, middle: float, spec: ControlSpec | None = None
    ) -> io.NodeOutput:
        numbers = parse_numbers(weights, where="weights of Control Layer Weights")
        return changed(spec, ControlSpec(weights=PerLayer(numbers, middle)))
