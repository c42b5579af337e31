"""All preprocessors in one node, and several of them side by side on one sheet."""

from __future__ import annotations

from typing import Any

import torch
from comfy.model_management import InterruptProcessingException
from comfy_api.latest import io, ui
from einops import rearrange
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.sheet import Panel, sheet
from ..preprocessors import PREPROCESSORS, Preprocessor
from ._layout import from_image
from ._types import CATEGORY
from .preprocess import preprocess, widgets

_CHOICE = "preprocessor"
_FIRST_LOOK = ["canny", "lineart_standard", "scribble_xdog", "tile_guided"]


class AnyPreprocessor(io.ComfyNode):
    """One node whose widgets are those of the preprocessor that is chosen."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPreprocessor",
            display_name="Preprocessor",
            category=f"{CATEGORY}/preprocess",
            description="Any preprocessor of the pack: its widgets change with the choice.",
            search_aliases=["AIO Aux Preprocessor", "all in one preprocessor", "annotator", "hint"],
            inputs=[
                io.Image.Input("image", tooltip="The pictures; any size and batch."),
                io.DynamicCombo.Input(
                    _CHOICE,
                    options=[
                        io.DynamicCombo.Option(each.name, widgets(each))
                        for each in PREPROCESSORS.values()
                    ],
                    tooltip="What to make of the pictures.",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="For those that need one, such as inpaint_hint."
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The hint.")],
        )

    @classmethod
    def execute(
        cls, image: Tensor, preprocessor: dict[str, Any], mask: Tensor | None = None
    ) -> io.NodeOutput:
        values = dict(preprocessor)
        chosen = PREPROCESSORS[values.pop(_CHOICE)]
        mask = mask if chosen.needs_mask else None
        return io.NodeOutput(preprocess(chosen, image, mask, values))


class ComparePreprocessors(io.ComfyNode):
    """Several preprocessors of one picture, each with its name under it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPreprocessorSheet",
            display_name="Compare Preprocessors",
            category=f"{CATEGORY}/preprocess",
            description="Runs several preprocessors on the first picture and draws them on one "
            "labelled sheet, with their default settings. One that cannot run says why.",
            search_aliases=["Execute All ControlNet Preprocessors", "preprocessor grid", "compare"],
            inputs=[
                io.Image.Input("image", tooltip="The picture; of a batch the first."),
                io.MultiCombo.Input(
                    "preprocessors", options=list(PREPROCESSORS), default=_FIRST_LOOK, chip=True,
                    tooltip="Which to draw, in this order. None chosen: every one that needs no "
                    "weights.",
                ),
                io.Int.Input(
                    "resolution", default=512, min=64, max=2048, step=64,
                    tooltip="Shortest side at which they run, in pixels.",
                ),
                io.Int.Input("columns", default=3, min=1, max=12, tooltip="Pictures in a row."),
                io.Mask.Input(
                    "mask", optional=True, tooltip="For those that need one, such as inpaint_hint."
                ),
            ],
            outputs=[io.Image.Output(display_name="sheet", tooltip="All of them, labelled.")],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        image: Tensor,
        preprocessors: list[str],
        resolution: int,
        columns: int,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        plain = (each.name for each in PREPROCESSORS.values() if not each.learned)
        names = preprocessors or list(plain)
        first = image[:1]
        panels = [Panel(from_image(first)[:, :3], "picture")]
        panels += [_panel(PREPROCESSORS[name], first, mask, resolution) for name in names]
        page = Panel.of(sheet(panels, columns=columns), "").picture
        seen = rearrange(page, "b c h w -> b h w c")
        return io.NodeOutput(seen, ui=ui.PreviewImage(seen, cls=cls))


def _panel(chosen: Preprocessor, image: Tensor, mask: Tensor | None, resolution: int) -> Panel:
    """The hint over its name; a grey one with the reason where it cannot be made."""
    try:
        mask = mask if chosen.needs_mask else None
        hint = preprocess(chosen, image, mask, {"resolution": resolution})
    except InterruptProcessingException:
        raise
    except ControlInputError as error:
        return Panel(torch.full((1, 3, 64, 64), 0.85), f"{chosen.name}: {error.found}")
    return Panel(rearrange(hint, "b h w c -> b c h w").clamp(0.0, 1.0), chosen.name)
