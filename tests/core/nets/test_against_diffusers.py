"""Our nets beside those of diffusers, with the same random weights, taken over by our formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tiny_nets import (
    FAMILIES,
    PLAIN,
    UNIONS,
    Inputs,
    inputs,
    random_net,
    random_unet,
    randomize,
    relative,
    residuals_of,
)
from torch import Tensor, nn

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.formats.diffusers import DIFFUSERS, DIFFUSERS_UNION
from controlstack.controlnet_core.formats.unets import diffusers_keymap
from controlstack.controlnet_core.nets import (
    SD15,
    ControlNet,
    ControlNetConfig,
    UNet,
    UnionControlNet,
)
from controlstack.controlnet_core.nets.blocks import timestep_embedding
from controlstack.controlnet_core.residuals import Residuals

TOLERANCE = 1e-4
TEXT = 1280
"""Of SDXL's 2816: the pooled text; six sizes of 256 numbers follow."""


def arguments(config: ControlNetConfig) -> dict[str, Any]:
    """`config` in the words of diffusers, whose attention_head_dim means the number of heads."""
    starts = [sum(config.num_res_blocks[:i]) for i in range(len(config.channel_mult))]
    depths = [config.transformer_depth[start] for start in starts]
    widths = [mult * config.model_channels for mult in config.channel_mult]
    sdxl = config.adm_in_channels == 2816
    return {
        "block_out_channels": tuple(widths),
        "layers_per_block": config.num_res_blocks[0],
        "down_block_types": tuple("CrossAttnDownBlock2D" if d else "DownBlock2D" for d in depths),
        "transformer_layers_per_block": (
            *depths[:-1], depths[-1] or config.transformer_depth_middle
        ),
        "attention_head_dim": tuple(config.heads(width) for width in widths),
        "cross_attention_dim": config.context_dim or 16,
        "use_linear_projection": config.use_linear_in_transformer,
        "upcast_attention": config.upcast_attention,
        "addition_embed_type": "text_time" if sdxl else None,
        "addition_time_embed_dim": 256 if sdxl else None,
        "class_embed_type": "projection" if config.adm_in_channels and not sdxl else None,
        "projection_class_embeddings_input_dim": config.adm_in_channels,
    }


def controlnet(config: ControlNetConfig, *, seed: int | None = None) -> nn.Module:
    """Their net, with random weights where a seed is given and on "meta" without."""
    with torch.device("meta"):
        net = _controlnet(config)
    return net if seed is None else randomize(net.to_empty(device="cpu"), seed)


def _controlnet(config: ControlNetConfig) -> nn.Module:
    given = arguments(config) | {"conditioning_embedding_out_channels": config.hint_widths}
    if not config.union_types:
        text = "" if config.transformer_depth_middle is None else "CrossAttn"
        return ControlNetModel(**given, mid_block_type=f"UNetMidBlock2D{text}")
    return ControlNetUnionModel(
        **given, num_control_type=config.union_types,
        num_trans_channel=config.model_channels, num_proj_channel=config.model_channels,
    )  # fmt: skip


def conditions(config: ControlNetConfig, given: Inputs) -> tuple[dict[str, Any], Tensor | None]:
    """How diffusers takes SDXL's sizes and SD2's class, and the vector `y` that both mean."""
    if config.adm_in_channels != 2816:
        return ({} if given.y is None else {"class_labels": given.y}), given.y
    text, sizes = given.y[:, :TEXT], torch.tensor([[1024.0, 768, 0, 64, 1024, 1024]])
    sizes = sizes.repeat(len(text), 1)
    waves = timestep_embedding(sizes.flatten(), 256).reshape(len(text), -1)
    added = {"added_cond_kwargs": {"text_embeds": text, "time_ids": sizes}}
    return added, torch.cat([text, waves], dim=1)


def through_a_file(theirs: nn.Module, folder: Path) -> ControlNet:
    """What our loader makes of a file without metadata that holds the weights of `theirs`."""
    safetensors.torch.save_file(dict(theirs.state_dict()), folder / "theirs.safetensors")
    return formats.load(folder / "theirs.safetensors")


def check(ours: Residuals, output: Any, config: ControlNetConfig) -> None:
    theirs = [*output.down_block_res_samples, output.mid_block_res_sample]
    assert len(theirs) == len(config.residual_layout)
    assert len(ours.middle) == 1
    for a, b in zip([*ours.output, *ours.middle], theirs, strict=True):
        assert relative(a, b) < TOLERANCE
        assert b.std() > 0.1  # there is a signal to be equal to


