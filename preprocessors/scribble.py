"""Scribbles from a drawing, by a threshold."""

from __future__ import annotations

from typing import Annotated, Literal

from ._frame import Frame, darkest, white_where
from ._registry import Choice, Int, preprocessor


@preprocessor(
    title="Scribble", group="lines",
    source="dark: scribble2image of lllyasviel/ControlNet; bright: Scribble Lines of "
    "Fannovel16/comfyui_controlnet_aux",
)
def scribble(
    rgb: Frame,
    *,
    strokes: Annotated[
        Literal["dark", "bright"],
        Choice("which pixels are strokes: dark ones on light paper, or bright ones on dark"),
    ] = "dark",
    threshold: Annotated[
        int, Int("level of the darkest channel that parts dark from bright", 0, 255)
    ] = 127,
) -> Frame:
    """White strokes on black, from a drawing of either polarity.

    A pixel is bright if its darkest channel is at the threshold or above, so strokes of any
    colour on white paper are dark.
    """
    bright = darkest(rgb) >= threshold
    return white_where(bright == (strokes == "bright"))
