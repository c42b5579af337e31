"""One control during one run: when the net runs, and what it may not touch."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_nets import PLAIN, equal, inputs, random_net
from torch import Tensor

from controlstack.controlnet_core.control import (
    Constant,
    ControlSession,
    ControlSpec,
    HintSource,
    Progress,
    Rows,
    Window,
)
from controlstack.controlnet_core.residuals import Residuals

CONFIG = PLAIN["sdxl"]
GIVEN = inputs(CONFIG, batch=2)


class Spied:
    """A session on a real net that counts how often hint encoder and net run."""

    def __init__(self, spec: ControlSpec) -> None:
        self.net, self.encoded, self.ran = random_net(CONFIG), 0, 0
        self.session = ControlSession(
            self.evaluate, hints=HintSource((GIVEN.hint,), self.encode), spec=spec,
            progress=Progress(lambda percent: 1.0 - percent, spec.schedule.knots),
        )  # fmt: skip

    def encode(self, hints: tuple[Tensor, ...]) -> Tensor:
        self.encoded += 1
        return self.net.encode_hint(hints[0])

    def evaluate(self, timesteps: Tensor, embedding: Tensor) -> Residuals:
        self.ran += 1
        return self.net(GIVEN.x, timesteps, GIVEN.context, embedding, GIVEN.y)

    def step(self, sigma: float) -> Residuals | None:
        timesteps = torch.full((2,), 999 * sigma)
        return self.session.residuals(timesteps, x=GIVEN.x, sigma=sigma, rows=Rows(2))


SILENT = {
    "strength 0": ControlSpec(0.0),
    "strength -0": ControlSpec(-0.0),
    "gain 0": ControlSpec(schedule=Constant(0.0)),
    "one factor 0": ControlSpec(schedule=Constant(0.0) * Constant(5.0)),
    "before its window": ControlSpec(schedule=Window(0.9, 1.0)),
    "after its window": ControlSpec(schedule=Window(0.0, 0.1)),
    "empty window": ControlSpec(schedule=Window(0.5, 0.5)),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_control_that_does_not_act_does_not_run(name: str) -> None:
    spied = Spied(SILENT[name])
    assert spied.step(0.5) is None
    assert (spied.encoded, spied.ran) == (0, 0)


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
    def poisoned(step: None, embedding: Tensor) -> Residuals:
        return Residuals(middle=(torch.full((2, 1, 1, 1), math.nan),))

    session = ControlSession(
        poisoned, hints=HintSource((GIVEN.hint,), lambda hints: hints[0]), spec=ControlSpec(0.0),
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
