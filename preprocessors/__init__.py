"""Preprocessors: pictures in, hints for ControlNets out, each a decorated function in its file."""

from __future__ import annotations

from ._registry import RESOLUTION, Mask, Parameter, Preprocessor, Progress
from .blur import blur
from .canny import canny
from .inpaint_hint import inpaint_hint
from .invert import invert

PREPROCESSORS: dict[str, Preprocessor] = {
    each.name: each for each in (canny, blur, invert, inpaint_hint)
}

__all__ = ["PREPROCESSORS", "RESOLUTION", "Mask", "Parameter", "Preprocessor", "Progress"]
