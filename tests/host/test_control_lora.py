"""Control-LoRA files of ours in the host's own class, and the paper's hint encoder in our nodes."""

from __future__ import annotations

from pathlib import Path

import comfy.controlnet
import comfy.model_management
import hosts
import pytest
import torch
from nets import CONFIGS, model, picture, prompts, random_net, sample

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.nets import ControlNet, Encoder, control_lora
from controlstack.nodes._bridge import HostControl
from controlstack.nodes.apply import Item, apply_item
from controlstack.nodes.load import load_control

BASES = {**CONFIGS, "SD15": CONFIGS["SD15"].like(num_heads=8, num_head_channels=None)}
"""A Control-LoRA of the host has the heads of its base: 8 for SD1.5 of any width."""


def encoder(layout: str) -> Encoder:
    """The encoder of the host's tiny model, in our blocks."""
    base = Encoder(BASES[layout])
    weights = model(layout).model.diffusion_model.state_dict()
    base.load_state_dict({name: weights[name] for name in base.state_dict()})
    return base


def trained(base: Encoder) -> ControlNet:
    """A Control-LoRA over `base` in which everything that learns has learnt something."""
    net = control_lora(base, rank=4)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in filter(lambda weight: weight.requires_grad, net.parameters()):
            scale = 0.5 * weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.1
            weight += scale * torch.randn(weight.shape, generator=generator)
    return net


def saved(layout: str, folder: Path) -> tuple[str, ControlNet]:
    net = trained(encoder(layout))
    formats.save_control_lora(net, folder / f"lora-{layout}.safetensors")
    return f"lora-{layout}.safetensors", net


@pytest.mark.parametrize("layout", BASES)
@torch.no_grad()
def test_the_hosts_own_class_gives_our_residuals(layout: str, host: hosts.Host) -> None:
    name, net = saved(layout, host.controlnets)
    control = load_control(name)
    assert isinstance(control, comfy.controlnet.ControlLora)
    base = model(layout)
    comfy.model_management.load_models_gpu([base])
    control.pre_run(base.model, lambda percent: 1.0 - percent)
    config, generator = net.config, torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    hint = torch.rand(2, 3, 64, 64, generator=generator)
    timesteps = torch.tensor([900.0, 13.0])
    context = torch.randn(2, 7, config.context_dim or 0, generator=generator)
    width = config.adm_in_channels
    y = None if width is None else torch.randn(2, width, generator=generator)
    theirs = control.control_model(x=x, hint=hint, timesteps=timesteps, context=context, y=y)
    merged = formats.load_control_lora(host.controlnets / name, encoder(layout))
    for ours in (net, merged):
        found = ours(x, timesteps, context, ours.encode_hint(hint), y)
        expected = [*theirs["output"], *theirs["middle"]]
        for a, b in zip((*found.output, *found.middle), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))
            assert b.std() > 0.01
    control.cleanup()


def test_our_apply_steers_with_it_as_with_the_merged_net(host: hosts.Host) -> None:
    name, _ = saved("SD15", host.controlnets)
    merged = formats.load_control_lora(host.controlnets / name, encoder("SD15"))
    formats.save(merged, host.controlnets / "merged.safetensors")
    lora, whole = (
        sample(model(), *apply_item(Item(load_control(file), picture()), tuple(prompts())))
        for file in (name, "merged.safetensors")
    )
    torch.testing.assert_close(lora, whole, rtol=1e-3, atol=1e-3)
    assert (lora - sample(model(), *prompts())).abs().max() > 1e-2


def test_the_papers_hint_encoder_is_loaded_and_steers(host: hosts.Host) -> None:
    net = random_net(CONFIGS["SD15"].like(paper_hint=True, hint_widths=(16, 32, 64, 128)), seed=3)
    path = host.controlnets / "paper.safetensors"
    formats.save(net, path)
    control = load_control(path.name)
    assert isinstance(control, HostControl)
    assert control.net.format == "ldm-paper-hint"
    hint = torch.rand(1, 3, 64, 72)
    with torch.no_grad():
        found = control.net.module.encode_hint(hint)
        torch.testing.assert_close(found, net.encode_hint(hint))
    assert found.shape[-2:] == (8, 9)
    conds = apply_item(Item(control, picture()), tuple(prompts()))
    assert (sample(model(), *conds) - sample(model(), *prompts())).abs().max() > 1e-2
