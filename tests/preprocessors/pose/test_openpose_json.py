"""The JSON of poses: written and read back, in the forms of other tools, and what is no pose."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors.pose import Person, Pose, parse, read, write


def flat(count: int, start: float = 10.0, confidence: float = 1.0) -> list[float]:
    return [each for i in range(count) for each in (start + i, start + 2.5 * i, confidence)]


@pytest.fixture
def frame() -> dict:
    """A frame as detectors write it: a missing joint, one hand, no face."""
    body = flat(18)
    body[9:12] = [0.0, 0.0, 0.0]
    return {
        "people": [
            {
                "pose_keypoints_2d": body,
                "face_keypoints_2d": None,
                "hand_left_keypoints_2d": flat(21, 40.0),
                "hand_right_keypoints_2d": None,
            },
            {
                "pose_keypoints_2d": flat(18, 33.3, confidence=0.43),
                "face_keypoints_2d": flat(70),
                "hand_left_keypoints_2d": None,
                "hand_right_keypoints_2d": flat(21),
            },
        ],
        "canvas_height": 512,
        "canvas_width": 768,
    }


def normalised(frame: dict) -> dict:
    def divided(part: list[float] | None) -> list[float] | None:
        size = (frame["canvas_width"], frame["canvas_height"], 1)
        return part and [each / size[i % 3] for i, each in enumerate(part)]

    people = [{key: divided(part) for key, part in each.items()} for each in frame["people"]]
    return {**frame, "people": people}


def test_written_is_what_was_read(frame):
    other = {**copy.deepcopy(frame), "people": [], "canvas_height": 64}
    frames = [frame, other]
    before = copy.deepcopy(frames)
    assert write(parse(frames)) == frames == before
    assert write(parse(read(json.dumps(frames)))) == frames


def test_animals_and_feet_are_kept(frame):
    frame["people"][0]["foot_keypoints_2d"] = flat(6)
    frame["animals"] = [flat(17), flat(17, 99.5, 0.2)]
    assert write(parse([frame])) == [frame]


def test_normalised_is_known_by_its_numbers(frame):
    small = normalised(frame)
    [pose], [same] = parse([small]), parse([small], coordinates="normalised")
    expected = parse([frame])[0].people
    for people in (pose.people, same.people):
        for person, other in zip(people, expected, strict=True):
            for name, points in person.parts().items():
                np.testing.assert_allclose(points, other.parts()[name], rtol=0, atol=1e-9)
    assert parse([small], coordinates="pixels")[0].people[1].body[:, :2].max() <= 1
    [again] = write([pose], normalised=True)
    for person, other in zip(again["people"], small["people"], strict=True):
        assert person["pose_keypoints_2d"] == pytest.approx(other["pose_keypoints_2d"], abs=1e-12)


def test_each_part_is_tested_for_itself(frame):
    """Tools mix them: a body in pixels with hands in 0..1."""
    hand = normalised(frame)["people"][0]["hand_left_keypoints_2d"]
    expected = parse([frame])[0].people[0].left_hand
    frame["people"][0]["hand_left_keypoints_2d"] = hand
    np.testing.assert_allclose(parse([frame])[0].people[0].left_hand, expected)


def test_a_missing_joint_does_not_hide_that_a_part_is_normalised(frame):
    small = normalised(frame)
    small["people"][0]["pose_keypoints_2d"][9:12] = [5000.0, 5000.0, 0.0]  # missing, with a place
    found = parse([small])[0].people[0].body
    np.testing.assert_allclose(found[0, :2], (10.0, 10.0))


def test_other_forms_are_read_alike(frame):
    expected = parse([frame])[0].people
    nested = copy.deepcopy(frame)
    for person in nested["people"]:
        for key, part in person.items():
            person[key] = part and np.reshape(part, (-1, 3)).tolist()
    bare = copy.deepcopy(frame)
    for person in bare["people"]:
        for key in [key for key, part in person.items() if part is None]:
            del person[key]
        person |= {"face_keypoints_2d": person.get("face_keypoints_2d", [])}
    for form in (nested, bare, [frame], (frame,), [{**frame, "canvas_height": 512.0}], frame):
        for person, other in zip(parse(form)[0].people, expected, strict=True):
            assert person.parts().keys() == other.parts().keys()
            for name, points in person.parts().items():
                np.testing.assert_array_equal(points, other.parts()[name])


def test_animals_of_both_tools_are_read_alike():
    nested = {
        "version": "ap10k", "animals": [np.reshape(flat(17), (17, 3)).tolist()],
        "canvas_height": 300, "canvas_width": 400,
    }  # fmt: skip
    flat_ones = {"people": [], "animals": [flat(17)], "canvas_height": 300, "canvas_width": 400}
    [one], [other] = parse([nested]), parse([flat_ones])
    np.testing.assert_array_equal(one.animals[0], other.animals[0])
    assert write([one]) == [flat_ones]


def test_a_person_without_a_body_has_a_missing_one(frame):
    frame["people"][0]["pose_keypoints_2d"] = None
    person = parse([frame])[0].people[0]
    assert not person.body.any()
    assert person.left_hand is not None


def test_bodies_of_25_points_lose_hip_and_feet(frame):
    frame["people"][0]["pose_keypoints_2d"] = flat(25)
    body = parse([frame])[0].people[0].body
    np.testing.assert_array_equal(body[:, 0] - 10, [*range(8), *range(9, 19)])


def test_short_faces_are_filled_up(frame):
    frame["people"][1]["face_keypoints_2d"] = flat(68)
    face = parse([frame])[0].people[1].face
    assert face.shape == (70, 3)
    assert (face[68:] == 0).all()
    assert (face[:68, 2] == 1).all()


def test_the_mark_of_lost_points_is_missing(frame):
    """(-1, -1) pixels, as -1/768 and -1/512: a detector's way to say that there is nothing."""
    hand = normalised(frame)["people"][0]["hand_left_keypoints_2d"]
    hand[6:9] = [-1 / 768, -1 / 512, 1.0]
    frame["people"][0]["hand_left_keypoints_2d"] = hand
    points = parse([frame])[0].people[0].left_hand
    assert (points[2] == 0).all()
    assert (np.delete(points, 2, axis=0)[:, 2] == 1).all()


