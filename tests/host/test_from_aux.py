"""Graphs made with comfyui_controlnet_aux: its nodes are swapped for ours, widget by widget.

What the table says of the old nodes is held against the old pack itself, where a checkout is named
by CONTROLSTACK_AUX.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import execution
import pytest
from comfy_api.latest import io

from controlstack.nodes import NODES
from controlstack.nodes._from_aux import FROM_AUX
from controlstack.nodes._replacement import Replacement
from controlstack.nodes._replacements import swapped

SCHEMAS = {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in NODES}
ROWS = pytest.mark.parametrize("row", FROM_AUX, ids=lambda row: row.old)
PAGE = Path(__file__).parents[2] / "docs" / "from-controlnet-aux.md"
OLD_MODULES = (
    "anime_face_segment", "anyline", "binary", "canny", "color", "depth_anything",
    "depth_anything_v2", "dwpose", "hed", "inpaint", "lineart", "lineart_anime",
    "lineart_standard", "manga_line", "mediapipe_face", "midas", "mlsd", "normalbae",
    "oneformer", "openpose", "pidinet", "pose_keypoint_postprocess", "pyracanny", "recolor",
    "scribble", "segment_anything", "shuffle", "teed", "tile", "uniformer", "zoe",
)  # fmt: skip


@ROWS
def test_a_row_names_inputs_and_outputs_of_ours(row: Replacement) -> None:
    schema = SCHEMAS[row.new]
    ours = {each.id: each for each in schema.inputs}
    assert {*row.inputs, *row.values} <= ours.keys()
    assert not row.inputs.keys() & row.values.keys()
    needed = {name for name, each in ours.items() if not each.optional}
    assert needed <= {*row.inputs, *row.values}, "a prompt for the API would lack them"
    assert all(index < len(schema.outputs) for index in row.outputs)
    for name, value in row.values.items():
        widget = ours[name]
        if isinstance(widget, io.Combo.Input):
            assert value in widget.options
        elif isinstance(widget, io.Int.Input | io.Float.Input):
            assert widget.min <= value <= widget.max


@ROWS
def test_the_page_tells_of_it(row: Replacement) -> None:
    assert f"`{row.old}`" in PAGE.read_text(encoding="utf-8")


@pytest.mark.usefixtures("host", "_prompt_server")
def test_a_prompt_is_swapped_and_valid() -> None:
    prompt: dict[str, Any] = {
        "picture": {"class_type": "EmptyImage",
                    "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "mask": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 64, "height": 64}},
    }  # fmt: skip
    links = {"image": ["picture", 0], "original_image": ["picture", 0],
             "hint_image": ["picture", 0], "mask": ["mask", 0]}  # fmt: skip
    old = {"low_threshold": 90, "bin_threshold": 70, "resize_mode": "Resize and Fill",
           "guassian_sigma": 5.0, "safe": "disable", "ckpt_name": "x.pth", "safe_steps": 3,
           "image_gen_width": 640, "image_gen_height": 448, "pyrUp_iters": 2}  # fmt: skip
    asked = [row for row in FROM_AUX if set(row.inputs.values()) & links.keys()]
    for row in asked:
        given = {name: old[name] for name in row.widgets if name in old}
        sockets = {name: link for name, link in links.items() if name in row.inputs.values()}
        full = {name: _default(row, name) for name in row.widgets if name not in given}
        prompt[row.old] = {"class_type": row.old, "inputs": {**full, **given, **sockets}}
    found = swapped({"prompt": prompt})["prompt"]
    for row in asked:
        node = found[row.old]
        assert node["class_type"] == row.new
        valid, *rest = asyncio.run(execution.validate_inputs("check", found, row.old, {}))
        assert valid, (row.old, rest)
    assert found["CannyEdgePreprocessor"]["inputs"]["low_threshold"] == 90
    assert found["BinaryPreprocessor"]["inputs"]["threshold"] == 70
    assert found["LineartStandardPreprocessor"]["inputs"]["gaussian_sigma"] == 5.0
    assert found["HEDPreprocessor"]["inputs"]["safe"] is True
    assert found["PixelPerfectResolution"]["inputs"]["width"] == 640


def _default(row: Replacement, old: str) -> Any:
    """Our default for the widget that takes the old one's value; anything where none does."""
    new = next((name for name, source in row.inputs.items() if source == old), None)
    if new is None:
        return 0
    return next(each for each in SCHEMAS[row.new].inputs if each.id == new).default


@pytest.fixture(scope="module")
def old_nodes() -> dict[str, Any]:
    """The node classes of a checkout of the old pack, by id."""
    folder = os.environ.get("CONTROLSTACK_AUX")
    if not folder:
        pytest.skip("no checkout of comfyui_controlnet_aux (CONTROLSTACK_AUX)")
    pack = types.ModuleType("aux_pack")
    pack.__path__ = [folder]
    sys.modules["aux_pack"] = pack
    sys.path.append(str(Path(folder) / "src"))
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        for name in (*(f"node_wrappers.{name}" for name in OLD_MODULES), "hint_image_enchance"):
            module = importlib.import_module(f"aux_pack.{name}")
            found |= module.NODE_CLASS_MAPPINGS
    return found


@ROWS
def test_the_table_knows_the_old_nodes(row: Replacement, old_nodes: dict[str, Any]) -> None:
    declared = old_nodes[row.old].INPUT_TYPES()
    inputs = {**declared["required"], **declared.get("optional", {})}
    simple = ("INT", "FLOAT", "STRING", "BOOLEAN")
    widgets = [
        name for name, (kind, *_) in inputs.items() if isinstance(kind, list) or kind in simple
    ]
    assert list(row.widgets) == widgets
    assert set(row.inputs.values()) <= inputs.keys()
    assert len(row.outputs) <= len(old_nodes[row.old].RETURN_TYPES)
