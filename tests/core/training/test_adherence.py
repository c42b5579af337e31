"""Scores of how well a picture follows its hint, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.training.adherence import (
    MEASURES,
    depth_rmse,
    edge_f1,
    mean_iou,
    sudden_step,
)


def line(column: int) -> torch.Tensor:
    """A white line in an image (1 3 32 32)."""
    image = torch.zeros(1, 3, 32, 32)
    image[..., column] = 1.0
    return image


@pytest.mark.parametrize(("shift", "score"), [(0, 1.0), (2, 1.0), (3, 0.0)])
def test_edges_count_within_two_pixels(shift: int, score: float) -> None:
    assert edge_f1(line(10), line(10 + shift)) == pytest.approx(score)


def test_edge_f1_weighs_misses_and_inventions() -> None:
    both = torch.maximum(line(5), line(25))
    half = 2 * 0.5 * 1.0 / 1.5  # half of the edges are right, all of the wanted ones found
    assert float(edge_f1(line(5), both)) == pytest.approx(half)
    assert float(edge_f1(both, line(5))) == pytest.approx(half)
    assert float(edge_f1(line(5), torch.zeros(1, 3, 32, 32))) == pytest.approx(0.0, abs=1e-5)


def test_depth_rmse() -> None:
    hint = torch.full((1, 3, 4, 4), 0.5)
    read = hint.clone()
    read[..., :2] += 0.2
    assert float(depth_rmse(hint, read)) == pytest.approx((0.04 / 2) ** 0.5)


def test_mean_iou() -> None:
    hint = torch.zeros(1, 3, 4, 4)
    hint[:, 0, :, 2:] = 1.0  # right half red
    read = torch.zeros(1, 3, 4, 4)
    read[:, 0, :, 1:] = 0.9  # three quarters nearly red
    expected = (4 / 8 + 8 / 12) / 2
    assert float(mean_iou(hint, read)) == pytest.approx(expected)
    assert float(mean_iou(hint, hint)) == 1.0


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_itself_is_best_and_each_picture_has_its_own_score(measure) -> None:
    hint = (torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.9).float()
    hint = hint[:, :1].expand(-1, 3, -1, -1)
    assert torch.equal(measure(hint, hint), torch.full((3,), measure.best))
    other = hint.clone()
    other[1] = 1.0 - other[1]
    scores = measure(hint, other)
    assert scores[0] == scores[2] == measure.best != scores[1]
    assert measure.gain(measure.best, float(scores[1])) == 1.0
    assert measure.gain(float(scores[1]), float(scores[1])) == 0.0


def test_another_size_is_compared_and_another_count_is_not() -> None:
    hint = line(10)
    small = torch.nn.functional.interpolate(hint, scale_factor=2.0)
    assert float(MEASURES["edges"](hint, small)) == 1.0
    with pytest.raises(ControlInputError, match="CN-T02"):
        MEASURES["edges"](hint, hint.expand(2, -1, -1, -1))


STEPS = list(range(0, 2000, 100))


@pytest.mark.parametrize(
    ("gains", "step"),
    [
        ([0.0] * 8 + [0.8] * 12, 700),  # all at once
        ([i / 20 for i in range(20)], None),  # bit by bit
        ([0.0] * 20, None),  # never
        ([0.0] * 8 + [0.1, 0.5, 0.6, 0.65, *[0.7] * 8], 800),
    ],
)
def test_sudden_convergence_is_told_from_slow_learning(
    gains: list[float], step: int | None
) -> None:
    assert sudden_step(STEPS, gains) == step
