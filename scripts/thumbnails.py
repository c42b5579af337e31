"""Draws the thumbnails of the playground's workflows: ComfyUI runs each, and its pictures are set.

`python scripts/thumbnails.py`, inside `.venv`, after the models or the workflows have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from demo_in_host import ROOT, load_graph, start_server
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from serving import Server

SIZE = (768, 512)
PAPER, INK, FAINT = (23, 25, 31), (255, 255, 255), (196, 200, 208)
CHART = (118, 84, 878, 570)
"""Curve and map in the picture of Preview Control Spec, without its labels."""
GAP = 4
"""Pixels between the pictures of a batch."""

Pictures = dict[str, Image.Image]


def main() -> None:
    """Runs the workflows on one server and writes a JPEG beside each."""
    with start_server() as server:
        for name, compose in THUMBNAILS.items():
            graph = load_graph(name)
            page = compose(shown(server, graph, server.run(graph)["outputs"]))
            path = ROOT / "workflows" / f"{name}.jpg"
            page.save(path, quality=88, optimize=True)
            print(f"wrote {path}")


def shown(server: Server, graph: dict[str, Any], outputs: dict[str, Any]) -> Pictures:
    """What each node shows, by the node's title; the pictures of a batch side by side."""
    return {
        node["_meta"]["title"]: _strip([server.image(entry) for entry in outputs[number]["images"]])
        for number, node in graph.items()
        if outputs.get(number, {}).get("images")
    }


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
    row = ("The hint: edges", "The same seed without control", "With control")
    return _charted(
        pictures, row, "A strength that changes",
        "the hint, the seed without control, and with it",
    )  # fmt: skip


def keyframes(pictures: Pictures) -> Image.Image:
    """Scene, hint, picture, and what the keyframes do under them."""
    row = ("The scene", "The hint: edges", "The picture")
    return _charted(pictures, row, "Keyframes", "strength and layer weights that change on the way")


def batch(pictures: Pictures) -> Image.Image:
    """Scene, hint and the last picture of the batch; all of them under these."""
    page = _page("A strength for each picture", "six of one seed, from no control to a strong one")
    painted = pictures["The six pictures"]
    size = painted.height
    last = painted.crop((painted.width - size, 0, painted.width, size))
    _set_rows(page, [pictures["The scene"], pictures["The hint: depth"], last], painted)
    return page


def layers(pictures: Pictures) -> Image.Image:
    """Scene, first hint, picture, and the weight of each block under them."""
    row = ("The scene", "First hint: edges", "The picture")
    return _charted(pictures, row, "Layer weights", "edges lead by the deep blocks, depth by all")


THUMBNAILS: dict[str, Callable[[Pictures], Image.Image]] = {
    "playground_two_controls": two_controls,
    "playground_ranges": ranges,
    "playground_keyframes": keyframes,
    "playground_pictures": batch,
    "playground_layers": layers,
}


def _page(title: str, about: str) -> Image.Image:
    page = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((28, 408), title, INK, ImageFont.load_default(38), stroke_width=0.4)
    draw.text((28, 460), about, FAINT, ImageFont.load_default(20))
    return page


def _set_rows(page: Image.Image, row: list[Image.Image], under: Image.Image) -> None:
    """Puts three pictures beside each other, and one of the whole width under them."""
    for column, picture in enumerate(row):
        _set(page, picture, (16 + 248 * column, 20, 240, 240))
    _set(page, under, (16, 268, 736, 122))


def _charted(pictures: Pictures, row: tuple[str, ...], title: str, about: str) -> Image.Image:
    """The pictures of these titles, and under them the curve and map of Preview Control Spec."""
    page = _page(title, about)
    chart = pictures["Preview Control Spec"].crop(CHART)
    _set_rows(page, [pictures[name] for name in row], chart)
    return page


def _strip(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size side by side."""
    width, height = pictures[0].size
    strip = Image.new("RGB", ((width + GAP) * len(pictures) - GAP, height), PAPER)
    for column, picture in enumerate(pictures):
        strip.paste(picture, ((width + GAP) * column, 0))
    return strip


def _set(page: Image.Image, picture: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Puts `picture` at left, top, width, height."""
    left, top, *size = box
    resized = picture.convert("RGB").resize((size[0], size[1]), Image.Resampling.BICUBIC)
    page.paste(resized, (left, top))


if __name__ == "__main__":
    main()
