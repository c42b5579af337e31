"""A MODEL, a CLIP and a VAE as the base that a ControlNet is trained for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import comfy.model_management
import torch
from comfy.model_base import BaseModel, ModelType
from comfy.model_patcher import ModelPatcher
from einops import rearrange
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.formats import load_unet
from ..controlnet_core.nets import ControlNetConfig, UNet
from ..controlnet_core.noise import DiffusionNoise, FlowNoise, Noise
from ..controlnet_core.training.base import Base, Size, Text
from ._fit import unet_config

T = TypeVar("T", bound=Tensor | None)


def host_base(model: ModelPatcher, clip: Any, vae: Any, *, dtype: torch.dtype) -> Base:
    """The host's models as a `Base`; its UNet is a copy, with every patch of `model` in it.

    Called outside of inference mode: the host's own weights are inference tensors, which autograd
    refuses. Raises CN-T03 for a MODEL that is no UNet of the Stable Diffusion kind.
    """
    inner: BaseModel = model.model
    return Base(
        name=type(inner.model_config).__name__,
        unet=_unet(model, dtype),
        noise=_noise(inner),
        encode=lambda picture: _latent(inner, vae, picture),
        decode=lambda latent: _picture(inner, vae, latent),
        read=lambda prompts, size: _text(inner, clip, prompts, size),
    )


def _unet(model: ModelPatcher, dtype: torch.dtype) -> UNet:
    config = unet_config(model.model)
    if config is None:
        raise ControlInputError(
            "CN-T03", "model", found=f"a {type(model.model.diffusion_model).__name__}",
            expected="the UNet of SD1.5, SD2.x or SDXL",
            fix="connect such a checkpoint; ControlNets of others cannot be trained here",
        )
    device = comfy.model_management.get_torch_device()
    comfy.model_management.load_models_gpu([model], force_patch_weights=True)
    prefix = "diffusion_model."
    weights = {
        name.removeprefix(prefix): weight.detach().to(device, dtype, copy=True)
        for name, weight in model.model_state_dict(prefix).items()
    }
    return load_unet(weights, config=_with_heads(config, model.model)).requires_grad_(False)


def _with_heads(config: ControlNetConfig, model: BaseModel) -> ControlNetConfig:
    """The heads that the host's UNet was built with; shapes do not tell."""
    told = model.model_config.unet_config
    if told.get("num_head_channels", -1) > 0:
        return config.like(num_heads=None, num_head_channels=told["num_head_channels"])
    return config.like(num_heads=told["num_heads"], num_head_channels=None)


def _noise(model: BaseModel) -> Noise:
    sampling = model.model_sampling
    kinds: dict[ModelType, Noise] = {
        ModelType.EPS: DiffusionNoise("eps"),
        ModelType.V_PREDICTION: DiffusionNoise("v"),
        ModelType.FLOW: FlowNoise(getattr(sampling, "shift", 1.0)),
    }
    noise = kinds.get(model.model_type)
    if noise is None:
        raise _stranger(f"a model that predicts {model.model_type.name}")
    if isinstance(noise, DiffusionNoise) and not _same(sampling.sigmas, noise.sigmas):
        raise _stranger("a model with noise levels of its own (zero terminal SNR, for instance)")
    return noise


def _same(theirs: Tensor, ours: Tensor) -> bool:
    theirs = theirs.float().cpu()
    return theirs.shape == ours.shape and torch.allclose(theirs, ours, rtol=1e-3)


def _stranger(found: str) -> ControlInputError:
    return ControlInputError(
        "CN-T03", "model", found=found,
        expected="one that predicts eps, v or flow over Stable Diffusion's noise levels",
        fix="connect another checkpoint",
    )


def _latent(model: BaseModel, vae: Any, picture: Tensor) -> Tensor:
    pixels = rearrange(picture, "b c h w -> b h w c").contiguous()
    return _ordinary(lambda: model.process_latent_in(vae.encode(pixels)).float())


def _picture(model: BaseModel, vae: Any, latent: Tensor) -> Tensor:
    pixels = _ordinary(lambda: vae.decode(model.process_latent_out(latent.cpu())).float())
    return rearrange(pixels, "b h w c -> b c h w")


def _text(model: BaseModel, clip: Any, prompts: Sequence[str], size: Size) -> Text:
    rows = [_prompt(model, clip, prompt, size) for prompt in prompts]
    contexts, ys = zip(*rows, strict=True)
    device = comfy.model_management.get_torch_device()
    y = None if ys[0] is None else torch.cat(ys).to(device)
    return Text(torch.cat(contexts).float().to(device), y)


def _prompt(model: BaseModel, clip: Any, prompt: str, size: Size) -> Text:
    """One prompt as the host's own nodes encode it; SDXL is told the size of the picture."""
    height, width = size

    def encode() -> tuple[Tensor, Tensor | None]:
        context, pooled = clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)
        y = model.encode_adm(
            pooled_output=pooled, device=context.device, width=width, height=height,
            target_width=width, target_height=height,
        )  # fmt: skip
        return context, y

    with torch.inference_mode():
        context, y = encode()
    return Text(context.clone(), None if y is None else y.clone())


def _ordinary(make: Callable[[], Tensor]) -> Tensor:
    """What `make` computes without gradients, as a tensor that autograd may keep."""
    with torch.inference_mode():
        made = make()
    return made.clone()
