"""Edited poses: inverses of each other, and pictures that change alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors._sizes import RESIZE_MODES
from controlstack.preprocessors.pose import (
    Person,
    Pose,
    mirror,
    move,
    render,
    resize,
    scale,
    select,
)
from controlstack.preprocessors.pose.drawing import COLORS, LIMBS
from controlstack.preprocessors.pose.keypoints import BODY

JUST, CROP, FILL = RESIZE_MODES


def everything(pose: Pose) -> list[np.ndarray]:
    people = [points for person in pose.people for points in person.parts().values()]
    return [*people, *pose.animals]


def assert_same(pose: Pose, other: Pose) -> None:
    assert (pose.height, pose.width) == (other.height, other.width)
    assert [person.parts().keys() for person in pose.people] == [
        person.parts().keys() for person in other.people
    ]
    for points, others in zip(everything(pose), everything(other), strict=True):
        np.testing.assert_allclose(points, others, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "there_and_back",
    [
        lambda pose: mirror(mirror(pose)),
        lambda pose: move(move(pose, x=17.5, y=-400), x=-17.5, y=400),
        lambda pose: scale(scale(pose, 3.0), 1 / 3.0),
        lambda pose: scale(scale(pose, 0.3, about="each person"), 1 / 0.3, about="each person"),
        lambda pose: resize(resize(pose, height=77, width=901), height=512, width=400),
        lambda pose: resize(
            resize(pose, height=1024, width=900, mode=FILL), height=512, width=400, mode=CROP
        ),
        lambda pose: resize(pose, height=512, width=400, mode=CROP),
        lambda pose: select(pose, {0, 1, 2}),
    ],
)
def test_there_and_back_is_the_same(there_and_back: Callable[[Pose], Pose], pose):
    assert_same(there_and_back(pose), pose)


@pytest.mark.parametrize(
    "change",
    [
        mirror,
        lambda pose: move(pose, x=9, y=8),
        lambda pose: scale(pose, 2.0),
        lambda pose: scale(pose, 2.0, about="each person"),
        lambda pose: resize(pose, height=900, width=100, mode=FILL),
    ],
)
def test_missing_points_stay_missing_and_the_rest_is_finite(change, pose):
    before, after = everything(pose), everything(change(pose))
    for changed in after:
        assert (changed[changed[:, 2] == 0] == 0).all()
    assert sorted(np.concatenate(before)[:, 2]) == sorted(np.concatenate(after)[:, 2])
    for points, changed in zip(before, after, strict=True):
        assert changed.shape == points.shape
    assert any((points != changed).any() for points, changed in zip(before, after, strict=True))
    empty = Pose((Person(np.zeros((18, 3))),), 40, 30)
    assert not everything(change(empty))[0].any()


def test_a_mirrored_pose_is_the_flipped_picture_with_sides_swapped(body, animal):
    """Places are those of the flipped picture; colours are those of the other side."""
    pose = Pose((Person(body),), 512, 512, (animal,))
    flipped, mirrored = render(pose).flip(-1), render(mirror(pose))
    drawn, expected = (hint.amax(0) > 0 for hint in (mirrored, flipped))
    assert (drawn != expected).sum() < 0.1 * expected.sum()  # middles of limbs are rounded down
    wrist = BODY.index("left wrist")
    x, y, _ = mirror(pose).people[0].body[wrist].astype(int)
    assert (x, y) == (511 - 150, 300)  # where the right wrist was
    assert (mirrored[:, y, x] * 255).tolist() == pytest.approx(list(COLORS[wrist]), abs=1e-4)


def test_mirroring_swaps_what_is_called_left_and_right(body):
    order = mirror(Pose((Person(body),), 512, 512)).people[0].body
    for index, name in enumerate(BODY):
        side, _, joint = name.partition(" ")
        other = {"left": f"right {joint}", "right": f"left {joint}"}.get(side, name)
        assert order[index, 1] == body[BODY.index(other), 1]
        assert order[index, 0] == 511 - body[BODY.index(other), 0]


def test_a_symmetric_face_is_its_own_mirror_image():
    """68 points of iBUG's order on a symmetric face; every part of it is checked by place."""
    left = {
        **{i: (-50 + 5 * i, 3 * i) for i in range(8)},  # jaw, of 0..16
        **{17 + i: (-40 + 6 * i, -30 - i) for i in range(5)},  # brow
        31: (-8, 10), 32: (-4, 11),  # nostrils
        36: (-30, -20), 37: (-26, -22), 38: (-22, -22), 39: (-18, -20), 40: (-22, -18),
        41: (-26, -18),  # eye
        48: (-15, 30), 49: (-10, 27), 50: (-5, 25), 59: (-10, 33), 58: (-5, 35),  # outer lips
        60: (-13, 30), 61: (-5, 28), 67: (-5, 32),  # inner lips
        68: (-24, -20),  # pupil
    }  # fmt: skip
    middle = {8: (0, 24), 27: (0, -20), 28: (0, -10), 29: (0, 0), 30: (0, 8), 33: (0, 12),
              51: (0, 26), 57: (0, 36), 62: (0, 28.5), 66: (0, 31.5)}  # fmt: skip
    right = {
        **{16 - i: i for i in range(8)}, **{26 - i: 17 + i for i in range(5)},
        35: 31, 34: 32, 45: 36, 44: 37, 43: 38, 42: 39, 47: 40, 46: 41,
        54: 48, 53: 49, 52: 50, 55: 59, 56: 58, 64: 60, 63: 61, 65: 67, 69: 68,
    }  # fmt: skip
    places = {**left, **middle, **{i: (-left[j][0], left[j][1]) for i, j in right.items()}}
    face = np.array([(100 + places[i][0], 100 + places[i][1], 1.0) for i in range(70)])
    pose = Pose((Person(np.zeros((18, 3)), face=face),), 201, 201)
    assert_same(mirror(pose), pose)