@pytest.mark.parametrize(
    ("name", "size"), [*((name, (8, 8)) for name in PLAIN), ("sd15", (9, 7)), ("sdxl", (5, 11))],
    ids=str,
)  # fmt: skip
@torch.no_grad()
def test_residuals_are_those_of_diffusers(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    config = PLAIN[name]
    theirs = controlnet(config, seed=3)
    ours = through_a_file(theirs, tmp_path)
    given = inputs(config, height=size[0], width=size[1])
    added, y = conditions(config, given)
    expected = theirs(given.x, given.timesteps, given.context, given.hint, **added)
    hint = ours.encode_hint(given.hint)
    check(ours(given.x, given.timesteps, given.context, hint, y), expected, config)


@pytest.mark.parametrize("types", [(3,), (0, 4), (5, 1, 2)], ids=str)
@pytest.mark.parametrize("name", UNIONS)
@torch.no_grad()
def test_union_residuals_are_those_of_diffusers(
    name: str, types: tuple[int, ...], tmp_path: Path
) -> None:
    """All rows share their hints: else diffusers mixes the items of a batch (`_TokenAttention`)."""
    config = UNIONS[name]
    theirs = controlnet(config, seed=4)
    ours = through_a_file(theirs, tmp_path)
    assert isinstance(ours, UnionControlNet)
    given = inputs(config)
    hint = given.hint[:1].expand(2, -1, -1, -1)
    pictures = [hint.roll(8 * i, dims=-1) * (1 - 0.2 * i) for i in range(len(types))]
    flags = torch.zeros(2, config.union_types)
    flags[:, list(types)] = 1.0
    added, y = conditions(config, given)
    expected = theirs(
        given.x, given.timesteps, given.context, pictures, flags, list(types), **added
    )
    fused = ours.fuse([ours.encode_hint(picture) for picture in pictures], types)
    check(ours(given.x, given.timesteps, given.context, fused, y, types=types), expected, config)


@pytest.mark.parametrize("family", [*PLAIN, *UNIONS])
def test_saved_names_are_those_of_diffusers(family: str) -> None:
    config = FAMILIES[family]
    keymap = (DIFFUSERS_UNION if config.union_types else DIFFUSERS).keymap(config)
    ours = {keymap.to_file(n): w.shape for n, w in random_net(config).state_dict().items()}
    theirs = controlnet(config)
    assert ours == {name: weight.shape for name, weight in theirs.state_dict().items()}


@torch.no_grad()
def test_full_size_sd15_is_that_of_diffusers() -> None:
    """361 M parameters, held once: our net takes over the tensors of theirs."""
    theirs = controlnet(SD15).to_empty(device="cpu")
    for weight in theirs.parameters():
        bound = (3 / weight[0].numel()) ** 0.5 if weight.ndim > 1 else 1.0
        weight.uniform_(-bound, bound)
    keymap = DIFFUSERS.keymap(SD15)
    ours = formats.fill(SD15, {keymap.to_module(n): w for n, w in theirs.state_dict().items()})
    last = (ours.middle_block_out[0].weight, theirs.controlnet_mid_block.weight)
    assert last[0].data_ptr() == last[1].data_ptr()
    given = inputs(SD15, batch=1)
    expected = theirs(given.x, given.timesteps, given.context, given.hint)
    check(residuals_of(ours, given), expected, SD15)


def in_their_names(unet: UNet) -> dict[str, Tensor]:
    keymap = diffusers_keymap(unet.config)
    return {keymap.to_file(name): weight for name, weight in unet.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "size"), [("sd15", (9, 7)), ("sd2", (8, 8)), ("sdxl", (5, 11))], ids=str
)
@torch.no_grad()
def test_controlled_unet_is_that_of_diffusers(name: str, size: tuple[int, int]) -> None:
    config = FAMILIES[name]
    ours, net = random_unet(config), random_net(config)
    mirrored = arguments(config)
    mirrored["up_block_types"] = tuple(
        "CrossAttnUpBlock2D" if kind.startswith("Cross") else "UpBlock2D"
        for kind in reversed(mirrored["down_block_types"])
    )
    with torch.device("meta"):
        theirs = UNet2DConditionModel(**mirrored)
    theirs.load_state_dict(in_their_names(ours), strict=True, assign=True)
    again = formats.load_unet(theirs.state_dict(), config=config).state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in ours.state_dict().items())
    given = inputs(config, height=size[0], width=size[1])
    added, y = conditions(config, given)
    args = (given.x, given.timesteps, given.context)
    control = net(*args, net.encode_hint(given.hint), y)
    plain, expected = theirs(*args, **added).sample, theirs(
        *args, **added, down_block_additional_residuals=control.output,
        mid_block_additional_residual=control.middle[0],
    ).sample  # fmt: skip
    assert relative(ours(*args, y), plain) < TOLERANCE
    assert relative(ours(*args, y, control=control), expected) < TOLERANCE
    assert relative(plain, expected) > 0.01
