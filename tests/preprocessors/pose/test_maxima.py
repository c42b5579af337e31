"""Points read from bins and heatmaps: one hot bin, Gaussians, and public code beside ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from controlstack.preprocessors.pose.crop import around
from controlstack.preprocessors.pose.maxima import heatmap_points, simcc_points


def bins(*hot: tuple[int, int], level: float = 0.8) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.zeros(1, len(hot), 576), torch.zeros(1, len(hot), 768)
    for joint, (column, row) in enumerate(hot):
        x[0, joint, column], y[0, joint, row] = level, level / 2
    return x, y


def test_one_hot_bin_is_its_pixel_of_the_picture():
    """A box of 288 x 384 pixels at (100, 50): crops are larger by a quarter about its middle."""
    points = simcc_points(*bins((0, 0), (288, 384), (575, 767), (101, 33)))
    assert points[0, :, 2].tolist() == pytest.approx([0.4] * 4)
    assert points[0, 3, :2].tolist() == [50.5, 16.5]
    placed = around(torch.tensor([[100.0, 50, 388, 434]]), 384, 288).back(points[..., :2])
    middle, corner = (244, 242), (244 - 180, 242 - 240)
    expected = [corner, middle, (corner[0] + 287.5 * 1.25, corner[1] + 383.5 * 1.25),
                (corner[0] + 50.5 * 1.25, corner[1] + 16.5 * 1.25)]
    np.testing.assert_allclose(placed[0].numpy(), expected, rtol=1e-5)


def test_places_equal_rtmlib():
    post = pytest.importorskip("rtmlib.tools.pose_estimation.post_processings")
    random = torch.Generator().manual_seed(3)
    x, y = torch.rand(4, 133, 576, generator=random), torch.rand(4, 133, 768, generator=random)
    places, _ = post.get_simcc_maximum(x.numpy(), y.numpy())
    points = simcc_points(x, y)
    assert (points[..., :2].numpy() == places / 2).all()
    assert torch.equal(points[..., 2], torch.minimum(x.max(-1)[0], y.max(-1)[0]))


def gaussians(places: torch.Tensor, sigma: float = 2.0) -> torch.Tensor:
    """(1 k 64 48) with a top of 0.9 at each place x, y."""
    row, column = torch.arange(64.0)[:, None], torch.arange(48.0)
    squares = (column - places[:, 0, None, None]) ** 2 + (row - places[:, 1, None, None]) ** 2
    return (0.9 * (-squares / (2 * sigma**2)).exp())[None]


def test_tops_between_cells_are_found():
    places = 6 + torch.rand(20, 2, generator=torch.Generator().manual_seed(1)) * 36
    points = heatmap_points(gaussians(places))
    assert (points[0, :, :2] - places).abs().max() < 1e-3
    assert points[0, :, 2].tolist() == pytest.approx([0.9] * 20, abs=0.06)


def test_equals_transformers():
    module = pytest.importorskip("transformers.models.vitpose.image_processing_vitpose")
    places = torch.rand(17, 2, generator=torch.Generator().manual_seed(2)) * torch.tensor([47, 63])
    noise = 0.02 * torch.rand(3, 17, 64, 48, generator=torch.Generator().manual_seed(5))
    maps = gaussians(places) * torch.tensor([1.0, 0.5, 0.05]).view(3, 1, 1, 1) + noise
    cells, scores = module.get_keypoint_predictions(maps.numpy())
    expected = module.post_dark_unbiased_data_processing(cells, maps.numpy(), kernel=11)
    points = heatmap_points(maps).numpy()
    np.testing.assert_allclose(points[..., :2], expected, rtol=0, atol=2e-3)
    assert (points[..., 2:] == scores).all()


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_flat_maps_give_a_finite_point(level):
    points = heatmap_points(torch.full((1, 2, 8, 6), level))
    assert points.isfinite().all()
    assert (points[..., 2] == level).all()


def test_nobody_has_no_points():
    assert heatmap_points(torch.zeros(0, 17, 64, 48)).shape == (0, 17, 3)
    assert simcc_points(torch.zeros(0, 133, 6), torch.zeros(0, 133, 8)).shape == (0, 133, 3)
