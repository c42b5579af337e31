"""How the residuals of any net act: when, how deep, where, and on which rows."""

from .hints import HintSource, check_hint, fit_hint
from .masks import MaskSource
from .progress import Progress, in_range
from .rows import Rows
from .schedule import Constant, Product, Schedule, Window, check_range, check_strength
from .session import ControlSession
from .spec import ControlSpec
from .weights import Both, LayerWeights, Soft, Uniform

__all__ = [
    "Both", "Constant", "ControlSession", "ControlSpec", "HintSource", "LayerWeights", "MaskSource",
    "Product", "Progress", "Rows", "Schedule", "Soft", "Uniform", "Window", "check_hint",
    "check_range", "check_strength", "fit_hint", "in_range",
]  # fmt: skip
