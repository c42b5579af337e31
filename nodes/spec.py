"""Nodes that say how a control acts. Each takes a spec, or none, and gives it back changed."""

from __future__ import annotations

from comfy_api.latest import io

from ..controlnet_core.control import CONTROL_MODES, ControlSpec, Window, check_strength
from ._types import CATEGORY, ControlSpecSocket

SPEC_INPUT = ControlSpecSocket.Input(
    "spec", optional=True, tooltip="A spec to add to; without one, a control that acts fully."
)
SPEC_OUTPUT = ControlSpecSocket.Output(display_name="spec", tooltip="For Apply ControlNet.")


class WindowSpec(io.ComfyNode):
    """A strength for a part of the sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackWindow",
            display_name="Control Window",
            category=f"{CATEGORY}/spec",
            description="The control acts from start up to, not including, end, so that windows "
            "which meet never act twice. An end of 1 includes the last step.",
            search_aliases=["timestep range", "controlnet start end", "control window"],
            inputs=[
                io.Float.Input(
                    "strength", default=1.0, min=0.0, max=10.0, step=0.01,
                    tooltip="Strength inside the window; multiplied with that of Apply.",
                ),
                io.Float.Input(
                    "start_percent", default=0.0, min=0.0, max=1.0, step=0.001,
                    tooltip="Where in the sampling the window opens; 0 is the first step.",
                ),
                io.Float.Input(
                    "end_percent", default=1.0, min=0.0, max=1.0, step=0.001,
                    tooltip="Where it closes; 1 is after the last step.",
                ),
                SPEC_INPUT,
            ],
            outputs=[SPEC_OUTPUT],
        )

    @classmethod
    def execute(
        cls,
        strength: float,
        start_percent: float,
        end_percent: float,
        spec: ControlSpec | None = None,
    ) -> io.NodeOutput:
        check_strength(strength, where="Control Window")
        window = ControlSpec(schedule=Window(start_percent, end_percent, strength))
        return io.NodeOutput((spec or ControlSpec()) * window)


class ModeSpec(io.ComfyNode):
    """The balance between prompt and control, by the names that people know."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackMode",
            display_name="Control Mode",
            category=f"{CATEGORY}/spec",
            description="Which of the two leads, the prompt or the control. Modes in which the "
            "control leads do not run the net for the negative prompt, which saves half its time.",
            search_aliases=[*CONTROL_MODES, "control mode"],
            inputs=[
                io.Combo.Input(
                    "mode", options=list(CONTROL_MODES),
                    tooltip="balanced: both sides alike. my prompt: details give way. ControlNet "
                    "and guess mode: the same on the prompt's side only. cond only: full strength "
                    "on the prompt's side only. paper: by resolution, on the prompt's side only.",
                ),
                SPEC_INPUT,
            ],
            outputs=[SPEC_OUTPUT],
        )  # fmt: skip

    @classmethod
    def execute(cls, mode: str, spec: ControlSpec | None = None) -> io.NodeOutput:
        return io.NodeOutput((spec or ControlSpec()) * CONTROL_MODES[mode])
