"""Save, detect, load, compare: every format, family, dtype, prefix and container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny_nets import (
    FAMILIES,
    equal,
    header_of,
    inputs,
    random_net,
    random_unet,
    residuals_of,
)
from torch import Tensor

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import read_header
from controlstack.controlnet_core.formats import FORMATS, Format
from controlstack.controlnet_core.formats.heads import heads_metadata
from controlstack.controlnet_core.formats.prefixes import WRAPPERS, names_without, prefix_of
from controlstack.controlnet_core.nets import ControlNet, UnionControlNet

SAMPLES = [
    (name, format) for name, config in FAMILIES.items() for format in FORMATS
    if format.fits(config)
]  # fmt: skip
IDS = [f"{name}-{format.id}" for name, format in SAMPLES]
LDM = formats.format_for(FAMILIES["sd15"])


def in_file(net: ControlNet, format: Format, prefix: str = "") -> dict[str, Tensor]:
    """The weights of `net` under the names of a file."""
    keymap = format.keymap(net.config)
    return {prefix + keymap.to_file(name): w for name, w in net.state_dict().items()}


def claimants(names: Mapping[str, object]) -> list[str]:
    """Every format that claims a file with these names."""
    found = []
    for format in FORMATS:
        prefix = prefix_of(names, format.signature)
        if prefix is not None and format.claims(names_without(prefix, names)):
            found.append(format.id)
    return found


def check_same(loaded: ControlNet, net: ControlNet, dtype: torch.dtype | None = None) -> None:
    assert type(loaded) is type(net)
    weights = loaded.state_dict()
    assert list(weights) == list(net.state_dict())
    for name, weight in net.state_dict().items():
        assert torch.equal(weights[name], weight.to(dtype)), name
        assert weights[name].dtype == (dtype or weight.dtype)
        assert weights[name].device.type == "cpu"
    assert not any(w.requires_grad for w in loaded.parameters())


def check_same_output(loaded: ControlNet, net: ControlNet) -> None:
    given, types = inputs(net.config), (1, 4) if isinstance(net, UnionControlNet) else ()
    assert equal(residuals_of(loaded, given, types=types), residuals_of(net, given, types=types))


@pytest.mark.parametrize(("name", "format"), SAMPLES, ids=IDS)
def test_saved_net_is_the_loaded_net(name: str, format: Format, tmp_path: Path) -> None:
    net = random_net(FAMILIES[name])
    formats.save(net, tmp_path / "net.safetensors", format=format, metadata={"author": "me"})
    file = formats.open_file(tmp_path / "net.safetensors")
    assert (file.format, file.prefix, file.config) == (format, "", net.config)
    assert file.header.metadata["author"] == "me"
    assert claimants(file.header.tensors) == [format.id]
    loaded = formats.load(tmp_path / "net.safetensors")
    check_same(loaded, net)
    check_same_output(loaded, net)


CONTAINERS = {".safetensors": "sd15", ".pth": "sdxl-small", ".ckpt": "sd15", ".bin": "union6"}


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_dtypes_and_containers(suffix: str, dtype: torch.dtype, tmp_path: Path) -> None:
    name, format = next(sample for sample in SAMPLES[::-1] if sample[0] == CONTAINERS[suffix])
    net, path = random_net(FAMILIES[name]), tmp_path / f"net{suffix}"
    tensors = {key: w.to(dtype) for key, w in in_file(net, format).items()}
    if suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors if suffix == ".pth" else {"state_dict": tensors, "epoch": 3}, path)
    assert {info.dtype for info in formats.open_file(path).header.tensors.values()} == {dtype}
    loaded = formats.load(path)
    assert loaded.config == net.config
    check_same(loaded, net, dtype)


PREFIXES = [
    "", *(f"{wrapper}." for wrapper in WRAPPERS), "module.control_model.", "model.module.",
    "module.model.control_model.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_that_mean_nothing_are_seen_through(prefix: str) -> None:
    """W05, W06, W07, for every sample."""
    for name, format in SAMPLES:
        header = header_of(FAMILIES[name], format, prefix=prefix)
        assert claimants(header.tensors) == [format.id]
        file = formats.detect(header)
        assert (file.prefix, file.format, file.config) == (prefix, format, FAMILIES[name])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("prefix", ["control_model.", "module.control_model."])
def test_prefixed_file_gives_the_net(prefix: str, suffix: str, tmp_path: Path) -> None:
    """Beside the net stands a tensor of another part, as in a trainer's file."""
    net, path = random_net(FAMILIES["sd15"]), tmp_path / f"net{suffix}"
    tensors = in_file(net, LDM, prefix) | {"ema_decay": torch.tensor(0.999)}
    (torch.save if suffix == ".pth" else safetensors.torch.save_file)(tensors, path)
    check_same(formats.load(path), net)