def test_whole_gives_absent_parts_as_missing_points(frame):
    [found] = write(parse([frame]), whole=True)
    assert found["people"][0]["face_keypoints_2d"] == [0.0] * 210
    assert found["people"][0]["hand_right_keypoints_2d"] == [0.0] * 63
    for person, other in zip(parse([found])[0].people, parse([frame])[0].people, strict=True):
        assert np.array_equal(person.body, other.body)


PERSON = ("people", 1)


@pytest.mark.parametrize(
    ("path", "value", "code", "words"),
    [
        ((*PERSON, "face_keypoints_2d"), flat(71), "CN-P03", "frame 1, person 1, face_keyp.*71"),
        ((*PERSON, "pose_keypoints_2d"), flat(17), "CN-P03", "frame 1, person 1, pose_keypoints"),
        ((*PERSON, "hand_left_keypoints_2d"), flat(20), "CN-P03", "20 points; expected 21"),
        ((*PERSON, "hand_left_keypoints_2d"), flat(21)[:-1], "CN-P04", "person 1.*62"),
        ((*PERSON, "pose_keypoints_2d"), ["a"] * 54, "CN-P04", "person 1.*numbers"),
        ((*PERSON, "pose_keypoints_2d"), [None] * 54, "CN-P04", "person 1.*null"),
        ((*PERSON, "pose_keypoints_2d"), [float("inf")] * 54, "CN-P04", "infinite"),
        ((*PERSON, "pose_keypoints_2d"), [10**400] * 54, "CN-P04", "numbers"),
        ((*PERSON, "pose_keypoints_2d"), [[1, 2]] * 27, "CN-P04", r"\(27, 2\)"),
        ((*PERSON, "pose_keypoints_2d"), {"x": 1}, "CN-P04", "person 1"),
        (PERSON, None, "CN-P02", "frame 1, person 1: found NoneType"),
        (PERSON, [1, 2], "CN-P02", "frame 1, person 1: found list"),
        (("people",), 3, "CN-P02", "frame 1, people: found int"),
        (("people",), None, "CN-P02", "frame 1: found neither people nor animals"),
        (("animals",), [flat(16)], "CN-P03", "frame 1, animal 0"),
        (("canvas_width",), None, "CN-P05", "frame 1, canvas_width"),
        (("canvas_height",), 0, "CN-P05", "frame 1, canvas_height: found 0"),
        (("canvas_height",), "512", "CN-P05", "canvas_height"),
        (("canvas_height",), float("nan"), "CN-P05", "canvas_height"),
    ],
)
def test_what_is_wrong_is_named_with_its_frame_and_person(frame, path, value, code, words):
    broken = copy.deepcopy(frame)
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ControlInputError, match=words) as caught:
        parse([frame, broken])
    assert caught.value.code == code


@pytest.mark.parametrize("frames", [None, [], "text", 3, [None], [[]], {}])
def test_what_is_no_pose_is_refused(frames):
    with pytest.raises(ControlInputError, match="CN-P02"):
        parse(frames)


@pytest.mark.parametrize("text", ["", "{", "[1, 2", "<html>", "[" * 100_000])
def test_text_that_is_no_json_is_refused(text):
    with pytest.raises(ControlInputError, match="CN-P01"):
        read(text)


def test_unknown_coordinates_are_refused(frame):
    with pytest.raises(ControlInputError, match=r"CN-PARAM.*metres"):
        parse([frame], coordinates="metres")


def test_parts_have_their_number_of_points():
    with pytest.raises(ControlInputError, match=r"CN-P03.*\(17, 3\).*\(18, 3\)"):
        Person(np.zeros((17, 3)))
    with pytest.raises(ControlInputError, match=r"CN-P03.*left hand"):
        Person(np.zeros((18, 3)), left_hand=np.zeros((21, 2)))
    with pytest.raises(ControlInputError, match=r"CN-P03.*animal"):
        Pose((), 10, 10, (np.zeros((18, 3)),))
    with pytest.raises(ControlInputError, match=r"CN-P05.*0 x 10"):
        Pose((), 10, 0)
