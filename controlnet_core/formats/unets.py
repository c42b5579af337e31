"""The UNet of a base model, out of a checkpoint's weights in ldm or diffusers names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from ..errors import ControlInputError
from ..nets import ControlNetConfig, Layers, UNet, Unset
from . import diffusers, ldm
from .keymap import KeyMap, nested
from .prefixes import names_without

_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
_END = "conv_norm_out.weight", "out.0.weight"
"""A weight that every UNet has and no ControlNet: in diffusers' names, and in ldm's."""


def load_unet(
    weights: Mapping[str, Tensor],
    *,
    name: str = "base model",
    config: ControlNetConfig | None = None,
    layers: Layers | None = None,
) -> UNet:
    """The UNet that holds `weights` (of a whole checkpoint, or of the UNet alone) without a copy.

    `config` is needed where heads are not those of a known family. Raises CN-T03 for weights that
    are no UNet of the Stable Diffusion kind.
    """
    for prefix in _PREFIXES:
        own = names_without(prefix, weights)
        if theirs := next((end for end in _END if end in own), None):
            return _filled(own, theirs == _END[0], name, config, layers or Layers(Unset))
    raise ControlInputError(
        "CN-T03", name, found="weights such as " + ", ".join(list(weights)[:3]),
        expected="the UNet of a diffusion model of the Stable Diffusion kind (SD1.5, SD2.x, SDXL)",
        fix="choose such a model as the base",
    )


def _filled(
    weights: Mapping[str, Tensor],
    is_diffusers: bool,
    name: str,
    config: ControlNetConfig | None,
    layers: Layers,
) -> UNet:
    shapes = {key: tuple(weight.shape) for key, weight in weights.items()}
    try:
        config = config or (diffusers if is_diffusers else ldm).config(shapes)
        keymap = diffusers_keymap(config) if is_diffusers else KeyMap()
        unet = UNet(config, Layers(layers.classes, layers.attention, layers.dtype, device="meta"))
        ours = {keymap.to_module(key): weight for key, weight in weights.items()}
        unet.load_state_dict(ours, strict=True, assign=True)
    except (KeyError, IndexError, RuntimeError) as e:
        raise ControlInputError(
            "CN-T03", name, found=f"a UNet that cannot be built ({e})",
            expected="every weight of a UNet of SD1.5, SD2.x or SDXL",
            fix="choose such a model as the base; inpainting and video models are none",
        ) from e
    return unet


def diffusers_keymap(config: ControlNetConfig) -> KeyMap:
    """Our names and those of a `UNet2DConditionModel`."""
    return KeyMap((
        *diffusers.keymap(config).pairs, *_decoder(config),
        ("out.0.", "conv_norm_out."), ("out.2.", "conv_out."),
    ))  # fmt: skip


def _decoder(config: ControlNetConfig) -> Iterator[tuple[str, str]]:
    depths, index = list(config.transformer_depth_output), 0
    for up, blocks in enumerate(reversed(config.num_res_blocks)):
        for number in range(blocks + 1):
            ours, theirs = f"output_blocks.{index}", f"up_blocks.{up}"
            yield from nested([(f"{ours}.0.", f"{theirs}.resnets.{number}.")], diffusers.RES_BLOCK)
            depth = depths.pop()
            if depth:
                yield f"{ours}.1.", f"{theirs}.attentions.{number}."
            if number == blocks and up != len(config.num_res_blocks) - 1:
                yield f"{ours}.{2 if depth else 1}.conv.", f"{theirs}.upsamplers.0.conv."
            index += 1
