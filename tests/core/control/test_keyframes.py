"""Keyframes, lists by step, and which step a noise level belongs to."""

from __future__ import annotations

import math

import pytest

from controlstack.controlnet_core.control import (
    Keyframes,
    Moment,
    Progress,
    Steps,
    StrengthList,
    Window,
    spread,
)
from controlstack.controlnet_core.errors import ControlInputError


def test_a_keyframe_acts_from_its_percent_on() -> None:
    frames = Keyframes(((0.6, 0.2), (0.3, 0.5)), before=0.9)
    before = math.nextafter(0.3, 0), math.nextafter(0.6, 0)
    assert [frames(t) for t in (0.0, before[0], 0.3, before[1], 0.6, 1.0)] == [
        0.9, 0.9, 0.5, 0.5, 0.2, 0.2,
    ]  # fmt: skip
    assert frames.knots == (0.3, 0.6)
    assert not frames.steady
    assert Keyframes(((0.3, 1.0),)).steady


def test_a_sampler_that_goes_back_gets_its_keyframe_back() -> None:
    frames = Keyframes(((0.0, 1.0), (0.5, 0.1)))
    assert [frames(t) for t in (0.4, 0.6, 0.4)] == [1.0, 0.1, 1.0]


def test_keyframes_ease_to_the_next() -> None:
    frames = Keyframes(((0.2, 1.0), (0.6, 0.0)), between="linear")
    assert [frames(t) for t in (0.1, 0.2, 0.4, 0.6, 0.9)] == pytest.approx([1, 1, 0.5, 0, 0])


def test_ten_thousand_keyframes_are_met_exactly() -> None:
    frames = Keyframes(tuple((i / 10_000, i % 7 / 7) for i in range(10_000)))
    progress = Progress(lambda percent: 2.0 - percent, frames.knots)
    assert all(frames(progress(2.0 - i / 10_000)) == i % 7 / 7 for i in range(1, 10_000, 997))


@pytest.mark.parametrize(("make", "code"), [
    (lambda: Keyframes(()), "CN-S30"),
    (lambda: Keyframes(((0.1, 1.0), (0.1, 0.5))), "CN-S31"),
    (lambda: Keyframes(((1.5, 1.0),)), "CN-S03"),
    (lambda: Keyframes(((0.1, math.nan),)), "CN-S05"),
    (lambda: Keyframes(((0.1, 1.0),), before=math.inf), "CN-S05"),
    (lambda: Keyframes(((0.1, 1.0),), between="jump"), "CN-S33"),
    (lambda: StrengthList(()), "CN-S30"),
    (lambda: StrengthList((1.0, math.nan)), "CN-S05"),
    (lambda: spread(()), "CN-S30"),
    (lambda: spread((1.0,), 0.5, 0.2), "CN-S01"),
    (lambda: spread((1.0, 0.5), 0.5, 0.5), "CN-S31"),
    (lambda: StrengthList((1.0, 0.5))(0.3), "CN-S35"),
    (lambda: Steps([1.0]), "CN-S34"),
])  # fmt: skip
def test_what_is_no_schedule_is_refused(make: object, code: str) -> None:
    with pytest.raises(ControlInputError) as caught:
        make()
    assert caught.value.code == code


def test_a_list_is_one_strength_for_each_step() -> None:
    steps, listed = Steps([14.6, 8.0, 3.0, 1.0, 0.0]), StrengthList((1.0, 0.5, 0.0))
    found = [listed(steps.moment(0.0, sigma)) for sigma in (14.6, 8.0, 3.0, 1.0)]
    assert found == [1.0, 0.5, 0.0, 0.0]  # the last one is kept
    assert StrengthList((1.0,) * 9 + (5.0,))(steps.moment(0.0, 1.0)) == 1.0  # left over: not used
    assert listed.counts_steps
    assert (Window(0.0, 0.5) * listed).counts_steps
    assert not StrengthList((0.5, 0.5)).counts_steps
    assert StrengthList((0.5, 0.5))(0.3) == 0.5


def test_calls_between_steps_belong_to_the_nearest() -> None:
    """Midpoints of second-order samplers, noise that was raised a little, levels below the last."""
    steps = Steps([10.0, 4.0, 4.0, 2.0, 0.0])
    assert [steps.index(sigma) for sigma in (11.0, 10.4, 8.0, 6.0, 4.0, 2.2, 0.5)] == [
        0, 0, 0, 1, 1, 3, 3,
    ]  # fmt: skip
    assert steps.count == 4


def test_a_moment_is_its_progress() -> None:
    moment = Moment(0.25, 3, 20)
    assert (moment, moment.step, moment.steps) == (0.25, 3, 20)
    assert Window(0.25, 0.5)(moment) == 1.0


@pytest.mark.parametrize(("between", "expected"), [
    ("hold", (1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0)),
    ("linear", (1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0)),
])  # fmt: skip
def test_a_list_spread_over_a_range(between: str, expected: tuple[float, ...]) -> None:
    listed = spread((1.0, 0.5, 0.0), 0.2, 0.8, between=between)
    at = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
    assert [listed(t) for t in at] == pytest.approx(expected, abs=1e-9)
