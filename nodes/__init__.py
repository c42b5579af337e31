"""The nodes of ControlStack, in the order in which a graph uses them."""

from __future__ import annotations

import logging

from comfy_api.latest import ComfyExtension, io

from .adherence import Adherence
from .apply import Apply, Stack, StackItem
from .depth import GroupWeightsSpec, LayerWeightsSpec, SoftWeightsSpec
from .inspect import Inspect
from .load import Load, LoadDiff
from .playground import Playground, PlaygroundScene, show_controls
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
    *PREPROCESSOR_NODES,
    # how it acts
    WindowSpec,
    RampSpec,
    CurveSpec,
    KeyframesSpec,
    StrengthListSpec,
    SoftWeightsSpec,
    GroupWeightsSpec,
    LayerWeightsSpec,
    MaskSpec,
    ContentSpec,
    ModeSpec,
    UncondSpec,
    BatchStrengthsSpec,
    PresetSpec,
    # apply
    Apply,
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
