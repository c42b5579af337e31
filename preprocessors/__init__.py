"""Preprocessors: pictures in, hints for ControlNets out, each a decorated function in its file."""

from __future__ import annotations

from ._networks import Key, use_keeper
from ._registry import RESOLUTION, Mask, Parameter, Preprocessor, Progress
from ._weights import use_downloads, use_folders
from .binary import binary
from .blur import blur
from .canny import canny
from .canny_pyramid import canny_pyramid
from .color_grid import color_grid
from .inpaint_hint import inpaint_hint
from .invert import invert
from .lineart_standard import lineart_standard
from .normal_from_depth import normal_from_depth
from .recolor_intensity import recolor_intensity
from .recolor_luminance import recolor_luminance
from .scribble import scribble
from .scribble_hed import scribble_hed
from .scribble_xdog import scribble_xdog
from .shuffle import shuffle
from .softedge_hed import softedge_hed
from .tile_guided import tile_guided
from .tile_pyramid import tile_pyramid
from .tile_resample import tile_resample

PREPROCESSORS: dict[str, Preprocessor] = {
    each.name: each
    for each in (
        canny,
        canny_pyramid,
        lineart_standard,
        softedge_hed,
        scribble,
        scribble_xdog,
        scribble_hed,
        binary,
        invert,
        blur,
        tile_resample,
        tile_pyramid,
        tile_guided,
        inpaint_hint,
        normal_from_depth,
        recolor_luminance,
        recolor_intensity,
        shuffle,
        color_grid,
    )
}

__all__ = [
    "PREPROCESSORS", "RESOLUTION", "Key", "Mask", "Parameter", "Preprocessor", "Progress",
    "use_downloads", "use_folders", "use_keeper",
]  # fmt: skip