def test_every_format_has_a_sample_and_every_net_an_ldm_one() -> None:
    assert {format for _, format in SAMPLES} == set(FORMATS)
    assert {name for name, format in SAMPLES if format.id.startswith("ldm")} == FAMILIES.keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_layout_without_names_for_a_net_is_refused(name: str, tmp_path: Path) -> None:
    net, path = random_net(FAMILIES[name]), tmp_path / "net.safetensors"
    for format in FORMATS:
        if not format.fits(net.config):
            with pytest.raises(ControlInputError, match="CN-W25"):
                formats.save(net, path, format=format)
    assert not list(tmp_path.iterdir())


def test_saving_again_gives_the_same_bytes(tmp_path: Path) -> None:
    formats.save(random_net(FAMILIES["sd15"]), tmp_path / "a.safetensors")
    formats.save(formats.load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_whole_official_checkpoint(tmp_path: Path) -> None:
    """control_*.pth of the first release: the control net beside the whole of Stable Diffusion."""
    config = FAMILIES["sd15"]
    net, unet = random_net(config), random_unet(config)
    base = {f"model.diffusion_model.{name}": w for name, w in unet.state_dict().items()}
    others = {
        "first_stage_model.encoder.conv_in.weight": torch.ones(4, 3, 3, 3),
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": torch.ones(8),
        "alphas_cumprod": torch.ones(1000), "logvar": torch.zeros(1000),
    }  # fmt: skip
    tensors = base | in_file(net, LDM, "control_model.") | others
    for top in (tensors, {"state_dict": tensors, "global_step": 7}):
        torch.save(top, tmp_path / "control_sd15_canny.pth")
        file = formats.open_file(tmp_path / "control_sd15_canny.pth")
        assert (file.format, file.prefix) == (LDM, "control_model.")
        assert claimants(file.header.tensors) == ["ldm"]
        check_same(formats.load(tmp_path / "control_sd15_canny.pth"), net)


@pytest.mark.parametrize("name", FAMILIES)
def test_heads_are_stated_in_our_files_and_guessed_in_others(name: str) -> None:
    """Shapes do not tell heads: 8 at context 768, of 64 elsewhere, but for what our files say."""
    config = FAMILIES[name]
    format = formats.format_for(config)
    for heads in ((config.num_heads, config.num_head_channels), (4, None), (None, 32)):
        changed = config.like(num_heads=heads[0], num_head_channels=heads[1])
        ours = header_of(changed, format, metadata=heads_metadata(changed))
        assert formats.detect(ours).config == changed
        assert formats.detect(replace(ours, metadata={})).config == config


def test_other_heads_give_other_residuals(tmp_path: Path) -> None:
    """So the guess matters, and what a file states must reach the net."""
    net = random_net(FAMILIES["sd15"].like(num_heads=2))
    formats.save(net, tmp_path / "net.safetensors")
    loaded = formats.load(tmp_path / "net.safetensors")
    check_same_output(loaded, net)
    with pytest.raises(AssertionError):
        check_same_output(loaded, formats.fill(FAMILIES["sd15"], net.state_dict()))


def test_a_net_takes_over_the_tensors_it_is_filled_with() -> None:
    net = random_net(FAMILIES["sd15"])
    filled = formats.fill(net.config, net.state_dict())
    pairs = zip(filled.parameters(), net.parameters(), strict=True)
    assert all(a.data_ptr() == b.data_ptr() for a, b in pairs)


def test_difference_file_is_told_by_its_mark(tmp_path: Path) -> None:
    """W22: alone it means nothing; its weights are read where a base model is at hand."""
    net, path = random_net(FAMILIES["sd15"]), tmp_path / "diff.safetensors"
    for prefix in ("", "control_model."):
        tensors = in_file(net, LDM, prefix) | {"difference": torch.zeros(1)}
        safetensors.torch.save_file(tensors, path)
        file = formats.open_file(path)
        assert file.is_difference
        assert file.weights().keys() == net.state_dict().keys()
    formats.save(net, path)
    assert not formats.open_file(path).is_difference


def test_names_of_the_message_are_the_users(tmp_path: Path) -> None:
    formats.save(random_net(FAMILIES["sd15"]), tmp_path / "net.safetensors")
    header = read_header(tmp_path / "net.safetensors", name="sd15/net.safetensors")
    assert formats.detect(header).header.name == "sd15/net.safetensors"
