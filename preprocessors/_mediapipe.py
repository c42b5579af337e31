"""MediaPipe's solutions, which find faces and hands in a picture, and their points as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..controlnet_core.errors import ControlInputError
from ._libraries import library

Landmarks = NDArray[np.float64]
"""(n 2): x and y of each point in 0..1 of the picture, or beyond where MediaPipe guesses it."""


def solution(name: str) -> ModuleType:
    """The module `name` of MediaPipe's solutions; raises CN-LIBRARY where it is missing."""
    try:
        return library(f"mediapipe.python.solutions.{name}", pip="mediapipe")
    except ControlInputError as e:
        raise ControlInputError(
            e.code, e.where, found=e.found,
            expected=f"version 0.10.21, for Python 3.12 or older; later ones lack solutions.{name}",
            fix='python -m pip install "mediapipe==0.10.21" "numpy<2"',
        ) from e


def landmarks(found: Iterable[Any] | None) -> list[Landmarks]:
    """The points of every face or hand that a solution found; it answers None for none."""
    return [np.array([(point.x, point.y) for point in each.landmark]) for each in found or ()]
