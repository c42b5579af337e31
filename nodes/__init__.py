"""The nodes of ControlStack, in the order in which a graph uses them."""

from __future__ import annotations

import logging

from comfy_api.latest import ComfyExtension, io

from ._annotators import enter_host
from ._replacements import register_replacements
from .adherence import Adherence
from .any_preprocessor import AnyPreprocessor, ComparePreprocessors
from .apply import Apply, Stack, StackItem
from .apply_single import ApplySingle
from .blocks import BlockWeightsFlux, BlockWeightsSD15, BlockWeightsT2I, MiddleWeightSpec
from .depth import GroupWeightsSpec, LayerWeightsSpec, SoftWeightsSpec
from .hint_tools import (
    ClassMask,
    HintResize,
    PixelPerfect,
    RecolorPaste,
    SizeFromImage,
    SizeFromLatent,
)
from .inspect import Inspect
from .keyframes import KeyframeListSpec, KeyframeRampSpec, KeyframeSpec
from .load import Load, LoadDiff
from .pictures import PictureGroupSpec, PictureListSpec, PictureRangeSpec, PictureSpec
from .playground import Playground, PlaygroundScene, show_controls
from .pose import PoseEdit, PoseRender
from .pose_estimate import PoseEstimate
from .pose_files import PoseLoad, PoseSave
from .preprocess import PREPROCESSOR_NODES
from .preset import PresetSpec
from .preview import PreviewSpec
from .train import Train
from .union import UnionType
from .when import CurveSpec, KeyframesSpec, RampSpec, StrengthListSpec, WindowSpec
from .where import ContentSpec, MaskSpec
from .whom import BatchStrengthsSpec, ModeSpec, UncondSpec

log = logging.getLogger("controlstack")

NODES: tuple[type[io.ComfyNode], ...] = (
    # load
    Load,
    LoadDiff,
    UnionType,
    # preprocess
    AnyPreprocessor,
    ComparePreprocessors,
    *PREPROCESSOR_NODES,
    PoseEstimate,
    PoseLoad,
    PoseEdit,
    PoseRender,
    PoseSave,
    PixelPerfect,
    SizeFromImage,
    SizeFromLatent,
    HintResize,
    RecolorPaste,
    ClassMask,
    # how it acts
    WindowSpec,
    RampSpec,
    CurveSpec,
    KeyframesSpec,
    StrengthListSpec,
    KeyframeSpec,
    KeyframeRampSpec,
    KeyframeListSpec,
    SoftWeightsSpec,
    GroupWeightsSpec,
    LayerWeightsSpec,
    BlockWeightsSD15,
    BlockWeightsFlux,
    BlockWeightsT2I,
    MiddleWeightSpec,
    MaskSpec,
    ContentSpec,
    ModeSpec,
    UncondSpec,
    BatchStrengthsSpec,
    PictureSpec,
    PictureRangeSpec,
    PictureListSpec,
    PictureGroupSpec,
    PresetSpec,
    # apply
    Apply,
    ApplySingle,
    StackItem,
    Stack,
    # look
    Inspect,
    PreviewSpec,
    Adherence,
    # train
    Train,
    # try
    Playground,
    PlaygroundScene,
)


class ControlStackExtension(ComfyExtension):
    """The pack, as the host asks for it."""

    async def on_load(self) -> None:
        show_controls()
        enter_host()
        await register_replacements()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [node for node in NODES if _has_schema(node)]


def _has_schema(node: type[io.ComfyNode]) -> bool:
    """Whether the schema of `node` can be made; the host would drop the whole pack otherwise."""
    try:
        node.GET_SCHEMA()
    except Exception:
        log.exception("%s is left out: this ComfyUI cannot make its schema", node.__name__)
        return False
    return True
