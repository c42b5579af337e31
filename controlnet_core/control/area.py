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
        return _narrowed(x, self.box(x.shape[-2], x.shape[-1]))

    def box(self, rows: int, columns: int) -> Box:
        """Its place in a picture of that size, which covers the whole."""
        return (
            *_span(self.top, self.size[0], self.whole[0], rows),
            *_span(self.left, self.size[1], self.whole[1], columns),
        )


Box = tuple[int, int, int, int]
"""First row and number of rows, first column and number of columns, in pixels."""


def part(x: Tensor, *, latent: tuple[int, int], area: Area | None) -> Tensor:
    """What of pictures `x` (B C H W) a latent of (h, w) cells shows.

    Their middle of the picture's aspect is the picture; of it the area, where there is one.
    """
    return _narrowed(x, part_box(x.shape[-2], x.shape[-1], latent=latent, area=area))


def part_box(rows: int, columns: int, *, latent: tuple[int, int], area: Area | None) -> Box:
    """Where that part lies in pictures of that size."""
    whole = area.whole if area else latent
    top, height, left, width = _middle(rows, columns, width=whole[1], height=whole[0])
    if area is None:
        return top, height, left, width
    down, tall, right, wide = area.box(height, width)
    return top + down, tall, left + right, wide


def cut_to_aspect(x: Tensor, *, width: int, height: int) -> Tensor:
    """The middle of `x` (B C H W) that has the aspect of width x height."""
    return _narrowed(x, _middle(x.shape[-2], x.shape[-1], width=width, height=height))


def _middle(rows: int, columns: int, *, width: int, height: int) -> Box:
    aspect, wanted = columns / rows, width / height
    left = round((columns - columns * (wanted / aspect)) / 2) if aspect > wanted else 0
    top = round((rows - rows * (aspect / wanted)) / 2) if aspect < wanted else 0
    if rows <= 2 * top or columns <= 2 * left:
        raise ControlInputError(
            "CN-I18", "image", found=f"a picture of {columns} x {rows} pixels",
            expected=f"one that keeps at least one pixel when cut to {width} x {height}",
            fix="use a picture of about the same aspect",
        )
    return top, rows - 2 * top, left, columns - 2 * left


def _narrowed(x: Tensor, box: Box) -> Tensor:
    top, height, left, width = box
    return x.narrow(-2, top, height).narrow(-1, left, width)


def _span(first: int, count: int, cells: int, pixels: int) -> tuple[int, int]:
    """Start and length in pixels of `count` cells from `first` on, of `cells` over `pixels`."""
    start = min(round(first * pixels / cells), pixels - 1)
    stop = round((first + count) * pixels / cells)
    return start, max(stop - start, 1)
