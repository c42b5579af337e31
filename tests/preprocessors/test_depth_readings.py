"""From what depth networks say to hints: the formulas against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from controlstack.preprocessors._depth import (
    DISTANCE,
    INVERSE,
    RELATIVE,
    ZOE_DISTANCE,
    Reading,
    percentile,
)


@pytest.mark.parametrize("percent", [0.0, 2.0, 33.3, 85.0, 100.0])
@pytest.mark.parametrize("count", [1, 2, 999])
def test_percentiles_are_numpys(percent, count):
    x = torch.rand(3, 1, 1, count, generator=torch.Generator().manual_seed(1)) * 50
    expected = np.percentile(x.numpy(), percent, axis=(1, 2, 3))
    np.testing.assert_allclose(percentile(x, percent).flatten().numpy(), expected, rtol=1e-5)


def hints_of(reading: Reading, answer: Tensor, normalise: str = "each picture") -> Tensor:
    """(b 1 h w) of what a network answered, as the nodes make them."""
    near = reading.near(answer)
    step = reading.stretch(near, normalise)
    return torch.cat([step(each) for each in near.split(1)])


READINGS = pytest.mark.parametrize("reading", [RELATIVE, INVERSE, DISTANCE, ZOE_DISTANCE])


def test_zoe_is_stretched_as_published():
    """The published lines, in numpy: percentiles 2 and 85 of the distance, and turned."""
    metres = torch.rand(1, 1, 30, 40, generator=torch.Generator().manual_seed(2)) ** 3 * 9
    x = metres[0, 0].double().numpy()
    low, high = np.percentile(x, 2), np.percentile(x, 85)
    expected = np.clip(1 - (x - low) / (high - low), 0, 1)
    np.testing.assert_allclose(hints_of(ZOE_DISTANCE, metres)[0, 0].numpy(), expected, atol=1e-6)


def test_metres_become_their_inverse_between_bounds():
    metres = torch.tensor([[[[0.01, 0.1, 0.2, 1.0, 250.0, 9999.0]]]])
    inverse = np.array([10, 10, 5, 1, 0.004, 0.004])
    expected = (inverse - 0.004) / (10 - 0.004)
    found = hints_of(DISTANCE, metres)
    np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=1e-5)
    torch.testing.assert_close(hints_of(INVERSE, 1 / metres), found)


@READINGS
@pytest.mark.parametrize("normalise", ["each picture", "the whole batch"])
@pytest.mark.parametrize("value", [-1.0, 0.0, 3.0, 1e6])
def test_a_map_of_one_value_is_black(reading, normalise, value):
    assert not hints_of(reading, torch.full((2, 1, 4, 5), value), normalise).any()


@READINGS
def test_maps_of_a_batch_are_stretched_on_their_own(reading):
    x = torch.rand(2, 1, 9, 9) * torch.tensor([1.0, 30.0]).view(2, 1, 1, 1) + 0.2
    alone = torch.cat([hints_of(reading, each[None]) for each in x])
    assert torch.equal(hints_of(reading, x), alone)
    assert alone.amax((1, 2, 3)).tolist() == [1, 1]


@pytest.mark.parametrize("reading", [RELATIVE, INVERSE, DISTANCE])
def test_a_whole_batch_is_stretched_as_one_large_picture(reading):
    x = torch.rand(3, 1, 9, 9) * torch.tensor([1.0, 30.0, 7.0]).view(3, 1, 1, 1) + 0.2
    expected = hints_of(reading, torch.cat(list(x), 1)[None]).view_as(x)
    assert torch.equal(hints_of(reading, x, "the whole batch"), expected)


def test_a_whole_batch_by_zoe_goes_from_the_farthest_bound_to_the_nearest():
    metres = torch.rand(3, 1, 30, 40, generator=torch.Generator().manual_seed(2)) ** 3
    metres = metres * torch.tensor([1.0, 30.0, 7.0]).view(3, 1, 1, 1)
    x = metres[:, 0].double().numpy()
    low, high = np.percentile(x, 2, (1, 2)).min(), np.percentile(x, 85, (1, 2)).max()
    expected = np.clip(1 - (x - low) / (high - low), 0, 1)
    found = hints_of(ZOE_DISTANCE, metres, "the whole batch")
    np.testing.assert_allclose(found[:, 0].numpy(), expected, atol=1e-6)
