"""People and animals of a picture as points: in pixels, each with a confidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from ...controlnet_core.errors import ControlInputError

Points = NDArray[np.float64]
"""(n 3): x and y in pixels, then a confidence; a point whose confidence is 0 is missing."""

BODY = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow",
    "left wrist", "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
"""OpenPose's 18 points of a body, in order; right and left are the person's own."""

COUNTS = {
    "body": len(BODY), "face": 70, "left_hand": 21, "right_hand": 21, "feet": 6, "animal": 17,
}  # fmt: skip
"""Points of each part. A face is the 68 points of iBUG and the pupils; feet are as in COCO."""


@dataclass(frozen=True, eq=False)
class Person:
    """The parts of one person; a part that nobody looked for is None, except the body."""

    body: Points
    face: Points | None = None
    left_hand: Points | None = None
    right_hand: Points | None = None
    feet: Points | None = None

    def __post_init__(self) -> None:
        for name, points in self.parts().items():
            _check(points, COUNTS[name], name)

    def parts(self) -> dict[str, Points]:
        """The parts that are not None, by name."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: points for name, points in named.items() if points is not None}

    def map(self, change: Callable[[Points], Points]) -> Person:
        """The person with `change` applied to every part."""
        return replace(self, **{name: change(points) for name, points in self.parts().items()})


@dataclass(frozen=True, eq=False)
class Pose:
    """Everybody in one picture of `height` x `width` pixels. An animal is (17 3), as in AP-10K."""

    people: tuple[Person, ...]
    height: int
    width: int
    animals: tuple[Points, ...] = ()

    def __post_init__(self) -> None:
        for points in self.animals:
            _check(points, COUNTS["animal"], "animal")
        if min(self.height, self.width) < 1:
            raise ControlInputError(
                "CN-P05", "pose", found=f"a canvas of {self.width} x {self.height}",
                expected="at least one pixel on each side", fix="set its size in pixels",
            )

    def map(self, change: Callable[[Points], Points]) -> Pose:
        """The pose with `change` applied to every part and animal."""
        return replace(
            self,
            people=tuple(person.map(change) for person in self.people),
            animals=tuple(change(points) for points in self.animals),
        )


def found(points: Points, *, min_confidence: float = 0.0) -> NDArray[np.bool_]:
    """(n,) which points are there: their confidence is above 0, and at least that."""
    return (points[:, 2] > 0) & (points[:, 2] >= min_confidence)


def _check(points: Points, count: int, name: str) -> None:
    if points.shape != (count, 3):
        raise ControlInputError(
            "CN-P03", name.replace("_", " "), found=f"points of shape {points.shape}",
            expected=f"({count}, 3): x, y and confidence", fix="give a missing point as 0, 0, 0",
        )
