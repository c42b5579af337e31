"""Draws the thumbnails of the playground's workflows: ComfyUI runs each, and its pictures are set.

`python scripts/thumbnails.py`, inside `.venv`, after the models or the workflows have changed.
"""

from __future__ import annotations

from collections.abc import Callable

from demo_in_host import ROOT, load_graph, shown, start_server
from PIL import Image, ImageDraw, ImageFont

SIZE = (768, 512)
PAPER, INK, FAINT = (23, 25, 31), (255, 255, 255), (196, 200, 208)
CHART = (118, 84, 878, 570)
"""Curve and map in the picture of Preview Control Spec, without its labels."""

Pictures = dict[str, Image.Image]


def main() -> None:
    """Runs the workflows on one server and writes a JPEG beside each."""
    with start_server() as server:
        for name, compose in THUMBNAILS.items():
            graph = load_graph(name)
            page = compose(shown(server, graph, server.run(graph)))
            path = ROOT / "workflows" / f"{name}.jpg"
            page.save(path, quality=88, optimize=True)
            print(f"wrote {path}")


def two_controls(pictures: Pictures) -> Image.Image:
    """Scene, the two hints one above the other, picture."""
    page = _page("Two controls, tiny models", "edges + depth, summed: nothing to download")
    _set(page, pictures["The scene"], (16, 58, 288, 288))
    _set(page, pictures["First hint: edges"], (316, 58, 136, 136))
    _set(page, pictures["Second hint: depth"], (316, 210, 136, 136))
    _set(page, pictures["The picture"], (464, 58, 288, 288))
    return page


def ranges(pictures: Pictures) -> Image.Image:
    """Hint, picture without and with control, and the strength under them."""
    page = _page("A strength that changes", "the hint, the seed without control, and with it")
    row = ("The hint: edges", "The same seed without control", "With control")
    for column, title in enumerate(row):
        _set(page, pictures[title], (16 + 248 * column, 20, 240, 240))
    chart = pictures["Preview Control Spec"].crop(CHART)
    _set(page, chart, (16, 268, 736, 112))
    return page


THUMBNAILS: dict[str, Callable[[Pictures], Image.Image]] = {
    "playground_two_controls": two_controls,
    "playground_ranges": ranges,
}


def _page(title: str, about: str) -> Image.Image:
    page = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((28, 408), title, INK, ImageFont.load_default(38), stroke_width=0.4)
    draw.text((28, 460), about, FAINT, ImageFont.load_default(20))
    return page


def _set(page: Image.Image, picture: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Puts `picture` at left, top, width, height."""
    left, top, *size = box
    resized = picture.convert("RGB").resize((size[0], size[1]), Image.Resampling.BICUBIC)
    page.paste(resized, (left, top))


if __name__ == "__main__":
    main()
