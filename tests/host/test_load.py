"""Load ControlNet: what is read, what is handed to the host, and what is refused how."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import comfy.controlnet
import hosts
import pytest
import torch
from nets import CONFIGS, model, net_file, picture, prompts, random_net, sample
from safetensors.torch import save_file

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.nodes._bridge import HostControl
from controlstack.nodes.apply import Item, apply_item
from controlstack.nodes.load import Load, LoadDiff, fingerprint, load_control


def weights(layout: str = "SD15", seed: int = 1) -> dict[str, torch.Tensor]:
    return dict(random_net(CONFIGS[layout], seed=seed).state_dict())


@pytest.mark.parametrize("ending", ["safetensors", "pth", "ckpt", "bin"])
@pytest.mark.parametrize("prefix", ["", "control_model.", "module.", "module.control_model."])
def test_every_container_and_prefix_gives_the_same_net(
    prefix: str, ending: str, host: hosts.Host
) -> None:
    named = {prefix + name: weight for name, weight in weights().items()}
    path = host.controlnets / f"net.{ending}"
    metadata = {"controlstack.num_head_channels": "64"}
    save_file(named, path, metadata) if ending == "safetensors" else torch.save(named, path)
    control = load_control(path.name)
    assert isinstance(control, HostControl)
    for name, weight in control.net.module.state_dict().items():
        assert torch.equal(weight, named[prefix + name])


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64]
)
def test_files_of_every_precision_load_and_act(dtype: torch.dtype, host: hosts.Host) -> None:
    path = host.controlnets / f"{dtype}.safetensors".removeprefix("torch.")
    save_file({name: weight.to(dtype) for name, weight in weights().items()}, path,
              {"controlstack.num_head_channels": "64"})  # fmt: skip
    conds = apply_item(Item(load_control(path.name), picture()), tuple(prompts()))
    latents = sample(model(), *conds)
    assert latents.isfinite().all()
    assert (latents - sample(model(), *prompts())).abs().max() > 1e-2


def test_difference_weights_are_added_to_the_base(host: hosts.Host) -> None:
    whole = weights()
    base = model().model.diffusion_model.state_dict()
    diff = {
        f"control_model.{name}": weight - base[name] if name in base else weight
        for name, weight in whole.items()
    }
    diff["difference"] = torch.zeros(1)
    path = host.controlnets / "diff.safetensors"
    save_file(diff, path, {"controlstack.num_head_channels": "64"})
    control = LoadDiff.execute(model(), path.name).args[0]
    for name, weight in control.net.module.state_dict().items():
        torch.testing.assert_close(weight, whole[name], rtol=0, atol=1e-5)
    with pytest.raises(ControlInputError, match="CN-W22"):
        load_control(path.name)
    with pytest.raises(ControlInputError, match="CN-M03"):
        load_control(path.name, model=model("SDXL"))


def test_an_ordinary_file_loads_through_the_diff_node_too(host: hosts.Host) -> None:
    name = net_file(host.controlnets, seed=1)
    control = LoadDiff.execute(model(), name).args[0]
    assert torch.equal(
        control.net.module.middle_block_out[0].weight,
        load_control(name).net.module.middle_block_out[0].weight,
    )


def test_other_families_go_to_the_host(host: hosts.Host) -> None:
    """A T2I-Adapter of the published layout, through the node; our Apply takes the result."""
    from comfy.t2i_adapter.adapter import Adapter_light

    adapter = Adapter_light(cin=192, channels=[320, 640, 1280, 1280], nums_rb=4)
    save_file(adapter.state_dict(), host.controlnets / "t2i.safetensors")
    control = Load.execute("t2i.safetensors").args[0]
    assert isinstance(control, comfy.controlnet.T2IAdapter)
    assert len(apply_item(Item(control, picture()), tuple(prompts()))) == 2


def test_shuffle_files_are_pooled_as_the_host_pools_them(host: hosts.Host) -> None:
    import nodes

    source = host.controlnets / net_file(host.controlnets, seed=6)
    path = host.controlnets / "control_v11e_sd15_shuffle.safetensors"
    path.write_bytes(source.read_bytes())
    ours = apply_item(Item(load_control(path.name), picture(), 0.8), tuple(prompts()))
    (control,) = nodes.ControlNetLoader().load_controlnet(path.name)
    theirs = nodes.ControlNetApplyAdvanced().apply_controlnet(
        *prompts(), control, picture(), 0.8, 0.0, 1.0
    )
    assert torch.equal(sample(model(), *ours), sample(model(), *theirs))


def test_a_replaced_file_is_read_again(host: hosts.Host) -> None:
    name = net_file(host.controlnets, seed=11)
    before = fingerprint(name)
    assert before == fingerprint(name)
    path = host.controlnets / name
    time.sleep(0.01)
    path.write_bytes((host.controlnets / net_file(host.controlnets, seed=12)).read_bytes())
    assert fingerprint(name) != before
    path.unlink()
    assert fingerprint(name) == ()


def test_a_file_cut_short_after_loading_does_no_harm(host: hosts.Host) -> None:
    """The net holds its own memory: with a live map this would end the process (SIGBUS)."""
    name = net_file(host.controlnets, seed=13)
    control = load_control(name)
    with (host.controlnets / name).open("r+b") as file:
        file.truncate(100)
    conds = apply_item(Item(control, picture()), tuple(prompts()))
    assert sample(model(), *conds).isfinite().all()
    (host.controlnets / name).unlink()


BAD: dict[str, tuple[str, Any]] = {
    "missing": ("CN-C28", None),
    "empty": ("CN-C01", b""),
    "a web page": ("CN-C20", b"<!DOCTYPE html><html><body>404</body></html>"),
    "a LoRA": ("CN-W01", {
        "lora_unet_down_blocks_0.lora_up.weight": torch.zeros(4, 4),
        "lora_unet_down_blocks_0.lora_down.weight": torch.zeros(4, 4),
        "lora_unet_down_blocks_0.alpha": torch.ones(()),
    }),
    "a VAE": ("CN-W02", {
        "encoder.conv_in.weight": torch.zeros(4, 3, 3, 3),
        "decoder.conv_in.weight": torch.zeros(4, 4, 3, 3), "quant_conv.weight": torch.zeros(1),
    }),
    "something else": ("CN-W07", {"a.weight": torch.zeros(3)}),
    "a Control-LoRA mark alone": ("CN-W", {"lora_controlnet": torch.zeros(1)}),
    "only conv_in": ("CN-W", {"conv_in.weight": torch.zeros(4, 4, 3, 3)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_refused_in_words(kind: str, host: hosts.Host) -> None:
    code, content = BAD[kind]
    path = host.controlnets / f"bad {kind}.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file(content, path)
    started = time.perf_counter()
    with pytest.raises(ControlInputError) as error:
        load_control(path.name)
    assert time.perf_counter() - started < 1.0
    message = str(error.value)
    assert message.startswith(f"[{code}")
    assert path.name in message
    assert str(Path(host.base)) not in message
    assert len(message) <= 600


def test_a_full_unet_and_a_missing_weight_are_refused(host: hosts.Host) -> None:
    unet = model().model.diffusion_model.state_dict()
    save_file({f"model.diffusion_model.{n}": w.clone() for n, w in unet.items()},
              host.controlnets / "unet.safetensors")  # fmt: skip
    with pytest.raises(ControlInputError, match="CN-W03"):
        load_control("unet.safetensors")
    for name in (
        "middle_block.0.in_layers.2.weight", "zero_convs.2.0.bias", "input_hint_block.0.weight",
    ):  # fmt: skip
        part = weights()
        del part[name]
        save_file(part, host.controlnets / "part.safetensors")
        with pytest.raises(ControlInputError, match=f"CN-W08.*{name}"):
            load_control("part.safetensors")


def test_formats_save_what_the_host_reads(host: hosts.Host) -> None:
    """Our ldm layout is the host's own."""
    net = random_net(CONFIGS["SD20"], seed=2)
    formats.save(net, host.controlnets / "saved.safetensors", format=formats.LDM)
    theirs = comfy.controlnet.load_controlnet(str(host.controlnets / "saved.safetensors"))
    for name, weight in theirs.control_model.state_dict().items():
        assert torch.equal(weight, net.state_dict()[name])
