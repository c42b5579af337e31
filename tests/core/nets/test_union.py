"""Several hints of named types in one pass. The numbers are held in test_against_diffusers.py."""

from __future__ import annotations

import pytest
import torch
from tiny_nets import UNIONS, equal, inputs, random_net, relative, residuals_of

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.nets import UNION_TYPES, UnionControlNet

SIX, EIGHT = UNIONS["union6"], UNIONS["union8"]


def features(net: UnionControlNet, count: int) -> list[torch.Tensor]:
    hint = inputs(net.config).hint
    return [net.encode_hint(hint.roll(8 * i, dims=-1) * (1 - 0.2 * i)) for i in range(count)]


def test_types_have_the_numbers_of_the_published_nets() -> None:
    assert list(UNION_TYPES.values()) == list(range(8))
    assert list(UNION_TYPES)[5:] == ["segment", "tile", "repaint"]


@pytest.mark.parametrize("kind", [-1, 6, 7])
def test_type_that_the_file_lacks_is_an_error(kind: int) -> None:
    net, given = random_net(SIX), inputs(SIX)
    with pytest.raises(ControlInputError) as caught:
        residuals_of(net, given, types=(kind,))
    error = caught.value
    assert error.code == "CN-W23"
    assert str(kind) in error.found
    assert "openpose" in error.expected
    assert "segment" in error.expected
    assert "tile" not in error.expected
    assert len(str(error)) <= 600
    with pytest.raises(ControlInputError, match="CN-W23"):
        net(given.x, given.timesteps, given.context, given.x[:1], given.y, types=(kind,))


def test_promax_knows_all_eight() -> None:
    net, given = random_net(EIGHT), inputs(EIGHT)
    for kind in UNION_TYPES.values():
        assert residuals_of(net, given, types=(kind,)).middle[0].isfinite().all()


def test_every_type_acts_in_its_own_way() -> None:
    net, given = random_net(SIX), inputs(SIX)
    seen = [residuals_of(net, given, types=types).middle[0] for types in ((), (0,), (3,), (0, 3))]
    for index, one in enumerate(seen):
        assert all(relative(one, other) > 0.01 for other in seen[:index])


@torch.no_grad()
def test_the_order_of_the_types_does_not_matter() -> None:
    net = random_net(SIX)
    a, b, c = features(net, 3)
    expected = net.fuse([a, b, c], (0, 3, 5))
    assert relative(net.fuse([c, a, b], (5, 0, 3)), expected) < 1e-6
    assert relative(net.fuse([a, b, c], (3, 0, 5)), expected) > 1e-3


@torch.no_grad()
def test_fusion_is_the_sum_of_each_type_alone() -> None:
    net = random_net(SIX)
    a, b = features(net, 2)
    alone = net.fuse([a], (1,)) + net.fuse([b], (4,))
    assert relative(net.fuse([a, b], (1, 4)), alone) < 1e-6


@torch.no_grad()
def test_one_row_is_shared_by_all() -> None:
    net = random_net(SIX)
    a, b = features(net, 2)
    shared = net.fuse([a[:1], b], (1, 4))
    assert relative(shared, net.fuse([a[:1].expand_as(b), b], (1, 4))) < 1e-6


@torch.no_grad()
def test_without_a_type_the_hint_passes_as_it_is() -> None:
    net = random_net(SIX)
    (a,) = features(net, 1)
    assert net.fuse([a], ()) is a
    given = inputs(SIX)
    args = (given.x, given.timesteps, given.context, a, given.y)
    assert equal(net(*args), net(*args, types=()))
