"""The spec nodes: what each adds to a spec, in the host's own sampler where that matters."""

from __future__ import annotations

from typing import Any

import hosts
import pytest
import torch
from comfy_api.latest._input import CurveInput
from nets import model, net_file, picture, prompts, sample
from test_bridge import applied, counted

from controlstack.controlnet_core.control import (
    SOFT_WEIGHTS,
    ControlSpec,
    Curve,
    StrengthList,
    Window,
)
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.nets import ControlNet
from controlstack.nodes._bridge import HostControl
from controlstack.nodes.depth import GroupWeightsSpec, LayerWeightsSpec, SoftWeightsSpec
from controlstack.nodes.load import load_control
from controlstack.nodes.preset import PresetSpec
from controlstack.nodes.preview import PreviewSpec
from controlstack.nodes.when import (
    CurveSpec,
    KeyframesSpec,
    RampSpec,
    StrengthListSpec,
    stock_curve,
)
from controlstack.nodes.where import ContentSpec, MaskSpec
from controlstack.nodes.whom import BatchStrengthsSpec, UncondSpec


@pytest.fixture
def control(host: hosts.Host) -> HostControl:
    return load_control(net_file(host.controlnets, seed=1))


def spec_of(output: Any) -> ControlSpec:
    return output.args[0]


NODES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ramp": (RampSpec, (1.0, 0.0, 0.0, 1.0, "linear")),
    "curve": (CurveSpec, ("0: 1, 1: 0", "linear", 1.0)),
    "keyframes": (KeyframesSpec, ("0: 1, 0.5: 0.5", "hold", 1.0)),
    "list": (StrengthListSpec, ("1, 0.5, 0", "one per step", 0.0, 1.0)),
    "spread list": (StrengthListSpec, ("1, 0.5, 0", "linear", 0.0, 1.0)),
    "soft": (SoftWeightsSpec, (next(iter(SOFT_WEIGHTS)), 0.825)),
    "own base": (SoftWeightsSpec, ("base ^ blocks from the middle", 0.5)),
    "groups": (GroupWeightsSpec, (0.2, 0.5, 1.0)),
    "layers": (LayerWeightsSpec, ("1, 1, 0.5, 0.5", 1.0)),
    "mask": (MaskSpec, (torch.eye(16)[None], 3, True)),
    "content": (ContentSpec, (0.95, 0, 0)),
    "uncond": (UncondSpec, (0.5,)),
    "batch": (BatchStrengthsSpec, ("0--1=1..0.2", 0.0, "linear")),
    "preset": (PresetSpec, ("scribble", "SDXL", "low")),
}


