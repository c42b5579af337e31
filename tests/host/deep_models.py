"""Models and nets of as many blocks as SD1.5 and Flux have, small in every other way.

Nodes that weigh blocks by number refuse nets of fewer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from comfy.ldm.flux.controlnet import ControlNetFlux
from comfy.t2i_adapter.adapter import Adapter
from nets import random_net
from safetensors.torch import save_file
from tiny_nodes import LAYOUTS, POOLED, TinyPictures, TinyText, random_weights

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.nets import SD15

CHANNELS = 64
DEEP: dict[str, dict[str, Any]] = {
    "SD15": LAYOUTS["SD15"] | {
        "model_channels": CHANNELS, "channel_mult": (1, 2, 4, 4), "num_res_blocks": [2] * 4,
        "transformer_depth": [1] * 6 + [0] * 2, "transformer_depth_output": [1] * 9 + [0] * 3,
    },
    "Flux": {
        "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": POOLED,
        "context_in_dim": 64, "hidden_size": 128, "mlp_ratio": 4.0, "num_heads": 1, "depth": 19,
        "depth_single_blocks": 1, "axes_dim": [16, 56, 56], "theta": 10000, "patch_size": 2,
        "qkv_bias": True, "guidance_embed": True, "txt_ids_dims": [], "dtype": torch.float32,
    },
}  # fmt: skip
"""Class of the host -> the configuration of its network."""


def deep_model(family: str) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of the host's class `family` with random weights, on the CPU in float32."""
    model = getattr(comfy.supported_models, family)(DEEP[family]).get_model({})
    weights = random_weights(model.diffusion_model.state_dict(), seed=0)
    model.diffusion_model.load_state_dict(weights)
    return comfy.model_patcher.CoreModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


class DeepCheckpoint:
    """Stands for the host's Load Checkpoint: Flux or SD1.5, by the name of the file."""

    RETURN_TYPES = ("MODEL", "CLIP", "VAE")
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (the host's name)
        return {"required": {"ckpt_name": ("STRING", {})}}

    def load(self, ckpt_name: str) -> tuple[Any, TinyText, TinyPictures]:
        family = "Flux" if "flux" in ckpt_name else "SD15"
        width = DEEP[family].get("context_dim") or DEEP[family]["context_in_dim"]
        return deep_model(family), TinyText(width), TinyPictures()


def write_deep_net(path: Path) -> None:
    """A random net of the kind that the published file of this name holds, in its format."""
    match path.name.split("_")[0].split("-")[0]:
        case "flux":
            net = ControlNetFlux(**DEEP["Flux"] | {"depth": 2, "depth_single_blocks": 0},
                                 operations=torch.nn)  # fmt: skip
            weights = random_weights(net.state_dict(), seed=1)
            # How the published file names its norms; newer hosts call them weights.
            weights = {k.replace("_norm.weight", "_norm.scale"): v for k, v in weights.items()}
        case "t2iadapter":
            levels = [CHANNELS, 2 * CHANNELS, 4 * CHANNELS, 4 * CHANNELS]
            net = Adapter(cin=192, channels=levels, nums_rb=2, ksize=1, sk=True, use_conv=False,
                          xl=False)  # fmt: skip
            weights = random_weights(net.state_dict(), seed=2)
        case "diff":
            config = SD15.like(model_channels=CHANNELS, num_heads=None, num_head_channels=64)
            formats.save(random_net(config, seed=3), path, format=formats.LDM)
            weights = {**formats.open_file(path).weights(), "difference": torch.zeros(1)}
    save_file(weights, path)
