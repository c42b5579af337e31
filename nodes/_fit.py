"""Does a net fit the model it is to control? Asked before the first step, of the live model."""

from __future__ import annotations

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_base import BaseModel

from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.formats import encoder_config
from ..controlnet_core.nets import ControlNetConfig


def check_fit(net: ControlNetConfig, model: BaseModel, *, name: str) -> None:
    """Raises unless every residual of `net` has its place in `model`, and its text the width.

    ComfyUI itself only logs a residual that does not fit, and goes on without the control.
    """
    base = unet_config(model)
    if base is None:
        raise _misfit("CN-M07", net, name, found=f"a {type(model.diffusion_model).__name__}",
                      missing="the blocks of a UNet")  # fmt: skip
    if net.context_dim and net.context_dim != base.context_dim:
        raise _misfit(
            "CN-M02", net, name, found=f"{base.family} (context {base.context_dim})",
            missing=f"text of width {net.context_dim}",
        )
    if net.adm_in_channels not in (None, base.adm_in_channels):
        raise _misfit(
            "CN-M01", net, name,
            found=f"{base.family} (label embedding {base.adm_in_channels or 'absent'})",
            missing=f"a label embedding of {net.adm_in_channels}",
        )
    if net.residual_layout != base.residual_layout:
        raise _misfit(
            "CN-M03", net, name, found=f"{base.family} ({_layout(base)})", missing=_layout(net)
        )
    channels = model.latent_format.latent_channels
    if net.in_channels != channels:
        raise _misfit(
            "CN-M06", net, name, found=f"{base.family} with latents of {channels} channels",
            missing=f"latents of {net.in_channels} channels",
        )


def unet_config(model: BaseModel) -> ControlNetConfig | None:
    """The configuration of the UNet that `model` runs right now; None if it runs no UNet."""
    if not isinstance(model.diffusion_model, UNetModel):
        return None
    weights = model.diffusion_model.state_dict()
    return encoder_config({name: tuple(weight.shape) for name, weight in weights.items()})


def _misfit(
    code: str, net: ControlNetConfig, name: str, *, found: str, missing: str
) -> ControlInputError:
    context = f"context {net.context_dim}, " if net.context_dim else ""
    return ControlInputError(
        code, name,
        found=f"a ControlNet for {net.family} ({context}width {net.model_channels}) on a MODEL "
        f"that is {found}",
        expected=missing,
        fix=f"load a ControlNet made for this MODEL, or connect a checkpoint of {net.family}",
    )


def _layout(config: ControlNetConfig) -> str:
    channels = [channels for channels, _ in config.residual_layout]
    return f"{len(channels)} residuals, {channels[0]} to {channels[-1]} channels"
