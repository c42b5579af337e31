"""The shape check and the rule for batches that do not match."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.tensors import ShapeError, check_shape, repeat_to_batch

few = settings(derandomize=True, deadline=None, max_examples=25)


def test_sizes_by_letter() -> None:
    assert check_shape(torch.zeros(2, 3, 5, 7), "B 3 H W", name="image") == {"B": 2, "H": 5, "W": 7}
    assert check_shape(torch.zeros(4, 4), "N N", name="square") == {"N": 4}


@pytest.mark.parametrize(
    ("shape", "asked"),
    [((2, 4, 5, 7), "B 3 H W"), ((2, 3, 5), "B 3 H W"), ((2, 3), "N N"), ((), "B")],
)
def test_other_shape_is_told_in_three_parts(shape: tuple[int, ...], asked: str) -> None:
    with pytest.raises(ShapeError) as caught:
        check_shape(torch.zeros(shape), asked, name="image")
    error = caught.value
    assert (error.code, error.where) == ("CN-SHAPE", "image")
    assert str(shape) in error.found
    assert error.expected == f"({', '.join(asked.split())})"
    assert isinstance(error, ValueError)


@few
@given(count=st.integers(1, 9), batch=st.integers(1, 9))
def test_batch_is_cut_or_cycled(count: int, batch: int) -> None:
    x = torch.arange(count).view(-1, 1)
    assert repeat_to_batch(x, batch).flatten().tolist() == [i % count for i in range(batch)]
    assert x.flatten().tolist() == list(range(count))


def test_error_survives_a_pickle_and_a_new_place() -> None:
    """Hosts send errors between processes; loaders add the name that only they know."""
    error = ControlInputError("CN-W08", "a", found="b", expected="c", fix="d")
    assert str(error) == "[CN-W08] a: found b; expected c. To do: d."
    copy = pickle.loads(pickle.dumps(error.at("file.pth")))
    assert str(copy) == "[CN-W08] file.pth: found b; expected c. To do: d."
    assert error.where == "a"
