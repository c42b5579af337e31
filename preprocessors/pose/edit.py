"""Poses moved, scaled, mirrored and brought to another canvas. Missing points stay missing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from ...controlnet_core.errors import ControlInputError
from .._sizes import ResizeMode, placed
from .keypoints import Person, Points, Pose, found

About = Literal["canvas", "each person"]
ABOUTS: tuple[About, ...] = get_args(About)

# Which point becomes which in a mirror, by the order of each part.
_BODY = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
_FACE = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    27, 28, 29, 30, 35, 34, 33, 32, 31,  # nose
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,  # eyes
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,  # outer lips
    64, 63, 62, 61, 60, 67, 66, 65,  # inner lips
    69, 68,  # pupils
)  # fmt: skip
_FEET = (3, 4, 5, 0, 1, 2)
_ANIMAL = (1, 0, 2, 3, 4, 8, 9, 10, 5, 6, 7, 14, 15, 16, 11, 12, 13)


def move(pose: Pose, *, x: float = 0.0, y: float = 0.0) -> Pose:
    """`pose` moved by `x` pixels to the right and `y` pixels down; the canvas stays."""
    return pose.map(lambda points: _changed(points, 1.0, 1.0, x, y))


def scale(pose: Pose, factor: float, *, about: About = "canvas") -> Pose:
    """`pose` larger by `factor`, about the middle of the canvas, or each person about its own.

    A person's middle is that of the box around all of its points; the canvas stays.
    """
    if about not in ABOUTS or not 0 < factor <= 1000:
        raise ControlInputError(
            "CN-PARAM", "scale of a pose", found=f"{factor} about {str(about)[:40]}",
            expected=f"a factor from 0 to 1000, about {' or '.join(ABOUTS)}",
            fix="1 leaves the size as it is",
        )
    if about == "canvas":
        x, y = pose.width * (1 - factor) / 2, pose.height * (1 - factor) / 2
        return pose.map(lambda points: _changed(points, factor, factor, x, y))
    return replace(
        pose,
        people=tuple(_person_scaled(person, factor) for person in pose.people),
        animals=tuple(_about_middle(points, points, factor) for points in pose.animals),
    )


def mirror(pose: Pose) -> Pose:
    """`pose` as in a mirror: left and right of the canvas, of people and of animals are swapped.

    The first column of pixels becomes the last one, as in a picture that is flipped.
    """
    return replace(
        pose,
        people=tuple(_person_mirrored(person, pose.width) for person in pose.people),
        animals=tuple(_mirrored(points, pose.width)[list(_ANIMAL)] for points in pose.animals),
    )


def select(pose: Pose, people: Collection[int]) -> Pose:
    """`pose` with those of its people alone, counted from 0; numbers beyond are nobody.

    Animals are counted on after the people.
    """
    count = len(pose.people)
    return replace(
        pose,
        people=tuple(each for index, each in enumerate(pose.people) if index in people),
        animals=tuple(each for index, each in enumerate(pose.animals, count) if index in people),
    )


def resize(pose: Pose, *, height: int, width: int, mode: ResizeMode = "Just Resize") -> Pose:
    """`pose` on a canvas of `height` x `width`, where a resized picture of it would have it."""
    place = placed(pose.height, pose.width, to_height=height, to_width=width, mode=mode)
    tall, wide = place.height / pose.height, place.width / pose.width
    moved = pose.map(lambda points: _changed(points, wide, tall, place.left, place.top))
    return replace(moved, height=height, width=width)


def _changed(points: Points, wide: float, tall: float, x: float, y: float) -> Points:
    """Present points times (wide, tall), then moved by (x, y)."""
    changed = points * (wide, tall, 1.0) + (x, y, 0.0)
    return np.where(found(points)[:, None], changed, points)


def _person_scaled(person: Person, factor: float) -> Person:
    everything = np.concatenate([*person.parts().values()])
    return person.map(lambda points: _about_middle(points, everything, factor))


def _about_middle(points: Points, whole: Points, factor: float) -> Points:
    """`points` scaled about the middle of the box around `whole`."""
    there = whole[found(whole), :2]
    if not len(there):
        return points
    x, y = (there.min(axis=0) + there.max(axis=0)) / 2 * (1 - factor)
    return _changed(points, factor, factor, float(x), float(y))


def _person_mirrored(person: Person, width: int) -> Person:
    def turned(points: Points | None, order: tuple[int, ...] | None = None) -> Points | None:
        if points is None:
            return None
        points = _mirrored(points, width)
        return points if order is None else points[list(order)]

    return Person(
        body=_mirrored(person.body, width)[list(_BODY)],
        face=turned(person.face, _FACE),
        left_hand=turned(person.right_hand),
        right_hand=turned(person.left_hand),
        feet=turned(person.feet, _FEET),
    )


def _mirrored(points: Points, width: int) -> Points:
    return _changed(points, -1.0, 1.0, width - 1.0, 0.0)