def test_hands_change_sides(hand, nobody):
    pose = Pose((Person(nobody, left_hand=hand),), 512, 512)
    person = mirror(pose).people[0]
    assert person.left_hand is None
    np.testing.assert_array_equal(person.right_hand[:, 0], 511 - hand[:, 0])
    np.testing.assert_array_equal(person.right_hand[:, 1], hand[:, 1])


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_a_resized_pose_lies_on_the_resized_picture(mode, body):
    """Against a picture of the joints that is resized in the same way."""
    from controlstack.preprocessors.hint_resize import resize_hint

    pose = Pose((Person(body),), 512, 512)
    small = resize(pose, height=300, width=400, mode=mode)
    assert (small.height, small.width) == (300, 400)
    picture = resize_hint(render(pose)[None], height=300, width=400, mode=mode)[0]
    for (x, y, _), color in zip(small.people[0].body, COLORS, strict=True):
        if 3 < x < 397 and 3 < y < 297:
            shown = (picture[:, int(y), int(x)] * 255).tolist()
            assert shown == pytest.approx(list(color), abs=1e-3)


def test_scaling_is_about_the_middle(body, animal):
    pose = Pose((Person(body), Person(body * (0.5, 0.5, 1))), 512, 512, (animal,))
    centred = np.array([256, 256, 1.0])
    points = scale(pose, 0.5).people[0].body
    np.testing.assert_allclose(points - centred, (body - centred) * (0.5, 0.5, 1), atol=1e-9)
    for before, after in zip(
        everything(pose), everything(scale(pose, 0.5, about="each person")), strict=True
    ):
        low, high = before.min(0), before.max(0)
        np.testing.assert_allclose(after.min(0)[:2], (low + (high - low) / 4)[:2])
        np.testing.assert_allclose(after.max(0)[:2], (high - (high - low) / 4)[:2])


@pytest.mark.parametrize(("wanted", "people", "animals"), [
    ([], 0, 0), ([1], 1, 0), ([0, 1], 2, 0), ([2], 0, 1), ([7], 0, 0),
])  # fmt: skip
def test_people_are_selected_by_number(wanted, people, animals, pose):
    chosen = select(pose, wanted)
    assert (len(chosen.people), len(chosen.animals)) == (people, animals)
    if wanted == [1]:
        assert chosen.people[0] is pose.people[1]


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), 1e9])
def test_impossible_scales_are_refused(factor, pose):
    with pytest.raises(ControlInputError, match="CN-PARAM"):
        scale(pose, factor)


def test_limbs_join_points_of_one_side(body):
    """Left and right of the tables agree with the names of the points."""
    for first, last in LIMBS:
        sides = {BODY[each].split()[0] for each in (first, last)} & {"left", "right"}
        assert len(sides) <= 1
