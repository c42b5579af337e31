"""From COCO's points to OpenPose's people, by name and beside public code."""

from __future__ import annotations

import numpy as np
import pytest

from controlstack.preprocessors.pose.coco import person_of
from controlstack.preprocessors.pose.keypoints import BODY

# The order of COCO's 17 points as its annotations name them.
COCO = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder",
    "left elbow", "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee",
    "right knee", "left ankle", "right ankle",
)  # fmt: skip


@pytest.fixture
def points() -> np.ndarray:
    """(133 3), no two alike, all surer than 0.5."""
    random = np.random.default_rng(6)
    return np.concatenate([random.uniform(1, 99, (133, 2)), random.uniform(0.5, 1, (133, 1))], 1)


@pytest.mark.parametrize("count", [17, 133])
def test_joints_keep_their_names(points, count):
    body = person_of(points[:count], min_confidence=0.3).body
    for name, point in zip(BODY, body, strict=True):
        if name != "neck":
            assert (point == points[COCO.index(name)]).all(), name
    left, right = points[5], points[6]
    assert body[1].tolist() == pytest.approx(
        [(left[0] + right[0]) / 2, (left[1] + right[1]) / 2, min(left[2], right[2])]
    )


def test_parts_of_a_whole_body(points):
    person = person_of(points, min_confidence=0.3)
    assert (person.feet == points[17:23]).all()
    assert (person.face[:68] == points[23:91]).all()
    assert (person.face[68:] == person.body[[14, 15]]).all()  # right pupil first
    assert (person.left_hand == points[91:112]).all()
    assert (person.right_hand == points[112:]).all()


def test_a_body_has_no_other_parts(points):
    assert person_of(points[:17], min_confidence=0.3).parts().keys() == {"body"}


def test_equals_rtmlib(points):
    post = pytest.importorskip("rtmlib.tools.pose_estimation.post_processings")
    places, scores = post.convert_coco_to_openpose(points[None, :, :2], points[None, :, 2])
    expected = np.concatenate([places[0], scores[0, :, None]], 1)
    person = person_of(points, min_confidence=0.0)
    found = [person.body, person.feet, person.face[:68], person.left_hand, person.right_hand]
    np.testing.assert_allclose(np.concatenate(found), expected)


def test_points_below_the_threshold_are_missing(points):
    points[10:40, 2] = np.linspace(0.1, 0.5, 30)
    person = person_of(points, min_confidence=0.3)
    every = np.concatenate([*person.parts().values()])
    assert ((every[:, 2] == 0) | (every[:, 2] >= 0.3)).all()
    assert (every[every[:, 2] == 0] == 0).all()
    assert (points[10:25, 2] < 0.3).any()
    assert (points[10:25, :2] > 0).all(), "nothing is written into what came in"


@pytest.mark.parametrize("shoulder", [5, 6])
def test_no_neck_without_both_shoulders(points, shoulder):
    points[shoulder, 2] = 0.29
    assert (person_of(points, min_confidence=0.3).body[1] == 0).all()
    assert person_of(points, min_confidence=0.2).body[1, 2] == pytest.approx(0.29)


def test_scores_of_zero_and_less_are_never_points(points):
    points[3, 2], points[4, 2] = 0.0, -0.5
    body = person_of(points, min_confidence=0.0).body
    assert (body[[16, 17]] == 0).all()


def test_other_counts_are_refused(points):
    with pytest.raises(ValueError, match="26 points"):
        person_of(points[:26], min_confidence=0.3)
