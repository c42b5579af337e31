"""Spec nodes that say where in the picture a control acts."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..controlnet_core.control import ControlSpec, HintContent, feathered
from ._layout import from_mask
from ._spec import changed, spec_schema


class MaskSpec(io.ComfyNode):
    """A mask with soft edges."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackMask",
            "Control Mask",
            io.Mask.Input(
                "mask",
                tooltip="Where the control acts (white). Any size; one for all pictures, or one "
                "each.",
            ),
            io.Int.Input(
                "feather", default=0, min=0, max=512,
                tooltip="Pixels of the mask on each side of an edge over which it fades.",
            ),
            io.Boolean.Input(
                "invert", default=False, tooltip="The control acts outside of the mask instead."
            ),
            about="Keeps the control inside a mask. A mask and its inverse, feathered alike, sum "
            "to the whole control.",
            aliases=["controlnet mask", "effective region mask", "masked controlnet", "feather"],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, mask: Tensor, feather: int, invert: bool, spec: ControlSpec | None = None
    ) -> io.NodeOutput:
        place = feathered(from_mask(mask, where="mask of Control Mask"), feather)
        return changed(spec, ControlSpec(mask=1.0 - place if invert else place))


class ContentSpec(io.ComfyNode):
    """The control acts only where its hint has content."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackContent",
            "Control Where Hint",
            io.Float.Input(
                "threshold", default=0.1, min=0.0, max=0.99, step=0.01,
                tooltip="How bright a pixel of the hint must be to count as content.",
            ),
            io.Int.Input(
                "grow", default=2, min=0, max=64,
                tooltip="How far around it the control acts fully, in latent cells (8 pixels).",
            ),
            io.Int.Input(
                "feather", default=2, min=0, max=64,
                tooltip="How softly it ends, in latent cells: it fades over twice as many.",
            ),
            about="The control acts around the lines, poses or shapes of its hint alone. Empty "
            "black parts of an edge map no longer flatten the texture there.",
            aliases=["mask from hint", "content mask", "only where edges", "sparse control"],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, threshold: float, grow: int, feather: int, spec: ControlSpec | None = None
    ) -> io.NodeOutput:
        content = HintContent(threshold, grow, feather)
        return changed(spec, ControlSpec(contents=(content,)))
