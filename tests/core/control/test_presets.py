"""Presets against what was published, and forecasts of what a spec will do."""

from __future__ import annotations

import itertools

import pytest

from controlstack.controlnet_core.control import (
    BASES,
    KINDS,
    LEVELS,
    ControlSpec,
    Soft,
    StrengthList,
    Window,
    forecast,
    preset,
    token_blocks,
    unet_blocks,
)


@pytest.mark.parametrize(("kind", "base", "level", "numbers"), [
    ("canny", "any", "low", (0.7, 0.5)),
    ("depth", "SDXL", "normal", (1.0, 0.8)),
    ("pose", "any", "strong", (1.0, 1.0)),
    ("scribble", "SDXL", "low", (0.4, 0.5)),
    ("scribble", "SDXL", "normal", (0.7, 0.7)),
    ("scribble", "SDXL", "strong", (1.0, 0.8)),
    ("lineart", "SDXL", "normal", (0.7, 0.8)),
    ("seg", "Anima", "strong", (1.5, 0.45)),
    ("canny", "Flux", "normal", (0.7, 0.8)),
    ("softedge", "Flux", "normal", (0.7, 0.8)),
    ("depth", "Flux", "normal", (0.8, 0.8)),
    ("pose", "Flux", "normal", (0.9, 0.65)),
    ("gray", "Flux", "normal", (0.9, 0.8)),
    ("canny", "Z-Image", "low", (0.65, 1.0)),
    ("canny", "Qwen-Image", "normal", (0.8, 1.0)),
    ("pose", "Flux", "low", (0.7, 0.5)),  # nobody's for Flux: from any
])  # fmt: skip
def test_preset_is_as_published(
    kind: str, base: str, level: str, numbers: tuple[float, float]
) -> None:
    found = preset(kind, base, level)
    assert (found.strength, found.end) == numbers
    assert found.spec.gain(0.0) == found.strength
    assert found.spec.gain(1.0) == (found.strength if found.end == 1.0 else 0.0)


@pytest.mark.parametrize(("kind", "base", "level"), [*itertools.product(KINDS, BASES, LEVELS)])
def test_every_choice_has_an_answer_and_names_its_source(kind: str, base: str, level: str) -> None:
    found = preset(kind, base, level)
    assert found.source
    assert 0.0 < found.strength <= 1.5
    assert found.end == 1.0 or kind not in ("tile", "inpaint", "shuffle")
    assert (found.uncond_strength == 0.0) == (kind == "shuffle")


def test_a_forecast_is_gain_times_weight_at_the_real_steps() -> None:
    spec = ControlSpec(0.5, Window(0.0, 0.5) * StrengthList((1.0, 2.0, 3.0, 4.0)), Soft())
    blocks = unet_blocks([1, 1, 2, 2, 2])
    found = forecast(
        spec, [1.0, 0.75, 0.5, 0.25, 0.0], percent_to_sigma=lambda p: 1.0 - p, blocks=blocks
    )
    assert found.gains == (0.5, 1.0, 0.0, 0.0)
    assert found.running == 2
    weights = [row[0] for row in found.weights]
    assert weights == pytest.approx((0.825**4, 0.825**3, 0.825**2, 0.825, 1.0))
    assert found.table[-1] == found.gains
    assert [(each.site, each.height) for each in blocks] == [
        ("output", 2), ("output", 2), ("output", 1), ("output", 1), ("middle", 1),
    ]  # fmt: skip
    assert [each.index for each in token_blocks(3)] == [0, 1, 2]
