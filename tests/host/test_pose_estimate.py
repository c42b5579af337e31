"""Estimate Pose in the real host, with networks of few channels from its folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
import hosts
import nodes
import pytest
import tiny_pose
import torch
from comfy_api.latest import io

from controlstack.nodes._annotators import FOLDER, KEEPER, enter_host
from controlstack.nodes.pose import PoseRender
from controlstack.nodes.pose_estimate import PoseEstimate
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._catalogue import CATALOGUE
from controlstack.preprocessors.dwpose import dwpose_with_poses
from controlstack.preprocessors.pose import parse

TORCH_ONLY = {"detector": "none", "pose_net": "vitpose"}


@pytest.fixture
def weights(host: hosts.Host, tmp_path: Path) -> Iterator[Path]:
    """A tiny ViTPose, and DWPose where onnx can write it, in the host's folder for annotators."""
    before = folder_paths.folder_names_and_paths.get(FOLDER)
    folder_paths.folder_names_and_paths[FOLDER] = ([str(tmp_path)], set())
    enter_host()
    torch.manual_seed(0)
    for name in ("vitpose", "dwpose", "dwpose_detector"):
        checkpoint = CATALOGUE[name]
        path = tmp_path / checkpoint.repo / ("" if checkpoint.is_folder else checkpoint.files[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny_pose.NETS[name](path)
    yield tmp_path
    KEEPER._patchers.clear()
    if before is None:
        del folder_paths.folder_names_and_paths[FOLDER]
    else:
        folder_paths.folder_names_and_paths[FOLDER] = before
    enter_host()


def picture() -> torch.Tensor:
    """(3 96 128 3): bright, dark, and half of each."""
    image = torch.tensor([0.95, 0.05, 0.05]).view(3, 1, 1, 1).repeat(1, 96, 128, 3)
    image[2, :, :64] = 0.95
    return image


def test_the_node_explains_itself() -> None:
    schema = PoseEstimate.GET_SCHEMA()
    schema.validate()
    assert all(each.tooltip for each in (*schema.inputs, *schema.outputs))
    assert "Apache-2.0" in schema.description
    names = [each.name for each in PREPROCESSORS["dwpose"].parameters]
    assert [each.id for each in schema.inputs] == ["image", *names]
    assert (hosts.PACK / "web" / "docs" / f"{schema.node_id}.md").is_file()


def test_hint_and_points_are_of_one_pose(weights: Path) -> None:
    hints, keypoints = PoseEstimate.execute(picture(), **TORCH_ONLY).args
    expected, poses = dwpose_with_poses(picture().movedim(-1, 1), **TORCH_ONLY)
    assert torch.equal(hints, expected.movedim(1, -1))
    assert hints.shape == (3, 96, 128, 3)
    assert [len(each["people"]) for each in keypoints] == [1, 1, 1]
    assert hints.max() > 0
    read = parse(json.loads(json.dumps(keypoints)))
    assert [(each.height, each.width) for each in read] == [(96, 128)] * 3
    for one, other in zip(read, poses, strict=True):
        assert (one.people[0].body == other.people[0].body).all()
    [drawn] = PoseRender.execute(keypoints, min_confidence=0.0).args
    assert torch.equal(drawn, hints)


def test_points_are_in_pixels_of_the_hint(weights: Path) -> None:
    hints, keypoints = PoseEstimate.execute(picture(), resolution=192, **TORCH_ONLY).args
    assert hints.shape == (3, 192, 256, 3)
    assert (keypoints[0]["canvas_height"], keypoints[0]["canvas_width"]) == (192, 256)


def test_onnx_networks_are_models_of_the_host(weights: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    pytest.importorskip("onnx", reason="needs onnx")
    hints, keypoints = PoseEstimate.execute(picture()).args
    people = [len(each["people"]) for each in keypoints]
    assert people[0] > 0
    assert people[1] == 0
    assert hints[1].max() == 0
    assert len(keypoints[0]["people"][0]["face_keypoints_2d"]) == 3 * 70
    loaded = comfy.model_management.current_loaded_models
    patchers = list(KEEPER._patchers.values())
    assert len(patchers) == 2
    assert all(any(each.model is patcher for each in loaded) for patcher in patchers)
    comfy.model_management.unload_all_models()
    again, _ = PoseEstimate.execute(picture()).args
    assert torch.equal(again, hints)
    assert list(KEEPER._patchers.values()) == patchers


def test_parts_that_are_off_are_missing_from_the_points(weights: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    pytest.importorskip("onnx", reason="needs onnx")
    _, keypoints = PoseEstimate.execute(picture()[:1], body=False, face=False).args
    [person, *_] = keypoints[0]["people"]
    assert not any(person["pose_keypoints_2d"])
    assert not any(person["face_keypoints_2d"])
    assert any(person["hand_left_keypoints_2d"])


def test_a_graph_of_it_runs(
    weights: Path, run_graph: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "ControlStackPoseEstimate", PoseEstimate)
    defaults = {
        each.id: each.default
        for each in PoseEstimate.GET_SCHEMA().inputs if isinstance(each, io.WidgetInput)
    }  # fmt: skip
    outputs = run_graph({
        "1": {"class_type": "EmptyImage",
              "inputs": {"width": 64, "height": 48, "batch_size": 2, "color": 9}},
        "2": {"class_type": "ControlStackPoseEstimate",
              "inputs": {**defaults, **TORCH_ONLY, "image": ["1", 0]}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    })  # fmt: skip
    assert len(outputs["3"]["images"]) == 2
