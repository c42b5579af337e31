"""Keyframe, picture and block nodes: what they add to a spec, and the sockets of Apply for them."""

from __future__ import annotations

from typing import Any

import hosts
import pytest
import torch
from nets import model, net_file, picture, prompts, sample
from test_bridge import applied, counted
from test_control_lora import saved

from controlstack.controlnet_core.control import ControlSpec, Rows, Soft, Window
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.nets import ControlNet
from controlstack.nodes._bridge import HostControl
from controlstack.nodes.apply import Apply, Stack, StackItem
from controlstack.nodes.apply_single import ApplySingle
from controlstack.nodes.blocks import (
    BlockWeightsFlux,
    BlockWeightsSD15,
    BlockWeightsT2I,
    MiddleWeightSpec,
)
from controlstack.nodes.depth import SoftWeightsSpec
from controlstack.nodes.keyframes import KeyframeListSpec, KeyframeRampSpec, KeyframeSpec
from controlstack.nodes.load import load_control
from controlstack.nodes.pictures import (
    PictureGroupSpec,
    PictureListSpec,
    PictureRangeSpec,
    PictureSpec,
)
from controlstack.nodes.whom import BatchStrengthsSpec


@pytest.fixture
def control(host: hosts.Host) -> HostControl:
    return load_control(net_file(host.controlnets, seed=1))


def spec_of(node: Any, *values: Any, **named: Any) -> ControlSpec:
    return node.execute(*values, **named).args[0]


def row(spec: ControlSpec, count: int, t: float = 0.0) -> tuple[float, ...]:
    return spec.at(t).row_strengths(Rows(count))


def starts(spec: ControlSpec) -> list[float]:
    return [start for start, _ in spec.timelines[-1]]


# Keyframes.


def test_a_keyframe_changes_weights_pictures_and_mask_in_the_sampler(control: HostControl) -> None:
    """From the middle on it equals a control that has these throughout; before it, a plain one."""
    mask = torch.zeros(1, 64, 64)
    mask[..., :40] = 1.0
    soft, named = ControlSpec(weights=Soft()), spec_of(PictureSpec, 0, 0.7, 0.2)
    frame = spec_of(KeyframeSpec, 0.5, 0.8, -1.0, True, soft, named, mask)
    late = ControlSpec(0.8, Window(0.5, 1.0), mask=mask[:, None]) * soft * named
    conds = applied(control, spec=ControlSpec(schedule=Window(0.0, 0.5)))
    both = Apply.execute(*conds, control, picture(), 1.0, 0.0, 1.0, spec=late).args
    found = sample(model(), *applied(control, spec=frame), batch=2, steps=6)
    expected = sample(model(), *both, batch=2, steps=6)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert (found - sample(model(), *applied(control), batch=2, steps=6)).abs().max() > 1e-2


def test_a_keyframe_of_0_runs_no_net(control: HostControl) -> None:
    spec = spec_of(KeyframeSpec, 0.5, 0.0, -1.0, True)
    with counted(ControlNet, "forward") as calls:
        sample(model(), *applied(control, spec=spec), steps=6)
    assert 0 < len(calls) < 6


def test_chained_keyframes_are_one_timeline_in_any_order() -> None:
    chain = spec_of(KeyframeSpec, 0.6, 0.3, -1.0, True)
    halved = ControlSpec(uncond_strength=0.5)
    chain = spec_of(KeyframeSpec, 0.2, 0.5, -1.0, True, halved, spec=chain)
    assert len(chain.timelines) == 1
    assert [chain.gain(t) for t in (0.0, 0.2, 0.6)] == [1.0, 0.5, 0.3]
    assert chain.at(0.6).uncond_strength == 0.5


@pytest.mark.parametrize(("rest", "strengths"), [(-1.0, (1.0, 0.4)), (0.0, (1.0, 0.0))])
def test_rest_of_a_keyframe(rest: float, strengths: tuple[float, ...]) -> None:
    named = spec_of(PictureSpec, 0, 1.0, 0.4)
    assert row(spec_of(KeyframeSpec, 0.0, 1.0, rest, True, None, named), 2) == strengths


def test_a_ramp_of_keyframes() -> None:
    ramp = spec_of(KeyframeRampSpec, 0.2, 0.8, 1.0, 0.0, "ease-in", 4, -1.0, True)
    assert starts(ramp) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert [ramp.gain(t) for t in (0.1, 0.2, 0.41, 0.61, 0.81, 1.0)] == pytest.approx(
        [1.0, 1.0, 8 / 9, 5 / 9, 0.0, 0.0]
    )
    with pytest.raises(ControlInputError, match="CN-S01"):
        KeyframeRampSpec.execute(0.8, 0.2, 1.0, 0.0, "linear", 4, -1.0, True)


