"""Segment Anything's automatic masks against the mask generation of the library."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_transformers
import torch
import torch.nn.functional as F
from torch import Tensor

from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._sam import best_boxes, boxes, grid, numbered, open_sam, stability
from controlstack.preprocessors.sam_segments import colours

sam_segments = PREPROCESSORS["sam_segments"]
SIZE = (45, 66)


@pytest.fixture
def library() -> Any:
    """The module transformers, where its processors have the torchvision that they need."""
    pytest.importorskip("torchvision", reason="the library's processors need torchvision")
    return tiny_transformers.transformers()


@pytest.fixture
def image(pictures) -> Tensor:
    return F.interpolate(pictures[1:3], SIZE, mode="bilinear")


def discs(count: int) -> Tensor:
    """(count 40 50): discs at many places, small and large."""
    draw = torch.Generator().manual_seed(count)
    x, y, radius = (torch.rand(count, 1, 1, generator=draw) * most for most in (50, 40, 14))
    rows, columns = torch.arange(40).view(1, 40, 1), torch.arange(50).view(1, 1, 50)
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


@pytest.mark.parametrize(("overlap", "least"), [(0.7, 1), (2.0, 2)])
def test_masks_equal_the_librarys_mask_generation(
    overlap, least, library, image, tmp_path, monkeypatch
):
    """The same points, filters and removal of doubles, by its own methods, picture by picture.

    An overlap of 2 keeps them all, since a small network makes masks that are much alike.
    """
    monkeypatch.setattr("controlstack.preprocessors._sam.OVERLAP", overlap)
    model = tiny_transformers.write(tiny_transformers.sam, tmp_path)
    net = open_sam(tmp_path)
    prepare = library.SamImageProcessor(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}
    )
    with torch.inference_mode():
        for each in image:
            logits, qualities = _answers(model, prepare, each)
            steady = stability(logits.flatten(0, 1))
            limits = float(qualities.quantile(0.3)), float(steady.min() + 1) / 2
            assert min(limits) > 0  # below it the library does not look
            ours = net(each[None], grid(6), torch.tensor(limits, dtype=torch.float64))[0]
            masks, scores, places = _generated(model, prepare, each, limits)
            rle = prepare.post_process_for_mask_generation(masks, scores, places, overlap)[0]
            expected = torch.stack([torch.as_tensor(mask) for mask in rle]).bool()
            assert len(expected) >= least
            theirs = torch.zeros(SIZE)
            order = sorted(range(len(expected)), key=lambda i: -int(expected[i].sum()))
            for number, i in enumerate(order, start=1):
                theirs[expected[i]] = number
            assert torch.equal(ours[0], theirs)


def _answers(model: Any, prepare: Any, image: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (1 36 3 H W), as logits, and qualities (36 3) of a grid of 6 by 6 points."""
    inputs = prepare([image], do_rescale=False, return_tensors="pt")
    _, points, *_ = prepare.generate_crop_boxes(image, 64, points_per_crop=6)
    made = model(pixel_values=inputs["pixel_values"], input_points=points.view(1, 36, 1, 2))
    masks = prepare.post_process_masks(
        made.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=False
    )
    return masks[0], made.iou_scores[0]


def _generated(model: Any, prepare: Any, image: Tensor, limits: tuple[float, float]) -> Any:
    masks, qualities = _answers(model, prepare, image)
    return prepare.filter_masks(masks, qualities, SIZE, [0, 0, SIZE[1], SIZE[0]], *limits)


def test_boxes_and_the_best_of_them_equal_torchvisions():
    torchvision = pytest.importorskip("torchvision")
    masks = discs(60)
    masks = masks[masks.any(2).any(1)]
    found = boxes(masks)
    assert torch.equal(found, torchvision.ops.masks_to_boxes(masks))
    quality = torch.rand(len(masks), generator=torch.Generator().manual_seed(1))
    kept = best_boxes(found, quality)
    assert torch.equal(kept, torchvision.ops.nms(found, quality, 0.7))
    assert len(kept) < len(masks)


def test_an_empty_mask_has_an_empty_box_and_is_not_stable():
    assert boxes(torch.zeros(1, 5, 6, dtype=torch.bool)).tolist() == [[0, 0, 0, 0]]
    assert stability(torch.full((1, 5, 6), -9.0)).tolist() == [0]
    assert stability(torch.full((1, 5, 6), 9.0)).tolist() == [1]


def test_smaller_segments_lie_on_larger_ones():
    masks = torch.zeros(3, 10, 10, dtype=torch.bool)
    masks[0, 4:6, 4:6] = True
    masks[1] = True
    masks[2, :5] = True
    numbers = numbered(masks, torch.tensor([0.1, 0.2, 0.3]))[0]
    assert (numbers[4, 4], numbers[0, 0], numbers[9, 9]) == (3, 2, 1)
    assert torch.equal(numbered(masks.flip(0), torch.tensor([0.3, 0.2, 0.1]))[0], numbers)


def test_without_a_segment_all_is_black(image):
    assert not sam_segments(image, quality=1.0, stability=1.0).any()
    assert not numbered(torch.zeros(0, 4, 5, dtype=torch.bool), torch.zeros(0)).any()


def test_colours_differ_and_do_not_depend_on_how_many_there_are():
    made = colours(200)
    assert torch.equal(made[:7], colours(7))
    assert not made[0].any()
    assert made[1:].amax(1).min() > 0.9
    assert torch.cdist(made, made).add(9 * torch.eye(200)).min() > 0.01


def test_points_lie_in_the_middles_of_cells():
    assert grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
