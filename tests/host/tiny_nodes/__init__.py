"""Stand-ins for a checkpoint, as test nodes of the host and as functions for tests in its process.

`tiny_model` is a real MODEL of the host with few channels and random weights; `TinyText` and
`TinyPictures` do what the host's nodes ask of a CLIP and a VAE, from formulas instead of weights.
"""

from __future__ import annotations

import hashlib
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
import torch.nn.functional as F
from comfy_api.latest import ComfyExtension, io
from torch import Tensor

# Real text widths, label widths and kinds of attention; one downsampling and few channels.
_UNET: dict[str, Any] = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "num_res_blocks": [1, 1],
    "channel_mult": (1, 2),
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
    "legacy": False,
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "dtype": torch.float32,
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "SD15": _UNET | {"context_dim": 768},
    "SD20": _UNET | {"context_dim": 1024, "use_linear_in_transformer": True},
    "SDXL": _UNET
    | {
        "context_dim": 2048,
        "use_linear_in_transformer": True,
        "adm_in_channels": 2816,
        "num_classes": "sequential",
        "transformer_depth": [0, 2],
        "transformer_depth_output": [0, 0, 2, 2],
        "transformer_depth_middle": 2,
    },
}
POOLED = 1280  # width of the pooled text of SDXL
LATENT_SCALE = 0.18215 / 32  # of SD1.x; 32: a random net leaves latents as wide as the first noise


def tiny_model(
    layout: str = "SD15", *, channels: int = 64, seed: int = 0
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of the host's own class for `layout` (a key of LAYOUTS), on the CPU in float32.

    `channels` is the width of the first level, a multiple of 64; 320 is that of the real model.
    """
    config = getattr(comfy.supported_models, layout)(LAYOUTS[layout] | {"model_channels": channels})
    model = config.get_model({})
    shapes = model.diffusion_model.state_dict()
    model.load_model_weights(random_weights(shapes, seed=seed), "")
    return comfy.model_patcher.CoreModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def random_weights(like: dict[str, Tensor], *, seed: int) -> dict[str, Tensor]:
    """Weights of the names and shapes of `like` that keep the variance of their input.

    Norms are the identity and biases 0; the rest is Gaussian with deviation 1 / sqrt(fan in).
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(name: str, x: Tensor) -> Tensor:
        if x.ndim < 2:
            return torch.full(x.shape, float(name.endswith(".weight")))
        return torch.randn(x.shape, generator=generator) * x[0].numel() ** -0.5

    return {name: draw(name, x) for name, x in like.items()}


class TinyText:
    """A CLIP without weights: 77 words, each a Gaussian vector seeded by its letters."""

    def __init__(self, width: int) -> None:
        self.width = width

    def tokenize(self, text: str, **_options: Any) -> dict[str, list[str]]:
        return {"words": (text.split() + [""] * 77)[:77]}

    def encode_from_tokens(
        self, tokens: dict[str, list[str]], return_pooled: bool = False, return_dict: bool = False
    ) -> Any:
        context = torch.stack([_word(word, self.width) for word in tokens["words"]])[None]
        pooled = _word(" ".join(tokens["words"]), POOLED)[None]
        if return_dict:
            return {"cond": context, "pooled_output": pooled}
        return (context, pooled) if return_pooled else context

    def encode_from_tokens_scheduled(
        self,
        tokens: dict[str, list[str]],
        unprojected: bool = False,
        add_dict: dict[str, Any] | None = None,
        show_pbar: bool = True,
    ) -> list[list[Any]]:
        context, pooled = self.encode_from_tokens(tokens, return_pooled=True)
        return [[context, {"pooled_output": pooled} | (add_dict or {})]]

    def clone(self) -> TinyText:
        return self


def _word(word: str, width: int) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big", signed=True)
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


class TinyPictures:
    """A VAE without weights: latents are the 8 x 8 means of red, green, blue and grey."""

    latent_channels = 4
    downscale_ratio = upscale_ratio = 8

    def encode(self, pixels: Tensor) -> Tensor:
        """`pixels` (B H W 3) in 0..1 -> raw latents (B 4 H/8 W/8)."""
        colours = F.avg_pool2d(pixels[..., :3].movedim(-1, 1) * 2 - 1, 8)
        return torch.cat([colours, colours.mean(dim=1, keepdim=True)], dim=1) / LATENT_SCALE

    def decode(self, samples: Tensor) -> Tensor:
        """Raw latents (B 4 h w) -> picture (B 8h 8w 3) in 0..1."""
        colours = (samples[:, :3] * LATENT_SCALE / 2 + 0.5).clamp(0, 1)
        return F.interpolate(colours, scale_factor=8, mode="nearest").movedim(1, -1)

    def encode_tiled(self, pixels: Tensor, **_tiles: Any) -> Tensor:
        return self.encode(pixels)

    def decode_tiled(self, samples: Tensor, **_tiles: Any) -> Tensor:
        return self.decode(samples)

    def spacial_compression_encode(self) -> int:
        return 8

    def spacial_compression_decode(self) -> int:
        return 8

    def temporal_compression_decode(self) -> None:
        return None

    def throw_exception_if_invalid(self) -> None:
        """There are no weights that could be missing."""


class TinyCheckpoint(io.ComfyNode):
    """The outputs of the host's Load Checkpoint, without a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TinyCheckpoint",
            display_name="Tiny checkpoint",
            category="tests",
            inputs=[
                io.Combo.Input("layout", options=list(LAYOUTS), default="SD15", optional=True),
                io.Int.Input("channels", default=64, min=64, max=640, step=64, optional=True),
                io.Int.Input("seed", default=0, min=0, max=2**32, optional=True),
            ],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, layout: str = "SD15", channels: int = 64, seed: int = 0) -> io.NodeOutput:
        width = LAYOUTS[layout]["context_dim"]
        model = tiny_model(layout, channels=channels, seed=seed)
        return io.NodeOutput(model, TinyText(width), TinyPictures())


class TinyExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [TinyCheckpoint]


async def comfy_entrypoint() -> TinyExtension:
    return TinyExtension()
