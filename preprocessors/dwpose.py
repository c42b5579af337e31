"""Poses of people, estimated and drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from ._registry import Choice, Flag, Float, Progress, preprocessor
from .pose.drawing import render
from .pose.estimators import FIND, READ, Detector, Net, PoseNet, estimator
from .pose.keypoints import COUNTS, Person, Pose


@dataclass(frozen=True)
class _Settings:
    """The parameters of `dwpose`."""

    detector: Detector
    pose_net: PoseNet
    min_person: float
    min_confidence: float
    whole_picture: bool
    body: bool
    hands: bool
    face: bool
    xinsir_sticks: bool


@preprocessor(
    title="Pose, DWPose", group="pose",
    source="Yang et al. 2023: Effective whole-body pose estimation (arXiv:2307.15880), drawn as by "
    "OpenPose. Difference: drawn on the hint's canvas, and its detector sees blue first",
)
def dwpose(
    image: Tensor,
    find: Annotated[Net | None, FIND],
    read: Annotated[Net, READ],
    *,
    body: Annotated[bool, Flag("draw limbs and joints")] = True,
    hands: Annotated[bool, Flag("draw hands; vitpose finds none")] = True,
    face: Annotated[bool, Flag("draw points of the face; vitpose finds none")] = True,
    xinsir_sticks: Annotated[
        bool, Flag("limbs wider on large canvases, as xinsir's SDXL nets learned them")
    ] = False,
    detector: Annotated[
        Detector,
        Choice("what finds people: yolox needs onnxruntime, rtdetr does not; none takes the whole "
               "picture for one person"),
    ] = "yolox",
    pose_net: Annotated[
        PoseNet,
        Choice("what finds their points: dwpose needs onnxruntime and sees hands and faces; "
               "vitpose needs it not, and sees bodies alone"),
    ] = "dwpose",
    min_person: Annotated[
        float, Float("how sure the detector must be of a person, 0 to 1", 0.0, 1.0)
    ] = 0.3,
    min_confidence: Annotated[
        float, Float("how sure the net must be of a point, 0 to 1", 0.0, 1.0)
    ] = 0.3,
    whole_picture: Annotated[
        bool, Flag("where nobody is found, take the whole picture for one, as for drawn figures")
    ] = False,
) -> Tensor:
    """Coloured skeletons of everybody on black, with hands and faces.

    Nobody at all gives a black hint. For the points as data, use the node Estimate Pose.
    """
    settings = _Settings(
        detector, pose_net, min_person, min_confidence, whole_picture, body, hands, face,
        xinsir_sticks,
    )
    return _drawn(_estimated(image, find, read, settings), settings).to(image.device)


def dwpose_with_poses(
    image: Tensor, *, progress: Progress | None = None, **values: Any
) -> tuple[Tensor, list[Pose]]:
    """Hints (B 3 h w) of `dwpose`, and the pose of each picture in pixels of its hint.

    Parts that are not drawn are not in the poses. Parameters and errors are those of `dwpose`.
    """
    poses: list[Pose] = []

    def drawn(image: Tensor, find: Net | None, read: Net, **settings: Any) -> Tensor:
        chosen = _Settings(**settings)
        made = _estimated(image, find, read, chosen)
        poses.extend(made)
        return _drawn(made, chosen).to(image.device)

    hints = replace(dwpose, function=drawn)(image, progress=progress, **values)
    return hints, poses


def _estimated(image: Tensor, find: Net | None, read: Net, settings: _Settings) -> list[Pose]:
    estimate = estimator(
        find, read, detector=settings.detector, pose_net=settings.pose_net,
        min_person=settings.min_person, min_confidence=settings.min_confidence,
        whole_picture=settings.whole_picture,
    )
    return [
        replace(pose, people=tuple(_wanted(person, settings) for person in pose.people))
        for pose in estimate(image)
    ]


def _wanted(person: Person, settings: _Settings) -> Person:
    """`person` without the parts that are switched off."""
    return Person(
        body=person.body if settings.body else np.zeros((COUNTS["body"], 3)),
        face=person.face if settings.face else None,
        left_hand=person.left_hand if settings.hands else None,
        right_hand=person.right_hand if settings.hands else None,
        feet=person.feet if settings.body else None,
    )


def _drawn(poses: list[Pose], settings: _Settings) -> Tensor:
    sticks = "xinsir" if settings.xinsir_sticks else "standard"
    return torch.stack([render(pose, sticks=sticks) for pose in poses])
