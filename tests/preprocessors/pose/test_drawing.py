"""Drawn poses: known checksums, and what is drawn of whom."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors.pose import Person, Pose, parse, render, resize, select, write
from controlstack.preprocessors.pose.drawing import COLORS


def crc(hint: Tensor) -> str:
    levels = (hint * 255).round().byte().movedim(0, -1).contiguous()
    return f"{zlib.crc32(levels.numpy().tobytes()):08x}"


def alone(body, side: int = 512, **parts) -> Pose:
    return Pose((Person(body, **parts),), side, side)


def test_a_body_has_the_known_checksum(body):
    assert crc(render(alone(body))) == "3704760e"
    [pose] = parse(write([alone(body)], normalised=True))
    assert crc(render(pose)) == "3704760e"


def test_a_body_without_a_wrist_and_an_ear_has_the_known_checksum(body):
    body[[4, 17]] = 0
    assert crc(render(alone(body))) == "0aeed14f"


def test_xinsir_widths_have_the_known_checksums(body):
    assert crc(render(alone(body), sticks="xinsir")) == "4699d31c"
    assert crc(render(alone(body * (3, 3, 1), side=1536), sticks="xinsir")) == "1b8d6556"


def test_hand_and_face_have_the_known_checksums(nobody, body, hand, face):
    assert crc(render(alone(nobody, left_hand=hand))) == "85ec2bc9"
    assert crc(render(alone(nobody, right_hand=hand))) == "85ec2bc9"
    assert crc(render(alone(nobody, face=face))) == "5a7f44f4"
    assert crc(render(alone(body, left_hand=hand, face=face))) == "fee817db"


def test_an_animal_has_the_known_checksum(animal):
    assert crc(render(Pose((), 512, 512, (animal,)))) == "cd81fe05"


@pytest.mark.parametrize(
    ("side", "times"), [(499, 1), (500, 2), (999, 2), (1000, 3), (2000, 4), (4999, 6), (5000, 7)]
)
def test_xinsir_widens_limbs_with_the_canvas(side, times, nobody):
    """Measured across the middle of a limb, away from its joints."""
    nobody[[1, 2]] = (10, 40, 1), (210, 40, 1)
    pose = Pose((Person(nobody),), 80, side)
    column = render(pose, sticks="xinsir")[0, :, 110]
    assert (column > 0).sum() == 8 * times + 1
    assert (render(pose)[0, :, 110] > 0).sum() == 9


def test_every_joint_has_its_colour(nobody):
    for joint, color in enumerate(COLORS):
        body = nobody.copy()
        body[joint] = (20, 30, 1)
        hint = render(alone(body, side=64))
        assert (hint[:, 30, 20] * 255).tolist() == pytest.approx(list(color), abs=1e-4)
        assert (hint.amax(0) > 0).sum() == 49  # of radius 4, and no limb


def test_parts_can_be_left_out(pose, hand):
    people = replace(pose, animals=())
    black = render(people, body=False, hands=False, face=False)
    assert black.shape == (3, 512, 400)
    assert black.max() == 0
    drawn = {
        part: render(people, **{each: each == part for each in ("body", "hands", "face")})
        for part in ("body", "hands", "face")
    }
    assert all(hint.max() > 0.5 for hint in drawn.values())
    assert torch.equal((sum(drawn.values()) > 0).any(0), (render(people) > 0).any(0))


def test_everybody_is_drawn_in_order(pose):
    first, second = (replace(select(pose, [each]), animals=()) for each in (0, 1))
    both = render(replace(pose, animals=()))
    over = render(second)
    drawn = (over > 0).any(0)
    assert torch.equal(both[:, drawn], over[:, drawn])
    assert torch.equal(both[:, ~drawn], render(first)[:, ~drawn])


def test_points_below_the_confidence_are_missing(body):
    body[:, 2] = 0.8
    body[[4, 17], 2] = 0.2
    lost = body.copy()
    lost[[4, 17]] = 0
    assert torch.equal(render(alone(body), min_confidence=0.3), render(alone(lost)))
    assert not torch.equal(render(alone(body), min_confidence=0.2), render(alone(lost)))
    assert render(alone(body), min_confidence=0.81).max() == 0


def test_lost_points_of_hands_and_faces_are_not_drawn(nobody, hand, face):
    hand[:, 0] = 0.9
    face[:, 1] = -3
    assert render(alone(nobody, left_hand=hand, face=face)).max() == 0


def test_far_away_points_cost_nothing_and_break_nothing(body):
    for far in (1e300, -1e300, 1e7):
        body[4, :2] = far
        assert torch.isfinite(render(alone(body))).all()


def test_a_drawing_on_a_larger_canvas_has_the_same_joints(body):
    large = render(resize(alone(body), height=1024, width=1024))
    for (x, y, _), color in zip(body.astype(int), COLORS, strict=True):
        assert (large[:, 2 * y, 2 * x] * 255).tolist() == pytest.approx(list(color), abs=1e-4)


def test_what_cannot_be_drawn_is_refused(pose):
    with pytest.raises(ControlInputError, match="CN-I21"):
        render(replace(pose, height=60000, width=60000))
    with pytest.raises(ControlInputError, match=r"CN-PARAM.*thick"):
        render(pose, sticks="thick")


def test_the_pose_is_untouched(pose):
    before = [points.copy() for points in pose.people[0].parts().values()]
    render(pose).fill_(7)
    for points, kept in zip(pose.people[0].parts().values(), before, strict=True):
        assert np.array_equal(points, kept)
