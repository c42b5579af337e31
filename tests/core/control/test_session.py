"""One control during one run: when the net runs, and what it may not touch."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_nets import PLAIN, equal, inputs, random_net
from torch import Tensor

from controlstack.controlnet_core.control import (
    Area,
    BatchStrengths,
    Constant,
    ControlSession,
    ControlSpec,
    Curve,
    HintContent,
    HintSource,
    Kept,
    Keyframes,
    Progress,
    Ramp,
    Rows,
    Soft,
    StrengthList,
    Window,
    take,
)
from controlstack.controlnet_core.residuals import Residuals

CONFIG = PLAIN["sdxl"]
GIVEN = inputs(CONFIG, batch=2)


class Spied:
    """A session on a real net that counts how often hint encoder and net run."""

    def __init__(self, spec: ControlSpec) -> None:
        self.net, self.encoded, self.ran = random_net(CONFIG), 0, 0
        self.kept: Kept = None
        self.session = ControlSession(
            self.evaluate, hints=HintSource((GIVEN.hint,), self.encode).embedding, spec=spec,
            progress=Progress(lambda percent: 1.0 - percent, spec.schedule.knots),
        )  # fmt: skip

    def encode(self, hints: tuple[Tensor, ...]) -> Tensor:
        self.encoded += 1
        return self.net.encode_hint(hints[0])

    def evaluate(self, timesteps: Tensor, embedding: Tensor, kept: Kept) -> Residuals:
        self.ran += 1
        self.kept = kept
        given = (GIVEN.x, timesteps, GIVEN.context, embedding, GIVEN.y)
        return self.net(*(None if x is None else take(x, kept) for x in given))

    def step(
        self, sigma: float, rows: Rows | None = None, area: Area | None = None
    ) -> Residuals | None:
        timesteps = torch.full((2,), 999 * sigma)
        return self.session.residuals(
            timesteps, x=GIVEN.x, sigma=sigma, rows=rows or Rows(2), area=area
        )


SILENT = {
    "strength 0": ControlSpec(0.0),
    "strength -0": ControlSpec(-0.0),
    "gain 0": ControlSpec(schedule=Constant(0.0)),
    "one factor 0": ControlSpec(schedule=Constant(0.0) * Constant(5.0)),
    "before its window": ControlSpec(schedule=Window(0.9, 1.0)),
    "after its window": ControlSpec(schedule=Window(0.0, 0.1)),
    "empty window": ControlSpec(schedule=Window(0.5, 0.5)),
    "end of its ramp": ControlSpec(schedule=Ramp(1.0, 0.0, 0.0, 0.5)),
    "zero of its curve": ControlSpec(schedule=Curve(((0.0, 1.0), (0.5, 0.0), (1.0, 1.0)))),
    "keyframe of 0": ControlSpec(schedule=Keyframes(((0.0, 1.0), (0.4, 0.0), (0.6, 1.0)))),
    "list of zeros": ControlSpec(schedule=StrengthList((0.0, 0.0))),
    "batch of zeros": ControlSpec(items=(BatchStrengths((), rest=0.0),)),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_control_that_does_not_act_does_not_run(name: str) -> None:
    spied = Spied(SILENT[name])
    assert spied.step(0.5) is None
    assert (spied.encoded, spied.ran) == (0, 0)


def test_rows_of_strength_0_are_not_computed_and_get_zeros() -> None:
    sides, full = Rows(1, 2, uncond=(True, False)), Spied(ControlSpec()).step(0.5, Rows(1, 2))
    spied = Spied(ControlSpec(uncond_strength=0.0))
    found = spied.step(0.5, sides)
    assert found is not None
    assert full is not None
    assert spied.kept is not None
    assert spied.kept.tolist() == [1]
    for x, whole in zip(found.tensors(), full.tensors(), strict=True):
        assert not x[0].any()
        torch.testing.assert_close(x[1], whole[1], rtol=1e-4, atol=1e-5)
    assert Spied(ControlSpec(uncond_strength=0.0)).step(0.5, Rows(2, 1, uncond=(True,))) is None


def test_strengths_of_sides_and_pictures_multiply() -> None:
    items = (BatchStrengths(((0, 0.5),), rest=1.0), BatchStrengths(((-1, 0.25),), rest=1.0))
    spec = ControlSpec(uncond_strength=0.5, items=items)
    rows = Rows(3, 2, uncond=(True, False))
    assert spec.row_strengths(rows) == (0.25, 0.5, 0.125, 0.5, 1.0, 0.25)
    assert (spec * spec).row_strengths(rows) == (0.0625, 0.25, 0.015625, 0.25, 1.0, 0.0625)


def test_steps_share_one_encoding_and_no_step_is_kept() -> None:
    spied = Spied(ControlSpec())
    first, second, again = spied.step(0.9), spied.step(0.2), spied.step(0.9)
    assert (spied.encoded, spied.ran) == (1, 3)
    assert equal(first, again)
    assert not equal(first, second)


def test_windows_that_meet_run_once_a_step() -> None:
    early = Spied(ControlSpec(schedule=Window(0.0, 0.5)))
    late = Spied(ControlSpec(schedule=Window(0.5, 1.0)))
    for sigma in (1.0, 0.75, 0.5, 0.25, 0.0):
        acting = [spied.step(sigma) is not None for spied in (early, late)]
        assert acting == [sigma > 0.5, sigma <= 0.5]
    assert early.ran + late.ran == 5


def test_result_is_the_weighted_residuals_of_the_net() -> None:
    spec = ControlSpec(0.5, mask=torch.rand(1, 1, 64, 64))
    spied = Spied(spec)
    net = random_net(CONFIG)
    bare = net(
        GIVEN.x, torch.full((2,), 999 * 0.5), GIVEN.context, net.encode_hint(GIVEN.hint), GIVEN.y
    )
    expected = spec.apply(bare, 0.5, rows=Rows(2), latent=(8, 8))
    assert equal(spied.step(0.5), expected)


def test_a_net_that_gives_nan_is_not_asked_at_strength_0() -> None:
    def poisoned(step: None, embedding: Tensor, kept: Kept) -> Residuals:
        return Residuals(middle=(torch.full((2, 1, 1, 1), math.nan),))

    session = ControlSession(
        poisoned, hints=HintSource((GIVEN.hint,), lambda hints: hints[0]).embedding,
        spec=ControlSpec(0.0),
        progress=lambda sigma: sigma,
    )  # fmt: skip
    assert session.residuals(None, x=GIVEN.x, sigma=0.5, rows=Rows(2)) is None


def test_inputs_and_net_stay_as_they_were() -> None:
    net = random_net(CONFIG)
    mask = torch.rand(2, 1, 20, 30)
    watched = [GIVEN.x, GIVEN.hint, GIVEN.context, GIVEN.y, mask, *net.parameters()]
    versions, before = [x._version for x in watched], GIVEN.hint.clone()
    Spied(ControlSpec(0.3, mask=mask)).step(0.4)
    assert [x._version for x in watched] == versions
    assert torch.equal(GIVEN.hint, before)


BLACK_BUT_ONE = torch.stack([torch.zeros(1, 64, 64), torch.zeros(1, 64, 64)])
BLACK_BUT_ONE[1, 0, 60, 60] = 0.5


def test_pictures_behind_a_black_mask_are_not_computed() -> None:
    spied = Spied(ControlSpec(mask=BLACK_BUT_ONE))
    found = spied.step(0.5)
    assert spied.kept is not None
    assert spied.kept.tolist() == [1]
    assert found is not None
    assert all(not x[0].any() for x in found.tensors())


@pytest.mark.parametrize("mask", [torch.zeros(1, 1, 64, 64), torch.zeros(2, 1, 10, 10)])
def test_a_black_mask_costs_nothing(mask: Tensor) -> None:
    spied = Spied(ControlSpec(mask=mask))
    assert spied.step(0.5) is None
    assert (spied.encoded, spied.ran) == (0, 0)


def test_masks_that_meet_nowhere_in_the_batch_cost_nothing() -> None:
    spec = ControlSpec(mask=BLACK_BUT_ONE) * ControlSpec(mask=BLACK_BUT_ONE.flip(0))
    spied = Spied(spec)
    assert spied.step(0.5) is None
    assert spied.ran == 0


def test_an_area_outside_of_the_mask_costs_nothing() -> None:
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., :64, :] = 1.0
    upper, lower = (Area((16, 16), (8, 8), top, 0) for top in (0, 8))
    spied = Spied(ControlSpec(mask=mask))
    assert spied.step(0.5, area=upper) is not None
    assert spied.step(0.5, area=lower) is None
    assert spied.ran == 1


def test_an_empty_hint_that_acts_where_it_has_content_costs_nothing() -> None:
    content = HintContent(threshold=0.1)
    empty = ControlSpec(contents=(content,)).on_hints(torch.zeros(1, 3, 64, 64))
    spied = Spied(empty)
    assert spied.step(0.5) is None
    assert spied.ran == 0


def test_strengths_of_pictures_are_those_of_the_whole_batch_in_a_window() -> None:
    items = (BatchStrengths(((2, 0.5), (-1, 0.25)), rest=1.0),)
    rows = Rows(3, 2, frames=(2, 4, 5), total=6)
    assert ControlSpec(items=items).row_strengths(rows) == (0.5, 1.0, 0.25) * 2


def test_keyframes_take_turns_with_their_own_mask_and_weights() -> None:
    """Finding W6 and the wish for masks by keyframe: nothing of a keyframe outlives it."""
    left, right = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    left[..., :32], right[..., 32:] = 1.0, 1.0
    early, late = ControlSpec(mask=left), ControlSpec(0.5, weights=Soft(), mask=right)
    spec = ControlSpec(2.0, timelines=(((0.25, early), (0.75, late)),))
    for sigma, turn in ((0.9, ControlSpec()), (0.75, early), (0.3, early), (0.25, late)):
        expected = Spied(ControlSpec(2.0) * turn).step(sigma)
        assert equal(Spied(spec).step(sigma), expected), sigma


def test_a_keyframe_of_0_runs_no_net_and_one_after_it_does() -> None:
    spied = Spied(ControlSpec(timelines=(((0.0, ControlSpec(0.0)), (0.5, ControlSpec())),)))
    assert spied.step(0.9) is None
    assert spied.step(0.5) is not None
    assert spied.step(0.9) is None, "samplers that go back get the keyframe back"
    assert spied.ran == 1


def test_two_timelines_and_what_lies_in_them_multiply() -> None:
    inner = ControlSpec(timelines=(((0.5, ControlSpec(0.5)),),))
    spec = ControlSpec(timelines=(((0.0, inner),),)) * ControlSpec(
        timelines=(((0.25, ControlSpec(0.1, schedule=Window(0.0, 0.75))),),)
    )
    gains = [spec.gain(t) for t in (0.0, 0.25, 0.5, 0.75)]
    assert gains == pytest.approx([1.0, 0.1, 0.05, 0.0])
    assert {0.0, 0.25, 0.5, 0.75} <= set(spec.knots)
    assert not spec.steady


def test_keyframes_inside_of_a_keyframe_take_turns_too() -> None:
    inner = ControlSpec(timelines=(((0.0, ControlSpec(0.5)), (0.5, ControlSpec(0.1))),))
    spied = Spied(ControlSpec(timelines=(((0.0, inner),),)))
    early, late = spied.step(0.9), spied.step(0.4)
    assert equal(early, Spied(ControlSpec(0.5)).step(0.9))
    assert equal(late, Spied(ControlSpec(0.1)).step(0.4))
