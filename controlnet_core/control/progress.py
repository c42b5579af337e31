"""From noise level to progress, and the host's own question whether a range is open."""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable

PercentToSigma = Callable[[float], float]

_GRID = 64
_EDGE = 1e-6


class Progress:
    """sigma -> progress 0..1, interpolated between sigmas that the model itself names.

    At every knot the answer is exact: a sigma that equals the model's sigma for 30 % gives 0.3,
    bit for bit, a higher one less and a lower one more. Comparing progresses is then the same as
    comparing sigmas, which is how hosts decide. Between knots log sigma is interpolated.
    """

    def __init__(self, percent_to_sigma: PercentToSigma, knots: Iterable[float] = ()) -> None:
        percents = sorted({*knots, *(i / _GRID for i in range(_GRID + 1))}, reverse=True)
        # Hosts give 0 % and 100 % as "before" and "after everything": ask just inside instead.
        sigmas = [
            float32(float(percent_to_sigma(min(max(p, _EDGE), 1.0 - _EDGE)))) for p in percents
        ]
        self._percents, self._sigmas = percents, sigmas

    def __call__(self, sigma: float) -> float:
        """Progress of the sampling at noise level `sigma`."""
        sigma = float32(sigma)
        right = bisect_left(self._sigmas, sigma)
        if right == len(self._sigmas):
            return 0.0
        if self._sigmas[right] == sigma:
            return self._percents[right]
        if right == 0:
            return 1.0
        low, high = self._sigmas[right - 1], self._sigmas[right]
        share = math.log(sigma / low) / math.log(high / low)
        return self._percents[right - 1] + share * (
            self._percents[right] - self._percents[right - 1]
        )


def in_range(sigma: float, start: float, end: float, *, end_inside: bool) -> bool:
    """Whether `sigma` lies between the sigmas of a range's start (high) and end (low).

    Compared in float32, the precision in which hosts keep sigmas: against a float64 bound the
    step that stands exactly on it would fall out of or into the range by chance.
    """
    sigma, start, end = float32(sigma), float32(start), float32(end)
    return sigma <= start and (sigma >= end if end_inside else sigma > end)


def float32(x: float) -> float:
    """`x` rounded to the nearest float32."""
    try:
        return struct.unpack("f", struct.pack("f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)
