"""Nodes of Advanced-ControlNet 1.5.8 and ours for them, as rows of the table of replacements.

Nodes without a counterpart are not here; docs/from-advanced-controlnet.md says of each why.
"""

from __future__ import annotations

from ._replacement import Replacement, same
from .depth import OWN_BASE

_UNUSED = ("guarantee_steps", "print_keyframes", "flip_weights")
"""Widgets without a counterpart: see that page."""
_KEYFRAME_PARTS = {
    "rest": "null_latent_kf_strength",
    "inherit": "inherit_missing",
    "weights": "cn_weights",
    "pictures": "latent_keyframe",
    "mask": "mask_optional",
    "spec": "prev_timestep_kf",
}
_APPLY_WIDGETS = ("strength", "start_percent", "end_percent")
_APPLY = {
    **same("control_net", "image", *_APPLY_WIDGETS),
    "vae": "vae_optional",
    "mask": "mask_optional",
    "spec": "timestep_kf",
    "layer_weights": "weights_override",
    "batch_strengths": "latent_kf_override",
}
_UNCOND = "uncond_multiplier"
_EXTRAS = {"spec": "cn_extras"}
_BOTH_TO_SPEC = (0, 0)
"""CN_WEIGHTS and TK_SHORTCUT: both are a spec here."""


def _keyframes(old: str, new: str, *widgets: str, sockets: tuple[str, ...] = ()) -> Replacement:
    kept = (name for name in widgets if name not in (*_UNUSED, *_KEYFRAME_PARTS.values()))
    return Replacement(old, new, widgets, {**same(*sockets, *kept), **_KEYFRAME_PARTS})


def _pictures(old: str, new: str, *widgets: str, sockets: tuple[str, ...] = ()) -> Replacement:
    kept = (name for name in widgets if name not in _UNUSED)
    inputs = {**same(*sockets, *kept), "spec": "prev_latent_kf"}
    return Replacement(old, new, widgets, inputs, {"rest": 0.0})


def _apply(old: str) -> Replacement:
    inputs = {**same("positive", "negative"), **_APPLY}
    return Replacement(old, "ControlStackApply", _APPLY_WIDGETS, inputs, outputs=(0, 1))


def _apply_single(old: str) -> Replacement:
    inputs = {**same("conditioning"), **_APPLY}
    return Replacement(old, "ControlStackApplySingle", _APPLY_WIDGETS, inputs)


def _soft(old: str, *widgets: str) -> Replacement:
    inputs = {"base": "base_multiplier", **same(_UNCOND), **_EXTRAS}
    return Replacement(
        old, "ControlStackSoftWeights", widgets, inputs, {"rule": OWN_BASE}, _BOTH_TO_SPEC
    )


def _blocks(old: str, new: str, ours: tuple[str, ...], theirs: tuple[str, ...]) -> Replacement:
    unused = ("flip_weights",) if theirs[0].startswith("weight") else ()
    inputs = {**dict(zip(ours, theirs, strict=True)), **same(_UNCOND), **_EXTRAS}
    return Replacement(old, new, (*theirs, *unused, _UNCOND), inputs, outputs=_BOTH_TO_SPEC)


def _numbered(name: str, count: int, *, digits: int = 1) -> tuple[str, ...]:
    return tuple(f"{name}_{index:0{digits}}" for index in range(count))


_SD15 = (*_numbered("output", 12), "middle_0")
_FLUX = _numbered("input", 19)
_T2I = _numbered("input", 4)
_OLD_SD15, _OLD_T2I = _numbered("weight", 13, digits=2), _numbered("weight", 4, digits=2)

