"""Schedules as functions of progress, and what is refused."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlstack.controlnet_core.control import (
    Constant,
    Product,
    Window,
    check_range,
    check_strength,
)
from controlstack.controlnet_core.errors import ControlInputError

few = settings(derandomize=True, deadline=None, max_examples=50)
progress = st.floats(0, 1)


@few
@given(st.lists(progress, min_size=1, max_size=5), progress)
def test_windows_that_meet_act_exactly_once(cuts: list[float], t: float) -> None:
    bounds = [0.0, *sorted(cuts), 1.0]
    windows = [Window(a, b) for a, b in pairwise(bounds) if a < b]
    for at in (t, *bounds):
        assert sum(window(at) for window in windows) == 1.0


def test_window_is_half_open_and_closed_at_the_end_of_everything() -> None:
    window = Window(0.25, 0.5, value=2.0)
    before, after = math.nextafter(0.25, 0), math.nextafter(0.5, 0)
    assert [window(t) for t in (before, 0.25, after, 0.5)] == [0.0, 2.0, 2.0, 0.0]
    assert Window(0.25, 1.0)(1.0) == 1.0


@pytest.mark.parametrize("at", [0.0, 0.5])
def test_empty_window_never_acts(at: float) -> None:
    assert [Window(at, at)(t) for t in (0.0, at, 0.7, 1.0)] == [0.0] * 4


@few
@given(progress, progress, st.floats(-2, 2))
def test_schedules_multiply(a: float, t: float, value: float) -> None:
    product = Window(0.0, max(a, 0.1)) * Constant(value)
    assert product(t) == Window(0.0, max(a, 0.1))(t) * value
    assert (product * Constant(0.5))(t) == product(t) * 0.5
    assert product == Product((Window(0.0, max(a, 0.1)), Constant(value)))
    assert hash(product) == hash(Product((Window(0.0, max(a, 0.1)), Constant(value))))


def test_a_product_knows_its_knots_and_whether_it_changes() -> None:
    product = Window(0.25, 0.75) * (Window(0.0, 0.5) * Constant(2.0))
    assert product.knots == (0.0, 0.25, 0.5, 0.75)
    assert not product.steady
    assert (Constant(2.0) * Constant(0.5)).steady


@pytest.mark.parametrize(
    ("start", "end", "code"),
    [
        (0.8, 0.2, "CN-S01"), (-0.1, 0.5, "CN-S03"), (0.0, 1.5, "CN-S03"), (-1.0, 2.0, "CN-S03"),
        (math.nan, 1.0, "CN-S03"), (0.0, math.nan, "CN-S03"), (0.0, math.inf, "CN-S03"),
        (-math.inf, 1.0, "CN-S03"),
    ],
)  # fmt: skip
def test_range_that_is_none_is_refused(start: float, end: float, code: str) -> None:
    for make in (lambda: check_range(start, end, where="Apply"), lambda: Window(start, end)):
        with pytest.raises(ControlInputError) as caught:
            make()
        assert caught.value.code == code
        assert f"{start:g}" in caught.value.found
        assert f"{end:g}" in caught.value.found


@pytest.mark.parametrize("strength", [math.nan, math.inf, -math.inf, 1e30, -1e30, 1.01e4])
def test_strength_that_drowns_the_picture_is_refused(strength: float) -> None:
    with pytest.raises(ControlInputError) as caught:
        check_strength(strength, where="Apply")
    assert (caught.value.code, caught.value.where) == ("CN-S05", "Apply")
    assert str(strength) in caught.value.found


@pytest.mark.parametrize("strength", [0.0, -0.0, 1e-320, 1e-30, -1.0, 1.0, 10.0, 1e4])
def test_finite_strength_is_accepted(strength: float) -> None:
    check_strength(strength, where="Apply")
    check_range(0.0, 1.0, where="Apply")
