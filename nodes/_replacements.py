"""Graphs and prompts made with other packs: their nodes give way to ours.

ComfyUI offers the swap where the old pack is not installed.
"""

from __future__ import annotations

import sys
from typing import Any

from comfy_api.latest import ComfyAPI

from ._from_advanced import FROM_ADVANCED
from ._from_aux import FROM_AUX
from ._replacement import Replacement

REPLACEMENTS = (*FROM_ADVANCED, *FROM_AUX)
_BY_OLD = {each.old: each for each in REPLACEMENTS}


async def register_replacements() -> None:
    """Tells the host of the table; nothing happens without a server or on a host without swaps."""
    registry = getattr(ComfyAPI(), "node_replacement", None)
    server = _module_value("server", "PromptServer")
    running = getattr(server, "instance", None)  # scripts and tests may have started none
    if registry is None or running is None:
        return
    for each in REPLACEMENTS:
        await registry.register(each.for_host())
    running.add_on_prompt_handler(swapped)


def swapped(data: dict[str, Any]) -> dict[str, Any]:
    """A posted prompt in which old nodes that are not installed have given way to ours.

    The graph in the browser is the host's to change. For prompts it would do the same, but 0.19 to
    0.33 answer with status 500 where `_meta` or a mapped socket is absent, and, by the chance of
    the order, where two old nodes are connected.
    """
    prompt = data.get("prompt")
    if not isinstance(prompt, dict):
        return data
    installed = _module_value("nodes", "NODE_CLASS_MAPPINGS") or {}
    found = {
        number: _BY_OLD[node["class_type"]]
        for number, node in prompt.items()
        if _is_node(node) and node["class_type"] in _BY_OLD.keys() - installed.keys()
    }
    return {**data, "prompt": _with_ours(prompt, found)} if found else data


def _with_ours(prompt: dict[str, Any], found: dict[str, Replacement]) -> dict[str, Any]:
    """`prompt` with the nodes `found` replaced, and what hangs on their outputs."""

    def relinked(value: Any) -> Any:
        if not (isinstance(value, list) and len(value) == 2 and value[0] in found):
            return value
        node, slot = value
        outputs = found[node].outputs
        return [node, outputs[slot] if slot < len(outputs) else slot]

    def renewed(number: str, node: Any) -> Any:
        if not _is_node(node):
            return node
        inputs = {name: relinked(value) for name, value in node["inputs"].items()}
        if number not in found:
            return {**node, "inputs": inputs}
        row = found[number]
        moved = {new: inputs[old] for new, old in row.inputs.items() if old in inputs}
        return {**node, "class_type": row.new, "inputs": {**moved, **row.values}}

    return {number: renewed(number, node) for number, node in prompt.items()}


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("inputs"), dict) and "class_type" in node


def _module_value(module: str, name: str) -> Any:
    """What a module of the host holds, if the host has imported it."""
    return getattr(sys.modules.get(module), name, None)
