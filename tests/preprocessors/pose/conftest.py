"""A person, a face, a hand and an animal whose drawings are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controlstack.preprocessors.pose import Person, Pose

BODY = (
    (256, 80), (256, 150), (200, 150), (170, 230), (150, 300), (312, 150), (342, 230), (362, 300),
    (220, 300), (215, 400), (210, 490), (292, 300), (297, 400), (302, 490), (244, 68), (268, 68),
    (228, 76), (284, 76),
)  # fmt: skip
HAND = (
    (100.0, 300.0),
    *(
        (100 + 18 * s * math.cos(-1.2 + 0.5 * f), 300 - 18 * s * math.sin(0.9 + 0.3 * f))
        for f in range(5) for s in range(1, 5)
    ),
)  # fmt: skip
FACE = tuple(
    (256 + 60 * math.cos(math.tau * i / 70), 256 + 80 * math.sin(math.tau * i / 70))
    for i in range(70)
)
ANIMAL = (
    (100, 100), (140, 100), (120, 130), (200, 180), (400, 180), (200, 240), (190, 300), (185, 360),
    (240, 240), (245, 300), (250, 360), (380, 240), (375, 300), (370, 360), (420, 240), (425, 300),
    (430, 360),
)  # fmt: skip


def points_of(places: tuple, confidence: float = 1.0) -> np.ndarray:
    """(n 3) float64, all with one confidence."""
    return np.array([(*place, confidence) for place in places], np.float64)


@pytest.fixture
def nobody() -> np.ndarray:
    """(18 3) of missing points."""
    return np.zeros((18, 3))


@pytest.fixture
def body() -> np.ndarray:
    return points_of(BODY)


@pytest.fixture
def hand() -> np.ndarray:
    return points_of(HAND)


@pytest.fixture
def face() -> np.ndarray:
    return points_of(FACE)


@pytest.fixture
def animal() -> np.ndarray:
    return points_of(ANIMAL)


@pytest.fixture
def pose(body, hand, face, animal) -> Pose:
    """512 x 400 with two people, an animal, missing points and unlike confidences."""
    random = np.random.default_rng(9)

    def some(points: np.ndarray) -> np.ndarray:
        points = points + random.uniform(-5, 5, points.shape) * (1, 1, 0)
        points[:, 2] = random.uniform(0.05, 1.0, len(points))
        points[random.random(len(points)) < 0.2] = 0.0
        return points

    feet = some(body[:6])
    whole = Person(some(body), some(face), some(hand), some(hand[::-1]), feet)
    return Pose((whole, Person(some(body), right_hand=some(hand))), 512, 400, (some(animal),))
