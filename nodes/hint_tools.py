"""Nodes around hints: sizes that fit the generation, resized hints, pasted lightness, classes."""

from __future__ import annotations

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io
from einops import rearrange
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ..preprocessors._recolor_paste import LIGHTNESSES, Lightness, recolored
from ..preprocessors._sizes import RESIZE_MODES, ResizeMode, pixel_perfect
from ..preprocessors.hint_resize import resize_hint
from ..preprocessors.palettes import PALETTES, colour_labels, labels_of
from ._layout import from_image
from ._progress import progress_of
from ._types import CATEGORY

_SIZES, _HINTS = f"{CATEGORY}/preprocess/size", f"{CATEGORY}/preprocess/hint"
_PLAIN_CHANNELS = (4, 16)  # of latents: SD, SDXL; SD3, Flux, Wan and others, all 8 pixels a cell
_PLAIN_FACTOR = 8


def _size_input(name: str, what: str) -> io.Input:
    return io.Int.Input(name, default=512, min=64, max=8192, step=8, tooltip=what)


def _mode_input() -> io.Input:
    return io.Combo.Input(
        "resize_mode", options=list(RESIZE_MODES),
        tooltip="How the picture comes to the generated size: stretched, cut to fill it, or whole "
        "with a border.",
    )  # fmt: skip


def _size_outputs() -> list[io.Output]:
    return [
        io.Int.Output(display_name="width", tooltip="Width of the generation, in pixels."),
        io.Int.Output(display_name="height", tooltip="Height of the generation, in pixels."),
    ]


class PixelPerfect(io.ComfyNode):
    """The resolution at which a preprocessor wastes no pixel."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPixelPerfect",
            display_name="Pixel Perfect Resolution",
            category=_SIZES,
            description="The resolution for a preprocessor, so that a pixel of its hint is a pixel "
            "of the generated picture.",
            search_aliases=["PixelPerfectResolution", "pixel perfect", "preprocessor resolution"],
            inputs=[
                io.Image.Input("image", tooltip="What the preprocessor gets; its size counts."),
                _size_input("width", "Width of the generation, in pixels."),
                _size_input("height", "Height of the generation, in pixels."),
                _mode_input(),
            ],
            outputs=[
                io.Int.Output(
                    display_name="resolution", tooltip="For resolution of any preprocessor."
                )
            ],
        )

    @classmethod
    def execute(
        cls, image: Tensor, width: int, height: int, resize_mode: ResizeMode = "Just Resize"
    ) -> io.NodeOutput:
        size = from_image(image).shape[-2:]
        return io.NodeOutput(
            pixel_perfect(*size, gen_height=height, gen_width=width, mode=resize_mode)
        )


class HintResize(io.ComfyNode):
    """Hints at the generated size, lines thin and colours pure."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackHintResize",
            display_name="Resize Hint",
            category=_HINTS,
            description="Brings hints to the size of the generation: thin lines stay one pixel "
            "wide, colours of classes and poses stay pure, everything else is interpolated.",
            search_aliases=[
                "HintImageEnchance", "Enchance And Resize Hint Images", "enhance hint",
                "resize control image", "resize segmentation",
            ],
            inputs=[
                io.Image.Input("hint", tooltip="Hints of any kind, each resized by what it shows."),
                _size_input("width", "Width of the new hint, in pixels."),
                _size_input("height", "Height of the new hint, in pixels."),
                _mode_input(),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The hints at the new size.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, hint: Tensor, width: int, height: int, resize_mode: ResizeMode = "Just Resize"
    ) -> io.NodeOutput:
        pictures = from_image(hint, where="hint of Resize Hint")
        made = resize_hint(
            pictures, height=height, width=width, mode=resize_mode,
            progress=progress_of(len(pictures)),
        )  # fmt: skip
        return io.NodeOutput(rearrange(made, "b c h w -> b h w c"))


class SizeFromImage(io.ComfyNode):
    """Width and height of pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackSizeFromImage",
            display_name="Generation Size from Image",
            category=_SIZES,
            description="Width and height of a picture, for Pixel Perfect Resolution and Resize "
            "Hint where the generation has its size.",
            search_aliases=[
                "ImageGenResolutionFromImage", "Generation Resolution From Image", "image size",
            ],
            inputs=[io.Image.Input("image", tooltip="The picture, or a batch of them.")],
            outputs=_size_outputs(),
        )  # fmt: skip

    @classmethod
    def execute(cls, image: Tensor) -> io.NodeOutput:
        height, width = from_image(image).shape[-2:]
        return io.NodeOutput(width, height)


class SizeFromLatent(io.ComfyNode):
    """Width and height of the pictures that latents become."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackSizeFromLatent",
            display_name="Generation Size from Latent",
            category=_SIZES,
            description="Width and height in pixels of what a latent becomes, by the cells of its "
            "family: 8 pixels for most, 16 or 32 for some.",
            search_aliases=[
                "ImageGenResolutionFromLatent", "Generation Resolution From Latent", "latent size",
            ],
            inputs=[
                io.Latent.Input("latent", tooltip="The latent that is sampled."),
                io.Model.Input(
                    "model", optional=True,
                    tooltip="The model that samples it; it knows the size of a cell.",
                ),
                io.Vae.Input(
                    "vae", optional=True,
                    tooltip="The VAE that decodes it, in place of a model.",
                ),
            ],
            outputs=_size_outputs(),
        )  # fmt: skip

    @classmethod
    def execute(
        cls, latent: dict[str, Any], model: ModelPatcher | None = None, vae: VAE | None = None
    ) -> io.NodeOutput:
        samples = latent["samples"]
        if samples.is_nested:  # picture and sound in one: the picture comes first
            samples = samples.unbind()[0]
        factor = _pixels_a_cell(latent, samples, model, vae)
        height, width = samples.shape[-2:]
        return io.NodeOutput(width * factor, height * factor)


