"""Factors by depth."""

from __future__ import annotations

import pytest

from controlstack.controlnet_core.control import Both, Soft, Uniform

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