@pytest.mark.parametrize(("strengths", "found"), [
    ([0.9, 0.5, 0.1], [0.2, 0.5, 0.8]), (0.7, [0.2]), (torch.tensor([0.9, 0.1]), [0.2, 0.8]),
    ((1,), [0.2]),
])  # fmt: skip
def test_keyframes_from_a_list(strengths: Any, found: list[float]) -> None:
    spec = spec_of(KeyframeListSpec, strengths, 0.2, 0.8, -1.0, True)
    assert starts(spec) == pytest.approx(found)


@pytest.mark.parametrize(("bad", "code"), [
    ([], "CN-S30"), (None, "CN-S32"), (["much"], "CN-S32"), ([0.5, float("nan")], "CN-S05"),
])  # fmt: skip
@pytest.mark.parametrize("node", [KeyframeListSpec, PictureListSpec])
def test_what_is_no_list_of_numbers_is_refused(node: Any, bad: Any, code: str) -> None:
    rest = (0.0, 1.0, -1.0, True) if node is KeyframeListSpec else (0.0,)
    with pytest.raises(ControlInputError, match=code):
        node.execute(bad, *rest)


# Pictures.


def test_a_chain_of_picture_nodes_is_one_list() -> None:
    spec = spec_of(PictureGroupSpec, "0:4=0.5, -1", 0.3)
    spec = spec_of(PictureSpec, 1, 0.9, 0.2, spec=spec)
    spec = spec_of(PictureRangeSpec, -3, 0, 0.0, 1.0, "linear", 0.1, spec=spec)
    spec = spec_of(PictureListSpec, [0.8], 0.0, spec=spec)
    assert len(spec.items) == 1
    assert row(spec, 8) == (0.8, 0.9, 0.5, 0.5, 0.0, 0.0, 0.5, 1.0)


def test_a_chain_begins_behind_any_spec_and_adds_to_batch_strengths() -> None:
    begun = spec_of(PictureSpec, 0, 1.0, 0.5, spec=ControlSpec(0.5))
    assert (begun.strength, row(begun, 2)) == (0.5, (1.0, 0.5))
    written = spec_of(BatchStrengthsSpec, "0=0.5", 0.0, "linear")
    assert row(spec_of(PictureSpec, 1, 1.0, 0.0, spec=written), 3) == (0.5, 1.0, 0.0)


def test_one_number_is_for_the_first_picture() -> None:
    """W26: Advanced-ControlNet makes nothing of it."""
    assert row(spec_of(PictureListSpec, 0.7, 0.0), 3) == (0.7, 0.0, 0.0)


def test_two_names_of_one_picture_in_a_window_of_frames() -> None:
    """W24: Advanced-ControlNet raises KeyError."""
    spec = spec_of(PictureSpec, 15, 0.5, 0.0, spec=spec_of(PictureSpec, -1, 1.0, 0.0))
    rows = Rows(4, frames=(12, 13, 14, 15), total=16)
    assert spec.row_strengths(rows) == (0.0, 0.0, 0.0, 0.5)


def test_an_empty_range_names_nobody() -> None:
    assert row(spec_of(PictureRangeSpec, 0, 0, 1.0, 1.0, "linear", 0.0), 2) == (0.0, 0.0)
    assert row(spec_of(PictureGroupSpec, "", 0.25), 2) == (0.25, 0.25)


# Blocks.


def test_sd15_blocks_in_the_order_in_which_they_run() -> None:
    values = {f"output_{index}": index / 10 for index in range(12)}
    spec = spec_of(BlockWeightsSD15, 0.5, 0.25, ControlSpec(2.0), **values)
    found = [spec.weights("output", index, 12, 1.0) for index in range(12)]
    assert found == [index / 10 for index in range(12)]
    assert spec.weights("middle", 0, 1, 1.0) == 0.5
    assert (spec.uncond_strength, spec.strength) == (0.25, 2.0)
    with pytest.raises(ControlInputError, match="CN-L01"):
        spec.weights("output", 0, 9, 1.0)


def test_flux_weights_act_on_the_block_they_name() -> None:
    """W2: in Advanced-ControlNet input_0 acts on block 18. Single blocks are not touched."""
    values = {f"input_{index}": index / 10 for index in range(19)}
    spec = spec_of(BlockWeightsFlux, 1.0, **values)
    assert [spec.weights("input", index, 19, 1.0) for index in range(19)] == list(values.values())
    assert [spec.weights("output", index, 38, 1.0) for index in range(38)] == [1.0] * 38


def test_adapter_levels() -> None:
    spec = spec_of(BlockWeightsT2I, 0.5, input_0=0.25, input_1=0.62, input_2=0.825, input_3=1.0)
    found = [spec.weights("input", index, 12, 1.0) for index in range(12)]
    assert found == [0.25] * 3 + [0.62] * 3 + [0.825] * 3 + [1.0] * 3
    assert spec.uncond_strength == 0.5


