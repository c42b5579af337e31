"""How the installed host decides whether a step stands inside a range, asked of the host itself."""

from __future__ import annotations

from functools import cache

import comfy.controlnet
import torch


class _InsideError(Exception):
    """Raised by the probe when the host goes on to run the net."""


class _Probe:
    @property
    def dtype(self) -> torch.dtype:
        raise _InsideError


@cache
def end_is_inside() -> bool:
    """Whether a step exactly at the sigma of a range's end is still controlled.

    Host versions differ. The answer is read off the host's own ControlNet: one that cannot run is
    asked for its residuals at that sigma, and either declines or tries.
    """
    control = comfy.controlnet.ControlNet()
    control.control_model = _Probe()
    control.timestep_range = (2.0, 1.0)
    try:
        control.get_control(torch.zeros(1, 4, 8, 8), torch.ones(1), {}, 1, {})
    except _InsideError:
        return True
    return False
