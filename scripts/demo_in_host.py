"""The main job in the real ComfyUI: its server runs a workflow of this pack, as it is.

`scripts/demo --in-comfyui` calls this. The models come with the pack, so nothing is downloaded and
a CPU is enough.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "host")]

import conftest  # noqa: E402, F401  # loads the pack as `controlstack`
import hosts  # noqa: E402  # finds ComfyUI, as the tests do
import serving  # noqa: E402  # the real server and a client for it, as the tests use them
from PIL import Image  # noqa: E402
from tqdm import tqdm  # noqa: E402

from controlstack.controlnet_core.sheet import Panel, save_sheet  # noqa: E402

WORKFLOW = "playground_two_controls"


def main() -> None:
    """Starts the server, runs the workflow, writes a sheet of everything that it shows."""
    options = _options()
    graph = load_graph(WORKFLOW)
    _change(graph, options)
    with tqdm(total=0, bar_format="{desc}") as line:
        line.set_description_str("starting ComfyUI's server")
        with start_server() as server:
            line.set_description_str(f"running {WORKFLOW}.json")
            history = server.run(graph, on_progress=_Bar(options.steps))
            pictures = shown(server, graph, history)
    panels = [Panel.of(picture, title) for title, picture in pictures.items()]
    save_sheet(options.out, panels, columns=len(panels), width=192)
    scores = [text for out in history["outputs"].values() for text in out.get("text", ())]
    print(f"wrote {options.out}: painted by a real server, over HTTP; {', '.join(scores)}")


def load_graph(name: str) -> dict[str, Any]:
    """An example workflow in the format that the server takes."""
    path = ROOT / "workflows" / "api" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def start_server() -> Iterator[serving.Server]:
    """ComfyUI's server with this pack alone, in folders that are gone afterwards."""
    host = hosts.find_host()
    if host is None:
        sys.exit("No ComfyUI found. Set COMFYUI_PATH to yours, or run scripts/demo without it.")
    with (
        tempfile.TemporaryDirectory() as base,
        serving.serve(host, Path(base), {"controlstack": ROOT}) as server,
    ):
        yield server


def shown(
    server: serving.Server, graph: dict[str, Any], history: dict[str, Any]
) -> dict[str, Image.Image]:
    """The first picture of each node that shows one, by the node's title, in the graph's order."""
    outputs = history["outputs"]
    return {
        node["_meta"]["title"]: server.image(outputs[number]["images"][0])
        for number, node in graph.items()
        if outputs.get(number, {}).get("images")
    }


def _change(graph: dict[str, Any], options: argparse.Namespace) -> None:
    for node in graph.values():
        match node["class_type"]:
            case "CLIPTextEncode" if options.prompt and node["inputs"]["text"]:
                node["inputs"]["text"] = options.prompt
            case "ControlStackPlaygroundScene" if options.scene is not None:
                node["inputs"]["seed"] = options.scene
            case "KSampler":
                node["inputs"]["steps"] = options.steps
            case _:
                pass


class _Bar:
    """A progress bar that follows the sampler's steps."""

    def __init__(self, steps: int) -> None:
        self._bar = tqdm(total=steps, unit="step", desc="sampling")

    def __call__(self, value: int, total: int) -> None:
        if total == self._bar.total:
            self._bar.update(value - self._bar.n)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/demo --in-comfyui", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("controlstack.png"), help="a sheet")
    parser.add_argument("--prompt", help="what to paint; the workflow's own prompt without it")
    parser.add_argument("--scene", type=int, help="seed of another scene")
    parser.add_argument("--steps", type=int, default=20, help="steps of the sampler")
    return parser.parse_args()


if __name__ == "__main__":
    main()