def test_the_middle_alone() -> None:
    spec = spec_of(MiddleWeightSpec, 0.3, spec=ControlSpec(weights=Soft(0.5)))
    assert [spec.weights("output", 1, 2, 1.0), spec.weights("middle", 0, 1, 1.0)] == [0.5, 0.3]


@pytest.mark.parametrize("node", [MiddleWeightSpec, SoftWeightsSpec])
def test_a_weight_that_is_no_number_is_refused(node: Any) -> None:
    values = (float("nan"),) if node is MiddleWeightSpec else ("flat", 1.0, None, float("nan"))
    with pytest.raises(ControlInputError, match="CN-S05"):
        node.execute(*values)


def test_soft_weights_reach_a_control_lora(host: hosts.Host) -> None:
    """W3: Advanced-ControlNet sets them on a list that such a net does not fill."""
    name, _ = saved("SD15", host.controlnets)
    control = load_control(name)

    def residuals(spec: ControlSpec | None) -> list[torch.Tensor]:
        conds = Apply.execute(*prompts(), control, picture(), 1.0, 0.0, 1.0, spec=spec).args
        head, base = conds[0][0][1]["control"], model().model
        head.pre_run(base, base.model_sampling.percent_to_sigma)
        sigma = torch.tensor([5.0])
        cond = {"c_crossattn": torch.ones(1, 77, 768)}
        with torch.inference_mode():
            found = head.get_control(torch.ones(1, 4, 8, 8), sigma, cond, 1, {"sigmas": sigma})
        return [*found["output"], *found["middle"]]

    soft, plain = residuals(ControlSpec(weights=Soft())), residuals(None)
    for found, full, weight in zip(
        soft, plain, (0.825**4, 0.825**3, 0.825**2, 0.825, 1.0), strict=True
    ):
        assert full.abs().max() > 0.0
        torch.testing.assert_close(found, full * weight)


# The sockets of Apply, Control Item and Apply (One Prompt).

PIECES: dict[str, Any] = {
    "layer_weights": ControlSpec(weights=Soft(), uncond_strength=0.5),
    "batch_strengths": spec_of(PictureSpec, 0, 1.0, 0.4),
    "curve": {"points": [[0.0, 1.0], [1.0, 0.2]], "interpolation": "linear"},
}


def _combined() -> ControlSpec:
    from controlstack.nodes.when import CurveSpec

    curve = spec_of(CurveSpec, "", "linear", 1.0, curve=PIECES["curve"])
    return PIECES["layer_weights"] * PIECES["batch_strengths"] * curve


@pytest.mark.parametrize("before", [None, ControlSpec(0.8)], ids=["no spec", "spec"])
def test_pieces_in_sockets_multiply_the_spec(
    before: ControlSpec | None, control: HostControl
) -> None:
    values = (control, picture(), 0.9, 0.0, 1.0)
    conds = tuple(prompts())
    whole = _combined() if before is None else before * _combined()
    expected = sample(model(), *Apply.execute(*conds, *values, spec=whole).args, batch=2)
    piecewise = Apply.execute(*conds, *values, spec=before, **PIECES).args
    assert torch.equal(sample(model(), *piecewise, batch=2), expected)
    item = StackItem.execute(*values, spec=before, **PIECES).args[0]
    stacked = Stack.execute(*conds, {"item0": item}).args
    assert torch.equal(sample(model(), *stacked, batch=2), expected)
    plain = sample(model(), *Apply.execute(*conds, *values).args, batch=2)
    assert (plain - expected).abs().max() > 1e-2


@pytest.mark.parametrize("piece", PIECES)
def test_each_piece_acts_alone(piece: str, control: HostControl) -> None:
    values, conds = (control, picture(), 1.0, 0.0, 1.0), tuple(prompts())
    one = Apply.execute(*conds, *values, **{piece: PIECES[piece]}).args
    plain = Apply.execute(*conds, *values).args
    latents = sample(model(), *one, batch=2)
    assert (latents - sample(model(), *plain, batch=2)).abs().max() > 1e-2


def test_one_prompt_lends_its_control_to_the_other(control: HostControl) -> None:
    positive, negative = prompts()
    single = ApplySingle.execute(positive, control, picture(), 0.8, 0.0, 1.0).args[0]
    both = Apply.execute(positive, negative, control, picture(), 0.8, 0.0, 1.0).args
    with counted(ControlNet, "forward") as calls:
        found = sample(model(), single, negative)
    assert calls == [2] * 3
    assert torch.equal(found, sample(model(), *both))


def test_a_prompt_that_has_a_control_is_lent_none(host: hosts.Host, control: HostControl) -> None:
    other = load_control(net_file(host.controlnets, seed=2))
    positive, negative = prompts()
    single = ApplySingle.execute(positive, control, picture(), 0.8, 0.0, 1.0).args[0]
    apart = ApplySingle.execute(negative, other, picture(), 0.8, 0.0, 1.0).args[0]
    with counted(ControlNet, "forward") as calls:
        sample(model(), single, apart)
    assert calls == [1, 1] * 3
