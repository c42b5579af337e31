"""How the residuals of any net act: when, how deep, where, and on which rows."""

from .area import Area, part
from .batch import BatchStrengths, Span
from .content import HintContent, HintMask
from .curve import INTERPOLATIONS, Curve, Points, Ramp
from .easing import EASINGS
from .edges import feathered, grown
from .hints import Embeddings, HintSource, Same, check_hint, fit_hint
from .keyframes import Keyframes, StrengthList, spread
from .masks import MaskSource
from .modes import CONTROL_MODES
from .notation import parse_batch, parse_numbers, parse_points
from .presets import BASES, KINDS, LEVELS, PRESETS, Preset, preset
from .preview import Block, Forecast, forecast, token_blocks, unet_blocks
from .progress import Progress, in_range
from .rows import Rows
from .schedule import Constant, Product, Schedule, Window, check_range, check_strength
from .session import ControlSession, Kept, take
from .spec import ControlSpec
from .steps import Moment, Steps
from .weights import (
    SOFT_WEIGHTS,
    Both,
    LayerWeights,
    Levels,
    LinearSoft,
    LogSoft,
    PerLayer,
    ResolutionWeighted,
    Soft,
    Uniform,
)

__all__ = [
    "BASES", "CONTROL_MODES", "EASINGS", "INTERPOLATIONS", "KINDS", "LEVELS", "PRESETS",
    "SOFT_WEIGHTS", "Area", "BatchStrengths", "Block", "Both", "Constant", "ControlSession",
    "ControlSpec", "Curve", "Embeddings", "Forecast", "HintContent", "HintMask", "HintSource",
    "Kept", "Keyframes", "LayerWeights", "Levels", "LinearSoft", "LogSoft", "MaskSource", "Moment",
    "PerLayer", "Points", "Preset", "Product", "Progress", "Ramp", "ResolutionWeighted", "Rows",
    "Same", "Schedule", "Soft", "Span", "Steps", "StrengthList", "Uniform", "Window",
    "check_hint", "check_range", "check_strength", "feathered", "fit_hint", "forecast", "grown",
    "in_range", "parse_batch", "parse_numbers", "parse_points", "part", "preset", "spread", "take",
    "token_blocks", "unet_blocks",
]  # fmt: skip
