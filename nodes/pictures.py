"""Spec nodes that name pictures of the batch one after the other; a chain of them is one list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from comfy_api.latest import io

from ..controlnet_core.control import BatchStrengths, ControlSpec, Span, parse_batch
from ..controlnet_core.control.batch import up_to
from ._floats import floats, floats_input
from ._spec import easing_input, spec_schema, strength_input

_LARGEST = 2**53 - 1
_CHAIN = " Chain several; of two that name a picture the later one wins."


def _index_input(name: str, tooltip: str) -> io.Input:
    return io.Int.Input(name, default=0, min=-_LARGEST, max=_LARGEST, tooltip=tooltip)


def _rest_input() -> io.Input:
    return strength_input(
        "rest",
        "Strength of the pictures that nobody names; at 0 they are not computed. The last node of "
        "a chain decides.",
        default=0.0,
        step=0.001,
    )


def _named(
    spec: ControlSpec | None, rest: float, *values: tuple[int, float] | Span
) -> io.NodeOutput:
    """`spec` with these pictures named behind those that it names already."""
    spec = spec or ControlSpec()
    before = spec.items[-1] if spec.items else BatchStrengths(())
    items = (*spec.items[:-1], before.then(*values, rest=rest))
    return io.NodeOutput(replace(spec, items=items))


class PictureSpec(io.ComfyNode):
    """The strength of one picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackPicture",
            "Control Picture Strength",
            _index_input("batch_index", "The picture; 0 is the first, -1 the last."),
            strength_input("strength", "Its strength.", step=0.001),
            _rest_input(),
            about="The strength of one picture or frame of the batch." + _CHAIN,
            aliases=["Latent Keyframe", "LatentKeyframe", "frame strength"],
        )

    @classmethod
    def execute(
        cls, batch_index: int, strength: float, rest: float, spec: ControlSpec | None = None
    ) -> io.NodeOutput:
        return _named(spec, rest, (batch_index, strength))


class PictureRangeSpec(io.ComfyNode):
    """Strengths that change from picture to picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackPictureRange",
            "Control Picture Range",
            _index_input("batch_index_from", "The first picture; -3 is the third from the end."),
            _index_input(
                "batch_index_to_excl",
                "The one behind the last. After a negative first one, 0 is the end of the batch.",
            ),
            strength_input("strength_from", "Strength of the first picture.", step=0.001),
            strength_input("strength_to", "Strength of the last one.", step=0.001),
            easing_input("interpolation"),
            _rest_input(),
            about="Strengths that go from one value to another over a range of pictures." + _CHAIN,
            aliases=["Latent Keyframe Interp.", "LatentKeyframeTiming", "fade frames"],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        batch_index_from: int,
        batch_index_to_excl: int,
        strength_from: float,
        strength_to: float,
        interpolation: str,
        rest: float,
        spec: ControlSpec | None = None,
    ) -> io.NodeOutput:
        ends = (batch_index_from, batch_index_to_excl)
        return _named(spec, rest, *up_to(*ends, strength_from, strength_to, interpolation))


class PictureListSpec(io.ComfyNode):
    """A strength for each picture, from a list."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackPictureList",
            "Control Picture List",
            floats_input("A list of strengths, for the first picture, the second ...; or one."),
            _rest_input(),
            about="Strengths for the pictures from the first on, from a list that another node "
            "makes." + _CHAIN,
            aliases=["Latent Keyframe From List", "LatentKeyframeBatchedGroup", "float list"],
        )

    @classmethod
    def execute(
        cls,
        float_strengths: float | Iterable[float],
        rest: float,
        spec: ControlSpec | None = None,
    ) -> io.NodeOutput:
        strengths = floats(float_strengths, where="Control Picture List")
        return _named(spec, rest, *enumerate(strengths))


class PictureGroupSpec(io.ComfyNode):
    """Strengths of pictures, written."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackPictureGroup",
            "Control Picture Group",
            io.String.Input(
                "index_strengths", default="", multiline=True,
                tooltip="index, index=strength, first:end=strength (end left out), or "
                "first-last=strength, with commas between them. -1 is the last picture.",
            ),
            _rest_input(),
            about="Strengths of pictures by index and range, as text." + _CHAIN + " Control Batch "
            "Strengths writes the same, and multiplies instead.",
            aliases=["Latent Keyframe Group", "LatentKeyframeGroup", "frame strengths"],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, index_strengths: str, rest: float, spec: ControlSpec | None = None
    ) -> io.NodeOutput:
        return _named(spec, rest, *parse_batch(index_strengths).values)
