"""The example workflows in ComfyUI's real front end, in both of its renderers.

Needs ComfyUI, its package comfyui-frontend-package, playwright and Chromium ($CHROMIUM, else on
PATH); one line says which of them is missing, and everything here is skipped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hosts
import pytest
import serving
from old_graphs import OLD_NODES, SWAPPED, old_graph

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.nets import SD15, ControlNet

TINY = SD15.like(
    channel_mult=(1,), num_res_blocks=(1,), transformer_depth=(1,), model_channels=64
)
WORKFLOWS = hosts.PACK / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
READY = (
    "() => Boolean(window.app?.extensionManager && window.app.canvas"
    " && window.LiteGraph?.registered_node_types['ControlStackApply'])"
)
LOAD = """async (workflow) => {
    await app.loadGraphData(workflow);
    await new Promise((done) => setTimeout(done, 800));
    const unknown = app.graph.nodes.map((n) => n.type).filter(
        (type) => !LiteGraph.registered_node_types[type]);
    return JSON.stringify({unknown, prompt: (await app.graphToPrompt()).output});
}"""
GROW = """async () => {
    app.graph.clear();
    const stack = LiteGraph.createNode('ControlStackStack');
    app.graph.add(stack);
    const items = () => stack.inputs.map((i) => i.name).filter((n) => n.startsWith('items.'));
    const counts = [items().length];
    for (let k = 0; k < 3; k++) {
        const item = LiteGraph.createNode('ControlStackItem');
        app.graph.add(item);
        item.connect(0, stack, stack.inputs.findIndex((i) => i.name === `items.item${k}`));
        await new Promise((done) => setTimeout(done, 300));
        counts.push(items().length);
    }
    return counts;
}"""
INSPECT = """async () => {
    app.graph.clear();
    const [load, inspect] = ['ControlStackLoad', 'ControlStackInspect'].map((type) => {
        const node = LiteGraph.createNode(type);
        app.graph.add(node);
        return node;
    });
    load.widgets.find((w) => w.name === 'control_net_name').value = 'tiny.safetensors';
    load.connect(0, inspect, 0);
    const facts = inspect.widgets.find((w) => w.name === 'facts');
    await app.queuePrompt(0, 1);
    for (let k = 0; k < 100 && !facts.element.textContent.includes('base model'); k++)
        await new Promise((done) => setTimeout(done, 200));
    return {
        text: facts.element.textContent, saved: inspect.serialize().widgets_values ?? null,
        sent: (await app.graphToPrompt()).output[inspect.id].inputs,
    };
}"""
SCORE = """async (workflow) => {
    await app.loadGraphData(workflow);
    const of = (type) => app.graph.nodes.find((n) => n.type === type);
    of('KSampler').widgets.find((w) => w.name === 'steps').value = 2;
    const node = of('ControlStackAdherence');
    await app.queuePrompt(0, 1);
    const facts = () => node.widgets.find((w) => w.name === 'facts');
    for (let k = 0; k < 300 && !(facts()?.element.textContent && node.imgs?.length); k++)
        await new Promise((done) => setTimeout(done, 200));
    return {
        text: facts()?.element.textContent ?? '',
        widths: (node.imgs ?? []).map((image) => image.naturalWidth),
        sent: (await app.graphToPrompt()).output[node.id].inputs,
    };
}"""
OPEN = """async (graph) => {
    app.loadGraphData(graph);  // it ends when the list of missing nodes is closed
    await new Promise((done) => setTimeout(done, 1500));
    return app.graph.nodes.map((n) => n.type).filter(
        (type) => !LiteGraph.registered_node_types[type]);
}"""
BOXES = """() => [...document.querySelectorAll('[data-node-id]')]
    .filter((node) => app.graph.getNodeById(node.dataset.nodeId)?.type !== 'MarkdownNote')
    .map((node) => node.getBoundingClientRect()).filter((r) => r.width)
    .map((r) => [r.left, r.top, r.right, r.bottom])"""


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def find_front_end() -> Path | None:
    package = importlib.util.find_spec("comfyui_frontend_package")
    return Path(package.origin).with_name("static") if package and package.origin else None


HOST, CHROMIUM, FRONT_END = hosts.find_host(), find_chromium(), find_front_end()
NEEDED = {
    "ComfyUI": HOST,
    "comfyui-frontend-package": FRONT_END,
    "playwright": importlib.util.find_spec("playwright"),
    "Chromium": CHROMIUM,
}
if MISSING := [name for name, found in NEEDED.items() if not found]:
    pytest.skip(f"browser tests need {' and '.join(MISSING)}", allow_module_level=True)

from playwright.sync_api import Page, sync_playwright  # noqa: E402 (only where it is installed)


def drawn(name: str) -> dict[str, Any]:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the front end, the photos, and an empty file for each model that is named."""
    assert HOST is not None
    assert FRONT_END is not None
    base = tmp_path_factory.mktemp("browser")
    (base / "web").symlink_to(FRONT_END, target_is_directory=True)
    shutil.copytree(WORKFLOWS / "input", base / "input")
    for node in (node for name in NAMES for node in drawn(name)["nodes"]):
        for model in node["properties"].get("models", ()):
            folder = base / "models" / model["directory"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / model["name"]).touch()
    formats.save(ControlNet(TINY), base / "models" / "controlnet" / "tiny.safetensors")
    with serving.serve(HOST, base, {"controlstack": hosts.PACK}) as server:
        yield server.address


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1920, "height": 950})
        page.goto(address, timeout=120_000)
        page.wait_for_function(READY, timeout=180_000)
        page.evaluate("() => app.extensionManager.setting.set('Comfy.TutorialCompleted', true)")
        yield page
        browser.close()


