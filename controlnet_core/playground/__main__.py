"""ControlNets at work, without ComfyUI and without a download: one command, one sheet.

A scene is drawn, its edges and its depth are read from the picture, and the playground's own
models paint another prompt that follows them: alone, summed, with strengths from 0 to 2, and over
parts of the sampling.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from ...preprocessors import PREPROCESSORS
from ..control import ControlSpec, Window
from ..sheet import Panel, save_sheet
from .drawing import draw
from .family import CONTROLS, NOISE, SCALE, Family, load_family
from .sampling import control_session, sample
from .scenes import SIZE, random_scene
from .words import VOCABULARY, strange_words

Plan = tuple[str, dict[str, ControlSpec]]
"""A caption, and how strongly which controls act."""
STRENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0)
WINDOWS = ((0.0, 0.2), (0.0, 0.4), (0.0, 0.7), (0.3, 1.0), (0.6, 1.0))
COLUMNS = 5


def main() -> None:
    """Reads the options, paints, writes the sheet."""
    options = _options()
    torch.set_num_threads(1)  # nets so small are three times as fast without company
    if strange := strange_words(options.prompt):
        known = " ".join(VOCABULARY[3:])
        print(f"the playground does not know {', '.join(strange)}; it knows: {known}")
    family = load_family()
    with torch.inference_mode():
        picture = _read(options.photo) if options.photo else _scene(options.scene)
        hints = _hints(family, picture)
        panels = list(_panels(family, picture, hints, options))
    save_sheet(options.out, panels, columns=COLUMNS, width=208)
    print(f"wrote {options.out}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("controlstack.controlnet_core.playground", description=__doc__)
    parser.add_argument("photo", nargs="?", type=Path, help="a picture file instead of a scene")
    parser.add_argument("-o", "--out", type=Path, default=Path("controlstack.png"), help="a sheet")
    parser.add_argument(
        "--prompt", help="what to paint, in the playground's few words",
        default="a white star and a red ball on a striped green ground",
    )  # fmt: skip
    parser.add_argument("--scene", default="held out 17", help="seed of the scene")
    parser.add_argument("--steps", type=int, default=20, help="steps of the sampler")
    parser.add_argument("--cfg", type=float, default=4.0, help="strength of the prompt")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise")
    return parser.parse_args()


def _scene(seed: str) -> Tensor:
    return draw(random_scene(seed)).picture[None]


def _read(path: Path) -> Tensor:
    """The photo (1 3 H W), its longest side 128 pixels, sides multiples of a latent cell."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    scale = SIZE / max(image.size)
    width, height = (max(1, round(edge * scale / SCALE)) * SCALE for edge in image.size)
    return Panel.of(image.resize((width, height), Image.Resampling.LANCZOS), "photo").picture


def _hints(family: Family, picture: Tensor) -> dict[str, Tensor]:
    return {
        "edges": PREPROCESSORS["canny"](picture),
        "depth": family.annotator.depth(picture),
        "labels": family.annotator.labels(picture),
    }


def _panels(
    family: Family, picture: Tensor, hints: dict[str, Tensor], options: argparse.Namespace
) -> Iterator[Panel]:
    """The sheet's panels, row by row."""
    yield Panel(picture, "the picture that gives the hints")
    yield from (Panel(hints[kind], kind) for kind in CONTROLS)
    plans = list(_plans())
    for caption, specs in tqdm(plans, desc="painting", unit="picture"):
        yield Panel(_paint(family, hints, specs, options), caption)


def _plans() -> Iterator[Plan]:
    yield "no control", {}
    yield from ((kind, {kind: ControlSpec()}) for kind in CONTROLS)
    yield "edges 0.6 + depth 0.6", {"edges": ControlSpec(0.6), "depth": ControlSpec(0.6)}
    yield "labels + depth", {"labels": ControlSpec(), "depth": ControlSpec()}
    for strength in STRENGTHS:
        yield f"edges, strength {strength:g}", {"edges": ControlSpec(strength)}
    for start, end in WINDOWS:
        spec = ControlSpec(1.0, Window(start, end))
        yield f"edges from {start:.0%} to {end:.0%}", {"edges": spec}


def _paint(
    family: Family,
    hints: dict[str, Tensor],
    specs: dict[str, ControlSpec],
    options: argparse.Namespace,
) -> Tensor:
    """One picture (1 3 H W); the same noise and text for every plan."""
    cells = tuple(edge // SCALE for edge in hints["edges"].shape[-2:])
    noise = torch.randn(1, 4, *cells, generator=torch.Generator().manual_seed(options.seed))
    controls = [
        control_session(family.controls[kind], hints[kind], spec, noise=NOISE)
        for kind, spec in specs.items()
    ]
    latent = sample(
        family.unet, noise, family.read([options.prompt]), family.read([""]),
        steps=options.steps, cfg=options.cfg, noise=NOISE, controls=controls,
    )  # fmt: skip
    return family.vae.decode(latent)


if __name__ == "__main__":
    main()
