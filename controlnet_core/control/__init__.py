"""How the residuals of any net act: when, how deep, where, and on which rows."""

from .batch import BatchStrengths
from .hints import HintSource, check_hint, fit_hint
from .masks import MaskSource
from .modes import CONTROL_MODES
from .progress import Progress, in_range
from .rows import Rows
from .schedule import Constant, Product, Schedule, Window, check_range, check_strength
from .session import ControlSession, Kept, take
from .spec import ControlSpec
from .weights import (
    Both,
    LayerWeights,
    LogSoft,
    PerLayer,
    ResolutionWeighted,
    Soft,
    Uniform,
)

__all__ = [
    "CONTROL_MODES", "BatchStrengths", "Both", "Constant", "ControlSession", "ControlSpec",
    "HintSource", "Kept", "LayerWeights", "LogSoft", "MaskSource", "PerLayer", "Product",
    "Progress", "ResolutionWeighted", "Rows", "Schedule", "Soft", "Uniform", "Window", "check_hint",
    "check_range", "check_strength", "fit_hint", "in_range", "take",
]  # fmt: skip
