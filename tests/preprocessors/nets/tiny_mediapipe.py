"""A stand-in for MediaPipe's detector of faces, which few machines have."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

MODULE = "mediapipe.python.solutions.face_mesh"
IS_MISSING = importlib.util.find_spec("mediapipe") is None


def spiral(count: int = 478) -> np.ndarray:
    """(count 2) points in 0..1 that fill most of a picture, no two alike."""
    turn = np.arange(count) * 2.4
    return 0.5 + 0.44 * np.sqrt((np.arange(count) + 1) / count)[:, None] * np.stack(
        [np.cos(turn), np.sin(turn)], -1
    )


def answer(*faces: np.ndarray) -> Any:
    """What `process` gives for faces (478 2); without any it has None."""
    found = [
        SimpleNamespace(landmark=[SimpleNamespace(x=x, y=y, z=0.0) for x, y in face])
        for face in faces
    ]
    return SimpleNamespace(multi_face_landmarks=found or None)


class FaceMesh:
    """Sees one face in every picture that is not dark, moved by its colours."""

    opened = 0

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __enter__(self) -> FaceMesh:
        FaceMesh.opened += 1
        return self

    def __exit__(self, *_error: object) -> None:
        FaceMesh.opened -= 1

    def process(self, rgb: np.ndarray) -> Any:
        assert rgb.dtype == np.uint8
        assert rgb.shape[-1] == 3
        red, green, _ = rgb.reshape(-1, 3).mean(0) / 255
        return answer(spiral() + 0.05 * np.array([red, green])) if red > 0.2 else answer()


def stand_in(monkeypatch: pytest.MonkeyPatch, detector: type = FaceMesh) -> None:
    """Lets `detector` be what MediaPipe has."""
    for name in (MODULE.rsplit(".", depth)[0] for depth in range(3, -1, -1)):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules[MODULE], "FaceMesh", detector, raising=False)
