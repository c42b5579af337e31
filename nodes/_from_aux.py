"""Nodes of comfyui_controlnet_aux 1.1.5 and ours for them, as rows of the table of replacements.

What cannot be carried over by a table is left at our default, which is the old one: `enable` and
`disable` (a switch here), and names of weight files. docs/from-controlnet-aux.md tells of each.
"""

from __future__ import annotations

from typing import Any

from ..preprocessors import PREPROCESSORS
from ._replacement import Replacement, same
from .preprocess import node_id

_SIZE = "resolution"


def _row(
    old: str,
    ours: str,
    *widgets: str,
    also: dict[str, str] | None = None,
    node: str | None = None,
    outputs: tuple[int, ...] = (0,),
    **values: object,
) -> Replacement:
    """A preprocessor of ours for an old one.

    `widgets` are those of the old node in saved order; one with `-` in front has no counterpart.
    `also` are those of other names, by ours. What is left of our parameters is set to `values`, or
    to its default.
    """
    chosen, also = PREPROCESSORS[ours], also or {}
    kept = [name for name in widgets if name[0] != "-" and name not in also.values()]
    inputs = {**same("image", *kept), **also}
    rest = {each.name: each.default for each in chosen.parameters if each.name not in inputs}
    names = tuple(name.removeprefix("-") for name in widgets)
    return Replacement(old, node or node_id(chosen), names, inputs, {**rest, **values}, outputs)


_POSES: dict[str, Any] = {"node": "ControlStackPoseEstimate", "outputs": (0, 1)}
_POSE = {"sticks": "standard", "min_confidence": 0.3, "resolution": 0}

