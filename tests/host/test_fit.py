"""A net for another base model is refused before the first step, in words."""

from __future__ import annotations

from typing import Any

import comfy.controlnet
import hosts
import nodes
import pytest
import torch
from nets import CONFIGS, model, net_file, picture, prompts, random_net, sample

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.nodes.apply import Item, apply_item
from controlstack.nodes.load import load_control

ROWS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "M01 SDXL net on SD1.5": ("SDXL", "SD15", {}, "CN-M02"),
    "M01 label embedding alone": ("SD15", "SD15", {"adm_in_channels": 2816}, "CN-M01"),
    "M02 SD1.5 net on SDXL": ("SD15", "SDXL", {}, "CN-M02"),
    "M02 SD1.5 net on SD2.x": ("SD15", "SD20", {}, "CN-M02"),
    "M03 another width": ("SD15", "SD15", {"model_channels": 128}, "CN-M03"),
    "M04 more residuals": (
        "SD15", "SD15", {"num_res_blocks": (2, 2), "transformer_depth": (1, 1, 1, 1)}, "CN-M03",
    ),
    "M05 other multipliers": ("SD15", "SD15", {"channel_mult": (1, 1)}, "CN-M03"),
    "M05 one level more": (
        "SD15", "SD15",
        {"channel_mult": (1, 2, 2), "num_res_blocks": (1, 1, 1), "transformer_depth": (1, 1, 1)},
        "CN-M03",
    ),
    "M06 a net for 9 channels": ("SD15", "SD15", {"in_channels": 9}, "CN-M06"),
}  # fmt: skip


@pytest.mark.parametrize("through", ["our apply", "the host's apply"])
@pytest.mark.parametrize("row", ROWS)
def test_misfits_are_refused_before_the_first_step(
    row: str, through: str, host: hosts.Host
) -> None:
    made_for, base, changes, code = ROWS[row]
    name = net_file(host.controlnets, made_for, seed=3, **changes)
    control, conds = load_control(name), tuple(prompts(base))
    if through == "our apply":
        conds = apply_item(Item(control, picture()), conds)
    else:
        conds = nodes.ControlNetApplyAdvanced().apply_controlnet(
            *conds, control, picture(), 1.0, 0.0, 1.0
        )
    steps: list[int] = []
    with pytest.raises(ControlInputError) as error:
        sample(model(base), *conds, callback=lambda step, *_: steps.append(step))
    assert steps == []
    assert error.value.code == code
    message = str(error.value)
    assert name in message
    assert len(message) <= 600
    for part in ("found", "expected", "To do"):
        assert part in message
    assert sample(model(base), *prompts(base)).isfinite().all()  # the next run is fine


def test_the_message_names_file_family_model_and_remedy(host: hosts.Host) -> None:
    name = net_file(host.controlnets, "SD15", seed=3)
    conds = apply_item(Item(load_control(name), picture()), tuple(prompts("SDXL")))
    with pytest.raises(ControlInputError) as error:
        sample(model("SDXL"), *conds)
    assert str(error.value) == (
        f"[CN-M02] {name}: found a ControlNet for SD1.5 (context 768, width 64) on a MODEL that is "
        "SDXL (context 2048); expected text of width 768. To do: load a ControlNet made for this "
        "MODEL, or connect a checkpoint of SD1.5."
    )


def test_a_net_that_the_host_loaded_is_checked_too(host: hosts.Host) -> None:
    """In our Apply; in the host's own, the same net only logs and is ignored (F2)."""
    name = net_file(host.controlnets, "SD15", seed=3, model_channels=128)
    (control,) = nodes.ControlNetLoader().load_controlnet(name)
    conds = apply_item(Item(control, picture()), tuple(prompts()))
    with pytest.raises(ControlInputError, match="CN-M03"):
        sample(model(), *conds)


class TokenNet(torch.nn.Module):
    """Stands for a net of a transformer family (Flux, SD3, Qwen)."""

    dtype = torch.float32


def test_a_token_net_is_refused_on_a_unet(host: hosts.Host) -> None:
    control = comfy.controlnet.ControlNet(TokenNet(), load_device=torch.device("cpu"))
    conds = apply_item(Item(control, picture()), tuple(prompts()))
    with pytest.raises(ControlInputError, match=r"CN-M07.*TokenNet"):
        sample(model(), *conds)


def test_a_unet_net_is_refused_on_a_transformer(host: hosts.Host) -> None:
    control = load_control(net_file(host.controlnets, "SD15", seed=3))
    (positive, _) = apply_item(Item(control, picture()), tuple(prompts()))
    base = model().model
    unet, base.diffusion_model = base.diffusion_model, TokenNet()
    try:
        with pytest.raises(ControlInputError, match=r"CN-M07.*TokenNet"):
            positive[0][1]["control"].pre_run(base, base.model_sampling.percent_to_sigma)
    finally:
        base.diffusion_model = unet


def test_a_net_without_text_fits_any_text(host: hosts.Host) -> None:
    """SDXL small: no transformer in the encoder, one without blocks in the middle."""
    config = CONFIGS["SDXL"].like(
        transformer_depth=(0, 0), transformer_depth_middle=0, context_dim=None
    )
    path = host.controlnets / "small.safetensors"
    formats.save(random_net(config, seed=1), path)
    control = load_control(path.name)
    assert control.net.module.config == config
    conds = apply_item(Item(control, picture()), tuple(prompts("SDXL")))
    plain = sample(model("SDXL"), *prompts("SDXL"))
    assert (sample(model("SDXL"), *conds) - plain).abs().max() > 1e-2


def test_a_host_net_that_wants_latents_needs_a_vae(host: hosts.Host) -> None:
    import comfy.latent_formats

    control = comfy.controlnet.ControlNet(
        TokenNet(), latent_format=comfy.latent_formats.Flux(), load_device=torch.device("cpu")
    )
    with pytest.raises(ControlInputError, match=r"CN-M08.*no VAE"):
        apply_item(Item(control, picture()), tuple(prompts()))
