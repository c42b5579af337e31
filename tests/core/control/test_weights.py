"""Factors by depth."""

from __future__ import annotations

import pytest

from controlstack.controlnet_core.control import (
    SOFT_WEIGHTS,
    Both,
    Levels,
    PerLayer,
    Soft,
    Uniform,
)
from controlstack.controlnet_core.control.weights import AtSite
from controlstack.controlnet_core.errors import ControlInputError

SD15_GUESS_MODE = (
    0.0994, 0.1205, 0.1461, 0.1770, 0.2146, 0.2601, 0.3153, 0.3822, 0.4633, 0.5615, 0.6806, 0.8250
)  # fmt: skip
"""0.825 ** (12 - i) of the official code, as printed in its users' tables; then 1 in the middle."""


def test_soft_is_guess_mode_on_sd15() -> None:
    found = [Soft()("output", i, 12, 64) for i in range(12)]
    assert found == pytest.approx(SD15_GUESS_MODE, abs=6e-5)
    assert Soft()("middle", 0, 1, 8) == 1.0


def test_soft_counts_the_real_number_of_blocks() -> None:
    """On SDXL the deepest block gets 0.825 and the middle 1, not 0.5615 (a list cut to ten)."""
    found = [Soft()("output", i, 9, 64) for i in range(9)]
    assert found == pytest.approx(SD15_GUESS_MODE[3:], abs=6e-5)


def test_both_multiplies() -> None:
    both = Both(Uniform(0.5), Soft(0.5))
    assert [both("output", i, 3, 8) for i in range(3)] == [1 / 16, 1 / 8, 1 / 4]
    assert both("middle", 0, 1, 8) == 0.5


def test_one_site_alone() -> None:
    """Flux has 19 double blocks (input) and 38 single ones (output): a list for the first 19."""
    weights = AtSite("input", PerLayer((0.5,) * 19))
    assert [weights(site, 0, count, 1.0) for site, count in (("input", 19), ("output", 38))] == [
        0.5, 1.0,
    ]  # fmt: skip
    middle = Both(AtSite("middle", Uniform(0.3)), Soft(0.5))
    assert [middle("middle", 0, 1, 1.0), middle("output", 2, 3, 1.0)] == [0.3, 0.5]
    with pytest.raises(ControlInputError, match="CN-L01"):
        weights("input", 0, 5, 1.0)


LOG_SDXL = (0.1000, 0.1292, 0.1668, 0.2154, 0.2783, 0.3594, 0.4642, 0.5995, 0.7743)
FOOOCUS = (0.7500, 0.7778, 0.8056, 0.8333, 0.8611, 0.8889, 0.9167, 0.9444, 0.9722)


@pytest.mark.parametrize(("rule", "blocks", "middle"), [
    ("flat", (1.0,) * 9, 1.0),
    ("soft 0.825 (A1111, guess mode)", SD15_GUESS_MODE, 1.0),
    ("soft 0.825 (A1111, guess mode)", SD15_GUESS_MODE[3:], 1.0),
    ("soft, even (diffusers, InvokeAI)", LOG_SDXL, 1.0),
    ("gentle (Fooocus)", FOOOCUS, 1.0),
    ("A1111 on SDXL", SD15_GUESS_MODE[:9], 0.5615),
    ("T2I-Adapter (A1111)", (0.25, 0.62, 0.825, 1.0), 1.0),
    ("T2I-Adapter (A1111)", (0.25,) * 3 + (0.62,) * 3 + (0.825,) * 3 + (1.0,) * 3, 1.0),
])  # fmt: skip
def test_rule_equals_its_published_table(
    rule: str, blocks: tuple[float, ...], middle: float
) -> None:
    weights, count = SOFT_WEIGHTS[rule], len(blocks)
    found = [weights("output", i, count, 8.0) for i in range(count)]
    assert found == pytest.approx(blocks, abs=6e-5)
    assert weights("middle", 0, 1, 1.0) == pytest.approx(middle, abs=6e-5)


def test_rule_by_resolution_on_sdxl() -> None:
    weights = SOFT_WEIGHTS["by resolution (paper)"]
    assert [weights("output", i, 3, height) for i, height in enumerate((4, 2, 1))] == [0.25, 0.5, 1]


@pytest.mark.parametrize(("count", "groups"), [
    (12, (1,) * 4 + (2,) * 4 + (3,) * 4), (9, (1,) * 3 + (2,) * 3 + (3,) * 3), (2, (1, 2)),
    (19, (1,) * 7 + (2,) * 6 + (3,) * 6),
])  # fmt: skip
def test_groups_are_thirds_of_the_blocks(count: int, groups: tuple[float, ...]) -> None:
    weights = Levels((1.0, 2.0, 3.0))
    assert tuple(weights("input", i, count, 1.0) for i in range(count)) == groups
    assert weights("middle", 0, 1, 1.0) == 3.0


@pytest.mark.parametrize(("make", "code"), [
    (lambda: Levels(()), "CN-L01"),
    (lambda: Levels((1.0, float("nan"))), "CN-S05"),
    (lambda: PerLayer((1.0, float("inf"))), "CN-S05"),
    (lambda: PerLayer((1.0,), middle=float("nan")), "CN-S05"),
    (lambda: PerLayer((1.0,) * 13)("output", 0, 12, 1.0), "CN-L01"),
    (lambda: SOFT_WEIGHTS["A1111 on SDXL"]("output", 0, 12, 1.0), "CN-L01"),
])  # fmt: skip
def test_weights_that_fit_no_net_are_refused(make: object, code: str) -> None:
    with pytest.raises(ControlInputError) as caught:
        make()
    assert caught.value.code == code
