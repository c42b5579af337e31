"""Residuals add and map by place, and are never written."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_nets import equal

from controlstack.controlnet_core.residuals import Residuals

few = settings(derandomize=True, deadline=None, max_examples=25)
tensors = st.integers(-50, 50).map(lambda n: torch.full((1, 1, 2, 2), n / 4))  # exact sums
rows = st.lists(st.none() | tensors, max_size=4).map(tuple)
residuals = st.builds(Residuals, input=rows, middle=rows, output=rows)


@few
@given(residuals, residuals, residuals)
def test_sum_commutes_and_associates(a: Residuals, b: Residuals, c: Residuals) -> None:
    assert equal(a + b, b + a)
    assert equal((a + b) + c, a + (b + c))
    assert equal(a + Residuals(), a)


@few
@given(residuals, residuals)
def test_sum_is_place_by_place(a: Residuals, b: Residuals) -> None:
    for (site, total), (_, x), (_, y) in zip((a + b).rows(), a.rows(), b.rows(), strict=True):
        assert len(total) == max(len(x), len(y)), site
        for index, value in enumerate(total):
            sides = [row[index] for row in (x, y) if index < len(row) and row[index] is not None]
            if len(sides) == 1:
                assert value is sides[0]
            else:
                assert (value is None) if not sides else torch.equal(value, sides[0] + sides[1])


def test_map_tells_site_index_and_count() -> None:
    one = torch.ones(1)
    seen = []
    out = Residuals(middle=(one,), output=(None, one, one)).map(
        lambda site, index, count, x: seen.append((site, index, count)) or x * 2
    )
    assert seen == [("middle", 0, 1), ("output", 1, 3), ("output", 2, 3)]
    assert out.output[0] is None
    assert [x.item() for x in out.tensors()] == [2.0, 2.0, 2.0]
    assert one.item() == 1.0


def test_a_repeated_tensor_is_weighted_once_at_each_place() -> None:
    shared = torch.full((1, 1, 2, 2), 3.0)
    before, out = shared._version, Residuals(output=(shared,) * 3).map(lambda s, i, n, x: x * 0.5)
    assert [x.flatten().tolist() for x in out.tensors()] == [[1.5] * 4] * 3
    assert shared._version == before
    total = Residuals(output=(shared,) * 3) + out
    assert shared._version == before
    assert [float(x.mean()) for x in total.tensors()] == [4.5] * 3


def test_frozen() -> None:
    with pytest.raises(AttributeError, match="cannot assign"):
        Residuals().middle = ()  # type: ignore[misc]
