"""One node for each preprocessor, made from its signature."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from einops import rearrange
from torch import Tensor

from ..preprocessors import PREPROCESSORS, Parameter, Preprocessor
from ._annotators import KEEPER, ask_for_downloads
from ._layout import from_image, from_mask
from ._progress import progress_of
from ._types import CATEGORY


def node_id(preprocessor: Preprocessor) -> str:
    """`inpaint_hint` -> `ControlStackInpaintHint`; saved workflows hold it for ever."""
    return "ControlStack" + "".join(word.capitalize() for word in preprocessor.name.split("_"))


def preprocess(
    preprocessor: Preprocessor, image: Tensor, mask: Tensor | None, values: dict[str, Any]
) -> Tensor:
    """IMAGE (B h w 3): the hint, with progress in the graph and an ear for the stop button."""
    picture = from_image(image)
    masks = None if mask is None else from_mask(mask)
    if preprocessor.learned:
        ask_for_downloads()
    hint = rearrange(
        preprocessor(picture, masks, progress=progress_of(len(picture)), **values),
        "b c h w -> b h w c",
    )
    if preprocessor.learned:
        KEEPER.free_with(hint)
    return hint


_WIDGETS: dict[str, type[io.WidgetInput]] = {
    "float": io.Float.Input,
    "int": io.Int.Input,
    "choice": io.Combo.Input,
    "flag": io.Boolean.Input,
}


def _widget(parameter: Parameter, *, optional: bool) -> io.Input:
    options: dict[str, Any] = {
        "default": parameter.default, "tooltip": parameter.help, "optional": optional,
    }  # fmt: skip
    if parameter.choices:
        options["options"] = list(parameter.choices)
    if parameter.min is not None:
        options |= {"min": parameter.min, "max": parameter.max, "step": parameter.step}
    return _WIDGETS[parameter.type](parameter.name, **options)


def _inputs(preprocessor: Preprocessor) -> list[io.Input]:
    inputs: list[io.Input] = [io.Image.Input("image", tooltip="The pictures; any size and batch.")]
    if preprocessor.mask is not None:
        inputs.append(io.Mask.Input("mask", tooltip=preprocessor.mask.help))
    return inputs + widgets(preprocessor)


def widgets(preprocessor: Preprocessor) -> list[io.Input]:
    """A widget for each parameter; API prompts from before a `finish` may lack its own."""
    last = () if preprocessor.finish is None else preprocessor.finish.parameters
    return [_widget(each, optional=each in last) for each in preprocessor.parameters]


def _about(preprocessor: Preprocessor) -> str:
    """Its description, and the terms of its weights."""
    return "\n\n".join(filter(None, (preprocessor.description, preprocessor.licences)))


def make_node(preprocessor: Preprocessor) -> type[io.ComfyNode]:
    """A node class whose widgets are the parameters of `preprocessor`."""

    class Preprocess(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema(
                node_id=node_id(preprocessor),
                display_name=preprocessor.title,
                category=f"{CATEGORY}/preprocess/{preprocessor.group}",
                description=_about(preprocessor),
                search_aliases=[preprocessor.name.replace("_", " "), "preprocessor", "annotator"],
                inputs=_inputs(preprocessor),
                outputs=[io.Image.Output(display_name="image", tooltip="The hint.")],
            )

        @classmethod
        def execute(
            cls, image: Tensor, mask: Tensor | None = None, **values: Any
        ) -> io.NodeOutput:
            return io.NodeOutput(preprocess(preprocessor, image, mask, values))

    Preprocess.__name__ = Preprocess.__qualname__ = node_id(preprocessor)
    return Preprocess


PREPROCESSOR_NODES = [make_node(preprocessor) for preprocessor in PREPROCESSORS.values()]

