"""Strengths for the pictures of a batch, and lists and schedules as text."""

from __future__ import annotations

import math

import pytest

from controlstack.controlnet_core.control import (
    BatchStrengths,
    ControlSpec,
    Rows,
    Span,
    parse_batch,
    parse_numbers,
    parse_points,
)
from controlstack.controlnet_core.errors import ControlInputError


@pytest.mark.parametrize(("text", "row"), [
    ("0", (1, 0, 0, 0, 0)),
    ("0, 2=0.5, -1 = .25", (1, 0, 0.5, 0, 0.25)),
    ("1-3=0.5", (0, 0.5, 0.5, 0.5, 0)),
    ("0--1=1..0", (1, 0.75, 0.5, 0.25, 0)),
    ("-3--1", (0, 0, 1, 1, 1)),
    ("-3 - -1 = 2", (0, 0, 2, 2, 2)),
    ("0-4=0.4, 3=1.0", (0.4, 0.4, 0.4, 1, 0.4)),  # W14: the later entry wins, always
    ("3=1.0, 0-4=0.4", (0.4,) * 5),
    ("-1=1, 4=0.5", (0, 0, 0, 0, 0.5)),  # W24: two names of one picture
    ("0\n1;2", (1, 1, 1, 0, 0)),
    ("2-2=0.5..1", (0, 0, 0.5, 0, 0)),
    ("", (0,) * 5),
    # Groups of Advanced-ControlNet: ends are left out.
    ("0:3", (1, 1, 1, 0, 0)),
    ("1:3=0.5, 4", (0, 0.5, 0.5, 0, 1)),
    ("0 : -1 = .5", (0.5, 0.5, 0.5, 0.5, 0)),
    ("-4:-2=2", (0, 2, 2, 0, 0)),
    ("-2:0", (0, 0, 0, 1, 1)),
    ("2:2=1", (0,) * 5),
    ("0:5=0..1", (0, 0.25, 0.5, 0.75, 1)),
    ("0:5=0.4, 3=1.0", (0.4, 0.4, 0.4, 1, 0.4)),
])  # fmt: skip
def test_strengths_by_index_range_and_fade(text: str, row: tuple[float, ...]) -> None:
    assert parse_batch(text).row(5) == pytest.approx(row)


def test_a_fade_may_be_eased_and_fits_every_batch() -> None:
    fade = parse_batch("0--1=0..1", easing="ease-in")
    assert fade.row(3) == (0.0, 0.25, 1.0)
    assert fade.row(1) == (0.0,)
    assert ControlSpec(items=(fade,)).row_strengths(Rows(3, 2)) == (0.0, 0.25, 1.0) * 2


def test_of_all_that_is_said_of_a_picture_the_last_counts() -> None:
    first = BatchStrengths(((0, 1.0), Span(1, 3, 0.5, 0.5)), rest=0.1)
    both = first.then((-1, 0.8), (2, 0.3), rest=0.2)
    assert first.row(5) == (1.0, 0.5, 0.5, 0.5, 0.1)
    assert both.row(5) == (1.0, 0.5, 0.3, 0.5, 0.8)
    assert both.row(6) == (1.0, 0.5, 0.3, 0.5, 0.2, 0.8)


@pytest.mark.parametrize(("make", "code"), [
    (lambda: parse_batch("5").row(5), "CN-S18"),
    (lambda: parse_batch("-6").row(5), "CN-S18"),
    (lambda: parse_batch("3-5").row(5), "CN-S18"),
    (lambda: parse_batch("3-1").row(5), "CN-S36"),
    (lambda: parse_batch("-1-0").row(5), "CN-S36"),
    (lambda: parse_batch("3:1").row(5), "CN-S36"),
    (lambda: parse_batch("0:6").row(5), "CN-S18"),
    (lambda: parse_batch("one=1"), "CN-S32"),
    (lambda: parse_batch("3: 0.5"), "CN-S32"),
    (lambda: parse_batch("0:"), "CN-S32"),
    (lambda: parse_batch("0=nan"), "CN-S32"),
    (lambda: parse_batch("0.5=1"), "CN-S32"),
    (lambda: BatchStrengths(((0, math.nan),)), "CN-S05"),
    (lambda: BatchStrengths((Span(0, 1, 1.0, math.inf),)), "CN-S05"),
    (lambda: BatchStrengths((), rest=math.nan), "CN-S05"),
    (lambda: parse_numbers("1, x", where="list"), "CN-S32"),
    (lambda: parse_numbers("1, nan", where="list"), "CN-S32"),
    (lambda: parse_points("0.5", where="points"), "CN-S32"),
    (lambda: parse_points("a: 1", where="points"), "CN-S32"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(make: object, code: str) -> None:
    with pytest.raises(ControlInputError) as caught:
        make()
    assert caught.value.code == code


def test_numbers_and_points_as_people_write_them() -> None:
    assert parse_numbers(" 1, .8 0.5;\n-1e-1,", where="list") == (1.0, 0.8, 0.5, -0.1)
    assert parse_numbers("", where="list") == ()
    assert parse_points("0: 1, 50%=.5\n1 : 0", where="points") == ((0, 1), (0.5, 0.5), (1, 0))
