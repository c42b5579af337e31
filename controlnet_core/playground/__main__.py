"""The main job without ComfyUI: `python -m controlstack.controlnet_core.playground photo.jpg`.

A photo goes through two preprocessors, two ControlNets follow the hints, alone and summed, and a
sheet of pictures comes out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from ...preprocessors import PREPROCESSORS
from ..control import ControlSpec, Soft, Window
from .family import SCALE, Family, encode, paint, random_family, random_text
from .noise import Noise
from .sampling import Session, control_session, sample
from .sheet import Panel, as_image, save_sheet

PHOTO = Path(__file__).parents[2] / "workflows" / "input" / "coffee.jpg"


def main() -> None:
    """Reads the options, runs the chain, writes the picture and the sheet."""
    options = _options()
    torch.manual_seed(options.seed)
    photo = _read(options.photo, options.size)
    hints = {
        "edges": PREPROCESSORS["canny"](photo),
        "blurred": PREPROCESSORS["blur"](photo, sigma=6.0),
    }
    family, noise = random_family(seed=options.seed), Noise()

    def control(kind: str, spec: ControlSpec) -> Session:
        net = family.edges if kind == "edges" else family.tile
        return control_session(net, hints[kind], spec, noise=noise)

    early = ControlSpec(0.6, Window(0.0, 0.7), Soft())
    runs: dict[str, list[Session]] = {
        "no control": [],
        "edges 0.8": [control("edges", ControlSpec(0.8))],
        "edges 0.8 + blurred 0.6 to 70 %": [
            control("edges", ControlSpec(0.8)), control("blurred", early),
        ],
    }  # fmt: skip
    print(
        "This sheet shows that the chain runs, not what it can paint: the playground's models are "
        "small and not trained yet, their weights are random."
    )
    painted = {
        name: _paint(photo, sessions, options, family, name) for name, sessions in runs.items()
    }
    plain, edges, both = painted.values()
    save_sheet(options.out, [
        Panel(photo, "photo"), *(Panel(hint, name) for name, hint in hints.items()),
        *(Panel(picture, name) for name, picture in painted.items()),
        Panel(_change(plain, plain), "what no control changes"),
        Panel(_change(plain, edges), "what the edges change"),
        Panel(_change(plain, both), "what both change"),
    ])  # fmt: skip
    picture = options.out.with_stem(options.out.stem + "-picture")
    as_image(both).save(picture)
    print(f"wrote {options.out} and {picture}")


def _change(before: Tensor, after: Tensor) -> Tensor:
    """Where two pictures differ, the largest difference white."""
    difference = (after - before).abs().mean(dim=1, keepdim=True)
    return (difference / difference.amax().clamp(min=1e-6)).expand(-1, 3, -1, -1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("controlstack.controlnet_core.playground", description=__doc__)
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO, help="a picture file")
    parser.add_argument("-o", "--out", type=Path, default=Path("controlstack.png"), help="a sheet")
    parser.add_argument("--prompt", default="a cup of coffee", help="what the picture shows")
    parser.add_argument("--size", type=int, default=256, help="longest side in pixels")
    parser.add_argument("--steps", type=int, default=12, help="steps of the sampler")
    parser.add_argument("--seed", type=int, default=0, help="seed of noise and weights")
    return parser.parse_args()


def _read(path: Path, size: int) -> Tensor:
    """The photo (1 3 H W), its longest side `size` pixels, sides multiples of a latent cell."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    scale = size / max(image.size)
    width, height = (max(1, round(edge * scale / SCALE)) * SCALE for edge in image.size)
    return Panel.of(image.resize((width, height), Image.Resampling.LANCZOS), "photo").picture


def _paint(
    photo: Tensor, controls: list[Session], options: argparse.Namespace, family: Family, name: str
) -> Tensor:
    """One picture; the same noise and text for every set of controls."""
    start = torch.randn(encode(photo).shape, generator=torch.Generator().manual_seed(options.seed))
    with tqdm(total=options.steps, desc=f"{name:32}", unit="step") as bar, torch.inference_mode():
        latent = sample(
            family.unet, start, random_text(options.prompt), random_text(""), steps=options.steps,
            cfg=2.0, controls=controls, on_step=lambda done, _: bar.update(done - bar.n),
        )
    return paint(latent / latent.abs().amax())


if __name__ == "__main__":
    main()
