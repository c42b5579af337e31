"""For whom and how deep a control acts, and what is not computed, in the host's sampler."""

from __future__ import annotations

from collections import Counter
from typing import Any

import hosts
import nodes
import pytest
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy_extras.nodes_easycache import EasyCacheNode
from nets import model, net_file, picture, prompts, sample
from test_bridge import applied, counted, t2i_adapter

from controlstack.controlnet_core.control import (
    CONTROL_MODES,
    BatchStrengths,
    ControlSpec,
    Soft,
)
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.nets import ControlNet
from controlstack.nodes._bridge import HostControl
from controlstack.nodes._lazy import LazyControl
from controlstack.nodes.apply import Item, apply_item
from controlstack.nodes.load import load_control
from controlstack.nodes.whom import ModeSpec


@pytest.fixture
def control(host: hosts.Host) -> HostControl:
    return load_control(net_file(host.controlnets, seed=1))


@pytest.mark.parametrize("family", ["ours", "host"])
def test_cond_only_equals_the_control_on_the_positive_side_alone(
    family: str, control: HostControl
) -> None:
    """What people wire by hand today, which costs them the batch of cond and uncond."""
    chosen = control if family == "ours" else t2i_adapter()
    (positive, negative), plain = applied(chosen), prompts()
    expected = sample(model(), positive, plain[1], batch=2)
    conds = applied(chosen, spec=CONTROL_MODES["cond only"])
    with counted(ControlNet, "forward") as nets, counted(UNetModel, "_forward") as unets:
        latents = sample(model(), *conds, batch=2, steps=3)
    assert nets == ([2] * 3 if family == "ours" else [])
    assert unets == [4] * 3
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-3)
    assert (latents - sample(model(), positive, negative, batch=2)).abs().max() > 1e-2


@pytest.mark.parametrize("mode", CONTROL_MODES)
def test_modes_act_and_balanced_changes_nothing(mode: str, control: HostControl) -> None:
    spec = ModeSpec.execute(mode).args[0]
    latents = sample(model(), *applied(control, spec=spec))
    plain = sample(model(), *applied(control))
    assert torch.equal(latents, plain) == (mode == "balanced")
    assert (latents - sample(model(), *prompts())).abs().max() > 1e-2


def test_pictures_of_the_batch_at_0_are_not_computed(control: HostControl) -> None:
    spec = ControlSpec(items=(BatchStrengths(((0, 1.0), (-1, 0.5))),))
    conds = applied(control, spec=spec, image=picture(4))
    with counted(ControlNet, "forward") as calls:
        latents = sample(model(), *conds, batch=4, steps=2)
    assert calls == [4, 4]  # two pictures, cond and uncond
    full = sample(model(), *applied(control, image=picture(4)), batch=4, steps=2)
    none = sample(model(), *prompts(), batch=4, steps=2)
    close = {"rtol": 1e-4, "atol": 1e-3}
    torch.testing.assert_close(latents[0], full[0], **close)
    torch.testing.assert_close(latents[1:3], none[1:3], **close)
    half = sample(model(), *applied(control, strength=0.5, image=picture(4)), batch=4, steps=2)
    torch.testing.assert_close(latents[3], half[3], **close)


def test_an_index_outside_of_the_batch_is_refused(control: HostControl) -> None:
    spec = ControlSpec(items=(BatchStrengths(((4, 1.0),)),))
    with pytest.raises(ControlInputError, match=r"CN-S18.*index 4 in a batch of 4"):
        sample(model(), *applied(control, spec=spec), batch=4)


def test_soft_weights_scale_each_residual_once(control: HostControl) -> None:
    def residuals(spec: ControlSpec) -> list[torch.Tensor]:
        head, base = applied(control, spec=spec)[0][0][1]["control"], model().model
        head.pre_run(base, base.model_sampling.percent_to_sigma)
        sigma = torch.tensor([5.0])
        cond = {"c_crossattn": torch.ones(1, 77, 768)}
        result = head.get_control(torch.ones(1, 4, 8, 8), sigma, cond, 1, {"sigmas": sigma})
        return [*result["output"], *result["middle"]]

    weights = [0.825**4, 0.825**3, 0.825**2, 0.825, 1.0]
    for soft, plain, weight in zip(
        residuals(ControlSpec(weights=Soft())), residuals(ControlSpec()), weights, strict=True
    ):
        torch.testing.assert_close(soft, plain * weight)


@pytest.mark.parametrize("threshold", [0.2, 3.0])
def test_a_step_that_a_cache_skips_never_runs_the_net(
    threshold: float, control: HostControl, host: hosts.Host
) -> None:
    cached = EasyCacheNode.execute(model(), threshold, 0.15, 0.95, False).args[0]
    name = net_file(host.controlnets, seed=2)
    conds = apply_item(Item(load_control(name), picture(), 0.5), applied(control))
    with counted(ControlNet, "forward") as nets, counted(UNetModel, "_forward") as unets:
        latents = sample(cached, *conds, steps=20)
    assert len(nets) == 2 * len(unets)
    assert len(unets) < 20
    (theirs,) = nodes.ControlNetLoader().load_controlnet(net_file(host.controlnets, seed=1))
    (second,) = nodes.ControlNetLoader().load_controlnet(name)
    apply = nodes.ControlNetApplyAdvanced().apply_controlnet
    core = apply(*prompts(), theirs, picture(), 1.0, 0.0, 1.0)
    core = apply(*core, second, picture(), 0.5, 0.0, 1.0)
    assert torch.equal(latents, sample(cached, *core, steps=20))


def hosts_folder(control: HostControl) -> Any:
    from pathlib import Path

    import folder_paths

    return Path(folder_paths.get_folder_paths("controlnet")[0])


def test_the_lazy_dict_is_made_once_and_let_go() -> None:
    made = Counter[str]()

    def make() -> dict[str, list[Any]]:
        made["times"] += 1
        return {"input": [], "middle": [1], "output": [2, 3]}

    lazy = LazyControl(make)
    assert bool(lazy)
    assert not made
    assert "output" in lazy
    assert lazy["output"].pop() == 3
    assert lazy.get("middle") == [1]
    assert lazy.get("else") is None
    assert (len(lazy), list(lazy)) == (3, ["input", "middle", "output"])
    assert sorted(lazy.keys()) == list(lazy)
    assert lazy.copy() == {"input": [], "middle": [1], "output": [2]}
    assert dict(lazy.items())["output"] == [2]
    assert made == {"times": 1}
    assert lazy._make is None
