"""Nodes on POSE_KEYPOINT, the poses of OpenPose-like detectors: draw, edit, save and load them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import comfy.utils
import folder_paths
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io, ui
from einops import rearrange

from ..controlnet_core.errors import ControlInputError
from ..preprocessors._sizes import RESIZE_MODES, ResizeMode
from ..preprocessors.pose import (
    Pose,
    mirror,
    move,
    parse,
    read,
    render,
    resize,
    scale,
    select,
    write,
)
from ..preprocessors.pose.drawing import STICKS, Sticks
from ..preprocessors.pose.edit import ABOUTS, About
from ..preprocessors.pose.openpose_json import COORDINATES, Coordinates
from ._types import CATEGORY

PoseSocket = io.Custom("POSE_KEYPOINT")
"""A list of frames as JSON has them, see `openpose_json`: ComfyUI's and the older packs' type."""

_POSE_CATEGORY = f"{CATEGORY}/preprocess/pose"
_SUFFIX = ".json"


def pose_input() -> io.Input:
    return PoseSocket.Input(
        "keypoints", tooltip="Poses of people or animals: one, or one for each frame."
    )


def pose_output() -> io.Output:
    return PoseSocket.Output(display_name="keypoints", tooltip="The poses, in pixels.")


def poses_out(poses: list[Pose]) -> list[dict[str, object]]:
    """What lies on a POSE_KEYPOINT socket; absent parts are lists, which ComfyUI's nodes need."""
    return write(poses, whole=True)


