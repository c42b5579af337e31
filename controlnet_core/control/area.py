"""The part of a picture that a call is about: hints and masks cover the whole, latents may not."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..errors import ControlInputError


@dataclass(frozen=True)
class Area:
    """A part of `whole` (h, w) latent cells: `size` (h, w) of them, from `top` and `left` on."""

    whole: tuple[int, int]
    size: tuple[int, int]
    top: int
    left: int

    def cut(self, x: Tensor) -> Tensor:
        """The part of `x` (B C H W) that lies in the area, when `x` covers the whole.

        Exact where a cell is a whole number of pixels; else the nearest ones, at least one.
        """
        rows = _span(self.top, self.size[0], self.whole[0], x.shape[-2])
        columns = _span(self.left, self.size[1], self.whole[1], x.shape[-1])
        return x.narrow(-2, *rows).narrow(-1, *columns)


def part(x: Tensor, *, latent: tuple[int, int], area: Area | None) -> Tensor:
    """What of pictures `x` (B C H W) a latent of (h, w) cells shows.

    Their middle of the picture's aspect is the picture; of it the area, where there is one.
    """
    whole = area.whole if area else latent
    middle = cut_to_aspect(x, width=whole[1], height=whole[0])
    return area.cut(middle) if area else middle


def cut_to_aspect(x: Tensor, *, width: int, height: int) -> Tensor:
    """The middle of `x` (B C H W) that has the aspect of width x height."""
    rows, columns = x.shape[-2:]
    aspect, wanted = columns / rows, width / height
    left = round((columns - columns * (wanted / aspect)) / 2) if aspect > wanted else 0
    top = round((rows - rows * (aspect / wanted)) / 2) if aspect < wanted else 0
    cut = x[..., top : rows - top, left : columns - left]
    if 0 in cut.shape:
        raise ControlInputError(
            "CN-I18", "image", found=f"a picture of {columns} x {rows} pixels",
            expected=f"one that keeps at least one pixel when cut to {width} x {height}",
            fix="use a picture of about the same aspect",
        )
    return cut


def _span(first: int, count: int, cells: int, pixels: int) -> tuple[int, int]:
    """Start and length in pixels of `count` cells from `first` on, of `cells` over `pixels`."""
    start = min(round(first * pixels / cells), pixels - 1)
    stop = round((first + count) * pixels / cells)
    return start, max(stop - start, 1)
