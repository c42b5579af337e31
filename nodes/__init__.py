"""The nodes of ControlStack, in the order in which a graph uses them."""

from __future__ import annotations

import logging

from comfy_api.latest import ComfyExtension, io

from .apply import Apply, Stack, StackItem
from .inspect import Inspect
from .load import Load, LoadDiff
from .preprocess import PREPROCESSOR_NODES
from .spec import ModeSpec, WindowSpec
from .union import UnionType

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
    ModeSpec,
    # apply
    Apply,
    StackItem,
    Stack,
    # look
    Inspect,
)


class ControlStackExtension(ComfyExtension):
    """The pack, as the host asks for it."""

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
