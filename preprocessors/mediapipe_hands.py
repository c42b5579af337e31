"""Hands of MediaPipe, drawn as OpenPose draws them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np

from ._frame import Frame, to_levels
from ._mediapipe import Landmarks, landmarks, solution
from ._registry import Float, Int, preprocessor
from .pose.drawing import render
from .pose.keypoints import COUNTS, Person, Points, Pose


@preprocessor(
    title="Hands, MediaPipe", group="pose",
    source="MediaPipe Hands (Zhang et al. 2020, arXiv:2006.10214), drawn as by OpenPose; its "
    "weights come with the package mediapipe, Apache-2.0",
)
def mediapipe_hands(
    rgb: Frame,
    *,
    max_hands: Annotated[int, Int("most hands in a picture", 1, 50)] = 10,
    min_confidence: Annotated[
        float, Float("how sure the detector must be of a hand, 0 to 1", 0.1, 1.0)
    ] = 0.5,
) -> Frame:
    """Coloured bones of hands on black, as OpenPose draws them, without bodies.

    Needs the Python package mediapipe 0.10.21. No hand at all gives a black hint.
    """
    with _detector(max_hands, min_confidence) as detector:
        found = detector.process(rgb).multi_hand_landmarks
    return to_levels(render(pose_of(landmarks(found), *rgb.shape[:2])))


def pose_of(hands: Iterable[Landmarks], height: int, width: int) -> Pose:
    """A person for every hand, whose points have the order of OpenPose's.

    Each is given as a left one: both sides are drawn alike, and MediaPipe's names for them are
    of a mirrored picture, or swapped, by version.
    """
    nobody = np.zeros((COUNTS["body"], 3))
    people = (Person(nobody, left_hand=_points(hand, height, width)) for hand in hands)
    return Pose(tuple(people), height, width)


def _points(hand: Landmarks, height: int, width: int) -> Points:
    return np.concatenate([hand * (width, height), np.ones((len(hand), 1))], axis=-1)


def _detector(max_hands: int, min_confidence: float) -> Any:
    """MediaPipe's detector for one picture, since threads cannot share it."""
    return solution("hands").Hands(
        static_image_mode=True, max_num_hands=max_hands,
        min_detection_confidence=min_confidence,  # of a palm
        min_tracking_confidence=min_confidence,  # of the hand that is read from there
    )
