"""The JSON in which poses travel between tools: OpenPose's, with the size of the canvas.

It is what lies on a POSE_KEYPOINT socket and in the files of pose editors: a frame, or a list of
frames, each `{"people": [...], "canvas_height": h, "canvas_width": w}`. A part is a flat list
x, y, confidence, ..., in pixels or in 0..1 of the canvas. Animals come as `"animals": [...]`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence, Sized
from typing import Literal, cast, get_args

import numpy as np

from ...controlnet_core.errors import ControlInputError
from .._checks import check_choice
from .keypoints import COUNTS, Person, Points, Pose

Coordinates = Literal["auto", "pixels", "normalised"]
COORDINATES: tuple[Coordinates, ...] = get_args(Coordinates)
JsonFrame = dict[str, object]

KEYS = {
    "body": "pose_keypoints_2d",
    "face": "face_keypoints_2d",
    "left_hand": "hand_left_keypoints_2d",
    "right_hand": "hand_right_keypoints_2d",
    "feet": "foot_keypoints_2d",
}
# OpenPose's newer body has 25 points: a middle of the hips at 8, and feet at the end.
BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
# Points outside of the canvas by a pixel each way are how one detector marks what it did not find.
NOWHERE = (-1.0, -1.0)
_SHOWN = "a POSE_KEYPOINT, or the JSON of a pose editor"


def read(text: str, *, where: str = "pose") -> object:
    """The decoded JSON of `text`, for `parse`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ControlInputError(
            "CN-P01", where, found=f"text that is no JSON ({e})"[:120], expected=_SHOWN,
            fix="save the pose again as JSON",
        ) from e


def parse(frames: object, *, coordinates: Coordinates = "auto") -> tuple[Pose, ...]:
    """The pose of each frame, in pixels; one frame alone is a list of one.

    `auto` takes a part for normalised when all of its points lie within 1 of the origin. A part
    may be null, empty or left out; its points may be flat or in threes. Faces of fewer than 70
    points are filled up with missing ones, bodies of 25 points lose their feet and hip. People
    and frames are counted from 0 in errors.
    """
    check_choice(coordinates, COORDINATES, where="coordinates")
    listed = [cast("object", frames)] if isinstance(frames, dict) else _list(frames)
    if not listed:
        raise _no_pose("pose", "no frames")
    return tuple(
        _frame(frame, coordinates, f"frame {index}") for index, frame in enumerate(listed)
    )


def write(
    poses: Sequence[Pose], *, normalised: bool = False, whole: bool = False
) -> list[JsonFrame]:
    """One frame for each pose, the inverse of `parse`; points are flat.

    `normalised` divides by the size of the canvas. `whole` gives absent parts as missing points
    instead of null, which some readers cannot take.
    """
    return [_written(pose, normalised=normalised, whole=whole) for pose in poses]


def _frame(frame: object, coordinates: Coordinates, where: str) -> Pose:
    entry = _object(frame, where)
    if entry.get("people") is None and entry.get("animals") is None:
        raise _no_pose(where, "neither people nor animals")
    size = _side(entry, "canvas_height", where), _side(entry, "canvas_width", where)
    people = [
        _person(each, size, coordinates, f"{where}, person {index}")
        for index, each in enumerate(_list(entry.get("people") or [], f"{where}, people"))
    ]
    animals = [
        _points(each, "animal", size, coordinates, f"{where}, animal {index}")
        for index, each in enumerate(_list(entry.get("animals") or [], f"{where}, animals"))
    ]
    return Pose(
        people=tuple(people), height=size[0], width=size[1],
        animals=tuple(each for each in animals if each is not None),
    )


def _person(person: object, size: tuple[int, int], coordinates: Coordinates, where: str) -> Person:
    entry = _object(person, where)
    parts = {
        part: _points(entry.get(key), part, size, coordinates, f"{where}, {key}")
        for part, key in KEYS.items()
    }
    body = parts.pop("body")
    return Person(np.zeros((COUNTS["body"], 3)) if body is None else body, **parts)


