"""Lists of numbers that other nodes make, as sockets and as values."""

from __future__ import annotations

from collections.abc import Iterable

from comfy_api.latest import io

from ..controlnet_core.errors import ControlInputError


def floats_input(tooltip: str) -> io.Input:
    """A socket for FLOAT and FLOATS: packs pass lists on the first, the host's own nodes on the
    second."""
    return io.MultiType.Input(
        "float_strengths", types=[io.Float, io.Custom("FLOATS")], tooltip=tooltip
    )


def floats(value: float | Iterable[float], *, where: str) -> tuple[float, ...]:
    """One number, or as many as there are; raises for none, and for what is no number."""
    try:
        numbers = tuple(map(float, value)) if isinstance(value, Iterable) else (float(value),)
    except (TypeError, ValueError) as e:
        raise _refused("CN-S32", repr(value)[:80], where) from e
    if not numbers:
        raise _refused("CN-S30", "an empty list", where)
    return numbers


def _refused(code: str, found: str, where: str) -> ControlInputError:
    return ControlInputError(
        code, where, found=found, expected="a number, or a list of at least one",
        fix="connect a node that makes floats",
    )
