"""Preprocessors: pictures in, hints for ControlNets out, each a decorated function in its file."""

from __future__ import annotations

from ._networks import Key, use_keeper
from ._registry import RESOLUTION, Mask, Parameter, Preprocessor, Progress
from ._weights import use_downloads, use_folders
from .anyline import anyline
from .binary import binary
from .blur import blur
from .canny import canny
from .canny_pyramid import canny_pyramid
from .color_grid import color_grid
from .depth import depth
from .depth_anything_v2 import depth_anything_v2
from .dwpose import dwpose
from .inpaint_hint import inpaint_hint
from .invert import invert
from .lineart_anime import lineart_anime
from .lineart_coarse import lineart_coarse
from .lineart_manga import lineart_manga
from .lineart_realistic import lineart_realistic
from .lineart_standard import lineart_standard
from .mediapipe_face import mediapipe_face
from .mediapipe_hands import mediapipe_hands
from .mlsd import mlsd
from .normal_bae import normal_bae
from .normal_from_depth import normal_from_depth
from .recolor_intensity import recolor_intensity
from .recolor_luminance import recolor_luminance
from .sam_segments import sam_segments
from .scribble import scribble
from .scribble_hed import scribble_hed
from .scribble_pidinet import scribble_pidinet
from .scribble_xdog import scribble_xdog
from .seg_ade20k import seg_ade20k
from .seg_coco import seg_coco
from .shuffle import shuffle
from .softedge_hed import softedge_hed
from .softedge_pidinet import softedge_pidinet
from .softedge_teed import softedge_teed
from .tile_guided import tile_guided
from .tile_pyramid import tile_pyramid
from .tile_resample import tile_resample

PREPROCESSORS: dict[str, Preprocessor] = {
    each.name: each
    for each in (
        canny,
        canny_pyramid,
        lineart_standard,
        lineart_realistic,
        lineart_coarse,
        lineart_anime,
        lineart_manga,
        softedge_hed,
        softedge_pidinet,
        softedge_teed,
        anyline,
        mlsd,
        scribble,
        scribble_xdog,
        scribble_hed,
        scribble_pidinet,
        binary,
        invert,
        blur,
        tile_resample,
        tile_pyramid,
        tile_guided,
        inpaint_hint,
        depth_anything_v2,
        depth,
        normal_bae,
        normal_from_depth,
        seg_ade20k,
        seg_coco,
        sam_segments,
        dwpose,
        mediapipe_face,
        mediapipe_hands,
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
