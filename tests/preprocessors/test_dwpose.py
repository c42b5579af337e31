"""The annotator: drawn as its poses say, with each of its networks."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors.__main__ import main
from controlstack.preprocessors.dwpose import dwpose_with_poses
from controlstack.preprocessors.pose import render
from controlstack.preprocessors.pose.keypoints import found

dwpose = PREPROCESSORS["dwpose"]
ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not ONNX, reason="needs onnx and onnxruntime")
TORCH = {"detector": "none", "pose_net": "vitpose"}


@pytest.fixture
def photos() -> torch.Tensor:
    """(3 3 96 128): bright, dark, and half of each."""
    image = torch.tensor([0.95, 0.05, 0.05]).view(3, 1, 1, 1).repeat(1, 3, 96, 128)
    image[2, ..., :64] = 0.95
    return image + 0.03 * torch.rand(image.shape, generator=torch.Generator().manual_seed(0))


@needs_onnx
def test_hints_are_the_poses_drawn(photos):
    hints, poses = dwpose_with_poses(photos)
    assert torch.equal(hints, dwpose(photos))
    assert [(each.height, each.width) for each in poses] == [(96, 128)] * 3
    assert torch.equal(hints, torch.stack([render(each) for each in poses]))
    assert poses[0].people
    assert poses[1].people == ()
    assert not hints[1].any()


@needs_onnx
def test_poses_of_many_chunks_keep_their_order(photos, monkeypatch):
    _, whole = dwpose_with_poses(photos)
    monkeypatch.setattr("controlstack.preprocessors._frame.CHUNK_PIXELS", 1)
    seen = []
    _, poses = dwpose_with_poses(photos, progress=lambda *now: seen.append(now))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [len(each.people) for each in poses] == [len(each.people) for each in whole]


@needs_onnx
@pytest.mark.parametrize("part", ["body", "hands", "face"])
def test_a_part_that_is_off_is_neither_drawn_nor_there(photos, part):
    whole, _ = dwpose_with_poses(photos[:1])
    hint, [pose] = dwpose_with_poses(photos[:1], **{part: False})
    assert not torch.equal(hint, whole)
    for person in pose.people:
        there = {name for name, points in person.parts().items() if found(points).any()}
        names = {"body": {"body", "feet"}, "hands": {"left_hand", "right_hand"}}
        gone = names.get(part, {part})
        assert not there & gone
        assert there | gone == {"body", "feet", "face", "left_hand", "right_hand"}


def test_a_body_is_drawn_without_onnxruntime(photos, monkeypatch):
    pytest.importorskip("transformers", reason="needs transformers")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    hints, poses = dwpose_with_poses(photos, min_confidence=0.0, **TORCH)
    assert [len(each.people) for each in poses] == [1, 1, 1]
    assert all(person.parts().keys() == {"body"} for each in poses for person in each.people)
    assert torch.equal(hints, torch.stack([render(each, min_confidence=0.0) for each in poses]))


def test_sure_points_alone_are_drawn(photos):
    pytest.importorskip("transformers", reason="needs transformers")
    _, [pose] = dwpose_with_poses(photos[:1], min_confidence=0.0, **TORCH)
    scores = pose.people[0].body[:, 2]
    middle = float(np.median(scores[(scores > 0) & (scores < 1)])) if (scores < 1).any() else 1.0
    _, [sure] = dwpose_with_poses(photos[:1], min_confidence=middle, **TORCH)
    left = sure.people[0].body[:, 2]
    assert (left[left > 0] >= middle).all()


def test_xinsir_sticks_are_wider_on_large_canvases(photos):
    pytest.importorskip("transformers", reason="needs transformers")
    thin, wide = (
        dwpose(photos[:1], resolution=512, xinsir_sticks=each, **TORCH) for each in (False, True)
    )
    assert (wide > 0).sum() > 1.3 * (thin > 0).sum()


@needs_onnx
def test_where_nobody_is_found_the_whole_picture_may_stand_in(photos):
    dark = photos[1:2]
    assert not dwpose(dark).any()
    assert dwpose(dark, whole_picture=True).any()


@needs_onnx
def test_the_command_line_draws(photos, tmp_path):
    levels = (photos[0].movedim(0, -1) * 255).round().byte().numpy()
    Image.fromarray(levels).save(tmp_path / "photo.png")
    target = tmp_path / "pose.png"
    assert main(["dwpose", str(tmp_path / "photo.png"), "-o", str(target), "--no-face"]) == 0
    expected = dwpose(torch.from_numpy(levels).movedim(-1, 0)[None] / 255, face=False)
    drawn = np.asarray(Image.open(target))
    assert drawn.any()
    assert (drawn == (expected[0].movedim(0, -1) * 255).round().byte().numpy()).all()
