"""Schedules and lists as text: what people type into a node."""

from __future__ import annotations

import re

from ..errors import ControlInputError
from .batch import BatchStrengths, Span, up_to
from .curve import Points

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_POINT = re.compile(rf"({_NUMBER})(%?)\s*[:=]\s*({_NUMBER})")
_STRENGTHS = rf"(?:\s*=\s*({_NUMBER})(?:\s*\.\.\s*({_NUMBER}))?)?"
_SPAN = re.compile(rf"(-?\d+)(?:\s*-\s*(-?\d+))?{_STRENGTHS}")
_SLICE = re.compile(rf"(-?\d+)\s*:\s*(-?\d+){_STRENGTHS}")


def parse_numbers(text: str, *, where: str) -> tuple[float, ...]:
    """`1, 0.8 0.5` -> (1.0, 0.8, 0.5): numbers with commas, spaces or line breaks between them."""
    words = re.split(r"[\s,;]+", text.strip(" \t\r\n,;"))
    return tuple(_number(word, where=where) for word in words if word)


def parse_points(text: str, *, where: str) -> Points:
    """`0: 1, 50%: 0.3` -> ((0.0, 1.0), (0.5, 0.3)): a progress and a strength for each point."""
    return tuple(_point(part, where=where) for part in _parts(text))


def parse_batch(text: str, *, rest: float = 0.0, easing: str = "linear") -> BatchStrengths:
    """`0, 2-5=0.5, 6--1=1..0` -> strengths by index in the batch; without `=` a strength of 1.

    `2-5` is a range, its end included; `2:6` the same with its end left out, as slices of Python
    and the groups of Advanced-ControlNet have it; -1 is the last picture; `1..0` goes from the
    first strength to the second over the range.
    """
    spans = (span for part in _parts(text) for span in _spans(part, easing))
    return BatchStrengths(tuple(spans), rest)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]


def _number(word: str, *, where: str) -> float:
    if re.fullmatch(_NUMBER, word) is None:
        raise _unreadable(word, where, expected="numbers such as 1, 0.8, 0.5")
    return float(word)


def _point(part: str, *, where: str) -> tuple[float, float]:
    if (found := _POINT.fullmatch(part)) is None:
        raise _unreadable(part, where, expected="percent: strength, such as 0.5: 0.8")
    percent, sign, strength = found.groups()
    return float(percent) / (100.0 if sign else 1.0), float(strength)


def _spans(part: str, easing: str) -> tuple[Span, ...]:
    if found := _SLICE.fullmatch(part):
        first, end = int(found[1]), int(found[2])
        return up_to(first, end, *_strengths(found[3], found[4]), easing)
    if found := _SPAN.fullmatch(part):
        first, last = int(found[1]), int(found[2] or found[1])
        return (Span(first, last, *_strengths(found[3], found[4]), easing),)
    raise _unreadable(
        part, "batch strengths",
        expected="index, index=strength, first-last=strength, or first:end=strength",
    )  # fmt: skip


def _strengths(start: str | None, stop: str | None) -> tuple[float, float]:
    first = float(start or 1.0)
    return first, first if stop is None else float(stop)


def _unreadable(found: str, where: str, *, expected: str) -> ControlInputError:
    return ControlInputError(
        "CN-S32", where, found=repr(found), expected=expected, fix="correct this part of the text"
    )
