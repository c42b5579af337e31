"""What follows from a configuration: residual layout, number of parameters, memory at the peak."""

from __future__ import annotations

import math
import weakref
from typing import Any

import pytest
import torch
from tiny_nets import FAMILIES, shapes_of
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from controlstack.controlnet_core.nets import (
    SD15,
    SD21,
    SDXL,
    ControlNetConfig,
    Layers,
    UNet,
    build,
)


def test_residual_layout_of_sd15_and_sdxl() -> None:
    """Literals: the table of the paper's figure 3 for SD1.5, sizes at 64 cells a side."""
    sd15 = [(320, 64)] * 3 + [(320, 32)] + [(640, 32)] * 2
    sd15 += [(640, 16)] + [(1280, 16)] * 2 + [(1280, 8)] * 4
    sdxl = [(320, 128)] * 3 + [(320, 64)] + [(640, 64)] * 2 + [(640, 32)] + [(1280, 32)] * 3
    assert [(c, 64 // stride) for c, stride in SD15.residual_layout] == sd15
    assert [(c, 64 // stride) for c, stride in SD21.residual_layout] == sd15
    assert [(c, 128 // stride) for c, stride in SDXL.residual_layout] == sdxl


def test_decoder_mirrors_the_depth_of_the_encoder() -> None:
    assert SD15.transformer_depth_output == (1,) * 9 + (0,) * 3
    assert SDXL.transformer_depth_output == (0,) * 3 + (2,) * 3 + (10,) * 3


def millions(config: ControlNetConfig) -> float:
    return round(sum(map(math.prod, shapes_of(config).values())) / 1e6, 1)


@pytest.mark.parametrize(
    ("config", "control_net", "unet"),
    [(SD15, 361.3, 859.5), (SD21, 364.2, 865.9), (SDXL, 1251.0, 2567.5)],
    ids=["sd15", "sd2", "sdxl"],
)
def test_number_of_parameters(config: ControlNetConfig, control_net: float, unet: float) -> None:
    """Millions, as published for the base models and counted in their official ControlNet files."""
    assert millions(config) == control_net
    weights = UNet(config, Layers(device="meta")).parameters()
    assert round(sum(weight.numel() for weight in weights) / 1e6, 1) == unet


def test_sdxl_union_adds_what_its_types_need() -> None:
    """Task embedding, one transformer block, a projection and two linear layers."""
    plain = millions(SDXL)
    for count in (6, 8):
        extra = count * 320 + 12 * 320**2 + 13 * 320 + 320 * 321
        extra += 256 * count * 1280 + 1280 + 1280 * 1281
        union = millions(SDXL.like(union_types=count))
        assert union == pytest.approx(plain + extra / 1e6, abs=0.11)


def test_family_names() -> None:
    assert [c.family for c in (SD15, SD21, SDXL)] == ["SD1.5", "SD2.x", "SDXL"]
    assert {n: c.family for n, c in FAMILIES.items() if c.family != "SDXL"} == {
        "sd15": "SD1.5", "sd15-paper": "SD1.5", "sd2": "SD2.x", "sd2-unclip": "SD2.x"
    }  # fmt: skip


def test_heads_are_a_count_or_a_width() -> None:
    assert [SD15.heads(width) for width in (320, 640, 1280)] == [8, 8, 8]
    assert [SDXL.heads(width) for width in (320, 640, 1280)] == [5, 10, 20]
    for both_or_neither in ({"num_head_channels": 64}, {"num_heads": None}):
        with pytest.raises(ValueError, match="not both and not neither"):
            SD15.like(**both_or_neither)


class LiveNumbers(TorchDispatchMode):
    """How many numbers of operator results are alive, now and at most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[weakref.ref[torch.UntypedStorage]] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        given = {id(x.untyped_storage()) for x in tree_leaves((args, kwargs)) if _is_tensor(x)}
        result = func(*args, **(kwargs or {}))
        for x in filter(_is_tensor, tree_leaves(result)):
            storage = x.untyped_storage()
            if id(storage) not in given and not any(ref() is storage for ref in self._seen):
                self._add(storage, storage.nbytes() // x.element_size())
        return result

    def _add(self, storage: torch.UntypedStorage, count: int) -> None:
        def gone(ref: weakref.ref[torch.UntypedStorage]) -> None:
            self._seen.discard(ref)
            self.now -= count

        self._seen.add(weakref.ref(storage, gone))
        self.now += count
        self.peak = max(self.peak, self.now)


def _is_tensor(x: object) -> bool:
    return isinstance(x, torch.Tensor)


def measured_peak(config: ControlNetConfig, height: int, width: int) -> float:
    """Numbers alive at the peak of one evaluation, for each cell; nothing is computed."""
    with FakeTensorMode(), torch.no_grad():
        net = build(config)
        hint = torch.empty(2, config.model_channels, height, width)
        y = None if config.adm_in_channels is None else torch.empty(2, config.adm_in_channels)
        args = (
            torch.empty(2, 4, height, width), torch.empty(2),
            torch.empty(2, 77, config.context_dim or 16), hint, y,
        )  # fmt: skip
        with LiveNumbers() as live:
            net(*args)
    return live.peak / (2 * height * width)


@pytest.mark.parametrize(
    ("config", "side"),
    [(SD15, 64), (SD21, 96), (SDXL, 128)], ids=["sd15-512px", "sd2-768px", "sdxl-1024px"],
)  # fmt: skip
def test_memory_estimate_holds_what_is_needed(config: ControlNetConfig, side: int) -> None:
    """Full size: enough, and at most twice too much. Attention here is torch's fused one."""
    peak = measured_peak(config, side, side)
    assert peak <= config.activations_per_cell <= 2 * peak


def test_peak_is_measured() -> None:
    """The ruler itself: a result that is freed counts no longer, a view never does."""
    with FakeTensorMode(), LiveNumbers() as live:
        x = torch.empty(100)
        y = x.view(10, 10) + 1
        del y
        z = (x + 1).add_(1).view(4, 25)
        assert (live.now, live.peak) == (200, 200)
        del x, z
        assert (live.now, live.peak) == (0, 200)


@pytest.mark.parametrize("name", ["sd15", "union8"])
def test_weights_take_the_asked_dtype_and_device(name: str) -> None:
    net = build(FAMILIES[name], Layers(dtype=torch.bfloat16, device="meta"))
    kinds = {(w.dtype, w.device.type) for w in net.state_dict().values()}
    assert kinds == {(torch.bfloat16, "meta")}
