"""M-LSD against the network and the decoding of controlnet-aux."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published import controlnet_aux, counts, difference, pictures, shapes, weighted
from torch import Tensor, nn

from controlstack.preprocessors._nets.mlsd import MLSD, network_input, segments

TINY = ((1, 4, 1, 1), (2, 4, 2, 2), (2, 6, 1, 2), (2, 8, 1, 2), (2, 8, 2, 1))


def published() -> nn.Module:
    return controlnet_aux("mlsd.models.mbv2_mlsd_large").MobileV2_MLSD_Large()


def tiny() -> nn.Module:
    return weighted(MLSD(TINY, stem=4, width=6))


def test_has_the_published_tensors():
    with torch.device("meta"):
        ours = MLSD()
    assert counts(ours) == (1_533_680, 362)
    assert shapes(ours) == shapes(published())


def test_equals_the_published_network():
    x = network_input(pictures(48, 80))
    expected = weighted(published())(x)
    assert expected.shape == (2, 9, 24, 40)
    assert difference(weighted(MLSD())(x), expected) < 1e-5 * expected.abs().max().item()


def test_takes_sides_that_16_does_not_divide():
    net, image = tiny(), pictures(51, 70)
    assert net(network_input(image)).shape == (2, 9, 25, 35)


def test_pictures_do_not_see_each_other():
    net, both = tiny(), network_input(pictures(48, 64))
    maps = net(both)
    alone = torch.cat([net(each[None]) for each in both])
    assert difference(maps, alone) < 1e-5 * maps.abs().max().item()


class Canned(nn.Module):
    """Gives the same maps for any picture, and keeps what it was given."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = nn.Parameter(maps[None], requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return self.maps


def random_maps(rows: int, columns: int) -> Tensor:
    """(9 h w): smooth centres with few peaks, and ways of a few cells."""
    random = torch.Generator().manual_seed(rows)
    maps = 4 * torch.randn(9, rows, columns, generator=random)
    maps[0] -= 3
    return maps


@pytest.mark.parametrize(("score", "distance"), [(0.1, 0.1), (0.5, 5.0)])
@pytest.mark.parametrize("cells", [(32, 48), (9, 12)])  # more and fewer than 200 peaks
def test_segments_are_those_of_the_published_decoding(cells, score, distance):
    maps, size = random_maps(*cells), (100, 230)
    if maps[0].numel() < 200:  # the published decoding takes the best 200 of fewer, and fails
        maps = torch.nn.functional.pad(maps, (0, 20, 0, 20), value=-50.0)
    net = Canned(maps)
    shape = [2 * side for side in maps.shape[1:]]
    image = np.zeros((*size, 3), np.uint8)
    lines = controlnet_aux("mlsd.utils").pred_lines(image, net, shape, score, distance)
    ours = segments(maps, size, score=score, distance=distance)
    assert len(lines) > 5
    assert difference(ours, torch.from_numpy(lines).float()) < 1e-3


def test_input_is_scaled_as_published():
    levels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    net = Canned(random_maps(32, 48))
    controlnet_aux("mlsd.utils").pred_lines(levels, net, [64, 96], 0.1, 0.1)
    image = torch.from_numpy(levels).movedim(-1, 0)[None] / 255
    assert difference(network_input(image), net.seen) < 1e-6


def test_one_segment_is_found_where_it_was_put():
    maps = torch.zeros(9, 10, 20)
    maps[0] = -10
    maps[0, 4, 7], maps[0, 4, 8] = 3.0, 2.0  # the neighbour is no peak of its own
    maps[1:5, 4, 7] = torch.tensor([-3.0, -1.0, 2.5, 1.0])
    assert segments(maps, (20, 40)).tolist() == [[8.0, 6.0, 19.0, 10.0]]
    assert segments(maps, (20, 80)).tolist() == [[16.0, 6.0, 38.0, 10.0]]
    assert segments(maps, (20, 40), distance=6.0).shape == (0, 4)
    assert segments(maps, (20, 40), score=0.96).shape == (0, 4)


def test_no_more_than_200_segments():
    maps = torch.zeros(9, 60, 60)
    maps[0] = -10
    maps[0, ::3, ::3] = torch.linspace(1, 2, 400).view(20, 20)
    maps[3] = 2.0
    found = segments(maps, (120, 120))
    assert len(found) == 200
    assert found[0].tolist() == [114.0, 114.0, 118.0, 114.0]  # the best is the first
