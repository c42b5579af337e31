"""Estimators: pictures in, the poses of the people in them out. A detector, then a pose net.

Each of the two can be had from ONNX files, as DWPose publishes them, or from transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._networks import Network, OneOf
from .._onnx import open_onnx
from .._transformers import IMAGENET, linear, open_folder, standardised
from .coco import person_of
from .crop import Crops, around
from .detect import PERSON, SIDE, chosen, letterboxed, yolox_people
from .keypoints import Person, Pose, found
from .maxima import heatmap_points, simcc_points

Net = Callable[[Tensor], Any]
Estimator = Callable[[Tensor], list[Pose]]
"""Pictures (b 3 H W), 0..1, to everybody in each, in its pixels, the surest first."""

Detector = Literal["yolox", "rtdetr", "none"]
PoseNet = Literal["dwpose", "vitpose"]

AT_ONCE = 16  # crops or squares in one run of a net, which are of one size whatever the picture's


@dataclass(frozen=True, eq=False)
class Reader:
    """How a pose net is fed, and its answer understood as points (n k 3) in pixels of the crops."""

    height: int
    width: int
    points: Callable[[Any], Tensor]
    unbiased: bool = False


@dataclass(frozen=True, eq=False)
class TopDown:
    """Finds people, then the points of each by itself; an `Estimator`.

    `find` gives the boxes (n 4) of each picture. `whole_picture` takes a picture in which it finds
    nobody for one person, as drawn figures are often missed.
    """

    find: Callable[[Tensor], list[Tensor]]
    net: Net
    reader: Reader
    min_confidence: float = 0.3
    whole_picture: bool = field(default=False, kw_only=True)

    def __call__(self, pictures: Tensor) -> list[Pose]:
        boxes = self.find(pictures)
        if self.whole_picture:
            pairs = zip(boxes, everywhere(pictures), strict=True)
            boxes = [each if len(each) else whole for each, whole in pairs]
        reader = self.reader
        crops = [
            around(each, reader.height, reader.width, unbiased=reader.unbiased) for each in boxes
        ]
        height, width = pictures.shape[-2:]
        return [Pose(people, height, width) for people in self._people(pictures, crops)]

    def _people(self, pictures: Tensor, crops: list[Crops]) -> list[tuple[Person, ...]]:
        """Those in each picture; all crops of all pictures go through the net together."""
        cut = torch.cat([each.of(picture) for each, picture in zip(crops, pictures, strict=True)])
        if not len(cut):
            return [()] * len(pictures)
        read = torch.cat([
            self.reader.points(self.net(standardised(part, *IMAGENET)))
            for part in torch.split(cut, AT_ONCE)
        ])
        counts = [len(each.corner) for each in crops]
        return [
            self._found(each, points)
            for each, points in zip(crops, torch.split(read, counts), strict=True)
        ]

    def _found(self, crops: Crops, read: Tensor) -> tuple[Person, ...]:
        placed = torch.cat([crops.back(read[..., :2]), read[..., 2:]], -1).double().cpu().numpy()
        people = (person_of(each, min_confidence=self.min_confidence) for each in placed)
        return tuple(
            each for each in people if any(found(part).any() for part in each.parts().values())
        )


def yolox(net: Net, pictures: Tensor, min_score: float) -> list[Tensor]:
    """Boxes (n 4) of people in each picture, by YOLOX; colours are blue first, as it learned."""
    found: list[Tensor] = []
    for part in torch.split(pictures, AT_ONCE):
        levels, scale = letterboxed(part)
        boxes, scores = yolox_people(net(levels.flip(1)))
        found += [chosen(box / scale, score, min_score=min_score)
                  for box, score in zip(boxes, scores, strict=True)]
    return found


def rtdetr(net: Net, pictures: Tensor, min_score: float) -> list[Tensor]:
    """Boxes (n 4) of people in each picture, by RT-DETR, which names nobody twice.

    Source: Zhao et al. 2023 (arXiv:2304.08069), as read by RTDetrImageProcessor of transformers.
    """
    sides = torch.tensor(pictures.shape[:1:-1] * 2, device=pictures.device)  # W H W H
    found: list[Tensor] = []
    for part in torch.split(pictures, AT_ONCE):
        logits, places = net(linear(part, (SIDE, SIDE)))
        centre, half = places[..., :2], places[..., 2:] / 2
        boxes = torch.cat([centre - half, centre + half], -1) * sides
        for box, score in zip(boxes, logits[..., PERSON].sigmoid(), strict=True):
            order = score.argsort(descending=True, stable=True)
            found.append(box[order][score[order] > min_score])
    return found


def everywhere(pictures: Tensor) -> list[Tensor]:
    """A box (1 4) around each whole picture."""
    box = torch.tensor([0, 0, *pictures.shape[:1:-1]], dtype=torch.float32, device=pictures.device)
    return [box[None]] * len(pictures)


def estimator(
    find: Net | None,
    read: Net,
    *,
    detector: Detector,
    pose_net: PoseNet,
    min_person: float,
    min_confidence: float,
    whole_picture: bool,
) -> Estimator:
    """The one of those two networks; `find` is None for the detector "none".

    People below `min_person` and points below `min_confidence` are left out.
    """

    def boxes(pictures: Tensor) -> list[Tensor]:
        if find is None:
            return everywhere(pictures)
        return DETECTORS[detector](find, pictures, min_person)

    return TopDown(
        boxes, read, READERS[pose_net], min_confidence, whole_picture=whole_picture
    )


def _from_simcc(answer: tuple[Tensor, Tensor]) -> Tensor:
    return simcc_points(*answer)


def _from_heatmaps(heatmaps: Tensor) -> Tensor:
    """From cells to pixels of the crop: first and last cell are its first and last pixel."""
    points = heatmap_points(heatmaps)
    reader = READERS["vitpose"]
    cells = torch.tensor([heatmaps.shape[-1], heatmaps.shape[-2]], device=points.device)
    pixels = torch.tensor([reader.width, reader.height], device=points.device)
    return torch.cat([points[..., :2] * ((pixels - 1) / (cells - 1)), points[..., 2:]], -1)


DETECTORS: Mapping[str, Callable[[Net, Tensor, float], list[Tensor]]] = {
    "yolox": yolox, "rtdetr": rtdetr,
}  # fmt: skip
READERS: Mapping[PoseNet, Reader] = {
    "dwpose": Reader(384, 288, _from_simcc),
    "vitpose": Reader(256, 192, _from_heatmaps, unbiased=True),
}


class Answers(nn.Module):
    """A model of transformers whose answer is those tensors, by name."""

    def __init__(self, model: nn.Module, *names: str) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The one tensor, or a tuple of several, for pictures as the model wants them."""
        made = self.model(pixel_values=x)
        answers = tuple(getattr(made, name) for name in self.names)
        return answers[0] if len(answers) == 1 else answers


def open_rtdetr(folder: Path) -> nn.Module:
    """RT-DETR: logits (b n 80) and boxes (b n 4), centre and size in 0..1, of (b 3 640 640)."""
    return Answers(open_folder(folder, "RTDetrForObjectDetection"), "logits", "pred_boxes").eval()


def open_vitpose(folder: Path) -> nn.Module:
    """ViTPose: heatmaps (n 17 64 48) of crops (n 3 256 192)."""
    return Answers(open_folder(folder, "VitPoseForPoseEstimation"), "heatmaps").eval()


# By one pixel of the picture: their inputs have a size of their own, AT_ONCE of which are run.
FIND = OneOf("detector", {
    "yolox": Network("dwpose_detector", open_onnx, floats_per_pixel=64),
    "rtdetr": Network("rtdetr", open_rtdetr, floats_per_pixel=64),
    "none": None,
})
READ = OneOf("pose_net", {
    "dwpose": Network("dwpose", open_onnx, floats_per_pixel=64),
    "vitpose": Network("vitpose", open_vitpose, floats_per_pixel=64),
})
