"""Nodes of poses and hints in the real host: through its executor, sockets, folders and formats."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths
import hosts
import pytest
import torch
from comfy import latent_formats
from comfy_api.latest import io
from nets import model

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.nodes import hint_tools, pose, pose_files
from controlstack.nodes.hint_tools import (
    ClassMask,
    HintResize,
    PixelPerfect,
    RecolorPaste,
    SizeFromImage,
    SizeFromLatent,
)
from controlstack.nodes.pose import PoseEdit, PoseRender
from controlstack.nodes.pose_files import PoseLoad, PoseSave
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors.palettes import ADE20K, colour_labels
from controlstack.preprocessors.pose import parse, render, write

NODES = [
    each
    for module in (pose, pose_files, hint_tools)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, io.ComfyNode) and each is not io.ComfyNode
]
IDS = [node.GET_SCHEMA().node_id for node in NODES]


def person(x: float, *, confidence: float = 1.0) -> dict[str, Any]:
    """A body whose joints lie on a slope through `x`, with one hand."""
    body = [each for i in range(18) for each in (x + 4.0 * i, 20.0 + 5 * i, confidence)]
    hand = [each for i in range(21) for each in (x + i, 60.0 + (i * i) % 17, confidence)]
    return {
        "pose_keypoints_2d": body, "face_keypoints_2d": None, "hand_left_keypoints_2d": hand,
        "hand_right_keypoints_2d": None,
    }  # fmt: skip


def frames(*people: list[dict[str, Any]], size: tuple[int, int] = (128, 160)) -> list[Any]:
    return [
        {"people": each, "canvas_height": size[0], "canvas_width": size[1]} for each in people
    ]


@pytest.fixture
def walk() -> list[Any]:
    """Three frames: one person, two, nobody."""
    return frames([person(10)], [person(20), person(60, confidence=0.5)], [])


@pytest.mark.parametrize("node", NODES, ids=IDS)
def test_every_node_explains_itself(node: Any) -> None:
    schema = node.GET_SCHEMA()
    schema.validate()
    assert schema.display_name.isascii()
    assert schema.category.startswith("ControlStack/")
    assert schema.description
    assert schema.search_aliases
    assert all(each.tooltip for each in (*schema.inputs, *schema.outputs))
    page = hosts.PACK / "web" / "docs" / f"{schema.node_id}.md"
    assert page.is_file()


def test_render_draws_every_frame(walk: list[Any]) -> None:
    [hints] = PoseRender.execute(walk).args
    assert hints.shape == (3, 128, 160, 3)
    for hint, each in zip(hints, parse(walk), strict=True):
        assert torch.equal(hint.movedim(-1, 0), render(each))
    assert hints[2].max() == 0
    [sure] = PoseRender.execute(walk, min_confidence=0.6).args
    assert torch.equal(sure[0], hints[0])
    assert not torch.equal(sure[1], hints[1])


def test_resolution_is_the_shortest_side_and_sticks_keep_their_width(walk: list[Any]) -> None:
    [hints] = PoseRender.execute(walk[:1], resolution=512).args
    assert hints.shape == (1, 512, 640, 3)
    [small] = PoseRender.execute(walk[:1]).args
    assert (hints > 0).sum() < 8 * (small > 0).sum()  # longer by 4, no wider


def test_frames_of_unlike_canvases_need_an_edit_first(walk: list[Any]) -> None:
    mixed = walk[:1] + frames([person(3)], size=(64, 64))
    with pytest.raises(ControlInputError, match=r"CN-P06.*frame 1.*64 x 64.*160 x 128"):
        PoseRender.execute(mixed)
    [edited] = PoseEdit.execute(mixed, width=96, height=96).args
    assert PoseRender.execute(edited).args[0].shape == (2, 96, 96, 3)


def test_edits_act_in_their_order(walk: list[Any]) -> None:
    [same] = PoseEdit.execute(walk).args
    assert same == write(parse(walk), whole=True)
    [back] = PoseEdit.execute(PoseEdit.execute(walk, mirror=True).args[0], mirror=True).args
    assert back == same
    [edited] = PoseEdit.execute(
        walk, people="1", mirror=True, scale=0.5, move_x=7, move_y=-3, width=320, height=256
    ).args
    assert [len(each["people"]) for each in edited] == [0, 1, 0]
    x, y, confidence = edited[1]["people"][0]["pose_keypoints_2d"][:3]
    assert x == pytest.approx(2 * (80 + 0.5 * (159 - 60 - 80) + 7))
    assert y == pytest.approx(2 * (64 + 0.5 * (20 - 64) - 3))
    assert confidence == 0.5


@pytest.mark.parametrize("people", ["2", "0, 9", "first", "-1", "1.5"])
def test_people_that_no_frame_has_are_refused(people: str, walk: list[Any]) -> None:
    with pytest.raises(ControlInputError, match=r"CN-P07.*from 0 to 1"):
        PoseEdit.execute(walk, people=people)


def test_saved_poses_are_loaded_again(host: hosts.Host, walk: list[Any]) -> None:
    saved = PoseSave.execute(walk, filename_prefix="poses/walk")
    again = PoseSave.execute(walk, filename_prefix="poses/walk")
    paths = [Path(each.args[0]) for each in (saved, again)]
    assert [path.name for path in paths] == ["walk_00001_.json", "walk_00002_.json"]
    assert paths[0].parent == Path(folder_paths.get_output_directory()) / "poses"
    assert saved.ui.as_dict()["text"] == (str(paths[0]),)
    assert json.loads(paths[0].read_text()) == walk
    name = "poses/walk_00001_.json [output]"
    assert PoseLoad.validate_inputs(name) is True
    assert PoseLoad.execute(name).args[0] == write(parse(walk), whole=True)
    assert PoseLoad.fingerprint_inputs(name) != PoseLoad.fingerprint_inputs(name, "pixels")


def test_one_frame_is_saved_as_editors_read_it(host: hosts.Host, walk: list[Any]) -> None:
    path = PoseSave.execute(walk[1:2], coordinates="normalised", certain=True).args[0]
    frame = json.loads(Path(path).read_text())
    first, second = (each["pose_keypoints_2d"] for each in frame["people"])
    assert first[:3] == [20 / 160, 20 / 128, 1.0]
    assert second[2::3] == [1.0] * 18


def test_a_broken_file_is_named(host: hosts.Host, walk: list[Any]) -> None:
    folder = Path(folder_paths.get_input_directory())
    (folder / "cut.json").write_text(json.dumps(walk)[:-9])
    walk[1]["people"][1]["hand_left_keypoints_2d"] = [1.0, 2.0, 1.0]
    (folder / "short.json").write_text("\ufeff" + json.dumps(walk), encoding="utf-8")
    with pytest.raises(ControlInputError, match=r"CN-P01.*cut\.json"):
        PoseLoad.execute("cut.json")
    with pytest.raises(ControlInputError, match=r"CN-P03.*short\.json, frame 1, person 1"):
        PoseLoad.execute("short.json")
    assert PoseLoad.validate_inputs("absent.json") == "There is no file absent.json."
    assert {"cut.json", "short.json"} <= set(PoseLoad.define_schema().inputs[0].options)


def test_the_hosts_own_pose_nodes_take_ours(walk: list[Any]) -> None:
    """They read absent parts as lists, and their poses have feet and points of low confidence."""
    sdpose = pytest.importorskip("comfy_extras.nodes_sdpose")
    [edited] = PoseEdit.execute(walk, mirror=True).args
    inputs = sdpose.SDPoseDrawKeypoints.GET_SCHEMA().inputs[1:]
    drawn = sdpose.SDPoseDrawKeypoints.execute(
        edited, **{each.id: each.default for each in inputs}
    ).args[0]
    assert drawn.shape == (3, 128, 160, 3)
    [ours] = PoseRender.execute(edited).args
    both = ((drawn > 0).any(-1) & (ours > 0).any(-1)).sum()
    assert both > 0.9 * (ours > 0).any(-1).sum()


def test_known_resolutions_and_sizes() -> None:
    image = torch.rand(2, 600, 800, 3)
    assert PixelPerfect.execute(image, 768, 512).args == (576,)
    assert PixelPerfect.execute(image, 768, 512, "Resize and Fill").args == (512,)
    assert SizeFromImage.execute(image).args == (800, 600)


@dataclass
class Cells:
    """A VAE that only tells the size of a cell."""

    pixels: int

    def spacial_compression_decode(self) -> int:
        return self.pixels


def latent(channels: int, *shape: int, **facts: int) -> dict[str, Any]:
    return {"samples": torch.zeros(1, channels, *shape), **facts}


def test_a_cell_is_as_large_as_its_family_says() -> None:
    assert SizeFromLatent.execute(latent(4, 64, 96)).args == (768, 512)
    assert SizeFromLatent.execute(latent(16, 64, 96)).args == (768, 512)
    ratio = {"downscale_ratio_spacial": 16}
    assert SizeFromLatent.execute(latent(64, 32, 48, **ratio)).args == (768, 512)
    assert SizeFromLatent.execute(latent(48, 3, 32, 48), vae=Cells(16)).args == (768, 512)
    base = model().clone()
    assert SizeFromLatent.execute(latent(4, 8, 9), model=base).args == (72, 64)
    base.add_object_patch("latent_format", latent_formats.SC_Prior())
    assert SizeFromLatent.execute(latent(16, 24, 24), model=base).args == (1008, 1008)
    with pytest.raises(ControlInputError, match=r"CN-H01.*128 channels.*connect"):
        SizeFromLatent.execute(latent(128, 2, 16, 24))


def test_the_plain_cells_are_the_hosts() -> None:
    """Every latent format of the channels that we take for 8 pixels has 8, or is Cascade's."""
    kinds = [each for each in vars(latent_formats).values() if isinstance(each, type)]
    ratios = {
        each.__name__: each.spacial_downscale_ratio
        for each in kinds
        if getattr(each, "latent_dimensions", 0) in (2, 3) and each.latent_channels in (4, 16)
    }
    others = {name for name, ratio in ratios.items() if ratio != 8}
    assert others <= {"SC_Prior", "SC_B"}, others


