"""People by the points of COCO, 17 of a body or 133 of a whole one, as OpenPose numbers them."""

from __future__ import annotations

import numpy as np

from .keypoints import BODY, Person, Points, found

_SHOULDERS = (5, 6)
_NECK = 17  # put behind COCO's own points
# Which point of COCO each of OpenPose's 18 is. Source: IDEA-Research/DWPose.
_OF_BODY = (0, _NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_RIGHT_EYE, _LEFT_EYE = BODY.index("right eye"), BODY.index("left eye")
# The parts of a whole body. Source: Jin et al. 2020 (arXiv:2007.11858), COCO-WholeBody.
_FEET, _FACE = slice(17, 23), slice(23, 91)
_LEFT_HAND, _RIGHT_HAND = slice(91, 112), slice(112, 133)
COUNTS = (17, 133)


def person_of(points: Points, *, min_confidence: float) -> Person:
    """The person of COCO's points (17 3) or (133 3): x, y in pixels, and how sure.

    Points below `min_confidence`, and those that a net gives no chance at all, are missing. The
    neck is amid the shoulders and as sure as the less sure one. In a face, pupils are the eyes of
    the body.
    """
    if len(points) not in COUNTS:
        raise ValueError(f"{len(points)} points, not 17 or 133 as in COCO")
    points = np.where(found(points, min_confidence=min_confidence)[:, None], points, 0.0)
    shoulders = points[list(_SHOULDERS)]
    neck = shoulders.mean(0) * (1, 1, 0) + (0, 0, shoulders[:, 2].min())
    neck = np.where(found(shoulders).all(), neck, 0.0)
    body = np.concatenate([points[:_NECK], neck[None]])[list(_OF_BODY)]
    if len(points) == COUNTS[0]:
        return Person(body)
    return Person(
        body, face=np.concatenate([points[_FACE], body[[_RIGHT_EYE, _LEFT_EYE]]]),
        left_hand=points[_LEFT_HAND], right_hand=points[_RIGHT_HAND], feet=points[_FEET],
    )
