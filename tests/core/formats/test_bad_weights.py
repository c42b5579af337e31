"""Weight files whose meaning is wrong: rows W05 to W16, W22 and W23 of the catalogue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny_nets import FAMILIES, header_of, inputs, random_net, residuals_of
from torch import Tensor

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import Header
from controlstack.controlnet_core.formats import FORMATS, UnknownFormatError
from controlstack.controlnet_core.nets import build, from_encoder

BY_ID = {format.id: format for format in FORMATS}
Weights = dict[str, Tensor]


def sd15() -> Weights:
    return dict(random_net(FAMILIES["sd15"]).state_dict())


def without(*beginnings: str) -> Weights:
    return {name: w for name, w in sd15().items() if not name.startswith(beginnings)}


def changed(name: str, value: Tensor) -> Weights:
    return sd15() | {name: value}


def bad_value(value: float) -> Weights:
    weight = sd15()["middle_block.0.in_layers.2.weight"].clone()
    weight.flatten()[:3] = value
    return changed("middle_block.0.in_layers.2.weight", weight)


REFUSED: dict[str, tuple[Callable[[], Weights], str, str, str]] = {
    "W07 unknown wrapper": (
        lambda: {f"my_net.{name}": w for name, w in sd15().items()},
        "CN-W07", "my_net.", "ControlNet",
    ),
    "W08 one weight missing": (
        lambda: without("middle_block.0.in_layers.2.weight"),
        "CN-W08", "1 of 340 tensors missing: middle_block.0.in_layers.2.weight", "every weight",
    ),
    "W09 one zero convolution missing": (
        lambda: without("zero_convs.3."),
        "CN-W08", "2 of 340 tensors missing: zero_convs.3.0.weight", "every weight",
    ),
    "W10 no hint encoder": (
        lambda: without("input_hint_block"),
        "CN-W08", "16 of 340 tensors missing: input_hint_block.0.weight", "every weight",
    ),
    "W11 the mark of a Control-LoRA alone": (
        lambda: {"lora_controlnet": torch.zeros(1)}, "CN-W07", "lora_controlnet", "ControlNet",
    ),
    "W12 one tensor that an adapter has too": (
        lambda: {"conv_in.weight": torch.zeros(320, 4, 3, 3)},
        "CN-W07", "conv_in.weight", "ControlNet",
    ),
    "W13 another shape": (
        lambda: changed("time_embed.0.weight", torch.zeros(128, 33)),
        "CN-W13", "time_embed.0.weight with shape (128, 33)", "(128, 32)",
    ),
    "W14 many unknown tensors": (
        lambda: sd15() | {f"novel.{i}": torch.zeros(1) for i in range(18)},
        "CN-W14", "18 tensors too many: novel.0", "the 340 weights",
    ),
    "W15 NaN": (lambda: bad_value(float("nan")), "CN-W15", "3 of ", "finite"),
    "W15 infinite": (lambda: bad_value(float("-inf")), "CN-W15", "3 of ", "finite"),
    "W22 difference weights": (
        lambda: sd15() | {"difference": torch.zeros(1)}, "CN-W22", "difference weights", "its own",
    ),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("row", REFUSED)
def test_file_that_is_no_whole_net_is_refused(row: str, suffix: str, tmp_path: Path) -> None:
    make, code, found, expected = REFUSED[row]
    path = tmp_path / f"net{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(make(), path)
    with pytest.raises(ControlInputError) as caught:
        formats.load(path, name=f"mine/{path.name}")
    error = caught.value
    assert (error.code, error.where) == (code, f"mine/{path.name}")
    assert found in error.found
    assert expected in error.expected
    assert error.fix
    assert len(str(error)) <= 600
    assert str(tmp_path) not in str(error)
    assert isinstance(error, UnknownFormatError) == (code == "CN-W07")


class Recorded(dict[str, tuple[int, ...]]):
    """Shapes that remember which of them were asked for."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__(shapes)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> tuple[int, ...]:
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default=None):
        self.asked.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)


def lacking(header: Header, *names: str) -> Header:
    return replace(header, tensors={n: x for n, x in header.tensors.items() if n not in names})


def names_that_decide(header: Header, id: str) -> Iterator[str]:
    shapes = Recorded({name: info.shape for name, info in header.tensors.items()})
    BY_ID[id].config(shapes)
    return (name for name in sorted(shapes.asked) if name in header.tensors)


FORMATS_THAT_DECIDE = [
    ("sd15", "ldm"), ("sdxl-small", "diffusers"), ("sd15-paper", "ldm-paper-hint"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "id"), FORMATS_THAT_DECIDE)
