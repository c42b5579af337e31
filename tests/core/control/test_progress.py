"""Progress at the sigmas of real schedulers: finding F5, invariant N9."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from controlstack.controlnet_core.control import Progress, Window, in_range

few = settings(derandomize=True, deadline=None, max_examples=50)
CUTS = sorted({*(i / 20 for i in range(1, 20)), 1 / 3, 2 / 3})


@cache
def model_sigmas() -> Tensor:
    """Of Stable Diffusion: 1000 betas, linear in their square roots from .00085 to .012."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1.0 - betas, dim=0)
    return ((1.0 - kept) / kept).sqrt().float()


def sigma_of(timestep: Tensor) -> Tensor:
    """float32 sigma at a fractional timestep: log sigma in between, the way hosts do it."""
    logs = model_sigmas().log()
    timestep = timestep.float().clamp(0, 999)
    low, high = timestep.floor().long(), timestep.ceil().long()
    share = timestep - low
    return ((1 - share) * logs[low] + share * logs[high]).exp()


@cache
def percent_to_sigma(percent: float) -> float:
    if percent <= 0.0:
        return 999999999.9
    if percent >= 1.0:
        return 0.0
    return sigma_of(torch.tensor((1.0 - percent) * 999.0)).item()


def normal(steps: int) -> Tensor:
    return sigma_of(torch.linspace(999, 0, steps))


def sgm_uniform(steps: int) -> Tensor:
    return sigma_of(torch.linspace(999, 0, steps + 1)[:-1])


def simple(steps: int) -> Tensor:
    stride = 1000 / steps
    return model_sigmas()[[-(1 + int(step * stride)) for step in range(steps)]]


def karras(steps: int) -> Tensor:
    """Karras et al., arXiv 2206.00364, equation 5, rho = 7."""
    low, high = model_sigmas()[0] ** (1 / 7), model_sigmas()[-1] ** (1 / 7)
    return (high + torch.linspace(0, 1, steps) * (low - high)) ** 7


def exponential(steps: int) -> Tensor:
    return torch.linspace(math.log(model_sigmas()[-1]), math.log(model_sigmas()[0]), steps).exp()


SCHEDULERS = (normal, sgm_uniform, simple, karras, exponential)


@cache
def progress_with(cut: float) -> Progress:
    return Progress(percent_to_sigma, (cut,))


@cache
def steps_of(scheduler: Callable[[int], Tensor]) -> list[float]:
    """Every sigma at which a run of 2..50 steps evaluates the model."""
    return sorted({sigma for steps in range(2, 51) for sigma in scheduler(steps).tolist()})


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda f: f.__name__)
def test_windows_that_meet_are_one_window(scheduler: Callable[[int], Tensor]) -> None:
    """Exact, at every step of every run; and a step acts where its sigma says, half-open."""
    for cut, sigma in itertools.product(CUTS, steps_of(scheduler)):
        t = progress_with(cut)(sigma)
        early, late = Window(0.0, cut)(t), Window(cut, 1.0)(t)
        assert early + late == 1.0
        bound = percent_to_sigma(cut)
        assert bool(early) == in_range(sigma, percent_to_sigma(0.0), bound, end_inside=False)
        assert bool(late) == in_range(sigma, bound, percent_to_sigma(1.0), end_inside=False)


def test_the_grid_holds_steps_on_the_bound() -> None:
    """Else the test above would prove nothing: closed at both ends, these act twice."""
    doubled = {
        (scheduler.__name__, steps, cut)
        for scheduler, steps, cut in itertools.product(SCHEDULERS, range(2, 51), CUTS)
        for sigma in scheduler(steps).tolist()
        if in_range(sigma, percent_to_sigma(0.0), percent_to_sigma(cut), end_inside=True)
        and in_range(sigma, percent_to_sigma(cut), percent_to_sigma(1.0), end_inside=True)
    }
    assert {("normal", 25, cut) for cut in (0.25, 0.5, 0.75)} <= doubled
    assert len({(name, steps) for name, steps, _ in doubled}) > 50
    assert sum(name == "sgm_uniform" and steps == 20 for name, steps, _ in doubled) >= 18
    assert len(doubled) > 100