@pytest.fixture(params=["canvas", "nodes-2.0"])
def renderer(page: Page, request: pytest.FixtureRequest) -> str:
    vue = request.param == "nodes-2.0"
    page.evaluate("v => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', v)", vue)
    page.wait_for_timeout(1500)
    return request.param


@pytest.mark.parametrize("name", NAMES)
def test_drawn_graph_gives_its_twin(name: str, renderer: str, page: Page) -> None:
    found = json.loads(page.evaluate(LOAD, drawn(name)))
    assert found["unknown"] == []
    twin = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    assert found["prompt"] == twin
    boxes = page.evaluate(BOXES)  # without the note, which older front ends stretch to its text
    assert bool(boxes) == (renderer == "nodes-2.0")
    for i, (left, top, right, bottom) in enumerate(boxes):
        for box in boxes[:i]:
            assert right <= box[0] or box[2] <= left or bottom <= box[1] or box[3] <= top


def test_stack_grows_a_socket_for_each_item(renderer: str, page: Page) -> None:
    counts = page.evaluate(GROW)
    assert counts == sorted(counts)
    assert counts[-1] == 4, renderer


def test_inspect_shows_its_facts_in_the_node(renderer: str, page: Page) -> None:
    found = page.evaluate(INSPECT)
    assert "base model: SD1.5 (text width 768)" in found["text"], renderer
    assert list(found["sent"]) == ["control_net"]
    assert not found["saved"]


def test_score_shows_number_and_picture_in_the_node(renderer: str, page: Page) -> None:
    found = page.evaluate(SCORE, drawn("playground_two_controls"))
    assert re.fullmatch(r"edge F1: [01]\.\d{3}", found["text"]), renderer
    assert found["widths"] == [128]
    assert {"image", "hint", "preprocessor", "measure"} == found["sent"].keys()


@pytest.mark.parametrize("pack", OLD_NODES)
def test_swap_nodes_brings_links_and_values(pack: str, renderer: str, page: Page) -> None:
    """The list of missing nodes offers ours; after one click the graph is a prompt of ours."""
    missing = page.evaluate(OPEN, old_graph(OLD_NODES[pack]))
    ours = {id: node for id, node in SWAPPED[pack].items() if node[0].startswith("ControlStack")}
    assert missing == [OLD_NODES[pack][id][0] for id in ours], renderer
    page.get_by_role("button", name="View details").click()
    page.get_by_role("button", name="Replace All").click()
    page.wait_for_function(
        "() => app.graph.nodes.every((n) => LiteGraph.registered_node_types[n.type])"
    )
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    found = {
        id: (prompt[str(id)]["class_type"], prompt[str(id)]["inputs"]) for id in SWAPPED[pack]
    }
    assert found == SWAPPED[pack]
    assert len(prompt) == len(OLD_NODES[pack])


def test_template_browser_shows_them(page: Page) -> None:
    page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_role("dialog").get_by_text("controlstack", exact=True).first.click()
    for name in NAMES:
        card = page.get_by_test_id(f"template-workflow-{name}")
        card.scroll_into_view_if_needed()  # pictures are fetched when they come into view
        thumbnail = card.locator("img").first
        thumbnail.wait_for()
        loaded = "image => image.complete && image.naturalWidth === 768"
        page.wait_for_function(loaded, arg=thumbnail.element_handle())
