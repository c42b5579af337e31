"""Keyframes that change weights, masks and pictures, and what they inherit."""

from __future__ import annotations

import copy
import math
from itertools import permutations

import pytest
import torch

from controlstack.controlnet_core.control import (
    BatchStrengths,
    ControlSpec,
    Rows,
    Soft,
    Uniform,
    Window,
)
from controlstack.controlnet_core.control.timeline import (
    Keyframe,
    KeyframeTimeline,
    with_keyframes,
)
from controlstack.controlnet_core.errors import ControlInputError

MASK = torch.eye(4)[None, None]
HALVED = ControlSpec(weights=Uniform(0.5), uncond_strength=0.25)
FIRST = ControlSpec(items=(BatchStrengths(((0, 1.0),)),))


def weight(spec: ControlSpec, t: float) -> float:
    return spec.at(t).weights("output", 0, 4, 1.0)


def row(spec: ControlSpec, t: float) -> tuple[float, ...]:
    return spec.at(t).row_strengths(Rows(2, 2, (False, True)))


def test_before_the_first_keyframe_the_control_acts_fully() -> None:
    spec = with_keyframes(None, Keyframe(0.5, 0.3))
    assert [spec.gain(t) for t in (0.0, math.nextafter(0.5, 0), 0.5, 1.0)] == [1.0, 1.0, 0.3, 0.3]
    assert spec.knots == (0.5,)


def test_a_keyframe_takes_over_what_it_does_not_give() -> None:
    spec = with_keyframes(
        None,
        Keyframe(0.0, 0.9, weights=HALVED, pictures=FIRST, mask=MASK),
        Keyframe(0.25, 0.8),
        Keyframe(0.5, 0.7, weights=ControlSpec(weights=Uniform(0.1)), inherit=False),
        Keyframe(0.75, 0.6, pictures=FIRST),
    )
    assert [spec.gain(t) for t in (0.0, 0.25, 0.5, 0.75)] == [0.9, 0.8, 0.7, 0.6]
    assert [weight(spec, t) for t in (0.0, 0.25, 0.5, 0.75)] == [0.5, 0.5, 0.1, 0.1]
    assert [len(spec.at(t).masks) for t in (0.0, 0.25, 0.5, 0.75)] == [1, 1, 0, 0]
    assert row(spec, 0.3) == (1.0, 0.0, 0.25, 0.0)
    assert row(spec, 0.5) == (1.0,) * 4
    assert row(spec, 0.75) == (1.0, 0.0) * 2


def test_the_order_in_which_they_are_added_does_not_matter() -> None:
    frames = (
        Keyframe(0.6, 0.2), Keyframe(0.3, 0.5, weights=HALVED), Keyframe(0.0, 0.9, mask=MASK),
    )  # fmt: skip
    for order in permutations(frames):
        spec = None
        for frame in order:
            spec = with_keyframes(spec, frame)
        assert [start for start, _ in spec.timelines[0]] == [0.0, 0.3, 0.6]
        assert [weight(spec, t) for t in (0.0, 0.3, 0.6)] == [1.0, 0.5, 0.5]
        assert [len(spec.at(t).masks) for t in (0.0, 0.3, 0.6)] == [1, 1, 1]


def test_of_two_at_one_percent_the_later_wins_and_inherits() -> None:
    spec = with_keyframes(None, Keyframe(0.2, 0.9, weights=HALVED), Keyframe(0.2, 0.4))
    assert [start for start, _ in spec.timelines[0]] == [0.2]
    assert (spec.gain(0.2), weight(spec, 0.2)) == (0.4, 0.5)


def test_strength_of_the_rest_is_the_keyframes_own() -> None:
    """Also where the pictures are inherited, as Advanced-ControlNet's null strength."""
    spec = with_keyframes(
        None, Keyframe(0.0, pictures=FIRST), Keyframe(0.3, rest=0.5), Keyframe(0.6)
    )
    assert [row(spec, t)[:2] for t in (0.0, 0.3, 0.6)] == [(1.0, 0.0), (1.0, 0.5), (1.0, 0.0)]
    bare = with_keyframes(None, Keyframe(0.0, rest=0.5))
    assert row(bare, 0.0) == (1.0,) * 4


def test_other_timelines_are_left_alone() -> None:
    foreign = (((0.5, ControlSpec(0.5)),),)
    spec = with_keyframes(ControlSpec(0.5, timelines=foreign), Keyframe(0.0, 0.8))
    assert len(spec.timelines) == 2
    spec = with_keyframes(spec * ControlSpec(schedule=Window(0.0, 0.9)), Keyframe(0.7, 0.4))
    assert len(spec.timelines) == 2
    assert isinstance(spec.timelines[1], KeyframeTimeline)
    assert [spec.gain(t) for t in (0.0, 0.5, 0.7, 0.9)] == pytest.approx([0.4, 0.2, 0.1, 0.0])


def test_the_spec_before_is_not_changed() -> None:
    before = with_keyframes(None, Keyframe(0.0, 0.5))
    with_keyframes(before, Keyframe(0.5, 0.1))
    assert before.gain(0.9) == 0.5


def test_a_copy_is_a_timeline_of_keyframes_too() -> None:
    """The host copies conditionings deeply in places."""
    spec = with_keyframes(None, Keyframe(0.3, 0.5, weights=HALVED), Keyframe(0.6, 0.2))
    found = copy.deepcopy(spec)
    assert isinstance(found.timelines[0], KeyframeTimeline)
    found = with_keyframes(found, Keyframe(0.8, 0.1))
    assert [found.gain(t) for t in (0.3, 0.6, 0.8)] == [0.5, 0.2, 0.1]
    assert weight(found, 0.8) == 0.5


def test_a_keyframe_may_hold_a_schedule_of_its_own() -> None:
    soft = ControlSpec(weights=Soft(), schedule=Window(0.0, 0.5))
    spec = with_keyframes(None, Keyframe(0.25, 2.0, weights=soft))
    assert [spec.gain(t) for t in (0.0, 0.25, 0.5)] == [1.0, 2.0, 0.0]
    assert set(spec.knots) == {0.25, 0.0, 0.5}


@pytest.mark.parametrize(("values", "code"), [
    ((1.1, 1.0), "CN-S03"), ((-0.1, 1.0), "CN-S03"), ((math.nan, 1.0), "CN-S03"),
    ((0.1, math.inf), "CN-S05"),
])  # fmt: skip
def test_what_is_no_keyframe_is_refused(values: tuple[float, float], code: str) -> None:
    with pytest.raises(ControlInputError) as caught:
        Keyframe(*values)
    assert caught.value.code == code