def _points(
    value: object, part: str, size: tuple[int, int], coordinates: Coordinates, where: str
) -> Points | None:
    """The points of one part, in pixels; None where there is none."""
    if value is None or (isinstance(value, Sized) and not len(value)):
        return None
    points = _counted(_numbers(value, where), part, where)
    points = _in_pixels(points, size, coordinates)
    if part in ("face", "left_hand", "right_hand"):
        points[np.isclose(points[:, :2], NOWHERE).all(axis=1)] = 0.0
    return points


def _numbers(value: object, where: str) -> Points:
    """(n 3) of flat or nested numbers."""
    try:
        points = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError) as e:
        raise _no_points(where, "something else than numbers") from e
    if not np.isfinite(points).all():
        raise _no_points(where, "a number that is null, NaN or infinite")
    flat = points.ndim == 1 and points.size % 3 == 0
    if not flat and not (points.ndim == 2 and points.shape[1] == 3):
        raise _no_points(where, f"numbers of shape {points.shape}")
    return points.reshape(-1, 3)


def _counted(points: Points, part: str, where: str) -> Points:
    """`points` with exactly as many as the part has."""
    count = COUNTS[part]
    if part == "body" and len(points) == 25:
        return points[list(BODY_25)]
    if part == "face" and len(points) < count:
        return np.pad(points, ((0, count - len(points)), (0, 0)))
    if len(points) != count:
        raise ControlInputError(
            "CN-P03", where, found=f"{len(points)} points",
            expected=f"{count} points, {3 * count} numbers",
            fix="give a missing point as 0, 0, 0, or the whole part as null",
        )
    return points


def _in_pixels(points: Points, size: tuple[int, int], coordinates: Coordinates) -> Points:
    there = points[points[:, 2] > 0, :2]
    unit = coordinates == "auto" and len(there) > 0 and float(np.abs(there).max()) <= 1.0
    height, width = size
    return points * (width, height, 1.0) if unit or coordinates == "normalised" else points


def _written(pose: Pose, *, normalised: bool, whole: bool) -> JsonFrame:
    def flat(points: Points) -> list[float]:
        unit = (pose.width, pose.height, 1.0) if normalised else 1.0
        return (points / unit).reshape(-1).tolist()

    def person(each: Person) -> JsonFrame:
        parts = each.parts()
        missing: JsonFrame = {
            KEYS[part]: [0.0] * 3 * COUNTS[part] if whole else None
            for part in ("face", "left_hand", "right_hand")
        }
        return missing | {KEYS[part]: flat(points) for part, points in parts.items()}

    animals = {"animals": [flat(each) for each in pose.animals]} if pose.animals else {}
    return {
        "people": [person(each) for each in pose.people], **animals,
        "canvas_height": pose.height, "canvas_width": pose.width,
    }  # fmt: skip


def _side(entry: JsonFrame, key: str, where: str) -> int:
    value = entry.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= 65536:
        return round(value)
    raise ControlInputError(
        "CN-P05", f"{where}, {key}", found="none" if value is None else str(value)[:40],
        expected="the side of the canvas in pixels",
        fix="add canvas_width and canvas_height to the frame",
    )


def _object(value: object, where: str) -> JsonFrame:
    if isinstance(value, dict):
        return cast("JsonFrame", value)
    raise _no_pose(where, type(value).__name__)


def _list(value: object, where: str = "pose") -> Sequence[object]:
    if isinstance(value, (list, tuple)):
        return cast("Sequence[object]", value)
    raise _no_pose(where, type(value).__name__)


def _no_pose(where: str, found: str) -> ControlInputError:
    return ControlInputError(
        "CN-P02", where, found=found, expected=_SHOWN, fix="connect or load a pose"
    )


def _no_points(where: str, found: str) -> ControlInputError:
    return ControlInputError(
        "CN-P04", where, found=found, expected="x, y, confidence of one point after the other",
        fix="give a missing point as 0, 0, 0",
    )
