"""Control modes against the tables that their authors published."""

from __future__ import annotations

import pytest
import torch

from controlstack.controlnet_core.control import CONTROL_MODES, PerLayer, Rows
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.residuals import Residuals

# Powers of 0.825 as sd-webui-controlnet and lllyasviel/ControlNet list them for SD1.5.
SOFT = (
    0.0994, 0.1205, 0.1461, 0.1770, 0.2146, 0.2601, 0.3153, 0.3822, 0.4633, 0.5615, 0.6806, 0.8250,
    1.0,
)  # fmt: skip
# torch.logspace(-1, 0, 13) and (-1, 0, 10): diffusers' guess mode.
LOG_SD15 = (
    0.1000, 0.1212, 0.1468, 0.1778, 0.2154, 0.2610, 0.3162, 0.3831, 0.4642, 0.5623, 0.6813, 0.8254,
    1.0,
)  # fmt: skip
LOG_SDXL = (0.1000, 0.1292, 0.1668, 0.2154, 0.2783, 0.3594, 0.4642, 0.5995, 0.7743, 1.0)
SOFT_SDXL = (0.1770, 0.2146, 0.2601, 0.3153, 0.3822, 0.4633, 0.5615, 0.6806, 0.8250, 1.0)
PAPER = (0.125,) * 3 + (0.25,) * 3 + (0.5,) * 3 + (1.0,) * 4

SD15 = (64, 64, 64, 32, 32, 32, 16, 16, 16, 8, 8, 8, 8)
SDXL = (128, 128, 128, 64, 64, 64, 32, 32, 32, 32)


@pytest.mark.parametrize(("mode", "heights", "table", "uncond"), [
    ("balanced", SD15, (1.0,) * 13, 1.0),
    ("my prompt is more important", SD15, SOFT, 1.0),
    ("ControlNet is more important", SD15, SOFT, 0.0),
    ("ControlNet is more important", SDXL, SOFT_SDXL, 0.0),
    ("guess mode", SD15, SOFT, 0.0),
    ("guess mode (diffusers)", SD15, LOG_SD15, 0.0),
    ("guess mode (diffusers)", SDXL, LOG_SDXL, 0.0),
    ("cond only", SD15, (1.0,) * 13, 0.0),
    ("paper", SD15, PAPER, 0.0),
    ("paper", SDXL, (0.25,) * 3 + (0.5,) * 3 + (1.0,) * 4, 0.0),
])  # fmt: skip
def test_mode_equals_its_published_table(
    mode: str, heights: tuple[int, ...], table: tuple[float, ...], uncond: float
) -> None:
    *output, middle = (torch.ones(2, 1, height // 8, height // 8) for height in heights)
    given = Residuals(output=tuple(output), middle=(middle,))
    rows = Rows(1, 2, uncond=(False, True))
    found = CONTROL_MODES[mode].apply(given, 0.5, rows=rows, latent=(heights[0] // 8,) * 2)
    factors = [*found.output, *found.middle]
    for x, weight in zip(factors, table, strict=True):
        assert x is not None
        assert x[0].mean().item() == pytest.approx(weight, abs=6e-5)
        assert x[1].mean().item() == pytest.approx(weight * uncond, abs=6e-5)


def test_as_many_layer_weights_as_layers() -> None:
    given = Residuals(output=(torch.ones(1, 1, 2, 2),) * 3)
    assert [PerLayer((1.0, 2.0, 3.0))("output", i, 3, 1.0) for i in range(3)] == [1.0, 2.0, 3.0]
    with pytest.raises(ControlInputError, match=r"CN-L01.*2 weights.*expected 3"):
        given.map(lambda s, i, n, x: x * PerLayer((1.0, 2.0))(s, i, n, 1.0))
