"""Adherence Score: how well a picture follows a hint, as a number and as a picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from comfy_api.latest import io, ui
from einops import rearrange
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.training.adherence import MEASURES
from ..preprocessors import PREPROCESSORS
from ._layout import from_image
from ._types import CATEGORY

READY = "the image is a hint already"


class Adherence(io.ComfyNode):
    """Runs the preprocessor on the picture again and compares."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackAdherence",
            display_name="Adherence Score",
            category=f"{CATEGORY}/inspect",
            description="How well a picture follows its hint: the preprocessor that made the hint "
            "is run on the picture, and both are compared.",
            search_aliases=["controlnet accuracy", "compare hint", "edge f1", "miou", "rmse"],
            inputs=[
                io.Image.Input("image", tooltip="The pictures that were painted."),
                io.Image.Input("hint", tooltip="The hint that they had to follow: one, or one "
                               "for each."),
                io.Combo.Input(
                    "preprocessor", options=[READY, *PREPROCESSORS], default="canny",
                    tooltip="What made the hint. For a network's hint (depth, segmentation), "
                    "make it of the picture by its own node and choose the first entry.",
                ),
                io.Combo.Input(
                    "measure", options=list(MEASURES), default="edges",
                    tooltip="edges: F1, 1 is best. depth: root mean squared difference, 0 is "
                    "best. labels: mean intersection over union, 1 is best.",
                ),
            ],
            outputs=[
                io.Float.Output(display_name="score", tooltip="Mean over the pictures."),
                io.Image.Output(
                    display_name="differences",
                    tooltip="White: in both. Red: in the hint alone. Blue: in the picture alone.",
                ),
            ],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def execute(cls, image: Tensor, hint: Tensor, preprocessor: str, measure: str) -> io.NodeOutput:
        pictures, wanted = from_image(image), from_image(hint, where="hint")[:, :3]
        read = pictures if preprocessor == READY else PREPROCESSORS[preprocessor](pictures)
        wanted = _one_each(wanted, len(read))
        score = float(MEASURES[measure](wanted, read[:, :3]).mean())
        seen = rearrange(differences(wanted, read[:, :3]), "b c h w -> b h w c")
        kind = f"{MEASURES[measure].title}: {score:.3f}"
        shown = ui.PreviewImage(seen, cls=cls).as_dict() | ui.PreviewText(kind).as_dict()
        return io.NodeOutput(score, seen, ui=shown)


def differences(wanted: Tensor, read: Tensor) -> Tensor:
    """Both hints (B 3 h w) in one picture: red what `wanted` has more of, blue what `read` has."""
    read = F.interpolate(read, size=wanted.shape[-2:], mode="nearest")
    first, second = (x.mean(dim=1) for x in (wanted, read))
    return torch.stack([first, torch.minimum(first, second), second], dim=1)


def _one_each(hints: Tensor, count: int) -> Tensor:
    if len(hints) not in (1, count):
        raise ControlInputError(
            "CN-T02", "hint", found=f"{len(hints)} hints and {count} pictures",
            expected="one hint, or one for each picture", fix="give as many hints as pictures",
        )
    return hints.expand(count, -1, -1, -1)
