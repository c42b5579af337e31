"""Ramps and curves: exact at their points, never beyond them, and multiplying as values do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlstack.controlnet_core.control import (
    EASINGS,
    INTERPOLATIONS,
    Constant,
    Curve,
    Keyframes,
    Ramp,
    Schedule,
    Window,
)
from controlstack.controlnet_core.errors import ControlInputError

few = settings(derandomize=True, deadline=None, max_examples=40)
progress = st.floats(0, 1)
strength = st.floats(-2, 2).map(lambda x: round(x, 3))
points = st.lists(
    st.tuples(st.integers(0, 1000).map(lambda n: n / 1000), strength),
    min_size=1, max_size=8, unique_by=lambda point: point[0],
).map(tuple)  # fmt: skip
easing = st.sampled_from(list(EASINGS))

# comfy_api.input.CurveInput.from_raw(points) of ComfyUI 0.33.0, at 0.05, 0.2, 0.45, 0.8, 0.95
DRAWN = ((0.0, 0.0), (0.1, 0.9), (0.4, 1.0), (0.6, 0.2), (1.0, 0.1))
FROM_THE_HOST = (0.55, 0.9703703704, 0.8819830902, 0.1171383991, 0.1035780275)


def test_monotone_cubic_is_what_the_host_draws() -> None:
    found = [Curve(DRAWN)(t) for t in (0.05, 0.2, 0.45, 0.8, 0.95)]
    assert found == pytest.approx(FROM_THE_HOST, abs=1e-9)


@few
@given(points, progress)
def test_monotone_cubic_stays_between_its_points(given: tuple, t: float) -> None:
    curve, ordered = Curve(given), sorted(given)
    left = max((p for p in ordered if p[0] <= t), default=ordered[0])
    right = min((p for p in ordered if p[0] >= t), default=ordered[-1])
    low, high = sorted((left[1], right[1]))
    assert low - 1e-9 <= curve(t) <= high + 1e-9


@few
@given(points, st.sampled_from(INTERPOLATIONS))
def test_curve_meets_its_points_and_is_level_outside(given: tuple, interpolation: str) -> None:
    curve, ordered = Curve(given, interpolation), sorted(given)
    assert [curve(t) for t, _ in ordered] == [value for _, value in ordered]
    assert (curve(0.0), curve(1.0)) == (ordered[0][1], ordered[-1][1])
    assert curve.knots == tuple(t for t, _ in ordered)
    assert hash(curve) == hash(Curve(tuple(reversed(given)), interpolation))


def test_step_and_linear() -> None:
    step, linear = (Curve(((0.2, 1.0), (0.6, 0.0)), name) for name in ("step", "linear"))
    assert [step(t) for t in (0.0, 0.2, math.nextafter(0.6, 0), 0.6)] == [1.0, 1.0, 1.0, 0.0]
    assert [linear(t) for t in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([1, 1, 0.5, 0, 0])


@few
@given(strength, strength, progress, progress, easing)
def test_ramp_is_exact_at_its_ends(
    first: float, last: float, a: float, b: float, easing: str
) -> None:
    start, end = sorted((a, b))
    ramp = Ramp(first, last, start, end, easing)
    assert ramp(end) == last
    assert ramp(1.0) == last
    if start < end:
        assert ramp(start) == first
        assert ramp(math.nextafter(end, 0)) == pytest.approx(
            first if easing == "hold" else last, abs=1e-3
        ) or end - start < 1e-3
    if start > 0.0:
        assert ramp(0.0) == first


# x = 0, 1/4, 1/2, 3/4, 1 in the formulas of Advanced-ControlNet's interpolation nodes
@pytest.mark.parametrize(("easing", "values"), [
    ("linear", (0.0, 0.25, 0.5, 0.75, 1.0)),
    ("ease-in", (0.0, 0.0625, 0.25, 0.5625, 1.0)),
    ("ease-out", (0.0, 0.4375, 0.75, 0.9375, 1.0)),
    ("ease-in-out", (0.0, 0.1464466, 0.5, 0.8535534, 1.0)),
    ("hold", (0.0, 0.0, 0.0, 0.0, 1.0)),
])  # fmt: skip
def test_easings(easing: str, values: tuple[float, ...]) -> None:
    ramp = Ramp(0.0, 1.0, easing=easing)
    assert [ramp(i / 4) for i in range(5)] == pytest.approx(values, abs=1e-7)


schedules = st.one_of(
    st.builds(Constant, strength),
    st.builds(lambda a, b, v: Window(*sorted((a, b)), v), progress, progress, strength),
    st.builds(lambda f, g, a, b, e: Ramp(f, g, *sorted((a, b)), e),
              strength, strength, progress, progress, easing),
    st.builds(Curve, points, st.sampled_from(INTERPOLATIONS)),
    st.builds(Keyframes, points, strength, easing),
)  # fmt: skip


@few
@given(schedules, schedules, schedules, progress)
def test_a_product_of_schedules_is_the_product_of_their_values(
    a: Schedule, b: Schedule, c: Schedule, t: float
) -> None:
    assert (a * b)(t) == pytest.approx(a(t) * b(t), rel=1e-12)
    assert ((a * b) * c)(t) == pytest.approx((a * (b * c))(t), rel=1e-12)
    assert set((a * b).knots) == {*a.knots, *b.knots}
    assert hash(a * b) == hash(a * b)


@few
@given(schedules, progress, progress)
def test_steady_schedules_never_change(schedule: Schedule, a: float, b: float) -> None:
    assert not schedule.steady or schedule(a) == schedule(b)
    assert not schedule.counts_steps


@pytest.mark.parametrize(("make", "code"), [
    (lambda: Curve(()), "CN-S30"),
    (lambda: Curve(((0.5, 1.0), (0.5, 0.0))), "CN-S31"),
    (lambda: Curve(((0.5, 1.0), (1.5, 0.0))), "CN-S03"),
    (lambda: Curve(((-0.1, 1.0),)), "CN-S03"),
    (lambda: Curve(((math.nan, 1.0),)), "CN-S03"),
    (lambda: Curve(((0.5, math.nan),)), "CN-S05"),
    (lambda: Curve(((0.5, 1.0),), "cubic"), "CN-S33"),
    (lambda: Ramp(math.nan, 1.0), "CN-S05"),
    (lambda: Ramp(1.0, math.inf), "CN-S05"),
    (lambda: Ramp(1.0, 0.0, 0.8, 0.2), "CN-S01"),
    (lambda: Ramp(1.0, 0.0, easing="bounce"), "CN-S33"),
])  # fmt: skip
def test_what_is_no_curve_is_refused(make: object, code: str) -> None:
    with pytest.raises(ControlInputError) as caught:
        make()
    assert caught.value.code == code


def test_unsorted_points_mean_the_sorted_ones() -> None:
    assert Curve(((1.0, 0.0), (0.0, 1.0))) == Curve(((0.0, 1.0), (1.0, 0.0)))