@pytest.mark.parametrize("name", NODES)
def test_every_node_acts_and_keeps_the_spec_before_it(name: str, control: HostControl) -> None:
    node, values = NODES[name]
    alone, before = spec_of(node.execute(*values)), ControlSpec(0.5)
    latents = sample(model(), *applied(control, spec=alone), batch=2)
    plain = sample(model(), *applied(control), batch=2)
    assert latents.isfinite().all()
    assert (latents - plain).abs().max() > 1e-3
    joined = spec_of(node.execute(*values, spec=before))
    halved = sample(model(), *applied(control, strength=0.5, spec=alone), batch=2)
    found = sample(model(), *applied(control, spec=joined), batch=2)
    torch.testing.assert_close(found, halved, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_a_list_counts_the_steps_of_the_run(sampler: str, control: HostControl) -> None:
    """In three steps it acts in the first alone, also where the sampling starts in the middle."""
    spec = ControlSpec(schedule=StrengthList((1.0, 0.0)))
    for denoise in (1.0, 0.5):
        with counted(ControlNet, "forward") as calls:
            sample(model(), *applied(control, spec=spec), sampler=sampler, denoise=denoise)
        assert len(calls) == 1


def test_steps_are_read_for_lists_alone(control: HostControl) -> None:
    for schedule, read in ((StrengthList((1.0, 0.5)), True), (Window(0.0, 0.9), False)):
        conds = applied(control, spec=ControlSpec(schedule=schedule))
        head, seen = conds[0][0][1]["control"], []
        cleanup = head.cleanup

        def watched(head: Any = head, cleanup: Any = cleanup, seen: list[Any] = seen) -> None:
            seen.append("_steps" in vars(head._run))
            cleanup()

        head.cleanup = watched
        sample(model(), *conds)
        assert seen == [read]


@pytest.mark.parametrize("interpolation", ["monotone_cubic", "linear"])
def test_stock_curves_act_as_the_host_draws_them(interpolation: str) -> None:
    points = [[0.0, 0.1], [0.2, 0.9], [0.25, 1.0], [0.7, 0.3], [0.9, 0.3], [1.0, 0.0]]
    raw = {"points": points, "interpolation": interpolation}
    theirs = CurveInput.from_raw(raw)
    for value in (raw, theirs):
        ours = stock_curve(value)
        assert [ours(i / 97) for i in range(98)] == pytest.approx(
            [theirs.interp(i / 97) for i in range(98)], abs=1e-12
        )
    spec = spec_of(CurveSpec.execute("", "step", 2.0, curve=theirs))
    assert spec.gain(0.2) == pytest.approx(1.8)


def test_a_curve_of_another_kind_is_sampled() -> None:
    class Square(CurveInput):
        points = ()

        def interp(self, x: float) -> float:
            return x * x

    curve = stock_curve(Square())
    assert isinstance(curve, Curve)
    assert curve(0.3) == pytest.approx(0.09, abs=1e-5)


def test_content_keeps_the_control_at_its_lines(control: HostControl) -> None:
    """A hint that is black on the right: the whole control there, or none."""
    hint = picture()
    hint[:, :, 24:] = 0.0
    spec = spec_of(ContentSpec.execute(0.01, 0, 0))
    half = torch.zeros(1, 64, 64)
    half[..., :24] = 1.0
    masked = ControlSpec(mask=half[:, None])
    found = [
        sample(model(), *applied(control, spec=each, image=hint), steps=1)
        for each in (spec, ControlSpec(), masked)
    ]
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert (found[0] - found[2]).abs().mean() < (found[1] - found[2]).abs().mean()


def test_more_layer_weights_than_layers_are_refused(control: HostControl) -> None:
    spec = spec_of(LayerWeightsSpec.execute("1 1 1 1 1", 1.0))
    with pytest.raises(ControlInputError, match=r"CN-L01.*5 weights.*expected 4"):
        sample(model(), *applied(control, spec=spec))


def test_presets_name_their_source() -> None:
    spec, source = PresetSpec.execute("pose", "Flux", "normal").args
    assert (spec.gain(0.0), spec.gain(0.65)) == (0.9, 0.0)
    assert source.startswith("strength 0.9, from 0 to 0.65 (Shakker Labs")


def test_preview_draws_the_steps_that_will_be_made(control: HostControl) -> None:
    from comfy.samplers import calculate_sigmas

    base = model()
    sigmas = calculate_sigmas(base.get_model_object("model_sampling"), "normal", 6)
    spec = ControlSpec(schedule=Window(0.0, 0.5)) * ControlSpec(uncond_strength=0.0)
    chart, numbers = PreviewSpec.execute(base, sigmas, spec).args
    with counted(ControlNet, "forward") as calls:
        sample(base, *applied(control, spec=spec), steps=6)
    assert f"the net runs in {len(calls)} of 6 steps" in numbers
    assert "negative prompt x 0" in numbers
    assert "middle  1/2" in numbers
    assert chart.ndim == 4
    assert chart.shape[-1] == 3
    assert 0.0 <= chart.min() < chart.max() <= 1.0
    assert len(chart.flatten(0, 2).unique(dim=0)) > 20
    assert PreviewSpec.execute(base, sigmas).args[1].startswith("the net runs in 6 of 6 steps")
    assert (sample(base, *prompts()) - sample(base, *applied(control))).abs().max() > 1e-2
