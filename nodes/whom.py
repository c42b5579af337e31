"""Spec nodes that say for whom a control acts: prompt or negative prompt, pictures of a batch."""

from __future__ import annotations

from comfy_api.latest import io

from ..controlnet_core.control import (
    CONTROL_MODES,
    ControlSpec,
    check_strength,
    parse_batch,
)
from ._spec import changed, easing_input, spec_schema, strength_input


class ModeSpec(io.ComfyNode):
    """The balance between prompt and control, by the names that people know."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackMode",
            "Control Mode",
            io.Combo.Input(
                "mode", options=list(CONTROL_MODES),
                tooltip="balanced: both sides alike. my prompt: details give way. ControlNet "
                "and guess mode: the same on the prompt's side only. cond only: full strength "
                "on the prompt's side only. paper: by resolution, on the prompt's side only.",
            ),
            about="Which of the two leads, the prompt or the control. Modes in which the "
            "control leads do not run the net for the negative prompt, which saves half its time.",
            aliases=[*CONTROL_MODES, "control mode"],
        )  # fmt: skip

    @classmethod
    def execute(cls, mode: str, spec: ControlSpec | None = None) -> io.NodeOutput:
        return changed(spec, CONTROL_MODES[mode])


class UncondSpec(io.ComfyNode):
    """The strength on the negative prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackUncond",
            "Control Uncond Strength",
            strength_input(
                "uncond_strength",
                "Multiplies the control on the negative prompt. At 0 the net does not run for it.",
                default=0.0,
            ),
            about="How strongly the control acts on the negative prompt (uncond). Less of it makes "
            "the picture follow the hint harder.",
            aliases=["uncond_multiplier", "negative strength", "cond only"],
        )

    @classmethod
    def execute(cls, uncond_strength: float, spec: ControlSpec | None = None) -> io.NodeOutput:
        check_strength(uncond_strength, where="Control Uncond Strength")
        return changed(spec, ControlSpec(uncond_strength=uncond_strength))


class BatchStrengthsSpec(io.ComfyNode):
    """A strength for each picture of the batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackBatchStrengths",
            "Control Batch Strengths",
            io.String.Input(
                "strengths", default="0--1=1.0..0.0", multiline=True,
                tooltip="index, index=strength, first-last=strength, first:end=strength (end left "
                "out), or first-last=from..to, with commas between them. -1 is the last picture. "
                "Later entries win.",
            ),
            strength_input(
                "rest", "Strength of the pictures that are not named; at 0 they are not computed.",
                default=0.0,
            ),
            easing_input("easing", what="from..to"),
            about="A strength for each picture or frame of the batch, by index, range or fade.",
            aliases=[
                "Latent Keyframe", "Latent Keyframe Group", "Latent Keyframe Interp.",
                "Latent Keyframe From List", "frame strength",
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, strengths: str, rest: float, easing: str, spec: ControlSpec | None = None
    ) -> io.NodeOutput:
        batch = parse_batch(strengths, rest=rest, easing=easing)
        return changed(spec, ControlSpec(items=(batch,)))
