"""At default settings our Load and Apply give the host's own latents, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_management
import comfy.ops
import hosts
import nodes
import pytest
import torch
from comfy_extras.nodes_controlnet import SetUnionControlNetType
from nets import CONFIGS, model, net_file, picture, prompts, random_net, sample
from tiny_nodes import LAYOUTS, tiny_model

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.nets import SD15
from controlstack.nodes.apply import Item, apply_item
from controlstack.nodes.load import load_control
from controlstack.nodes.union import with_type

pytestmark = pytest.mark.usefixtures("host")


@dataclass(frozen=True)
class Case:
    """Settings of one comparison; `nets` are (seed, strength, start, end) each."""

    layout: str = "SD15"
    nets: tuple[tuple[int, float, float, float], ...] = ((1, 1.0, 0.0, 1.0),)
    batch: int = 1
    cfg: float = 7.0
    hints: int = 1
    hint_size: tuple[int, int] = (64, 64)
    size: tuple[int, int] = (8, 8)
    sampler: str = "euler"


ONE, TWO, THREE = (
    tuple((seed, 0.5 + seed / 4, *window) for seed, window in enumerate(windows, 1))
    for windows in (
        [(0.0, 1.0)], [(0.0, 1.0), (0.2, 0.8)], [(0.0, 0.5), (0.25, 0.75), (0.5, 1.0)],
    )
)  # fmt: skip
CASES = [
    *(
        Case(layout, nets, batch, cfg)
        for layout, nets, (batch, cfg) in product(LAYOUTS, (ONE, TWO, THREE), ((1, 1.0), (4, 7.0)))
    ),
    *(Case(layout, ONE, 1, 7.0) for layout in LAYOUTS),
    Case(batch=4, cfg=1.0),
    Case(hint_size=(40, 90)),
    Case(hint_size=(513, 769), size=(9, 13)),
    Case(hint_size=(1, 1)),
    Case(batch=4, hints=4),
    Case(batch=4, hints=3, nets=TWO),
    Case(batch=3, hints=2, cfg=1.0),
    Case(batch=2, hints=5, cfg=1.0),
    Case(sampler="heun", nets=TWO),
    Case(sampler="dpmpp_2s_ancestral", nets=THREE),
]


def _name(case: Case) -> str:
    return (
        f"{case.layout}-{len(case.nets)}nets-b{case.batch}-cfg{case.cfg:g}-{case.hints}hints"
        f"-{'x'.join(map(str, case.hint_size))}-{case.sampler}"
    )


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_equals_the_hosts_own_nodes(case: Case, host: hosts.Host) -> None:
    base, plain = model(case.layout), prompts(case.layout)
    theirs, ours = tuple(plain), tuple(plain)
    for seed, strength, start, end in case.nets:
        name = net_file(host.controlnets, case.layout, seed=seed)
        image = picture(case.hints, *case.hint_size, seed=seed)
        (control,) = nodes.ControlNetLoader().load_controlnet(name)
        theirs = nodes.ControlNetApplyAdvanced().apply_controlnet(
            *theirs, control, image, strength, start, end
        )
        ours = apply_item(Item(load_control(name), image, strength, start, end), ours)
    settings: dict[str, Any] = {
        "batch": case.batch, "cfg": case.cfg, "size": case.size, "sampler": case.sampler,
    }  # fmt: skip
    expected, found = sample(base, *theirs, **settings), sample(base, *ours, **settings)
    assert (found - expected).abs().max() == 0.0
    assert (found - sample(base, *plain, **settings)).abs().max() > 1e-2  # the control acts at all


def test_equals_the_host_at_the_real_width_with_8_heads(host: hosts.Host) -> None:
    config = SD15.like(
        channel_mult=(1, 2), num_res_blocks=(1, 1), transformer_depth=(1, 1)
    )
    path = host.controlnets / "wide.safetensors"
    formats.save(random_net(config, seed=4), path, metadata={"controlstack.num_heads": ""})
    base, plain, image = model("SD15", 320), prompts(), picture()
    theirs = nodes.ControlNetApplyAdvanced().apply_controlnet(
        *plain, comfy.controlnet.load_controlnet(str(path)), image, 0.8, 0.0, 1.0
    )
    ours = apply_item(Item(load_control(path.name), image, 0.8), tuple(plain))
    assert (sample(base, *ours) - sample(base, *theirs)).abs().max() == 0.0


@pytest.mark.parametrize(("types", "kind"), [(6, "auto"), (6, "depth"), (8, "tile")])
@pytest.mark.parametrize("through_host_node", [False, True])
def test_union_equals_the_hosts_own_network(
    types: int, kind: str, through_host_node: bool, host: hosts.Host
) -> None:
    """The host's loader wants full size; its network and its nodes are asked with a small one."""
    # The host fixes the width of its tokens at 320, the real model's.
    config = CONFIGS["SDXL"].like(model_channels=320, union_types=types)
    net = random_net(config, seed=types)
    theirs = comfy.controlnet.ControlNet(
        _host_union(config, net.state_dict()), load_device=torch.device("cpu")
    )
    path = host.controlnets / f"union{types}.safetensors"
    formats.save(net, path, format=formats.DIFFUSERS_UNION)
    ours = load_control(path.name)
    theirs = SetUnionControlNetType.execute(theirs, kind).args[0]
    if through_host_node:
        ours = SetUnionControlNetType.execute(ours, kind).args[0]
    else:
        ours = with_type(ours, kind)
    base, plain, image = _wide_sdxl(), prompts("SDXL"), picture()
    host_apply = nodes.ControlNetApplyAdvanced().apply_controlnet
    expected = host_apply(*plain, theirs, image, 0.9, 0.0, 1.0)
    found = apply_item(Item(ours, image, 0.9), tuple(plain))
    latents = sample(base, *found, batch=2)
    assert (latents - sample(base, *expected, batch=2)).abs().max() == 0.0
    assert (latents - sample(base, *plain, batch=2)).abs().max() > 1e-2


@cache
def _wide_sdxl() -> Any:
    """A MODEL with the encoder of the small union nets."""
    return tiny_model("SDXL", channels=320)


def _host_union(config: Any, weights: dict[str, torch.Tensor]) -> comfy.cldm.cldm.ControlNet:
    net = comfy.cldm.cldm.ControlNet(
        image_size=32, in_channels=4, hint_channels=3, model_channels=config.model_channels,
        num_res_blocks=list(config.num_res_blocks), channel_mult=config.channel_mult,
        num_classes="sequential", adm_in_channels=config.adm_in_channels, num_head_channels=64,
        use_spatial_transformer=True, transformer_depth=list(config.transformer_depth),
        transformer_depth_middle=config.transformer_depth_middle, context_dim=config.context_dim,
        use_linear_in_transformer=True, legacy=False, dtype=torch.float32,
        union_controlnet_num_control_type=config.union_types,
        operations=comfy.ops.disable_weight_init,
    )  # fmt: skip
    net.load_state_dict(weights, strict=True)
    return net
