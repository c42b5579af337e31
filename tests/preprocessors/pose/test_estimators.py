"""Estimators: with nets whose answers are known, and beside transformers and rtmlib."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_pose
import torch
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors._onnx import open_onnx
from controlstack.preprocessors.pose.crop import around
from controlstack.preprocessors.pose.estimators import (
    AT_ONCE,
    READERS,
    TopDown,
    estimator,
    everywhere,
    open_rtdetr,
    open_vitpose,
    rtdetr,
    yolox,
)
from controlstack.preprocessors.pose.keypoints import found

BOX = torch.tensor([[100.0, 50, 388, 434]])  # 288 x 384 pixels


class Net:
    """Gives every crop the same hot bins, at the pixel (144, 192), in its middle."""

    def __init__(self, level: float = 0.9) -> None:
        self.level = level
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        self.sizes.append(tuple(crops.shape))
        x, y = torch.zeros(len(crops), 133, 576), torch.zeros(len(crops), 133, 768)
        x[..., 288] = y[..., 384] = self.level
        return x, y


def test_a_person_is_where_the_box_is():
    pictures = torch.rand(2, 3, 480, 640)
    poses = TopDown(lambda x: [BOX, BOX[:0]], Net(), READERS["dwpose"])(pictures)
    assert [(each.height, each.width, len(each.people)) for each in poses] == [
        (480, 640, 1), (480, 640, 0)
    ]
    for part in poses[0].people[0].parts().values():
        np.testing.assert_allclose(part, [[244, 242, 0.9]] * len(part), rtol=1e-5)


def test_people_of_all_pictures_go_together_and_come_back_in_order():
    net = Net()
    moved = [BOX + 10 * i for i in range(30)]
    boxes = [torch.cat(moved[:3]), BOX[:0], torch.cat(moved[3:])]
    poses = TopDown(lambda x: boxes, net, READERS["dwpose"])(torch.rand(3, 3, 480, 640))
    assert [len(each.people) for each in poses] == [3, 0, 27]
    assert net.sizes == [(AT_ONCE, 3, 384, 288), (30 - AT_ONCE, 3, 384, 288)]
    noses = [person.body[0, 0] for pose in poses for person in pose.people]
    assert noses == pytest.approx([244 + 10 * i for i in range(30)])


def test_crops_are_normalised_as_on_imagenet():
    seen = []

    def net(crops: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(crops)
        return Net()(crops)

    grey = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) + 0.1
    TopDown(everywhere, net, READERS["dwpose"])(grey.expand(1, 3, 384, 288))
    middle = seen[0][0, :, 192, 144]
    expected = [0.1 / 0.229, 0.1 / 0.224, 0.1 / 0.225]  # red first
    assert middle.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("whole", [False, True])
def test_nobody_is_nobody_unless_the_whole_picture_is_wanted(whole):
    net = Net()
    read = TopDown(lambda x: [BOX[:0]] * 2, net, READERS["dwpose"], whole_picture=whole)
    poses = read(torch.rand(2, 3, 40, 60))
    assert [len(each.people) for each in poses] == [int(whole)] * 2
    assert len(net.sizes) == int(whole)
    if whole:
        assert poses[0].people[0].body[0, :2].tolist() == pytest.approx([30, 20], abs=1e-3)


def test_a_person_without_any_point_is_none():
    poses = TopDown(everywhere, Net(0.2), READERS["dwpose"])(torch.rand(1, 3, 40, 60))
    assert poses[0].people == ()
    [one] = TopDown(everywhere, Net(0.2), READERS["dwpose"], 0.1)(torch.rand(1, 3, 40, 60))
    assert found(one.people[0].body).all()


def test_yolox_sees_blue_first_and_answers_in_pixels_of_the_picture():
    seen = []

    def net(squares: Tensor) -> Tensor:
        seen.append(squares)
        answer = torch.zeros(len(squares), 8400, 85)
        answer[:, 83, :4] = torch.tensor([0.5, 0.25, np.log(4), np.log(8)])
        answer[:, 83, 4:6] = 0.9
        return answer

    red = torch.tensor([1.0, 0.5, 0]).view(1, 3, 1, 1).expand(AT_ONCE + 1, 3, 160, 320)
    boxes = yolox(net, red, 0.3)
    assert [len(each) for each in seen] == [AT_ONCE, 1]
    assert seen[0][0, :, 5, 5].tolist() == [0, 127.5, 255]
    assert len(boxes) == AT_ONCE + 1
    # A cell of 8 at column 3, row 1 of the square, of which a pixel is half of the picture's.
    expected = [(28 - 16) / 2, (10 - 32) / 2, (28 + 16) / 2, (10 + 32) / 2]
    assert boxes[-1][0].tolist() == pytest.approx(expected)


@pytest.fixture
def transformers() -> Any:
    return pytest.importorskip("transformers", reason="needs transformers")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    return tmp_path


def frame(*size: int) -> tuple[np.ndarray, Tensor]:
    """The same picture as levels (H W 3) and as (1 3 H W) in 0..1."""
    coarse = np.random.default_rng(8).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    levels = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return levels, torch.from_numpy(levels).movedim(-1, 0)[None] / 255


def test_rtdetr_equals_transformers(transformers):
    """Pictures to a level of rounding, and boxes of one and the same answer."""
    levels, image = frame(300, 200)
    random = torch.Generator().manual_seed(4)
    # The processor keeps as many pairs of box and class as there are boxes: other classes are none.
    logits = torch.full((1, 300, 80), -99.0)
    logits[..., 0] = torch.randn(1, 300, generator=random)
    boxes = torch.rand(1, 300, 4, generator=random)
    seen = []

    def net(pictures: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(pictures)
        return logits, boxes

    [found] = rtdetr(net, image, 0.6)
    processor = transformers.RTDetrImageProcessor()
    inputs = processor(images=levels, return_tensors="pt")["pixel_values"]
    assert (seen[0] - inputs).abs().max() < 1.01 / 255
    answer = SimpleNamespace(logits=logits, pred_boxes=boxes)
    [expected] = processor.post_process_object_detection(
        answer, threshold=0.6, target_sizes=[(300, 200)]
    )
    assert 20 < len(found) < 280
    torch.testing.assert_close(found, expected["boxes"])


def test_answers_of_rtdetr_are_those_of_the_model(transformers, folder):
    tiny_pose.tiny_rtdetr(folder)
    pictures = frame(640, 640)[1]
    model = transformers.RTDetrForObjectDetection.from_pretrained(folder).eval()
    with torch.no_grad():
        logits, boxes = open_rtdetr(folder)(pictures)
        expected = model(pixel_values=pictures)
    assert torch.equal(logits, expected.logits)
    assert torch.equal(boxes, expected.pred_boxes)


def test_vitpose_equals_transformers(transformers, folder):
    """Crops to the level that the processor cuts off; points of one and the same heatmaps."""
    tiny_pose.tiny_vitpose(folder)
    levels, image = frame(120, 160)
    boxes = torch.tensor([[10.0, 20, 90, 110], [60, -5, 170, 60]])
    corners = [[x, y, right - x, bottom - y] for x, y, right, bottom in boxes.tolist()]
    processor = transformers.VitPoseImageProcessor()
    inputs = processor(levels, boxes=[corners], return_tensors="pt")
    net = open_vitpose(folder)
    seen = []

    def read(crops: Tensor) -> Tensor:
        seen.append(crops)
        return net(inputs["pixel_values"])

    with torch.no_grad():
        [pose] = TopDown(lambda x: [boxes], read, READERS["vitpose"], 0.0)(image)
        model = transformers.VitPoseForPoseEstimation.from_pretrained(folder).eval()
        answer = model(**inputs)
    # SciPy goes from the outermost pixels to black at once, OpenCV and ours within a pixel.
    inside = around(boxes, 256, 192, unbiased=True).of(torch.ones(3, 120, 160)) > 0.999
    difference = (seen[0] - inputs["pixel_values"])[inside].abs()
    assert difference.max() < 1.01 / 255 / 0.224
    [expected] = processor.post_process_pose_estimation(answer, boxes=[corners])
    order = [0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
    joints = [index for index in range(18) if index != 1]
    for person, other in zip(pose.people, expected, strict=True):
        theirs = torch.cat([other["keypoints"], other["scores"][:, None]], 1)[order]
        np.testing.assert_allclose(person.body[joints], theirs.numpy(), rtol=1e-4, atol=0.02)


def test_answers_of_vitpose_are_those_of_the_model(transformers, folder):
    tiny_pose.tiny_vitpose(folder)
    crops = torch.rand(2, 3, 256, 192)
    model = transformers.VitPoseForPoseEstimation.from_pretrained(folder).eval()
    with torch.no_grad():
        assert torch.equal(open_vitpose(folder)(crops), model(pixel_values=crops).heatmaps)


def test_a_folder_of_something_else_is_refused(transformers, folder):
    tiny_pose.tiny_vitpose(folder)
    with pytest.raises(ControlInputError, match=r"CN-W08.*rt_detr"):
        open_rtdetr(folder)


def in_order(boxes: Any) -> np.ndarray:
    """Sorted by place: scores that differ in rounding alone may come either way."""
    return np.array(sorted(np.asarray(boxes).tolist(), key=lambda box: [round(x) for x in box]))


def test_dwpose_equals_rtmlib(tmp_path, capsys):
    """All of it, in a picture that its detector need not resize."""
    rtmlib = pytest.importorskip("rtmlib", reason="needs rtmlib")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    pytest.importorskip("onnx", reason="needs onnx")
    tiny_pose.tiny_yolox(tmp_path / "yolox.onnx")
    tiny_pose.tiny_simcc(tmp_path / "simcc.onnx")
    levels = np.full((640, 640, 3), 40, np.uint8)
    slope = (np.arange(320)[:, None, None] // 4 + np.arange(270)[:, None] // 6).astype(np.uint8)
    levels[40:360, 60:330], levels[420:600, 400:620] = slope + 130, 255 - slope[:180, :220]
    find = rtmlib.YOLOX(str(tmp_path / "yolox.onnx"), (640, 640), score_thr=0.3)
    read = rtmlib.RTMPose(str(tmp_path / "simcc.onnx"), (288, 384), to_openpose=True)
    image = torch.from_numpy(levels).movedim(-1, 0)[None] / 255
    ours = open_onnx(tmp_path / "yolox.onnx")
    expected = find(np.ascontiguousarray(levels[..., ::-1]))
    [boxes] = yolox(ours, image, 0.3)
    assert len(boxes) > 1
    np.testing.assert_allclose(in_order(boxes), in_order(expected), rtol=0, atol=1e-2)
    places, _ = read(levels, bboxes=boxes.numpy())
    estimate = estimator(
        ours, open_onnx(tmp_path / "simcc.onnx"), detector="yolox", pose_net="dwpose",
        min_person=0.3, min_confidence=0.0, whole_picture=False,
    )  # fmt: skip
    [pose] = estimate(image)
    for person, other in zip(pose.people, places, strict=True):
        parts = (person.body, person.feet, person.face[:68], person.left_hand, person.right_hand)
        far = np.abs(np.concatenate(parts)[:, :2] - other).max(1) > 0.05
        assert far.mean() < 0.03  # of two bins alike, rounding chose the other
    capsys.readouterr()