FROM_AUX: tuple[Replacement, ...] = (
    # lines
    _row("CannyEdgePreprocessor", "canny", "low_threshold", "high_threshold", _SIZE),
    _row("PyraCannyPreprocessor", "canny_pyramid", "low_threshold", "high_threshold", _SIZE),
    _row("BinaryPreprocessor", "binary", "bin_threshold", _SIZE,
         also={"threshold": "bin_threshold"}),
    _row("ScribblePreprocessor", "scribble", _SIZE, strokes="bright"),
    _row("Scribble_XDoG_Preprocessor", "scribble_xdog", "threshold", _SIZE),
    _row("Scribble_PiDiNet_Preprocessor", "scribble_pidinet", "-safe", _SIZE),
    _row("FakeScribblePreprocessor", "scribble_hed", "-safe", _SIZE),
    _row("HEDPreprocessor", "softedge_hed", "-safe", _SIZE),
    _row("PiDiNetPreprocessor", "softedge_pidinet", "-safe", _SIZE),
    _row("TEEDPreprocessor", "softedge_teed", "safe_steps", _SIZE),
    _row("AnyLineArtPreprocessor_aux", "anyline", "-merge_with_lineart", _SIZE,
         "lineart_lower_bound", "lineart_upper_bound", "object_min_size", "object_connectivity"),
    _row("LineartStandardPreprocessor", "lineart_standard", "guassian_sigma",
         "intensity_threshold", _SIZE, also={"gaussian_sigma": "guassian_sigma"}),
    _row("LineArtPreprocessor", "lineart_realistic", "-coarse", _SIZE),
    _row("AnimeLineArtPreprocessor", "lineart_anime", _SIZE),
    _row("Manga2Anime_LineArt_Preprocessor", "lineart_manga", _SIZE),
    _row("M-LSDPreprocessor", "mlsd", "score_threshold", "dist_threshold", _SIZE),
    # depth and normals
    _row("MiDaS-DepthMapPreprocessor", "depth", "-a", "-bg_threshold", _SIZE,
         model="midas_hybrid"),
    _row("Zoe-DepthMapPreprocessor", "depth", _SIZE, model="zoe"),
    _row("Zoe_DepthAnythingPreprocessor", "depth", "-environment", _SIZE, model="zoe"),
    _row("DepthAnythingPreprocessor", "depth", "-ckpt_name", _SIZE, model="depth_anything_large"),
    _row("DepthAnythingV2Preprocessor", "depth_anything_v2", "-ckpt_name", _SIZE, variant="large"),
    _row("BAE-NormalMapPreprocessor", "normal_bae", _SIZE),
    # people
    _row("DWPreprocessor", "dwpose", "-detect_hand", "-detect_body", "-detect_face", _SIZE,
         "-bbox_detector", "-pose_estimator", "-scale_stick_for_xinsr_cn",
         **_POSES),
    _row("OpenposePreprocessor", "dwpose", "-detect_hand", "-detect_body", "-detect_face",
         _SIZE, "-scale_stick_for_xinsr_cn", **_POSES),
    _row("MediaPipe-FaceMeshPreprocessor", "mediapipe_face", "max_faces", "min_confidence", _SIZE),
    # classes
    _row("OneFormer-COCO-SemSegPreprocessor", "seg_coco", _SIZE),
    _row("OneFormer-ADE20K-SemSegPreprocessor", "seg_ade20k", _SIZE),
    _row("UniFormer-SemSegPreprocessor", "seg_ade20k", _SIZE, model="upernet"),
    _row("SemSegPreprocessor", "seg_ade20k", _SIZE, model="upernet"),
    _row("SAMPreprocessor", "sam_segments", _SIZE),
    # the rest
    _row("TilePreprocessor", "tile_pyramid", "pyrUp_iters", "-resolution",
         also={"levels": "pyrUp_iters"}),
    _row("TTPlanet_TileGF_Preprocessor", "tile_guided", "scale_factor", "blur_strength", "radius",
         "eps", "-resolution"),
    _row("ColorPreprocessor", "color_grid", _SIZE),
    _row("ShufflePreprocessor", "shuffle", _SIZE, "seed"),
    _row("ImageLuminanceDetector", "recolor_luminance", "gamma_correction", _SIZE,
         also={"gamma": "gamma_correction"}),
    _row("ImageIntensityDetector", "recolor_intensity", "gamma_correction", _SIZE,
         also={"gamma": "gamma_correction"}),
    Replacement("InpaintPreprocessor", "ControlStackInpaintHint", ("black_pixel_for_xinsir_cn",),
                same("image", "mask"), {"fill": "minus_one", "resolution": 0}),
    # sizes, hints and poses
    Replacement("PixelPerfectResolution", "ControlStackPixelPerfect",
                ("image_gen_width", "image_gen_height", "resize_mode"),
                {"image": "original_image", "width": "image_gen_width",
                 "height": "image_gen_height", **same("resize_mode")}),
    Replacement("HintImageEnchance", "ControlStackHintResize",
                ("image_gen_width", "image_gen_height", "resize_mode"),
                {"hint": "hint_image", "width": "image_gen_width",
                 "height": "image_gen_height", **same("resize_mode")}),
    Replacement("ImageGenResolutionFromImage", "ControlStackSizeFromImage", (), same("image"),
                outputs=(0, 1)),
    Replacement("ImageGenResolutionFromLatent", "ControlStackSizeFromLatent", (), same("latent"),
                outputs=(0, 1)),
    Replacement("RenderPeopleKps", "ControlStackPoseRender",
                ("render_body", "render_hand", "render_face"),
                {"keypoints": "kps", "body": "render_body", "hands": "render_hand",
                 "face": "render_face"}, _POSE),
    Replacement("RenderAnimalKps", "ControlStackPoseRender", (), {"keypoints": "kps"},
                {"body": True, "hands": True, "face": True, **_POSE}),
    Replacement("SavePoseKpsAsJsonFile", "ControlStackPoseSave", ("filename_prefix",),
                {"keypoints": "pose_kps", **same("filename_prefix")},
                {"coordinates": "pixels", "certain": False}, outputs=()),
)  # fmt: skip