@few
@given(st.lists(st.integers(1, 999).map(lambda n: n / 1000), max_size=6))
def test_progress_is_exact_at_its_knots(knots: list[float]) -> None:
    progress = Progress(percent_to_sigma, knots)
    assert [progress(percent_to_sigma(knot)) for knot in knots] == knots
    for knot in knots:
        sigma = torch.tensor(percent_to_sigma(knot))
        above, below = (float(torch.nextafter(sigma, torch.tensor(x))) for x in (1e9, 0.0))
        assert progress(above) < knot < progress(below)


def test_progress_is_exact_on_the_grid_of_percents() -> None:
    progress = Progress(percent_to_sigma, CUTS)
    assert [progress(percent_to_sigma(cut)) for cut in CUTS] == CUTS


sigmas = st.floats(2.0**-13, 2.0**10, width=32)


@few
@given(sigmas, sigmas)
def test_progress_never_runs_back(a: float, b: float) -> None:
    progress = progress_with(1 / 3)
    low, high = sorted((a, b))
    assert 0.0 <= progress(high) <= progress(low) <= 1.0


def test_progress_runs_from_0_to_1() -> None:
    progress, sigma = progress_with(0.5), model_sigmas()
    assert [progress(s) for s in (999999999.9, 1e3, float(sigma[-1]))] == [0.0, 0.0, 0.0]
    assert [progress(s) for s in (float(sigma[0]), 1e-6, 0.0)] == [1.0, 1.0, 1.0]
    steps = [progress(s) for s in model_sigmas().flip(0).tolist()]
    assert steps == sorted(steps)
    assert max(b - a for a, b in itertools.pairwise(steps)) < 0.005  # a thousand, none far apart


def test_between_knots_log_sigma_is_interpolated() -> None:
    progress = Progress(lambda percent: 10.0 ** (1 - 2 * percent))
    assert progress(1.0) == pytest.approx(0.5, abs=1e-6)
    assert progress(10.0**0.5) == pytest.approx(0.25, abs=1e-6)


def test_flow_models_need_no_other_code() -> None:
    """Sigma 1..0, shifted by 3: at 30 % it is .7 * 3 / (1 + .7 * 2)."""

    def shifted(percent: float) -> float:
        rest = 1.0 - percent
        return 1.0 if percent <= 0 else 0.0 if percent >= 1 else 3 * rest / (1 + 2 * rest)

    progress = Progress(shifted, (0.3,))
    assert progress(0.7 * 3 / 2.4) == 0.3
    assert [progress(1.0), progress(0.0)] == [0.0, 1.0]


def test_range_compares_in_float32() -> None:
    """A float32 step that was meant to stand on the bound does, though the bound is float64."""
    bound = 0.1
    step = struct.unpack("f", struct.pack("f", bound))[0]
    assert step != bound
    assert in_range(step, 1.0, bound, end_inside=True)
    assert in_range(step, bound, 0.0, end_inside=False)
    assert not in_range(step, 1.0, bound, end_inside=False)


@few
@given(sigmas, sigmas, sigmas)
def test_range_that_is_closed_differs_on_its_end_alone(sigma: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    closed, opened = (in_range(sigma, high, low, end_inside=inside) for inside in (True, False))
    assert closed == (low <= sigma <= high)
    assert opened == (closed and sigma != low)


def test_range_over_everything() -> None:
    """What hosts give for 0 % and 100 %, and numbers beyond float32."""
    for sigma in (0.0, 1e-6, 14.6, 1e6):
        assert in_range(sigma, 999999999.9, 0.0, end_inside=True)
        assert in_range(sigma, 1e300, -1e300, end_inside=False)
    assert not in_range(0.0, 999999999.9, 0.0, end_inside=False)
