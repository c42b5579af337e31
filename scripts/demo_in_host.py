"""The main job in the real ComfyUI: its server runs a workflow of this pack on a photo.

`scripts/demo` calls this where it finds a host. The checkpoint and the ControlNets are small ones
with random weights, made on the spot, so nothing is downloaded and a CPU is enough.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "host")]

import conftest  # noqa: E402, F401  # loads the pack as `controlstack`
import serving  # noqa: E402  # the real server and a client for it, as the tests use them
from PIL import Image, ImageOps  # noqa: E402
from tqdm import tqdm  # noqa: E402

from controlstack.controlnet_core import formats  # noqa: E402
from controlstack.controlnet_core.nets import SD15, ControlNet  # noqa: E402
from controlstack.controlnet_core.playground.family import randomised  # noqa: E402
from controlstack.controlnet_core.sheet import Panel, save_sheet  # noqa: E402

WORKFLOW = ROOT / "workflows" / "api" / "two_nets_summed.json"
PHOTO = ROOT / "workflows" / "input" / "coffee.jpg"
TINY = {
    "channel_mult": (1, 2), "num_res_blocks": (1, 1), "transformer_depth": (1, 1),
    "model_channels": 64, "num_heads": None, "num_head_channels": 64,
}  # fmt: skip


def main() -> None:
    """Starts the server, runs the workflow, writes the picture."""
    options = _options()
    packs = {"controlstack": ROOT, "tiny_nodes": ROOT / "tests" / "host" / "tiny_nodes"}
    with tempfile.TemporaryDirectory() as base, tqdm(total=0, bar_format="{desc}") as line:
        line.set_description_str("starting ComfyUI's server")
        with serving.serve(Path(os.environ["COMFYUI_PATH"]), Path(base), packs) as server:
            graph = _graph(Path(base), options)
            line.set_description_str(f"running {WORKFLOW.name} on {options.photo.name}")
            history = server.run(graph, on_progress=_Bar(options.steps))
            shown = [entry for out in history["outputs"].values() for entry in out["images"]]
            hints = [server.image(entry) for entry in shown if entry["type"] == "temp"]
            (picture,) = (server.image(entry) for entry in shown if entry["type"] == "output")
    pictures = [Image.open(options.photo), *hints, picture]
    captions = ["photo", *(f"hint {number}" for number, _ in enumerate(hints, 1)), "picture"]
    save_sheet(options.out, list(map(Panel.of, pictures, captions)), columns=len(pictures))
    print(
        f"wrote {options.out}: from a real server, over HTTP, with two ControlNets summed. The "
        "models are small and their weights random: this shows that the chain runs, not what it "
        "can paint."
    )


def _graph(base: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The workflow with a tiny checkpoint, random nets and the photo in their places."""
    graph: dict[str, Any] = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    for seed, node in enumerate(graph.values()):
        inputs = node["inputs"]
        match node["class_type"]:
            case "CheckpointLoaderSimple":
                node |= {"class_type": "TinyCheckpoint", "inputs": {"layout": "SD15"}}
            case "ControlStackLoad":
                _save_net(base / "models" / "controlnet" / inputs["control_net_name"], seed)
            case "LoadImage":
                photo = ImageOps.exif_transpose(Image.open(options.photo)).convert("RGB")
                photo.save(base / "input" / "photo.png")
                inputs["image"] = "photo.png"
            case "EmptyLatentImage":
                inputs |= {"width": options.size, "height": options.size}
            case "KSampler":
                inputs["steps"] = options.steps
            case _:
                pass
    return graph


def _save_net(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    formats.save(randomised(ControlNet(SD15.like(**TINY)), seed=seed), path)


class _Bar:
    """A progress bar that follows the sampler's steps."""

    def __init__(self, steps: int) -> None:
        self._bar = tqdm(total=steps, unit="step", desc="sampling")

    def __call__(self, value: int, total: int) -> None:
        if total == self._bar.total:
            self._bar.update(value - self._bar.n)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/demo", description=__doc__)
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO, help="a picture file")
    parser.add_argument("-o", "--out", type=Path, default=Path("controlstack.png"))
    parser.add_argument("--size", type=int, default=256, help="side of the picture in pixels")
    parser.add_argument("--steps", type=int, default=8, help="steps of the sampler")
    return parser.parse_args()


if __name__ == "__main__":
    main()
