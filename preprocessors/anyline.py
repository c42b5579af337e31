"""AnyLine: edges of a network and line art, one on the other."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._frame import Frame, padded, to_levels
from ._nets import anime2sketch, informative, manga_line
from ._nets.teed import ANYLINE, Logits
from ._networks import Net, OneOf
from ._registry import Choice, Float, Int, Preprocessor, preprocessor
from .lineart_anime import lineart_anime
from .lineart_manga import lineart_manga
from .lineart_realistic import lineart_realistic
from .lineart_standard import lineart_standard
from .softedge_teed import softedge_teed

SAFE_STEPS, SIGMA, THRESHOLD = 2, 2.0, 3  # of edges and of standard line art, as published
LEARNED = {each.name: each for each in (lineart_realistic, lineart_anime, lineart_manga)}
LINES = OneOf(
    "merge_with_lineart",
    {
        "lineart_standard": None,
        "lineart_realistic": informative.NETWORK,
        "lineart_anime": anime2sketch.NETWORK,
        "lineart_manga": manga_line.NETWORK,
    },
)


@preprocessor(
    title="Lines, AnyLine", group="lines",
    source="AnyLine of TheMistoAI/ComfyUI-Anyline, as in Fannovel16/comfyui_controlnet_aux: TEED "
    "(Soria et al. 2023) with weights of its own, and line art. Difference: blended on floats",
)
def anyline(
    image: Tensor,
    net: Annotated[Logits, ANYLINE],
    lines: Annotated[Net | None, LINES],
    *,
    merge_with_lineart: Annotated[
        Literal["lineart_standard", "lineart_realistic", "lineart_anime", "lineart_manga"],
        Choice("line art that is laid over the edges; the standard one needs no more weights"),
    ] = "lineart_standard",
    lineart_lower_bound: Annotated[
        float, Float("brightness of line art below which it is left out", 0.0, 1.0)
    ] = 0.0,
    lineart_upper_bound: Annotated[
        float, Float("brightness of line art above which it is left out", 0.0, 1.0)
    ] = 1.0,
    object_min_size: Annotated[
        int, Int("least size of a stroke of line art, three for each pixel", 1, 16384)
    ] = 36,
    object_connectivity: Annotated[
        int, Int("1: pixels side by side are one stroke; 2: also those that share a corner", 1, 2)
    ] = 1,
) -> Tensor:
    """White lines on black: clear outlines, and fine detail between them."""
    edges = _hint(softedge_teed, image, net, safe_steps=SAFE_STEPS)
    art = _standard(image) if lines is None else _hint(LEARNED[merge_with_lineart], image, lines)
    kept = torch.where((art < lineart_lower_bound) | (art > lineart_upper_bound), 0.0, art)
    strokes = kept * _large(kept > 0, object_min_size, object_connectivity)
    return edges + strokes * (1 - edges)  # 1 - (1 - edges)(1 - strokes), exact without strokes


def _hint(learned: Preprocessor, image: Tensor, net: Any, **settings: int) -> Tensor:
    """(b 1 H W) of another preprocessor, with a network of ours."""
    height, width = image.shape[-2:]
    made: Tensor = learned.function(padded(image, learned.multiple), net, **settings)
    return made[..., :height, :width]


def _standard(image: Tensor) -> Tensor:
    """Standard line art (b 1 H W), 0..1."""
    frames = [
        lineart_standard.function(
            to_levels(frame), gaussian_sigma=SIGMA, intensity_threshold=THRESHOLD
        )
        for frame in image.detach().cpu()
    ]
    return torch.from_numpy(np.stack(frames))[:, None].to(image.device, image.dtype) / 255


def _large(strokes: Tensor, least: int, connectivity: int) -> Tensor:
    """Where `strokes` (b 1 H W), true or false, are not of a small object.

    Small are fewer than `least` / 3 pixels: the published filter sees three channels of each.
    """
    frames = [_large_in(frame, least, connectivity) for frame in strokes[:, 0].cpu().numpy()]
    return torch.from_numpy(np.stack(frames))[:, None].to(strokes.device)


def _large_in(strokes: Frame, least: int, connectivity: int) -> NDArray[np.bool_]:
    import cv2

    _, objects, facts, _ = cv2.connectedComponentsWithStats(
        strokes.astype(np.uint8), connectivity=4 * connectivity
    )
    large = 3 * facts[:, cv2.CC_STAT_AREA] >= least
    large[0] = False  # what is no stroke
    return large[objects.astype(np.intp)]
