"""Nodes on POSE_KEYPOINT, the poses of OpenPose-like detectors: draw and edit them."""

from __future__ import annotations

import re

import torch
from comfy_api.latest import io
from einops import rearrange

from ..controlnet_core.errors import ControlInputError
from ..preprocessors._sizes import RESIZE_MODES, ResizeMode
from ..preprocessors.pose import (
    Pose,
    mirror,
    move,
    parse,
    render,
    resize,
    scale,
    select,
    write,
)
from ..preprocessors.pose.drawing import STICKS, Sticks
from ..preprocessors.pose.edit import ABOUTS, About
from ._progress import progress_of
from ._types import CATEGORY

PoseSocket = io.Custom("POSE_KEYPOINT")
"""A list of frames as JSON has them, see `openpose_json`: ComfyUI's and the older packs' type."""

POSE_CATEGORY = f"{CATEGORY}/preprocess/pose"


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
            category=POSE_CATEGORY,
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
        progress = progress_of(len(poses))
        hints = torch.empty((len(poses), 3, poses[0].height, poses[0].width))
        for row, pose in enumerate(poses):
            hints[row] = render(
                pose, body=body, hands=hands, face=face, sticks=sticks,
                min_confidence=min_confidence,
            )  # fmt: skip
            progress(row + 1, len(poses))
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
            category=POSE_CATEGORY,
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