class PoseRender(io.ComfyNode):
    """Draws poses as hints."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPoseRender",
            display_name="Draw Pose",
            category=_POSE_CATEGORY,
            description="Draws every frame of a pose as the hint of an OpenPose ControlNet: "
            "coloured limbs, hands and faces of people, and animals (AP-10K) on black.",
            search_aliases=[
                "openpose", "Render Pose JSON (Human)", "Render Pose JSON (Animal)",
                "RenderPeopleKps", "RenderAnimalKps", "draw keypoints", "skeleton",
            ],
            inputs=[
                pose_input(),
                io.Boolean.Input("body", default=True, tooltip="Draw limbs and joints."),
                io.Boolean.Input("hands", default=True, tooltip="Draw hands, where there are any."),
                io.Boolean.Input("face", default=True, tooltip="Draw points of the face."),
                io.Combo.Input(
                    "sticks", options=list(STICKS),
                    tooltip="Width of the limbs. xinsir widens them with the canvas, as the SDXL "
                    "nets of xinsir learned them.",
                ),
                io.Float.Input(
                    "min_confidence", default=0.3, min=0.0, max=1.0, step=0.01,
                    tooltip="Points that a detector is less sure of are left out.",
                ),
                io.Int.Input(
                    "resolution", default=0, min=0, max=16384, step=64,
                    tooltip="Shortest side of the hint in pixels; 0 takes the pose's canvas.",
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The hints.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        keypoints: object,
        body: bool = True,
        hands: bool = True,
        face: bool = True,
        sticks: Sticks = "standard",
        min_confidence: float = 0.3,
        resolution: int = 0,
    ) -> io.NodeOutput:
        poses = [_at_resolution(pose, resolution) for pose in parse(keypoints)]
        _check_one_canvas(poses)
        bar = comfy.utils.ProgressBar(len(poses))
        hints = torch.empty((len(poses), 3, poses[0].height, poses[0].width))
        for row, pose in enumerate(poses):
            throw_exception_if_processing_interrupted()
            hints[row] = render(
                pose, body=body, hands=hands, face=face, sticks=sticks,
                min_confidence=min_confidence,
            )  # fmt: skip
            bar.update(1)
        return io.NodeOutput(rearrange(hints, "b c h w -> b h w c"))


def _at_resolution(pose: Pose, resolution: int) -> Pose:
    if not resolution:
        return pose
    factor = resolution / min(pose.height, pose.width)
    return resize(pose, height=round(pose.height * factor), width=round(pose.width * factor))


def _check_one_canvas(poses: list[Pose]) -> None:
    """A batch of pictures has one size."""
    first = poses[0]
    for index, pose in enumerate(poses):
        if (pose.height, pose.width) != (first.height, first.width):
            raise ControlInputError(
                "CN-P06", f"keypoints, frame {index}", found=f"{pose.width} x {pose.height}",
                expected=f"the canvas of the first frame, {first.width} x {first.height}",
                fix="set width and height in Edit Pose before",
            )


class PoseEdit(io.ComfyNode):
    """Moves, scales, mirrors and fits poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPoseEdit",
            display_name="Edit Pose",
            category=_POSE_CATEGORY,
            description="Changes every frame of a pose: chooses people, mirrors, scales and moves "
            "them, then fits the canvas to another size. In this order.",
            search_aliases=[
                "openpose editor", "move pose", "flip pose", "scale keypoints", "resize pose",
                "select person", "retarget",
            ],
            inputs=[
                pose_input(),
                io.String.Input(
                    "people", default="",
                    tooltip="Who stays, by number from 0, as in 0, 2. Empty: everybody. Animals "
                    "are counted on.",
                ),
                io.Boolean.Input("mirror", default=False, tooltip="Swap left and right."),
                io.Float.Input(
                    "scale", default=1.0, min=0.01, max=100.0, step=0.01,
                    tooltip="Above 1 larger, below 1 smaller.",
                ),
                io.Combo.Input(
                    "about", options=list(ABOUTS),
                    tooltip="The point that stays in place while scaling: the middle of the canvas "
                    "or of each person.",
                ),
                io.Float.Input(
                    "move_x", default=0.0, min=-16384.0, max=16384.0, step=1.0,
                    tooltip="Pixels to the right.",
                ),
                io.Float.Input(
                    "move_y", default=0.0, min=-16384.0, max=16384.0, step=1.0,
                    tooltip="Pixels down.",
                ),
                io.Int.Input(
                    "width", default=0, min=0, max=16384, step=8,
                    tooltip="Of the new canvas in pixels; 0 keeps it.",
                ),
                io.Int.Input(
                    "height", default=0, min=0, max=16384, step=8,
                    tooltip="Of the new canvas in pixels; 0 keeps it.",
                ),
                io.Combo.Input(
                    "resize_mode", options=list(RESIZE_MODES),
                    tooltip="For a new canvas: stretch the pose, cover the canvas, or fit inside.",
                ),
            ],
            outputs=[pose_output()],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        keypoints: object,
        people: str = "",
        mirror: bool = False,
        scale: float = 1.0,
        about: About = "canvas",
        move_x: float = 0.0,
        move_y: float = 0.0,
        width: int = 0,
        height: int = 0,
        resize_mode: ResizeMode = "Just Resize",
    ) -> io.NodeOutput:
        poses = _selected(parse(keypoints), people)
        edited = [
            _edited(pose, mirrored=mirror, factor=scale, about=about, x=move_x, y=move_y)
            for pose in poses
        ]
        return io.NodeOutput(poses_out([
            resize(pose, height=height or pose.height, width=width or pose.width, mode=resize_mode)
            for pose in edited
        ]))


def _edited(
    pose: Pose, *, mirrored: bool, factor: float, about: About, x: float, y: float
) -> Pose:
    pose = mirror(pose) if mirrored else pose
    return move(scale(pose, factor, about=about), x=x, y=y)


def _selected(poses: tuple[Pose, ...], people: str) -> tuple[Pose, ...]:
    """Those people of every frame; a number that no frame has is refused."""
    if not people.strip():
        return poses
    words = [word for word in re.split(r"[,;\s]+", people.strip()) if word]
    most = max(len(pose.people) + len(pose.animals) for pose in poses)
    for word in words:
        if not word.isdecimal() or int(word) >= most:
            raise ControlInputError(
                "CN-P07", "people of Edit Pose", found=word[:40],
                expected=f"numbers from 0 to {most - 1}" if most else "empty: there is nobody",
                fix="count people from 0, in the order of the detector",
            )
    numbers = {int(word) for word in words}
    return tuple(select(pose, numbers) for pose in poses)