FROM_ADVANCED: tuple[Replacement, ...] = (
    # keyframes
    _keyframes(
        "TimestepKeyframe", "ControlStackKeyframe",
        "start_percent", "strength", "null_latent_kf_strength", "inherit_missing",
        "guarantee_steps",
    ),
    _keyframes(
        "ACN_TimestepKeyframeInterpolation", "ControlStackKeyframeRamp",
        "start_percent", "end_percent", "strength_start", "strength_end", "interpolation",
        "intervals", "null_latent_kf_strength", "inherit_missing", "print_keyframes",
    ),
    _keyframes(
        "ACN_TimestepKeyframeFromStrengthList", "ControlStackKeyframeList",
        "start_percent", "end_percent", "null_latent_kf_strength", "inherit_missing",
        "print_keyframes", sockets=("float_strengths",),
    ),
    # pictures of the batch
    _pictures("LatentKeyframe", "ControlStackPicture", "batch_index", "strength"),
    _pictures(
        "LatentKeyframeTiming", "ControlStackPictureRange",
        "batch_index_from", "batch_index_to_excl", "strength_from", "strength_to",
        "interpolation", "print_keyframes",
    ),
    _pictures(
        "LatentKeyframeBatchedGroup", "ControlStackPictureList", "print_keyframes",
        sockets=("float_strengths",),
    ),
    _pictures(
        "LatentKeyframeGroup", "ControlStackPictureGroup", "index_strengths", "print_keyframes"
    ),
    # apply
    _apply("ACN_AdvancedControlNetApply_v2"),
    _apply("ACN_AdvancedControlNetApply"),
    _apply_single("ACN_AdvancedControlNetApplySingle_v2"),
    _apply_single("ACN_AdvancedControlNetApplySingle"),
    # load
    Replacement(
        "ACN_ControlNetLoaderAdvanced", "ControlStackLoad", ("cnet",), {"control_net_name": "cnet"}
    ),
    Replacement(
        "ACN_DiffControlNetLoaderAdvanced", "ControlStackLoadDiff", ("cnet",),
        {"model": "model", "control_net_name": "cnet"},
    ),
    Replacement(
        "ControlNetLoaderAdvanced", "ControlStackLoad", ("control_net_name",),
        same("control_net_name"),
    ),
    Replacement(
        "DiffControlNetLoaderAdvanced", "ControlStackLoadDiff", ("control_net_name",),
        same("model", "control_net_name"),
    ),
    # layer weights
    _soft("ACN_ScaledSoftControlNetWeights", "base_multiplier", _UNCOND),
    _soft("ScaledSoftControlNetWeights", "base_multiplier", "flip_weights", _UNCOND),
    _blocks("ACN_SoftControlNetWeightsSD15", "ControlStackBlockWeightsSD15", _SD15, _SD15),
    _blocks("ACN_CustomControlNetWeightsSD15", "ControlStackBlockWeightsSD15", _SD15, _SD15),
    _blocks("SoftControlNetWeights", "ControlStackBlockWeightsSD15", _SD15, _OLD_SD15),
    _blocks("CustomControlNetWeights", "ControlStackBlockWeightsSD15", _SD15, _OLD_SD15),
    _blocks("ACN_CustomControlNetWeightsFlux", "ControlStackBlockWeightsFlux", _FLUX, _FLUX),
    _blocks("ACN_SoftT2IAdapterWeights", "ControlStackBlockWeightsT2I", _T2I, _T2I),
    _blocks("ACN_CustomT2IAdapterWeights", "ControlStackBlockWeightsT2I", _T2I, _T2I),
    _blocks("SoftT2IAdapterWeights", "ControlStackBlockWeightsT2I", _T2I, _OLD_T2I),
    _blocks("CustomT2IAdapterWeights", "ControlStackBlockWeightsT2I", _T2I, _OLD_T2I),
    Replacement(
        "ACN_DefaultUniversalWeights", "ControlStackSoftWeights", (), _EXTRAS,
        {"rule": "flat", "base": 1.0}, _BOTH_TO_SPEC,
    ),
    Replacement(
        "ACN_ExtrasMiddleMult", "ControlStackMiddleWeight", ("middle_mult",),
        {**same("middle_mult"), **_EXTRAS},
    ),
)  # fmt: skip
