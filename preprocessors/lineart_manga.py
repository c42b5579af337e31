"""Line art of manga pages."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from ._nets.manga_line import MULTIPLE, NETWORK
from ._networks import Net
from ._registry import preprocessor

GREY = (0.299, 0.587, 0.114)  # weights of R, G, B in BT.601, as OpenCV turns pictures grey


@preprocessor(
    title="Line art, manga", group="lines", multiple=MULTIPLE,
    source="lineart_anime_denoise of Mikubill/sd-webui-controlnet, after Li, Liu & Wong 2017: Deep "
    "extraction of manga structural lines. Difference: no 8-bit rounding, no resize to 256",
)
def lineart_manga(image: Tensor, net: Annotated[Net, NETWORK]) -> Tensor:
    """White lines on black, without the screentones and noise between them."""
    weights = image.new_tensor(GREY).view(1, 3, 1, 1)
    grey = (image * weights).sum(1, keepdim=True)
    return 1 - (net(grey * 255) / 255).clamp(0.0, 1.0)
