"""Poses drawn as pose ControlNets learned them: coloured limbs on black.

Source: drawing of OpenPose as in lllyasviel/ControlNet and IDEA-Research/DWPose; widths after
xinsir/controlnet-openpose-sdxl-1.0; animals after AP-10K as in abehonest/ControlNet_AnimalPose.
*Differences*: limbs are drawn on the hint's own canvas; points have confidences.
"""

from __future__ import annotations

import colorsys
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from .._checks import MAX_PIXELS, check_choice, check_size
from .._frame import Frame
from .keypoints import Points, Pose, found

Sticks = Literal["standard", "xinsir"]
STICKS: tuple[Sticks, ...] = get_args(Sticks)

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
    (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
FINGERS = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1)
    for finger in range(5) for joint in range(4)
)  # fmt: skip
ANIMAL_LIMBS = (
    (0, 1), (1, 2), (0, 2), (2, 3), (3, 8), (8, 9), (9, 10), (3, 5), (5, 6), (6, 7), (3, 4),
    (4, 14), (14, 15), (15, 16), (4, 11), (11, 12), (12, 13),
)  # fmt: skip
ANIMAL_COLORS = (
    (255, 255, 255), (100, 255, 100), (150, 255, 255), (100, 50, 255), (50, 150, 200),
    (0, 255, 255), (0, 150, 0), (0, 0, 255), (0, 0, 150), (255, 50, 255), (255, 0, 255),
    (255, 0, 0), (150, 0, 0), (255, 255, 100), (0, 150, 0), (255, 255, 0), (150, 150, 150),
)  # fmt: skip
HALF_WIDTH, JOINT, HAND_LINE, FACE_DOT, ANIMAL_LINE = 4, 4, 2, 3, 5  # pixels
SHADE = 0.6  # of a limb beside its joints
HAND_DOT, WHITE = (0, 0, 255), (255, 255, 255)
FAR = 1 << 20  # pixels: beyond it OpenCV's integers overflow, and nothing of it would be seen

Place = tuple[int, int]
Places = list[Place | None]


def render(
    pose: Pose,
    *,
    body: bool = True,
    hands: bool = True,
    face: bool = True,
    sticks: Sticks = "standard",
    min_confidence: float = 0.0,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """The hint (3 H W) of `pose`, float32 in 0..1, on a black canvas of the pose's size.

    Points below `min_confidence` are missing. `xinsir` draws limbs wider the larger the canvas is.
    """
    check_choice(sticks, STICKS, where="sticks")
    check_size((pose.height, pose.width), max_pixels, where="pose")
    canvas = np.zeros((pose.height, pose.width, 3), np.uint8)
    half_width = HALF_WIDTH * (_scale(pose) if sticks == "xinsir" else 1)
    for person in pose.people:
        if body:
            _draw_body(canvas, person.body, min_confidence, half_width)
        for hand in (person.left_hand, person.right_hand) if hands else ():
            if hand is not None:
                _draw_hand(canvas, _inside(_places(hand, min_confidence)))
        if face and person.face is not None:
            _draw_dots(canvas, _inside(_places(person.face, min_confidence)), FACE_DOT, WHITE)
    for animal in pose.animals:
        _draw_animal(canvas, _places(animal, min_confidence))
    return torch.from_numpy(canvas).movedim(-1, 0) / 255


def _scale(pose: Pose) -> int:
    """How many times wider than OpenPose's limbs xinsir's are on this canvas."""
    side = max(pose.height, pose.width)
    return 1 if side < 500 else min(2 + side // 1000, 7)


def _draw_body(canvas: Frame, body: Points, min_confidence: float, half_width: int) -> None:
    """Limbs first, as ellipses, then the joints on top."""
    import cv2

    there = found(body, min_confidence=min_confidence)
    for (first, last), color in zip(LIMBS, COLORS, strict=False):  # the last colour is a joint's
        if there[first] and there[last]:
            ellipse = _ellipse(body[first], body[last], half_width)
            cv2.fillConvexPoly(canvas, ellipse, [int(SHADE * level) for level in color])
    for place, color in zip(_places(body, min_confidence), COLORS, strict=True):
        if place is not None:
            cv2.circle(canvas, place, JOINT, color, thickness=-1)


def _ellipse(first: Points, last: Points, half_width: int) -> Frame:
    """Polygon of an ellipse from one point to the other, and `half_width` pixels to both sides."""
    import cv2

    (x, y), (step_x, step_y) = (first + last)[:2] / 2, (first - last)[:2]
    angle = int(np.degrees(np.arctan2(step_y, step_x)))
    length = int(np.clip(np.hypot(step_x, step_y) / 2, 0, FAR))
    return np.array(cv2.ellipse2Poly(_place(x, y), (length, half_width), angle, 0, 360, 1))


def _draw_hand(canvas: Frame, hand: Places) -> None:
    import cv2

    for index, (first, last) in enumerate(FINGERS):
        start, end = hand[first], hand[last]
        if start is not None and end is not None:
            color = [255 * level for level in colorsys.hsv_to_rgb(index / len(FINGERS), 1, 1)]
            cv2.line(canvas, start, end, color, thickness=HAND_LINE)
    _draw_dots(canvas, hand, JOINT, HAND_DOT)


def _draw_dots(canvas: Frame, places: Places, radius: int, color: tuple[int, int, int]) -> None:
    import cv2

    for place in places:
        if place is not None:
            cv2.circle(canvas, place, radius, color, thickness=-1)


def _draw_animal(canvas: Frame, animal: Places) -> None:
    import cv2

    for (first, last), color in zip(ANIMAL_LIMBS, ANIMAL_COLORS, strict=True):
        start, end = animal[first], animal[last]
        if start is not None and end is not None:
            cv2.line(canvas, start, end, color, thickness=ANIMAL_LINE)


def _places(points: Points, min_confidence: float) -> Places:
    """The pixel of every point, cut to whole numbers; None for missing ones."""
    there = found(points, min_confidence=min_confidence)
    return [_place(x, y) if seen else None for (x, y, _), seen in zip(points, there, strict=True)]


def _inside(places: Places) -> Places:
    """Without the points of the first row and column and beyond: detectors put lost ones there."""
    return [place if place is not None and min(place) > 0 else None for place in places]


def _place(x: float, y: float) -> Place:
    return int(np.clip(x, -FAR, FAR)), int(np.clip(y, -FAR, FAR))