def test_no_missing_tensor_makes_another_net(family: str, id: str) -> None:
    """Finding F1: a configuration read from fewer tensors must not pass for a smaller net."""
    header = header_of(FAMILIES[family], BY_ID[id])
    formats.detect(header).check()
    deciding = list(names_that_decide(header, id))
    assert len(deciding) > 10
    for name in deciding:
        with pytest.raises(ControlInputError, match=r"CN-W(07|08|13|14)"):
            formats.detect(lacking(header, name)).check()


@pytest.mark.parametrize(
    ("family", "id", "torn"),
    [
        ("sd15", "ldm", ["input_blocks.11.0.in_layers.2.weight"]),
        ("sd15", "diffusers", ["down_blocks.3.resnets.1.conv1.weight"]),
        ("sd15-paper", "ldm-paper-hint", ["paper_hint_block.8.weight"]),
        ("sdxl", "ldm", ["label_emb.0.0.weight"]),
        ("sdxl", "ldm", ["label_emb.0.0.weight", "label_emb.0.0.bias"]),
        ("sdxl", "diffusers", ["add_embedding.linear_1.weight"]),
        ("sd2-unclip", "diffusers", ["class_embedding.linear_1.weight"]),
        ("union8", "diffusers-union", ["add_embedding.linear_1.weight"]),
    ],
)
def test_torn_block_is_an_error(family: str, id: str, torn: list[str]) -> None:
    """Each of these was accepted, with a warning, as a net that lacks the block."""
    header = header_of(FAMILIES[family], BY_ID[id])
    with pytest.raises(ControlInputError) as caught:
        formats.detect(lacking(header, *torn)).check()
    assert caught.value.code == "CN-W08"
    assert torn[0].rsplit(".", 2)[0] in caught.value.found


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "controlstack")
    return lambda: [r.getMessage() for r in caplog.records if "torch" not in r.getMessage()]


def saved(weights: Weights, folder: Path) -> Path:
    safetensors.torch.save_file(weights, folder / "net.safetensors")
    return folder / "net.safetensors"


def test_a_few_unknown_tensors_are_told_and_left_out(
    tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    """W14."""
    net = random_net(FAMILIES["sd15"])
    path = saved(sd15() | {"novel.weight": torch.ones(2), "novel.bias": torch.ones(2)}, tmp_path)
    assert formats.load(path).state_dict().keys() == net.state_dict().keys()
    (line,) = warnings()
    assert line.startswith("net.safetensors: 2 unknown tensors ignored")
    assert "novel.weight" in line


@pytest.mark.parametrize("family", ["sdxl-small", "union6"])
def test_untrained_net_is_told_and_loaded(
    family: str, tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    """W16: as a trainer saves it before its first step."""
    config = FAMILIES[family]
    fresh = build(config)
    for format in FORMATS:
        if format.fits(config):
            formats.save(fresh, tmp_path / f"{format.id}.safetensors", format=format)
            loaded = formats.load(tmp_path / f"{format.id}.safetensors")
            assert not loaded.middle_block_out[0].weight.any()
    lines = warnings()
    assert len(lines) == 2
    assert all("untrained ControlNet" in line and ".safetensors: " in line for line in lines)


def test_trained_net_is_not_told_of(tmp_path: Path, warnings: Callable[[], list[str]]) -> None:
    """One number in one zero convolution is enough; all of them matter."""
    weights = dict(from_encoder(build(FAMILIES["sd15"]), build(FAMILIES["sd15"])).state_dict())
    for name in ("zero_convs.11.0.bias", "middle_block_out.0.weight"):
        one = torch.zeros_like(weights[name])
        one.view(-1)[-1] = 1e-6
        formats.load(saved(weights | {name: one}, tmp_path))
    assert warnings() == []


def test_union_file_of_three_types_says_which(tmp_path: Path) -> None:
    """W23."""
    net = random_net(FAMILIES["union6"].like(union_types=3))
    formats.save(net, tmp_path / "net.safetensors", format=BY_ID["diffusers-union"])
    loaded = formats.load(tmp_path / "net.safetensors")
    assert loaded.config.union_types == 3
    given = inputs(net.config)
    assert residuals_of(loaded, given, types=(2,)).middle[0].isfinite().all()
    with pytest.raises(ControlInputError, match=r"CN-W23.*type 3.*the 3 types.*openpose, depth"):
        residuals_of(loaded, given, types=(3,))


@pytest.mark.parametrize("beside", [{}, {"label": torch.zeros(1)}])
def test_control_loras_and_motion_nets_are_left_to_others(beside: Weights, tmp_path: Path) -> None:
    """Families of other loaders hold parts of ours: none of our formats may claim them."""
    for foreign in ("lora_controlnet", "input_blocks.1.0.lora_layer.up", "motion_modules.0.weight"):
        path = saved(sd15() | beside | {foreign: torch.zeros(1)}, tmp_path)
        with pytest.raises(UnknownFormatError):
            formats.open_file(path)
