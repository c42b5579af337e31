"""Every example workflow runs on the real server, with small random nets under its files' names.

Those of the playground run as they are: their models come with the pack.
"""

from __future__ import annotations

import copy
import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import hosts
import numpy as np
import pytest
import torch
from nets import CONFIGS, random_net
from serving import Graph, Server

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.playground.drawing import draw
from controlstack.controlnet_core.playground.scenes import random_scene
from controlstack.controlnet_core.training.adherence import MEASURES
from controlstack.preprocessors import PREPROCESSORS

FOLDER = hosts.PACK / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
AS_THEY_ARE = {name for name in NAMES if name.startswith("playground_")}
ON_THE_CANVAS_ONLY = {"control_after_generate"}
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
STEPS = 8  # enough that every range holds one
STRENGTH_OF = {"ControlStackApply", "ControlStackItem"}


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def ours(graph: Graph, kinds: set[str]) -> list[dict[str, Any]]:
    return [node["inputs"] for node in graph.values() if node["class_type"] in kinds]


@pytest.fixture
def graph(name: str, server: Server) -> Graph:
    """The API twin of `name`, on a tiny checkpoint and tiny nets where it names large ones."""
    graph = load(FOLDER / "api" / f"{name}.json")
    if name not in AS_THEY_ARE:
        make_small(graph, server)
    return graph


def make_small(graph: Graph, server: Server) -> None:
    """Turns `graph` into one of 64 x 64 in few steps, whose models and pictures `server` has."""
    layout = "SD15"
    for node in graph.values():
        inputs = node["inputs"]
        match node["class_type"]:
            case "CheckpointLoaderSimple":
                layout = "SDXL" if "xl" in inputs["ckpt_name"] else "SD15"
                node |= {"class_type": "TinyCheckpoint", "inputs": {"layout": layout}}
            case "EmptyLatentImage":
                inputs |= {"width": 64, "height": 64}
            case "KSampler":
                inputs |= {"steps": STEPS}
            case "LoadImage" | "LoadImageMask":
                shutil.copy(FOLDER / "input" / inputs["image"], server.base / "input")
    for seed, inputs in enumerate(ours(graph, {"ControlStackLoad"})):
        write_net(server, inputs["control_net_name"], layout, seed=seed)


def write_net(server: Server, name: str, layout: str, *, seed: int) -> None:
    """A random net of the kind that the file of this name holds, in its format."""
    path = server.base / "models" / "controlnet" / name
    if not path.exists():
        union = "promax" in name
        config = CONFIGS[layout].like(union_types=8) if union else CONFIGS[layout]
        format = formats.DIFFUSERS_UNION if union else formats.LDM
        formats.save(random_net(config, seed=seed), path, format=format)


def paint(server: Server, graph: Graph) -> np.ndarray:
    return painted(server, graph, server.run(graph)["outputs"], "SaveImage")


def painted(server: Server, graph: Graph, outputs: Any, name: str) -> np.ndarray:
    """The picture of the one node that has this type or title."""
    (number,) = [k for k, n in graph.items() if name in (n["class_type"], n["_meta"]["title"])]
    (entry,) = outputs[number]["images"]
    return np.asarray(server.image(entry)).astype(float)


@pytest.mark.parametrize("name", NAMES)
def test_runs_and_every_control_acts(server: Server, graph: Graph) -> None:
    full = paint(server, graph)
    (size,) = ours(graph, {"EmptyLatentImage"})
    assert full.shape == (size["height"], size["width"], 3)
    controls = ours(graph, STRENGTH_OF)
    for number in range(len(controls)):
        without = copy.deepcopy(graph)
        ours(without, STRENGTH_OF)[number]["strength"] = 0.0
        assert np.abs(paint(server, without) - full).max() >= 1, f"control {number}"
    for inputs in controls:
        inputs["strength"] = 0.0
    assert np.abs(paint(server, graph) - full).max() > 10


@pytest.mark.parametrize("name", ["playground_ranges"])
def test_strength_0_is_the_same_seed_without_control(server: Server, graph: Graph) -> None:
    (control,) = ours(graph, STRENGTH_OF)
    control["strength"] = 0.0
    outputs = server.run(graph)["outputs"]
    controlled = painted(server, graph, outputs, "SaveImage")
    free = painted(server, graph, outputs, "The same seed without control")
    np.testing.assert_array_equal(controlled, free)


@pytest.mark.parametrize("name", ["playground_two_controls"])
def test_score_is_that_of_the_saved_picture(server: Server, graph: Graph) -> None:
    outputs = server.run(graph)["outputs"]
    ((score,),) = [found["text"] for found in outputs.values() if "text" in found]
    picture = painted(server, graph, outputs, "SaveImage") / 255.0
    (scene,) = ours(graph, {"ControlStackPlaygroundScene"})
    (asked,) = ours(graph, {"ControlStackAdherence"})
    pictures = (
        draw(random_scene(scene["seed"])).picture[None],
        torch.from_numpy(picture).float().movedim(-1, 0)[None],
    )
    wanted, read = (PREPROCESSORS[asked["preprocessor"]](each) for each in pictures)
    expected = float(MEASURES[asked["measure"]](wanted, read))
    assert float(score.split()[-1]) == pytest.approx(expected, abs=0.05)  # saved in 8 bits


@pytest.mark.parametrize("name", ["union_two_types"])
def test_both_union_types_act(server: Server, graph: Graph) -> None:
    full = paint(server, graph)
    first, second = ours(graph, {"ControlStackUnionType"})
    kept, first["type"] = first["type"], "auto"
    one = paint(server, graph)
    first["type"], second["type"] = kept, "depth"
    other = paint(server, graph)
    assert np.abs(one - full).max() > 2
    assert np.abs(other - full).max() > 2


@pytest.mark.parametrize("name", NAMES)
def test_widgets_are_those_of_the_schema_in_its_order(name: str, server: Server) -> None:
    """The canvas restores widgets by their position, so count and order must be the schema's."""
    schemas = server.get("/object_info")
    for node in load(FOLDER / f"{name}.json")["nodes"]:
        if not node["type"].startswith("ControlStack"):
            continue
        schema = schemas[node["type"]]
        parts = [part for part in ("required", "optional") if part in schema["input"]]
        kinds = {
            key: schema["input"][part][key][0]
            for part in parts for key in schema["input_order"][part]
        }  # fmt: skip
        widgets = [key for key, kind in kinds.items() if isinstance(kind, list) or kind in WIDGETS]
        named = node.get("widgets_values_named", {})
        assert [key for key in named if key not in ON_THE_CANVAS_ONLY] == widgets, node["type"]
        sockets = {each["name"].partition(".")[0] for each in node["inputs"]}
        assert sockets == set(kinds), node["type"]
        outputs = [each["name"] for each in node["outputs"]]
        assert outputs == schema["output_name"], node["type"]


def test_template_browser_lists_them_with_thumbnails(server: Server) -> None:
    assert sorted(server.get("/workflow_templates")["controlstack"]) == NAMES
    for name in NAMES:
        route = f"/api/workflow_templates/controlstack/{name}"
        assert server.get(f"{route}.json") == load(FOLDER / f"{name}.json")
        with urllib.request.urlopen(f"{server.address}{route}.jpg") as answer:
            assert answer.headers.get_content_type() == "image/jpeg"
            assert answer.read() == (FOLDER / f"{name}.jpg").read_bytes()
