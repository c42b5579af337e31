"""Stand-ins for MediaPipe's detectors of faces and hands, which few machines have."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

SOLUTIONS = "mediapipe.python.solutions"
MODULE, HANDS = f"{SOLUTIONS}.face_mesh", f"{SOLUTIONS}.hands"
IS_MISSING = importlib.util.find_spec("mediapipe") is None


def spiral(count: int = 478) -> np.ndarray:
    """(count 2) points in 0..1 that fill most of a picture, no two alike."""
    turn = np.arange(count) * 2.4
    return 0.5 + 0.44 * np.sqrt((np.arange(count) + 1) / count)[:, None] * np.stack(
        [np.cos(turn), np.sin(turn)], -1
    )


def hand() -> np.ndarray:
    """(21 2) points in 0..1: a wrist, and five fingers to the right and up from it."""
    finger, joint = np.mgrid[:5, 1:5]
    x = 100 + 18 * joint * np.cos(-1.2 + 0.5 * finger)
    y = 300 - 18 * joint * np.sin(0.9 + 0.3 * finger)
    return np.concatenate([[(100, 300)], np.stack([x, y], -1).reshape(-1, 2)]) / 512


def answer(*faces: np.ndarray) -> Any:
    """What `process` gives for faces (478 2) or hands (21 2); without any it has None."""
    found = [
        SimpleNamespace(landmark=[SimpleNamespace(x=x, y=y, z=0.0) for x, y in face])
        for face in faces
    ]
    return SimpleNamespace(multi_face_landmarks=found or None, multi_hand_landmarks=found or None)


class FaceMesh:
    """Sees one face in every picture that is not dark, moved by its colours."""

    opened = 0
    points = staticmethod(spiral)

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
        moved = self.points() + 0.05 * np.array([red, green])
        return answer(moved) if red > 0.2 else answer()


class Hands(FaceMesh):
    """The same with a hand."""

    points = staticmethod(hand)


def stand_in(
    monkeypatch: pytest.MonkeyPatch, face_mesh: type = FaceMesh, hands: type = Hands
) -> None:
    """Lets these detectors be what MediaPipe has."""
    for name in ("mediapipe", "mediapipe.python", SOLUTIONS, MODULE, HANDS):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules[MODULE], "FaceMesh", face_mesh, raising=False)
    monkeypatch.setattr(sys.modules[HANDS], "Hands", hands, raising=False)
