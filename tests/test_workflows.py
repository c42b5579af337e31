"""The example workflows are whole: graph, API twin, thumbnail, note, models and pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
ASKED_FOR = {
    "one_net", "two_nets_summed", "three_nets_ranges", "union_two_types",
    "playground_two_controls", "playground_ranges", "playground_keyframes", "playground_pictures",
    "playground_layers", "block_weights_sd15", "block_weights_flux",
}  # fmt: skip
_WEIGHTS = ROOT / "controlnet_core" / "playground" / "weights"
PACKED = {path.name for path in (_WEIGHTS / "controlnet").iterdir()}
"""ControlNets that come with the pack; Load ControlNet lists them."""
NOTES = {"Note", "MarkdownNote"}
ON_THE_CANVAS_ONLY = {"control_after_generate", "upload"}
TITLE = 30  # height of a node's title, which the canvas draws above its position
FILE_WIDGETS = {"ckpt_name": "checkpoints", "control_net_name": "controlnet"}

pytestmark = pytest.mark.parametrize("name", NAMES)


def drawn(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def twin(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8"))


def as_prompt(workflow: dict[str, Any]) -> dict[str, Any]:
    """The API format of a graph without subgraphs, bypassed or muted nodes."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in NOTES:
            continue
        values = node.get("widgets_values_named", {})
        inputs = {key: value for key, value in values.items() if key not in ON_THE_CANVAS_ONLY}
        inputs |= {
            each["name"]: links[each["link"]] for each in node["inputs"] if each["link"] is not None
        }
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, inner in value.items():
                yield from (key, *strings(inner))
        case list():
            for inner in value:
                yield from strings(inner)


def box(node: dict[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom on the canvas."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y + height


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_has_twin_and_thumbnail(name: str) -> None:
    assert set(NAMES) >= ASKED_FOR
    assert {path.stem for path in (FOLDER / "api").iterdir()} == set(NAMES)
    assert {path.stem for path in FOLDER.glob("*.jpg")} == set(NAMES)
    thumbnail = FOLDER / f"{name}.jpg"
    assert thumbnail.stat().st_size <= 120_000
    with Image.open(thumbnail) as picture:
        assert picture.format == "JPEG"
        assert 512 <= picture.width <= 768


def test_twin_is_the_drawn_graph(name: str) -> None:
    workflow, prompt = drawn(name), twin(name)
    assert workflow["version"] == 0.4
    assert all(node["mode"] == 0 for node in workflow["nodes"])
    found = {
        number: {"class_type": node["class_type"], "inputs": node["inputs"]}
        for number, node in prompt.items()
    }
    assert found == as_prompt(workflow)
    assert all(node["_meta"]["title"] for node in prompt.values())


def test_values_have_the_order_in_which_the_canvas_restores_them(name: str) -> None:
    for node in drawn(name)["nodes"]:
        named = list(node.get("widgets_values_named", {}).values())
        assert node.get("widgets_values", [])[: len(named)] == named, node["type"]


def test_links_join_sockets_of_one_type(name: str) -> None:
    workflow = drawn(name)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert len({link[0] for link in workflow["links"]}) == len(workflow["links"])
    for number, start, out, end, into, kind in workflow["links"]:
        source, target = nodes[start]["outputs"][out], nodes[end]["inputs"][into]
        assert number in source["links"]
        assert target["link"] == number
        assert source["type"] == kind
        assert kind in target["type"].split(",")  # a socket may take several types


def test_names_no_place_on_a_machine(name: str) -> None:
    for text in (*strings(drawn(name)), *strings(twin(name))):
        assert not re.match(r"/|~|[A-Za-z]:[\\/]", text), text
        hosts = re.findall(r"\w+://([^/)\s]+)", text)
        assert set(hosts) <= {"huggingface.co"}, text


def test_says_which_models_and_pictures_it_needs(name: str) -> None:
    workflow = drawn(name)
    (note,) = [node for node in workflow["nodes"] if node["type"] in NOTES]
    text = note["widgets_values"][0]
    for node in workflow["nodes"]:
        for widget, value in node.get("widgets_values_named", {}).items():
            if widget == "image":
                assert value in text
                assert (FOLDER / "input" / value).stat().st_size <= 120_000
            if value in PACKED:
                assert "models" not in node["properties"]  # nothing to download
            elif widget in FILE_WIDGETS:
                (model,) = node["properties"]["models"]
                assert model["name"] == value
                assert model["directory"] == FILE_WIDGETS[widget]
                assert model["url"].startswith("https://huggingface.co/")
                assert model["url"].endswith(f"/resolve/main/{value}")
                assert model["url"] in text


def test_our_nodes_can_be_installed_when_missing(name: str) -> None:
    ours = [n for n in drawn(name)["nodes"] if n["type"].startswith("ControlStack")]
    assert ours
    for node in ours:
        assert node["properties"]["cnr_id"] == "controlstack"
        assert re.fullmatch(r"\d+\.\d+\.\d+", node["properties"]["ver"])


def test_is_laid_out_for_the_eye(name: str) -> None:
    """Nothing overlaps, every node but the note and the photo is in one titled group."""
    workflow = drawn(name)
    boxes = [(node["type"], box(node)) for node in workflow["nodes"]]
    groups = [
        (x, y, x + width, y + height)
        for x, y, width, height in (group["bounding"] for group in workflow["groups"])
    ]
    assert all(group["title"] for group in workflow["groups"])
    for i, (kind, this) in enumerate(boxes):
        for other_kind, other in boxes[:i]:
            assert not overlap(this, other), (kind, other_kind)
        inside = [
            group for group in groups
            if group[0] <= this[0] and group[1] <= this[1]
            and this[2] <= group[2] and this[3] <= group[3]
        ]  # fmt: skip
        touched = [group for group in groups if overlap(group, this)]
        assert touched == inside, kind
        assert len(inside) == (0 if kind in NOTES else 1) or kind == "LoadImage"
    for i, group in enumerate(groups):
        assert not any(overlap(group, other) for other in groups[:i])
