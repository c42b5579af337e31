"""The pose of everybody in a picture, drawn and as data."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from einops import rearrange
from torch import Tensor

from ..preprocessors.dwpose import dwpose, dwpose_with_poses
from ._annotators import KEEPER, ask_for_downloads
from ._layout import from_image
from ._progress import progress_of
from .pose import POSE_CATEGORY, pose_output, poses_out
from .preprocess import widgets


class PoseEstimate(io.ComfyNode):
    """The preprocessor `dwpose` with the points that it drew."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPoseEstimate",
            display_name="Estimate Pose",
            category=POSE_CATEGORY,
            description="Finds everybody in the pictures, with hands and faces, and gives the hint "
            f"of an OpenPose ControlNet and the points to edit or save.\n\n{dwpose.licences}",
            search_aliases=[
                "DWPose Estimator", "OpenPose Pose", "DWPreprocessor", "OpenposePreprocessor",
                "dwpose", "openpose", "pose keypoints", "skeleton",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The pictures; any size and batch."),
                *widgets(dwpose),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The hints."),
                pose_output(),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, image: Tensor, **values: Any) -> io.NodeOutput:
        pictures = from_image(image)
        ask_for_downloads()
        progress = progress_of(len(pictures))
        hints, poses = dwpose_with_poses(pictures, progress=progress, **values)
        drawn = rearrange(hints, "b c h w -> b h w c")
        KEEPER.free_with(drawn)
        return io.NodeOutput(drawn, poses_out(poses))
