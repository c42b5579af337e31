"""Spec nodes that say when a control acts: windows, ramps, curves, keyframes, lists."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..controlnet_core.control import (
    EASINGS,
    INTERPOLATIONS,
    ControlSpec,
    Curve,
    Keyframes,
    Ramp,
    StrengthList,
    Window,
    check_strength,
    parse_numbers,
    parse_points,
    spread,
)
from ._spec import changed, easing_input, percent_input, spec_schema, strength_input

_BY_STEP = "one per step"
_STOCK = {"MonotoneCubicCurve": "monotone_cubic", "LinearCurve": "linear"}
_SAMPLES = 257
"""Points of a stock curve of any other kind."""


class WindowSpec(io.ComfyNode):
    """A strength for a part of the sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackWindow",
            "Control Window",
            strength_input("strength", "Strength inside the window; multiplies that of Apply."),
            percent_input(
                "start_percent", "Where in the sampling the window opens; 0 is the first step.",
                default=0.0,
            ),
            percent_input("end_percent", "Where it closes; 1 is after the last step.", default=1.0),
            about="The control acts from start up to, not including, end, so that windows "
            "which meet never act twice. An end of 1 includes the last step.",
            aliases=["timestep range", "controlnet start end", "control window"],
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
        return changed(spec, ControlSpec(schedule=Window(start_percent, end_percent, strength)))


class RampSpec(io.ComfyNode):
    """A strength that rises or falls over a part of the sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackRamp",
            "Control Ramp",
            strength_input("start_strength", "Strength up to the start of the ramp."),
            strength_input("end_strength", "Strength from its end on.", default=0.0),
            percent_input(
                "start_percent", "Where in the sampling the ramp begins; 0 is the first step.",
                default=0.0,
            ),
            percent_input("end_percent", "Where it ends; 1 is the last step.", default=1.0),
            easing_input("easing"),
            about="The strength goes from one value to another between two points of the sampling, "
            "and stays at them before and after.",
            aliases=["fade controlnet", "strength ramp", "Timestep Keyframe Interp.", "easing"],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        start_strength: float,
        end_strength: float,
        start_percent: float,
        end_percent: float,
        easing: str,
        spec: ControlSpec | None = None,
    ) -> io.NodeOutput:
        ramp = Ramp(start_strength, end_strength, start_percent, end_percent, easing)
        return changed(spec, ControlSpec(schedule=ramp))


class CurveSpec(io.ComfyNode):
    """A strength that follows a curve, drawn or written."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackCurve",
            "Control Curve",
            io.String.Input(
                "points", default="0: 1.0, 0.5: 0.8, 1: 0.0", multiline=True,
                tooltip="percent: strength pairs. 0 (or 0%) is the first step, 1 (or 100%) the "
                "last. Before the first and after the last point the curve is level.",
            ),
            io.Combo.Input(
                "interpolation", options=[*INTERPOLATIONS],
                tooltip="monotone_cubic: smooth, never beyond its points. linear: straight. step: "
                "each strength holds up to the next point.",
            ),
            strength_input("strength", "Multiplies the whole curve."),
            io.Custom("CURVE").Input(
                "curve", optional=True, extra_dict={"forceInput": True},
                tooltip="A curve from ComfyUI's Curve Editor, used instead of points and "
                "interpolation: from left (first step) to right (last), strength upward.",
            ),
            about="The strength over the sampling as a curve through points, or as drawn in "
            "ComfyUI's Curve Editor.",
            aliases=["strength curve", "controlnet curve", "schedule", "strength schedule"],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        points: str,
        interpolation: str,
        strength: float,
        curve: Any = None,
        spec: ControlSpec | None = None,
    ) -> io.NodeOutput:
        check_strength(strength, where="Control Curve")
        if curve is None:
            drawn = Curve(parse_points(points, where="points of Control Curve"), interpolation)
        else:
            drawn = stock_curve(curve)
        return changed(spec, ControlSpec(strength, drawn))


def stock_curve(value: Any) -> Curve:
    """A CURVE of the host (its object, or the dict of its widget) as a schedule.

    Curves of a kind that has no points of its own are sampled.
    """
    from comfy_api.input import CurveInput  # before comfy_api.latest it cannot be imported

    curve = CurveInput.from_raw(value)
    name = type(curve).__name__
    if name in _STOCK:
        return Curve(tuple((float(x), float(y)) for x, y in curve.points), _STOCK[name])
    places = (i / (_SAMPLES - 1) for i in range(_SAMPLES))
    return Curve(tuple((x, float(curve.interp(x))) for x in places), "linear")


class KeyframesSpec(io.ComfyNode):
    """Strengths that change at moments of the sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackKeyframes",
            "Control Keyframes",
            io.String.Input(
                "keyframes", default="0: 1.0, 0.3: 0.6, 0.7: 0.2", multiline=True,
                tooltip="percent: strength pairs, such as 0.3: 0.6 or 30%: 0.6. Each acts from its "
                "percent on.",
            ),
            io.Combo.Input(
                "between", options=[*EASINGS],
                tooltip="hold: each strength up to the next keyframe. Otherwise how it gets there.",
            ),
            strength_input("before", "Strength before the first keyframe."),
            about="A strength from each keyframe on, held or eased to the next. What acts depends "
            "on the progress alone, also with samplers that go back.",
            aliases=["Timestep Keyframe", "timestep keyframes", "keyframe strength"],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, keyframes: str, between: str, before: float, spec: ControlSpec | None = None
    ) -> io.NodeOutput:
        frames = parse_points(keyframes, where="keyframes of Control Keyframes")
        return changed(spec, ControlSpec(schedule=Keyframes(frames, before, between)))


class StrengthListSpec(io.ComfyNode):
    """A list of strengths: one for each step, or spread over a range."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackStrengthList",
            "Control Strength List",
            io.String.Input(
                "strengths", default="1.0, 0.8, 0.5, 0.0", multiline=True,
                tooltip="Numbers with commas, spaces or line breaks between them.",
            ),
            io.Combo.Input(
                "spread", options=[_BY_STEP, *EASINGS],
                tooltip="one per step: the first step takes the first number; steps after the last "
                "number keep it. Otherwise the numbers share the range below, held or eased.",
            ),
            percent_input("start_percent", "Where the range begins (not per step).", default=0.0),
            percent_input("end_percent", "Where the range ends (not per step).", default=1.0),
            about="A strength for each step of this run, which suits models of few steps, or a "
            "list spread evenly over a range of the sampling.",
            aliases=[
                "Timestep Keyframe From List", "strength per step", "weight list", "few step",
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        strengths: str,
        spread: str,
        start_percent: float,
        end_percent: float,
        spec: ControlSpec | None = None,
    ) -> io.NodeOutput:
        numbers = parse_numbers(strengths, where="strengths of Control Strength List")
        schedule = _listed(numbers, spread, start_percent, end_percent)
        return changed(spec, ControlSpec(schedule=schedule))


def _listed(
    numbers: tuple[float, ...], between: str, start: float, end: float
) -> StrengthList | Keyframes:
    if between == _BY_STEP:
        return StrengthList(numbers)
    return spread(numbers, start, end, between=between)
