"""Control-LoRA files: what they hold, what they become beside a base, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny_nets import FAMILIES, equal, inputs, random_net, random_unet, relative, residuals_of
from torch import Tensor

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.formats import UnknownFormatError
from controlstack.controlnet_core.nets import ControlNet, control_lora, merge

NAMES = ("sd15", "sd2", "sdxl")
Weights = dict[str, Tensor]


def trained(name: str, *, rank: int = 4) -> ControlNet:
    """A Control-LoRA net in which everything that learns has learnt something."""
    net = control_lora(random_unet(FAMILIES[name]), rank=rank)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in filter(lambda weight: weight.requires_grad, net.parameters()):
            scale = 0.3 * (weight[0].numel() ** -0.5 if weight.ndim > 1 else 1.0)
            weight += scale * torch.randn(weight.shape, generator=generator)
    return net


@pytest.mark.parametrize("name", NAMES)
def test_file_beside_its_base_is_the_net(name: str, tmp_path: Path) -> None:
    net, path, given = trained(name), tmp_path / "lora.safetensors", inputs(FAMILIES[name])
    formats.save_control_lora(net, path, metadata={"author": "me"})
    loaded = formats.load_control_lora(path, random_unet(FAMILIES[name]))
    assert loaded.config == net.config
    assert not any(weight.requires_grad for weight in loaded.parameters())
    merged = merge(net.state_dict())
    weights = loaded.state_dict()
    assert list(weights) == [key for key in net.state_dict() if key in merged]
    assert all(torch.equal(weights[key], weight) for key, weight in merged.items())
    for a, b in zip(
        residuals_of(loaded, given).tensors(), residuals_of(net, given).tensors(), strict=True
    ):
        assert relative(a, b) < 2e-5


def test_file_holds_the_published_names_and_nothing_of_the_base(tmp_path: Path) -> None:
    """By the rule of the published files: two axes and more as a product, the rest whole."""
    net, path = trained("sdxl"), tmp_path / "lora.safetensors"
    formats.save_control_lora(net, path)
    stored = safetensors.torch.load_file(path)
    assert stored.pop("lora_controlnet").shape == (0,)
    own = ("input_hint_block.", "zero_convs.", "middle_block_out.")
    expected = set()
    for name, weight in random_net(net.config).state_dict().items():
        low = weight.ndim > 1 and not name.startswith(own)
        stem = name.removesuffix("weight")
        expected |= {f"{stem}up", f"{stem}down"} if low else {name}
    assert stored.keys() == expected
    assert stored["input_blocks.0.0.up"].shape == (32, 4, 1, 1)
    assert stored["input_blocks.0.0.down"].shape == (4, 4, 3, 3)
    assert stored["time_embed.0.up"].shape == (128, 4)
    assert all(torch.equal(weight, net.state_dict()[name]) for name, weight in stored.items())


def test_published_precision_on_another_dtype_of_base(tmp_path: Path) -> None:
    """Files hold float16, and the base may hold it too; the sum is taken in float32."""
    net, path = trained("sd15"), tmp_path / "lora.safetensors"
    formats.save_control_lora(net.half(), path)
    base = type(random_unet(net.config))(net.config)
    base.load_state_dict(random_unet(net.config).state_dict())
    loaded = formats.load_control_lora(path, base.half()).state_dict()
    assert {weight.dtype for weight in loaded.values()} == {torch.float16}
    name = "input_blocks.1.0.in_layers.2"
    half = {key: weight.double() for key, weight in net.state_dict().items()}
    product = half[f"{name}.up"].flatten(1) @ half[f"{name}.down"].flatten(1)
    exact = half[f"{name}.weight"] + product.view_as(half[f"{name}.weight"])
    found, ulp = loaded[f"{name}.weight"].double(), 2.0**-10
    torch.testing.assert_close(found, exact, rtol=ulp, atol=2.0**-24)


def test_saved_as_an_ordinary_net_it_is_merged(tmp_path: Path) -> None:
    net = trained("sd15")
    formats.save(net, tmp_path / "net.safetensors")
    formats.save_control_lora(net, tmp_path / "lora.safetensors")
    lora = formats.load_control_lora(tmp_path / "lora.safetensors", random_unet(net.config))
    whole = formats.load(tmp_path / "net.safetensors")
    given = inputs(net.config)
    assert equal(residuals_of(whole, given), residuals_of(lora, given))


@pytest.mark.parametrize("read", [formats.open_file, formats.load])
def test_without_a_base_it_is_named_and_left_to_the_host(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "lora.safetensors"
    formats.save_control_lora(trained("sd15", rank=6), path)
    with pytest.raises(UnknownFormatError, match=r"CN-W07.*a Control-LoRA of rank 6"):
        read(path)


def test_each_weight_may_be_a_product_of_its_own_rank_or_whole(tmp_path: Path) -> None:
    net, path = trained("sd15"), tmp_path / "lora.safetensors"
    formats.save_control_lora(net, path)
    stored, name = safetensors.torch.load_file(path), "time_embed.0"
    stored[f"{name}.up"], stored[f"{name}.down"] = torch.ones(128, 9), torch.ones(9, 32)
    whole = torch.randn(128, 128)
    del stored["time_embed.2.up"], stored["time_embed.2.down"]
    stored |= {"time_embed.2.weight": whole, "time_embed.2.note": torch.ones(3)}
    safetensors.torch.save_file(stored, path)
    weights = formats.load_control_lora(path, random_unet(net.config)).state_dict()
    base = random_unet(net.config).state_dict()
    assert torch.equal(weights[f"{name}.weight"], base[f"{name}.weight"] + 9)
    assert torch.equal(weights["time_embed.2.weight"], whole)


def without(*beginnings: str) -> Callable[[Weights], Weights]:
    return lambda stored: {
        name: weight for name, weight in stored.items() if not name.startswith(beginnings)
    }


REFUSED: dict[str, tuple[str, str, str, Callable[[Weights], Weights]]] = {
    "another base": ("CN-M03", "sd2", "input_blocks.0.0", lambda stored: stored),
    "another text width": ("CN-M03", "sdxl", "", lambda stored: stored),
    "half a product": ("CN-M03", "sd15", "time_embed.0.up", without("time_embed.0.down")),
    "no hint encoder": ("CN-W08", "sd15", "input_hint_block.0", without("input_hint_block.")),
    "a torn hint encoder": ("CN-M03", "sd15", "input_hint_block.", without("input_hint_block.4.")),
    "no zero convolution": ("CN-W08", "sd15", "zero_convs.3.0", without("zero_convs.3.")),
    "no mark": ("CN-W07", "sd15", "no products", without("lora_controlnet")),
    "NaN": ("CN-W15", "sd15", "time_embed.0.bias", lambda stored: stored | {
        "time_embed.0.bias": torch.full((128,), float("nan"))}),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_what_does_not_make_a_net_is_refused(row: str, tmp_path: Path) -> None:
    code, base, found, changed = REFUSED[row]
    path = tmp_path / "lora.safetensors"
    formats.save_control_lora(trained("sd15"), path)
    safetensors.torch.save_file(changed(safetensors.torch.load_file(path)), path)
    with pytest.raises(ControlInputError) as caught:
        formats.load_control_lora(path, random_unet(FAMILIES[base]), name="mine/lora.safetensors")
    assert (caught.value.code, caught.value.where) == (code, "mine/lora.safetensors")
    assert found in caught.value.found


@pytest.mark.parametrize("name", ["sd15", "sd15-paper"])
def test_a_net_that_the_layout_cannot_hold_is_not_written(name: str, tmp_path: Path) -> None:
    config = FAMILIES[name]
    net = control_lora(random_unet(config), rank=2) if config.paper_hint else random_net(config)
    with pytest.raises(ControlInputError, match="CN-W25"):
        formats.save_control_lora(net, tmp_path / "lora.safetensors")
    assert not list(tmp_path.iterdir())
