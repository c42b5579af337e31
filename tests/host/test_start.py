"""The pack in the real server: it loads, lists its nodes, and a picture comes out of a graph."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import comfy.sample
import hosts
import numpy as np
import pytest
import torch
from PIL import Image
from serving import GraphError, Server
from tiny_nodes import LAYOUTS, TinyPictures, TinyText, tiny_model


def text_to_image(*, seed: int = 1, layout: str = "SD15", size: int = 64) -> dict[str, Any]:
    """The smallest graph that ends in a picture file, in API format."""

    def node(class_type: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}

    return {
        "1": node("TinyCheckpoint", layout=layout),
        "2": node("CLIPTextEncode", clip=["1", 1], text="a red house"),
        "3": node("CLIPTextEncode", clip=["1", 1], text=""),
        "4": node("EmptyLatentImage", width=size, height=size, batch_size=1),
        "5": node(
            "KSampler",
            model=["1", 0],
            positive=["2", 0],
            negative=["3", 0],
            latent_image=["4", 0],
            seed=seed,
            steps=3,
            cfg=4.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": node("SaveImage", images=["6", 0], filename_prefix="start"),
    }


def test_server_loads_the_pack(server: Server) -> None:
    failed = r".*(?:IMPORT FAILED\).*custom_nodes|calling comfy_entrypoint|left out).*"
    assert re.findall(failed, server.log) == []
    assert [name for name in server.get("/object_info") if name.startswith("ControlStack")]


def test_server_paints_and_gives_the_picture_back(server: Server) -> None:
    entry = server.run(text_to_image())["outputs"]["7"]["images"][0]
    picture = np.asarray(server.image(entry))
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 10
    assert (server.base / "output" / entry["filename"]).is_file()


def test_server_names_the_node_that_is_refused(server: Server) -> None:
    graph = text_to_image()
    graph["5"]["inputs"]["steps"] = 0
    with pytest.raises(GraphError, match="value_smaller_than_min"):
        server.run(graph)


def test_both_ways_paint_the_same_picture(
    server: Server, run_graph: Callable[..., dict[str, Any]], host: hosts.Host
) -> None:
    there = server.run(text_to_image(seed=2))["outputs"]["7"]["images"][0]
    here = run_graph(text_to_image(seed=2))["7"]["images"][0]
    with Image.open(host.base / "output" / here["filename"]) as picture:
        assert np.array_equal(picture, server.image(there))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiny_model_follows_text_and_seed(layout: str, host: hosts.Host) -> None:
    def sample(text: str, seed: int) -> torch.Tensor:
        clip = TinyText(LAYOUTS[layout]["context_dim"])
        conds = [clip.encode_from_tokens_scheduled(clip.tokenize(t)) for t in (text, "")]
        noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        model, empty = tiny_model(layout, seed=seed), torch.zeros(1, 4, 8, 8)
        return comfy.sample.sample(
            model, noise, 2, 4.0, "euler", "normal", *conds, empty, disable_pbar=True, seed=0
        )

    plain = sample("a red house", 0)
    assert torch.equal(plain, sample("a red house", 0))
    assert (plain - sample("a blue dog", 0)).abs().max() > 1e-2
    assert (plain - sample("a red house", 1)).abs().max() > 1e-2


def test_tiny_pictures_decode_what_they_encoded() -> None:
    squares = torch.rand(2, 3, 5, 3, generator=torch.Generator().manual_seed(0))
    pixels = squares.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    coder = TinyPictures()
    torch.testing.assert_close(coder.decode(coder.encode(pixels)), pixels)