class PoseSave(io.ComfyNode):
    """Writes poses to a JSON file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPoseSave",
            display_name="Save Pose",
            category=_POSE_CATEGORY,
            description="Writes a pose as OpenPose JSON into the output folder: one frame as pose "
            "editors read it, several as a list.",
            search_aliases=[
                "Save Pose Keypoints", "SavePoseKpsAsJsonFile", "export pose json", "openpose json",
            ],
            inputs=[
                pose_input(),
                io.String.Input(
                    "filename_prefix", default="PoseKeypoint",
                    tooltip="Name of the file, also with a folder, as in poses/walk. A number is "
                    "added.",
                ),
                io.Combo.Input(
                    "coordinates", options=["pixels", "normalised"],
                    tooltip="Pixels of the canvas, or 0 to 1 of it.",
                ),
                io.Boolean.Input(
                    "certain", default=False,
                    tooltip="Write every point that is there with confidence 1: older tools drop "
                    "all others.",
                ),
            ],
            outputs=[io.String.Output(display_name="path", tooltip="The file that was written.")],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        keypoints: object,
        filename_prefix: str = "PoseKeypoint",
        coordinates: str = "pixels",
        certain: bool = False,
    ) -> io.NodeOutput:
        poses = parse(keypoints)
        if certain:
            poses = tuple(pose.map(_with_certainty) for pose in poses)
        frames = write(poses, normalised=coordinates == "normalised")
        path = _free_path(filename_prefix, poses[0])
        path.write_text(json.dumps(frames if len(frames) > 1 else frames[0]), encoding="utf-8")
        return io.NodeOutput(str(path), ui=ui.PreviewText(str(path)))


def _with_certainty(points):
    certain = points.copy()
    certain[points[:, 2] > 0, 2] = 1.0
    return certain


def _free_path(prefix: str, pose: Pose) -> Path:
    """A path of the output folder that no file has yet, by the host's rules of names."""
    folder, name, counter, _, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory(), pose.width, pose.height
    )
    # The host counts names that go on behind the number, as those of its own pictures do.
    return Path(folder) / f"{name}_{counter:05}_{_SUFFIX}"


class PoseLoad(io.ComfyNode):
    """Reads poses from a JSON file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPoseLoad",
            display_name="Load Pose",
            category=_POSE_CATEGORY,
            description="Reads the JSON of a pose editor, a detector or Save Pose from the input "
            "folder, people and animals, one frame or many.",
            search_aliases=[
                "load pose json", "openpose json", "pose from file", "import keypoints",
                "openpose editor",
            ],
            inputs=[
                io.Combo.Input(
                    "file", options=_files(),
                    tooltip="A .json file of the input folder.",
                ),
                io.Combo.Input(
                    "coordinates", options=list(COORDINATES),
                    tooltip="Of the file: pixels, or 0 to 1 of the canvas. auto tells by the "
                    "numbers.",
                ),
            ],
            outputs=[pose_output()],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        """Files that came after the list was made, in folders below it, or named `... [output]`."""
        return folder_paths.exists_annotated_filepath(file) or f"There is no file {file}."

    @classmethod
    def fingerprint_inputs(cls, file: str, coordinates: str = "auto") -> str:
        path = Path(folder_paths.get_annotated_filepath(file))
        return hashlib.sha256(path.read_bytes()).hexdigest() + coordinates

    @classmethod
    def execute(cls, file: str, coordinates: Coordinates = "auto") -> io.NodeOutput:
        path = Path(folder_paths.get_annotated_filepath(file))
        frames = read(path.read_text(encoding="utf-8-sig", errors="replace"), where=path.name)
        try:
            poses = parse(frames, coordinates=coordinates)
        except ControlInputError as e:
            raise e.at(f"{path.name}, {e.where}") from e
        return io.NodeOutput(poses_out(list(poses)))


def _files() -> list[str]:
    folder = Path(folder_paths.get_input_directory())
    return sorted(path.name for path in folder.glob(f"*{_SUFFIX}") if path.is_file())
