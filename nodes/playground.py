"""The playground in the graph: tiny models that need no download, and scenes to try them on."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import io
from einops import rearrange

from ..controlnet_core.playground.drawing import draw, label_hint
from ..controlnet_core.playground.family import CONTROL_FOLDER
from ..controlnet_core.playground.scenes import random_scene
from ..controlnet_core.playground.words import COLOURS, GROUNDS, SHAPES
from ._playground import playground_clip, playground_model, playground_vae
from ._types import CATEGORY

_WORDS = (
    f"It knows two or three of {', '.join(SHAPES)} in {', '.join(COLOURS)} on {', '.join(GROUNDS)} "
    "grounds, and left of, right of, above, below."
)


def show_controls() -> None:
    """Puts the playground's ControlNets among the files that Load ControlNet lists."""
    folder_paths.add_model_folder_path("controlnet", str(CONTROL_FOLDER))


class Playground(io.ComfyNode):
    """The playground's base model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPlayground",
            display_name="Playground Models",
            category=f"{CATEGORY}/playground",
            description="A tiny diffusion model that comes with the pack: paints 128 x 128 in a "
            f"second, also on a CPU. {_WORDS}",
            search_aliases=["tiny model", "checkpoint", "no download", "demo", "test model"],
            outputs=[
                io.Model.Output(tooltip="A UNet of SD1.5's blocks at small width; predicts v."),
                io.Clip.Output(tooltip="Its text encoder."),
                io.Vae.Output(tooltip="Its VAE; a latent cell is 8 x 8 pixels."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(playground_model(), playground_clip(), playground_vae())


class PlaygroundScene(io.ComfyNode):
    """A scene with everything that can be known of it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackPlaygroundScene",
            display_name="Playground Scene",
            category=f"{CATEGORY}/playground",
            description="Draws a scene for the playground's models, with its caption and exact "
            "hints.",
            search_aliases=["test picture", "toy data", "sample image", "ground truth"],
            inputs=[
                io.Int.Input(
                    "seed", default=0, min=0, max=2**63 - 1, control_after_generate=True,
                    tooltip="Every seed is another scene.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The scene, 128 x 128."),
                io.String.Output(display_name="caption", tooltip="What it shows."),
                io.Image.Output(display_name="outlines", tooltip="Outlines of the solids."),
                io.Image.Output(display_name="depth", tooltip="Exact depth; near is white."),
                io.Image.Output(display_name="labels", tooltip="Each kind of solid in a colour."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, seed: int) -> io.NodeOutput:
        scene = random_scene(seed)
        drawing = draw(scene)
        outlines, depth = (x.expand(3, -1, -1) for x in (drawing.edges, drawing.depth))
        labels = label_hint(drawing.labels[None])[0]
        picture, *hints = (
            rearrange(x, "c h w -> 1 h w c").contiguous()
            for x in (drawing.picture, outlines, depth, labels)
        )
        return io.NodeOutput(picture, scene.caption, *hints)
