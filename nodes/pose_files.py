"""Poses in JSON files: saved to the output folder, loaded from the input folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..controlnet_core.errors import ControlInputError
from ..preprocessors.pose import Pose, parse, read, write
from ..preprocessors.pose.keypoints import Points
from ..preprocessors.pose.openpose_json import COORDINATES, Coordinates
from .pose import POSE_CATEGORY, pose_input, pose_output, poses_out

_SUFFIX = ".json"


class PoseSave(io.ComfyNode):
    """Writes poses to a JSON file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPoseSave",
            display_name="Save Pose",
            category=POSE_CATEGORY,
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


def _with_certainty(points: Points) -> Points:
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
            category=POSE_CATEGORY,
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
