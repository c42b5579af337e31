"""Control Preset: recommended strength and range by kind of hint."""

from __future__ import annotations

from comfy_api.latest import io

from ..controlnet_core.control import BASES, KINDS, LEVELS, ControlSpec, preset
from ._spec import changed, spec_schema


class PresetSpec(io.ComfyNode):
    """The strength and range that somebody recommends for this kind of hint."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackPreset",
            "Control Preset",
            io.Combo.Input("type", options=list(KINDS), tooltip="What kind of hint the net reads."),
            io.Combo.Input(
                "base", options=list(BASES),
                tooltip="The base model. What it has no recommendation of its own for, it takes "
                "from any.",
            ),
            io.Combo.Input("level", options=list(LEVELS), tooltip="How strictly to follow it."),
            about="Strength and range as their authors or Krita AI Diffusion recommend them. Leave "
            "strength and range of Apply ControlNet at 1, 0 and 1.",
            aliases=["recommended strength", "controlnet preset", "best settings", *KINDS],
            further=(
                io.String.Output(
                    display_name="source", tooltip="The numbers, and who recommends them."
                ),
            ),
        )  # fmt: skip

    @classmethod
    def execute(
        cls, type: str, base: str, level: str, spec: ControlSpec | None = None
    ) -> io.NodeOutput:
        found = preset(type, base, level)
        numbers = f"strength {found.strength:g}, from {found.start:g} to {found.end:g}"
        return io.NodeOutput(*changed(spec, found.spec).args, f"{numbers} ({found.source})")
