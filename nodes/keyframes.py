"""Spec nodes of keyframes that change more than the strength: weights, pictures, mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from comfy_api.latest import io
from torch import Tensor

from ..controlnet_core.control import ControlSpec, check_range
from ..controlnet_core.control.easing import eased
from ..controlnet_core.control.timeline import Keyframe, with_keyframes
from ._floats import floats, floats_input
from ._layout import from_mask
from ._spec import easing_input, percent_input, spec_schema, strength_input
from ._types import ControlSpecSocket

_AS_SAID = -1.0
"""Value of `rest` that leaves the pictures as they are."""


def _shared_inputs() -> list[io.Input]:
    """What a keyframe holds beside its strength; every keyframe node ends with them."""
    return [
        io.Float.Input(
            "rest", default=_AS_SAID, min=_AS_SAID, max=10.0, step=0.001,
            tooltip="Strength of the pictures that the keyframe's pictures do not name. -1 leaves "
            "it to the picture nodes.",
        ),
        io.Boolean.Input(
            "inherit", default=True,
            tooltip="On: weights, pictures and mask that are not connected stay those of the "
            "keyframe before. Off: they end.",
        ),
        ControlSpecSocket.Input(
            "weights", optional=True,
            tooltip="Layer weights and uncond strength from here on, from a weights node.",
        ),
        ControlSpecSocket.Input(
            "pictures", optional=True,
            tooltip="Strengths of the pictures of the batch from here on, from a picture node.",
        ),
        io.Mask.Input("mask", optional=True, tooltip="Where the control acts from here on."),
    ]


def _pattern(
    rest: float,
    inherit: bool,
    weights: ControlSpec | None,
    pictures: ControlSpec | None,
    mask: Tensor | None,
) -> Keyframe:
    """A keyframe of these parts, for every start and strength."""
    place = None if mask is None else from_mask(mask, where="mask of a keyframe")
    return Keyframe(
        0.0, 1.0, weights, pictures, place, None if rest == _AS_SAID else rest, inherit
    )


def _spread(
    pattern: Keyframe, strengths: Sequence[float], start: float, end: float
) -> Iterable[Keyframe]:
    """One keyframe for each strength, the first at `start` and the last at `end`."""
    check_range(start, end, where="range of the keyframes")
    steps = max(len(strengths) - 1, 1)
    for index, strength in enumerate(strengths):
        yield replace(pattern, start=start + (end - start) * index / steps, strength=strength)


class KeyframeSpec(io.ComfyNode):
    """One keyframe."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackKeyframe",
            "Control Keyframe",
            percent_input(
                "start_percent", "From where in the sampling it acts; 0 is the first step.",
                default=0.0,
            ),
            strength_input(
                "strength", "Strength from here on, up to the next keyframe.", step=0.001
            ),
            *_shared_inputs(),
            about="Changes strength, layer weights, pictures and mask from a moment of the "
            "sampling on. Chain several, in any order.",
            aliases=["Timestep Keyframe", "TimestepKeyframe", "mask keyframe", "weights keyframe"],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        start_percent: float,
        strength: float,
        rest: float,
        inherit: bool,
        weights: ControlSpec | None = None,
        pictures: ControlSpec | None = None,
        mask: Tensor | None = None,
        spec: ControlSpec | None = None,
    ) -> io.NodeOutput:
        pattern = _pattern(rest, inherit, weights, pictures, mask)
        keyframe = replace(pattern, start=start_percent, strength=strength)
        return io.NodeOutput(with_keyframes(spec, keyframe))


class KeyframeRampSpec(io.ComfyNode):
    """Many keyframes on the way from one strength to another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackKeyframeRamp",
            "Control Keyframe Ramp",
            percent_input("start_percent", "Where the first keyframe stands.", default=0.0),
            percent_input("end_percent", "Where the last one stands.", default=1.0),
            strength_input("strength_start", "Strength of the first keyframe.", step=0.001),
            strength_input(
                "strength_end", "Strength of the last one; it stays to the end.", step=0.001
            ),
            easing_input("interpolation"),
            io.Int.Input(
                "intervals", default=50, min=2, max=100, tooltip="How many keyframes it makes."
            ),
            *_shared_inputs(),
            about="Keyframes at even distances whose strength goes from one value to another. For "
            "a strength alone, Control Ramp does it without steps.",
            aliases=["Timestep Keyframe Interp.", "keyframe interpolation", "fade keyframes"],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        start_percent: float,
        end_percent: float,
        strength_start: float,
        strength_end: float,
        interpolation: str,
        intervals: int,
        rest: float,
        inherit: bool,
        weights: ControlSpec | None = None,
        pictures: ControlSpec | None = None,
        mask: Tensor | None = None,
        spec: ControlSpec | None = None,
    ) -> io.NodeOutput:
        strengths = [
            eased(strength_start, strength_end, index / (intervals - 1), interpolation)
            for index in range(intervals)
        ]
        pattern = _pattern(rest, inherit, weights, pictures, mask)
        frames = _spread(pattern, strengths, start_percent, end_percent)
        return io.NodeOutput(with_keyframes(spec, *frames))


class KeyframeListSpec(io.ComfyNode):
    """A keyframe for each number of a list."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackKeyframeList",
            "Control Keyframe List",
            floats_input("A list of strengths, or one: a keyframe each."),
            percent_input("start_percent", "Where the first keyframe stands.", default=0.0),
            percent_input("end_percent", "Where the last one stands.", default=1.0),
            *_shared_inputs(),
            about="A keyframe for each strength of a list that another node makes, at even "
            "distances. The last one stays to the end.",
            aliases=["Timestep Keyframe From List", "keyframes from list", "float list"],
        )

    @classmethod
    def execute(
        cls,
        float_strengths: float | Iterable[float],
        start_percent: float,
        end_percent: float,
        rest: float,
        inherit: bool,
        weights: ControlSpec | None = None,
        pictures: ControlSpec | None = None,
        mask: Tensor | None = None,
        spec: ControlSpec | None = None,
    ) -> io.NodeOutput:
        strengths = floats(float_strengths, where="Control Keyframe List")
        pattern = _pattern(rest, inherit, weights, pictures, mask)
        frames = _spread(pattern, strengths, start_percent, end_percent)
        return io.NodeOutput(with_keyframes(spec, *frames))