def _pixels_a_cell(
    latent: dict[str, Any], samples: Tensor, model: ModelPatcher | None, vae: VAE | None
) -> int:
    """Pixels on a side of a cell: what the latent says of itself, else its model, else its VAE.

    An empty latent says so, and the host's samplers then scale it to the model's cells.
    """
    if (own := latent.get("downscale_ratio_spacial")) is not None:
        return int(own)
    if model is not None:
        latent_format: Any = model.get_model_object("latent_format")
        return int(latent_format.spacial_downscale_ratio)
    if vae is not None:
        cell: Any = vae.spacial_compression_decode()
        return int(cell)
    channels = samples.shape[1]
    if channels in _PLAIN_CHANNELS:
        return _PLAIN_FACTOR
    raise ControlInputError(
        "CN-H01", "latent", found=f"{channels} channels, which families of several cell sizes have",
        expected="a latent that tells how large its cells are", fix="connect the model or the VAE",
    )


class RecolorPaste(io.ComfyNode):
    """The lightness of a recolor hint, put back into what was generated from it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackRecolorPaste",
            display_name="Recolor Paste",
            category=_HINTS,
            description="Keeps the colours of a generated picture and takes its lightness from the "
            "hint, so that recolouring leaves every detail of the original.",
            search_aliases=[
                "recolor composite", "colorize", "recolor_luminance", "recolor_intensity",
                "Image Luminance", "Image Intensity", "luminosity blend",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The generated pictures."),
                io.Image.Input(
                    "hint", tooltip="The recolor hint they were generated with, or one for each."
                ),
                io.Combo.Input(
                    "mode", options=list(LIGHTNESSES),
                    tooltip="What the hint holds: the preprocessor that made it.",
                ),
                io.Float.Input(
                    "gamma", default=1.0, min=0.1, max=2.0, step=0.01,
                    tooltip="The gamma that the hint was made with; it is undone.",
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The recoloured pictures.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, image: Tensor, hint: Tensor, mode: Lightness = "luminance", gamma: float = 1.0
    ) -> io.NodeOutput:
        pictures, hints = from_image(image), from_image(hint, where="hint of Recolor Paste")
        made = recolored(pictures, hints, mode=mode, gamma=gamma)
        return io.NodeOutput(rearrange(made, "b c h w -> b h w c"))


class ClassMask(io.ComfyNode):
    """Where classes are in a segmentation hint."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackClassMask",
            display_name="Mask from Segmentation",
            category=_HINTS,
            description="The places of named classes in a segmentation hint as a mask, and the "
            "hint with every pixel set to the nearest colour of the palette.",
            search_aliases=[
                "segmentation mask", "color to mask", "ade20k", "coco", "snap colors", "class mask",
            ],
            inputs=[
                io.Image.Input("hint", tooltip="A segmentation hint, its colours of one palette."),
                io.Combo.Input(
                    "palette", options=list(PALETTES),
                    tooltip="Whose colours: the dataset of the segmentation.",
                ),
                io.String.Input(
                    "classes", default="person",
                    tooltip="Names of classes, parted by commas, as in person, sky.",
                ),
            ],
            outputs=[
                io.Mask.Output(display_name="mask", tooltip="White where one of the classes is."),
                io.Image.Output(display_name="image", tooltip="The hint in pure colours."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, hint: Tensor, palette: str = "ADE20K", classes: str = "person"
    ) -> io.NodeOutput:
        chosen = PALETTES[palette]
        names = [name for name in classes.split(",") if name.strip()]
        wanted = {chosen.colors[chosen.index(name)] for name in names}
        numbers = [i for i, color in enumerate(chosen.colors) if color in wanted]
        labels = labels_of(from_image(hint, where="hint of Mask from Segmentation"), chosen)
        pure = colour_labels(labels, chosen)
        mask = torch.isin(labels, torch.tensor(numbers, device=labels.device)).float()
        return io.NodeOutput(mask, rearrange(pure, "b c h w -> b h w c"))
