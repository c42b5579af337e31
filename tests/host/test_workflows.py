"""Every example workflow runs on the real server, with small random nets under its files' names.

Those of the playground run as they are: their models come with the pack. Those with a weight for
each block run in this process, where a test can put models of as many blocks in the places of the
published ones.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hosts
import nodes
import numpy as np
import pytest
import torch
from deep_models import DeepCheckpoint, write_deep_net
from nets import CONFIGS, random_net
from PIL import Image
from serving import Graph, Server

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.playground.drawing import draw
from controlstack.controlnet_core.playground.scenes import random_scene
from controlstack.controlnet_core.training.adherence import MEASURES
from controlstack.nodes import NODES
from controlstack.nodes._from_advanced import FROM_ADVANCED
from controlstack.preprocessors import PREPROCESSORS

FOLDER = hosts.PACK / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
AS_THEY_ARE = {name for name in NAMES if name.startswith("playground_")}
BY_BLOCK = [name for name in NAMES if name.startswith("block_weights_")]
ON_THE_CANVAS_ONLY = {"control_after_generate"}
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
STEPS = 8  # enough that every range holds one
STRENGTH_OF = {"ControlStackApply", "ControlStackApplySingle", "ControlStackItem"}
SIZES = {"EmptyLatentImage", "EmptySD3LatentImage"}


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


@dataclass(frozen=True)
class Here:
    """The host in this process, asked as its server is."""

    base: Path
    execute: Callable[[Graph], dict[str, Any]]

    def run(self, graph: Graph) -> dict[str, Any]:
        return {"outputs": self.execute(graph)}

    def image(self, entry: dict[str, str]) -> Image.Image:
        return Image.open(self.base / entry["type"] / entry["subfolder"] / entry["filename"])


def make_small(graph: Graph, server: Server | Here) -> None:
    """Turns `graph` into one of 64 x 64 in few steps, whose models and pictures `server` has."""
    layout = "SD15"
    for node in graph.values():
        inputs = node["inputs"]
        match node["class_type"]:
            case "CheckpointLoaderSimple" if isinstance(server, Server):
                layout = "SDXL" if "xl" in inputs["ckpt_name"] else "SD15"
                node |= {"class_type": "TinyCheckpoint", "inputs": {"layout": layout}}
            case "EmptyLatentImage" | "EmptySD3LatentImage":
                inputs |= {"width": 64, "height": 64}
            case "KSampler":
                inputs |= {"steps": STEPS}
            case "LoadImage" | "LoadImageMask":
                shutil.copy(FOLDER / "input" / inputs["image"], server.base / "input")
    for seed, inputs in enumerate(ours(graph, {"ControlStackLoad", "ControlStackLoadDiff"})):
        path = server.base / "models" / "controlnet" / inputs["control_net_name"]
        if path.exists():
            continue
        if isinstance(server, Server):
            write_net(path, layout, seed=seed)
        else:
            write_deep_net(path)


def write_net(path: Path, layout: str, *, seed: int) -> None:
    """A random net of the kind that the file of this name holds, in its format."""
    union = "promax" in path.name
    config = CONFIGS[layout].like(union_types=8) if union else CONFIGS[layout]
    format = formats.DIFFUSERS_UNION if union else formats.LDM
    formats.save(random_net(config, seed=seed), path, format=format)


def paint(server: Server | Here, graph: Graph) -> np.ndarray:
    return painted(server, graph, server.run(graph)["outputs"], "SaveImage")


def painted(server: Server | Here, graph: Graph, outputs: Any, name: str) -> np.ndarray:
    """The pictures (B H W 3) of the one node that has this type or title."""
    (number,) = [k for k, n in graph.items() if name in (n["class_type"], n["_meta"]["title"])]
    pictures = [np.asarray(server.image(entry)) for entry in outputs[number]["images"]]
    return np.stack(pictures).astype(float)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BY_BLOCK])
def test_runs_and_every_control_acts(server: Server, graph: Graph) -> None:
    check_every_control_acts(server, graph)


def check_every_control_acts(server: Server | Here, graph: Graph, *, least: float = 10) -> None:
    """Each changes a picture of 8 bits, and all together change it by more than `least`."""
    full = paint(server, graph)
    (size,) = ours(graph, SIZES)
    assert full.shape == (size["batch_size"], size["height"], size["width"], 3)
    controls = ours(graph, STRENGTH_OF)
    for number in range(len(controls) if len(controls) > 1 else 0):
        without = copy.deepcopy(graph)
        ours(without, STRENGTH_OF)[number]["strength"] = 0.0
        assert np.abs(paint(server, without) - full).max() >= 1, f"control {number}"
    for inputs in controls:
        inputs["strength"] = 0.0
    assert np.abs(paint(server, graph) - full).max() > least


@pytest.mark.parametrize("name", BY_BLOCK)
def test_runs_and_weighs_every_block(
    name: str, host: hosts.Host, run_graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every control acts; weights of 0 are a control of strength 0, and their order matters."""
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "CheckpointLoaderSimple", DeepCheckpoint)
    here, graph = Here(host.base, run_graph), load(FOLDER / "api" / f"{name}.json")
    make_small(graph, here)
    full = paint(here, graph)
    for node in graph.values():
        if not node["class_type"].startswith("ControlStackBlockWeights"):
            continue
        kept, blocks = node["inputs"], [key for key in node["inputs"] if key[-1].isdigit()]
        backwards = dict(zip(blocks, [kept[key] for key in reversed(blocks)], strict=True))
        node["inputs"] = kept | backwards
        assert np.abs(paint(here, graph) - full).max() >= 1
        node["inputs"] = kept | dict.fromkeys(blocks, 0.0)
        (control,) = (
            each for each in ours(graph, STRENGTH_OF)
            if graph[each["layer_weights"][0]] is node
        )  # fmt: skip
        silent = paint(here, graph)
        strength, control["strength"] = control["strength"], 0.0
        np.testing.assert_array_equal(silent, paint(here, graph))
        node["inputs"], control["strength"] = kept, strength
    check_every_control_acts(here, graph, least=4)  # random weights of Flux say little


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
    (picture,) = painted(server, graph, outputs, "SaveImage") / 255.0
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


# The page for people who come from Advanced-ControlNet.

PAGE = (hosts.PACK / "docs" / "from-advanced-controlnet.md").read_text(encoding="utf-8")
ROWS = [
    line.strip("| ").split(" | ")[-3:]
    for line in PAGE.splitlines() if re.search(r"\| (swap|by hand)", line)
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("`"))
def test_the_page_names_a_workflow_with_our_node(row: list[str]) -> None:
    """Every row that has a node of ours links to a workflow in which it is."""
    titles = {node.GET_SCHEMA().node_id: node.GET_SCHEMA().display_name for node in NODES}
    _, ours, how = row
    linked = re.findall(r"\[(\w+)\]\(\.\./workflows/\1\.json\)", how)
    assert linked
    for title in ours.removesuffix(", rule flat").split(", "):
        for name in linked:
            kinds = [node["type"] for node in load(FOLDER / f"{name}.json")["nodes"]]
            assert title in [titles.get(kind) for kind in kinds], name


def test_those_rows_are_all_that_can_be_swapped() -> None:
    assert {row[0].strip("`") for row in ROWS} >= {row.old for row in FROM_ADVANCED}
