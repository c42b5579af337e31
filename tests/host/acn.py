"""Where Advanced-ControlNet is on this machine, and its node classes."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path

HOW_TO_GET_IT = (
    "no Advanced-ControlNet: git clone "
    "https://github.com/Kosinkadink/ComfyUI-Advanced-ControlNet and set CONTROLSTACK_ACN"
)
_NAME = "advanced_controlnet"
_MODULES = ("main", "keyframes", "weight", "deprecated")


def find_acn(host: Path) -> Path | None:
    """$CONTROLSTACK_ACN, else the copy among the custom nodes of `host`."""
    folder = os.environ.get("CONTROLSTACK_ACN")
    path = Path(folder or host / "custom_nodes" / "ComfyUI-Advanced-ControlNet")
    return path if (path / "adv_control").is_dir() else None


def import_acn(path: Path) -> types.SimpleNamespace:
    """Its node classes by node id; the host must have been entered."""
    package = types.ModuleType(_NAME)
    package.__path__ = [str(path)]
    sys.modules[_NAME] = package
    found = {}
    for name in _MODULES:
        module = importlib.import_module(f"{_NAME}.adv_control.nodes_{name}")
        for each in vars(module).values():
            if hasattr(each, "define_schema") and each.__module__ == module.__name__:
                found[each.define_schema().node_id] = each
    return types.SimpleNamespace(**found)