def test_pictures_of_a_batch_are_resized_and_recoloured() -> None:
    image = 0.3 + 0.4 * torch.rand(2, 40, 48, 3)
    [small] = HintResize.execute(image, 64, 72, "Crop and Resize").args
    assert small.shape == (2, 72, 64, 3)
    for mode in ("luminance", "intensity"):
        hint = PREPROCESSORS[f"recolor_{mode}"](image.movedim(-1, 1)).movedim(1, -1)
        [same] = RecolorPaste.execute(image, hint, mode).args
        assert (same - image).abs().max() < 1e-3


def test_classes_become_a_mask() -> None:
    labels = torch.tensor([[[12, 12, 2], [0, 2, 0]]])
    hint = colour_labels(labels, ADE20K).movedim(1, -1) * 0.99
    mask, pure = ClassMask.execute(hint, "ADE20K", "Person, wall").args
    assert torch.equal(mask, (labels != 2).float())
    assert torch.equal(pure, colour_labels(labels, ADE20K).movedim(1, -1))
    with pytest.raises(ControlInputError, match=r"CN-G02.*'elf'.*did you mean"):
        ClassMask.execute(hint, "ADE20K", "elf")


def test_a_graph_of_them_runs(run_graph: Any, walk: list[Any], monkeypatch: Any) -> None:
    import nodes

    for node_id, node in zip(IDS, NODES, strict=True):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node_id, node)
    folder = Path(folder_paths.get_input_directory())
    (folder / "walk.json").write_text(json.dumps(walk))
    graph = {
        "load": ("PoseLoad", {"file": "walk.json"}),
        "edit": ("PoseEdit", {"keypoints": ["load", 0], "mirror": True}),
        "save": ("PoseSave", {"keypoints": ["edit", 0], "filename_prefix": "graph"}),
        "draw": ("PoseRender", {"keypoints": ["edit", 0]}),
        "size": ("SizeFromImage", {"image": ["draw", 0]}),
        "hint": (
            "HintResize",
            {"hint": ["draw", 0], "width": ["size", 1], "height": ["size", 0]},
        ),
    }
    outputs = run_graph({
        **{
            name: {"class_type": f"ControlStack{kind}", "inputs": defaults(kind) | inputs}
            for name, (kind, inputs) in graph.items()
        },
        "show": {"class_type": "PreviewImage", "inputs": {"images": ["hint", 0]}},
    })  # fmt: skip
    assert len(outputs["show"]["images"]) == 3
    [path] = outputs["save"]["text"]
    assert json.loads(Path(path).read_text())[0]["people"]


def defaults(kind: str) -> dict[str, Any]:
    """What the front end sends for widgets that nobody touched."""
    schema = next(node for node in NODES if node.GET_SCHEMA().node_id.endswith(kind)).GET_SCHEMA()
    widgets = [each for each in schema.inputs if isinstance(each, io.WidgetInput)]
    return {
        each.id: each.options[0] if isinstance(each, io.Combo.Input) else each.default
        for each in widgets if each.id != "file"
    }  # fmt: skip
