"""Boxes of people: hand-made cells of YOLOX, and the public package rtmlib beside ours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from controlstack.preprocessors.pose.detect import chosen, letterboxed, unlike, yolox_people

NOTHING = -50.0  # the logarithm of no size


def answer() -> torch.Tensor:
    """(1 8400 85) without anybody."""
    empty = torch.zeros(1, 8400, 85)
    empty[..., 2:4] = NOTHING
    return empty


def cell(x: torch.Tensor, index: int, *, chance: float, label: int = 0) -> None:
    """A box of 4 x 8 cells, half a cell right of and a quarter below the corner of its cell."""
    x[0, index, :4] = torch.tensor([0.5, 0.25, np.log(4), np.log(8)])
    x[0, index, 4], x[0, index, 5 + label] = chance, 0.5


@pytest.mark.parametrize(
    ("index", "stride", "column", "row"),
    [(0, 8, 0, 0), (83, 8, 3, 1), (6400 + 41, 16, 1, 1), (6400 + 1600 + 399, 32, 19, 19)],
)
def test_one_cell_is_one_box(index, stride, column, row):
    one = answer()
    cell(one, index, chance=0.9)
    boxes, scores = yolox_people(one)
    x, y = (column + 0.5) * stride, (row + 0.25) * stride
    expected = [x - 2 * stride, y - 4 * stride, x + 2 * stride, y + 4 * stride]
    assert boxes[0, index].tolist() == pytest.approx(expected, rel=1e-5)
    assert scores[0, index] == pytest.approx(0.45)
    assert (scores > 0).sum() == 1


def test_other_classes_are_nobody():
    one = answer()
    cell(one, 6, chance=0.9, label=1)
    boxes, scores = yolox_people(one)
    assert chosen(boxes[0], scores[0], min_score=0.0).shape == (0, 4)


@pytest.mark.parametrize("size", [(640, 640), (480, 640), (333, 1001), (1001, 333), (3, 2), (1, 1)])
def test_letterbox_equals_opencv(size):
    frame = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    scale = min(640 / size[0], 640 / size[1])
    tall, wide = int(size[0] * scale), int(size[1] * scale)
    expected = np.full((640, 640, 3), 114, np.float32)
    expected[:tall, :wide] = cv2.resize(frame, (wide, tall), interpolation=cv2.INTER_LINEAR)
    found, factor = letterboxed(torch.from_numpy(frame).movedim(-1, 0)[None] / 255)
    assert factor == scale
    assert np.abs(found[0].movedim(0, -1).numpy() - expected).max() < 1.5  # a level, and rounding


def boxes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(count)
    corner = 200 * torch.rand(count, 2, generator=random)
    size = 20 + 150 * torch.rand(count, 2, generator=random)
    return torch.cat([corner, corner + size], -1), torch.rand(count, generator=random)


@pytest.mark.parametrize("count", [0, 1, 2, 60, 300])
def test_duplicates_go_as_in_rtmlib(count):
    post = pytest.importorskip("rtmlib.tools.object_detection.post_processings")
    places, scores = boxes(count)
    found = unlike(places, scores).tolist()
    assert found == [int(each) for each in post.nms(places.numpy(), scores.numpy(), 0.45)]
    expected, _ = post.multiclass_nms(places.numpy(), scores[:, None].numpy(), 0.45, 0.3)
    kept = chosen(places, scores, min_score=0.3).numpy()
    np.testing.assert_allclose(kept, np.empty((0, 4)) if expected is None else expected[:, :4])


def test_the_surer_of_two_alike_stays():
    places = torch.tensor([[0.0, 0, 99, 99], [5, 0, 104, 99], [300, 0, 399, 99]])
    assert unlike(places, torch.tensor([0.5, 0.9, 0.7])).tolist() == [1, 2]
    # 100 x 100 pixels each, 50 columns shared: a third of what both cover.
    half = torch.tensor([[0.0, 0, 99, 99], [50, 0, 149, 99]])
    assert unlike(half, torch.tensor([0.5, 0.9]), overlap=0.334).tolist() == [1, 0]
    assert unlike(half, torch.tensor([0.5, 0.9]), overlap=0.333).tolist() == [1]


def test_boxes_without_end_are_no_boxes():
    places = torch.tensor([[0.0, 0, torch.inf, 9], [0, 0, torch.nan, 9], [0, 0, 9, 9]])
    assert chosen(places, torch.ones(3), min_score=0.3).tolist() == [[0, 0, 9, 9]]
