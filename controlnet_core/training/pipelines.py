"""Real base models from the shell, through the diffusers library (optional)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ControlInputError
from ..files import read_header
from ..formats import load_unet
from ..nets import UNet
from ..nets.blocks import timestep_embedding
from ..noise import DiffusionNoise, Prediction
from .base import Base, Size, Text

PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v"}


def pipeline_base(
    place: str, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Base:
    """SD1.5, SD2.x or SDXL as a base: a folder in diffusers layout, or a checkpoint file.

    Raises CN-T04 without the library or the files, CN-T03 for a model of another kind; nothing is
    downloaded.
    """
    pipe = _pipeline(place)
    if getattr(pipe, "unet", None) is None:
        raise _stranger(place, f"a {type(pipe).__name__}")
    noise, pipe = _noise(pipe, place), pipe.to(device, dtype)
    if pipe.vae.config.get("force_upcast"):  # SDXL's first VAE overflows in half precision
        pipe.vae.to(torch.float32)
    return Base(
        name=Path(place).name,
        unet=_unet(pipe.unet, place),
        noise=noise,
        encode=lambda picture: _encoded(pipe, picture),
        decode=lambda latent: _decoded(pipe, latent),
        read=lambda prompts, size: _read(pipe, prompts, size),
    )


def _pipeline(place: str) -> Any:
    try:
        diffusers: Any = import_module("diffusers")  # optional
        path = Path(place)
        if path.is_file():
            kinds = diffusers.StableDiffusionPipeline, diffusers.StableDiffusionXLPipeline
            kind = kinds[any(name.startswith(_XL) for name in read_header(path).tensors)]
            return kind.from_single_file(place, local_files_only=True)
        return diffusers.DiffusionPipeline.from_pretrained(place, local_files_only=True)
    except (ImportError, OSError, ValueError) as e:
        raise ControlInputError(
            "CN-T04", place, found=str(e).partition("\n")[0],
            expected="a Stable Diffusion model on the disk, and the diffusers library",
            fix="pip install diffusers transformers, and give the folder of a downloaded model",
        ) from e


_XL = "conditioner."  # prefix of SDXL's text encoders in a checkpoint file


def _unet(theirs: Any, place: str) -> UNet:
    """Our UNet on the weights of theirs, with the heads that its configuration tells."""
    weights, told = theirs.state_dict(), theirs.config
    config = load_unet(weights, name=place).config
    heads = told.num_attention_heads or told.attention_head_dim  # a misnomer of diffusers
    if isinstance(heads, int):
        config = config.like(num_heads=heads, num_head_channels=None)
    else:
        width: int = told.block_out_channels[-1] // heads[-1]
        config = config.like(num_heads=None, num_head_channels=width)
    return load_unet(weights, name=place, config=config).requires_grad_(False)


def _noise(pipe: Any, place: str) -> DiffusionNoise:
    scheduler = pipe.scheduler.config
    prediction = PREDICTIONS.get(str(scheduler.get("prediction_type")))
    if prediction is None or scheduler.get("beta_schedule") != "scaled_linear":
        raise _stranger(
            place, f"a {pipe.scheduler.__class__.__name__} with prediction "
            f"{scheduler.get('prediction_type')!r} and betas {scheduler.get('beta_schedule')!r}",
        )  # fmt: skip
    return DiffusionNoise(prediction, scheduler.beta_start, scheduler.beta_end)


def _stranger(place: str, found: str) -> ControlInputError:
    return ControlInputError(
        "CN-T03", place, found=found,
        expected="SD1.5, SD2.x or SDXL, that predicts noise or v over scaled-linear betas",
        fix="choose such a model as the base",
    )


def _encoded(pipe: Any, picture: Tensor) -> Tensor:
    vae = pipe.vae
    inputs = (picture * 2.0 - 1.0).to(vae.device, vae.dtype)
    with torch.no_grad():
        return vae.encode(inputs).latent_dist.mean.float() * vae.config.scaling_factor


def _decoded(pipe: Any, latent: Tensor) -> Tensor:
    vae = pipe.vae
    with torch.no_grad():
        picture = vae.decode((latent / vae.config.scaling_factor).to(vae.dtype)).sample
    return (picture.float() / 2.0 + 0.5).clamp(0.0, 1.0)


def _read(pipe: Any, prompts: Sequence[str], size: Size) -> Text:
    with torch.no_grad():
        answer = pipe.encode_prompt(
            list(prompts), device=pipe.device, num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )  # fmt: skip
    if getattr(pipe, "text_encoder_2", None) is None:
        return Text(answer[0].float())
    context, _, pooled, _ = answer
    return Text(context.float(), torch.cat([pooled.float(), _sizes(pooled, size)], dim=-1))


def _sizes(pooled: Tensor, size: Size) -> Tensor:
    """SDXL's sizes (B 1536): original size, crop and target size as sinusoids of 256 each."""
    numbers = torch.tensor([*size, 0, 0, *size], dtype=torch.float32, device=pooled.device)
    return timestep_embedding(numbers, 256).flatten()[None].expand(len(pooled), -1)
