"""A training in the host whose net follows: four scenes, learned by heart in two minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from einops import rearrange
from nets import sample
from PIL import Image
from torch import Tensor

from controlstack.controlnet_core.playground.drawing import draw
from controlstack.controlnet_core.playground.scenes import random_scene
from controlstack.controlnet_core.training.adherence import MEASURES
from controlstack.nodes import train as node
from controlstack.nodes.apply import Apply
from controlstack.nodes.playground import Playground
from controlstack.nodes.train import Train
from controlstack.preprocessors import PREPROCESSORS

SCENES = 4


@pytest.fixture
def pictures(tmp_path: Path) -> Tensor:
    """IMAGE of the playground's scenes, which also lie in `tmp_path` with their captions."""
    scenes = [random_scene(seed) for seed in range(SCENES)]
    drawn = torch.stack([rearrange(draw(s).picture, "c h w -> h w c") for s in scenes])
    for index, (scene, picture) in enumerate(zip(scenes, drawn, strict=True)):
        path = tmp_path / f"{index}.png"
        Image.fromarray((picture * 255).round().byte().numpy()).save(path)
        path.with_suffix(".txt").write_text(scene.caption)
    return drawn


def test_a_trained_net_follows_where_the_model_alone_does_not(
    tmp_path: Path, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any prompt, so that all it knows of the scenes comes through the hints."""
    paint = node.paint
    monkeypatch.setattr(node, "paint", lambda *inputs: paint(*inputs, steps=2))
    hints = PREPROCESSORS["canny"](rearrange(pictures, "b h w c -> b c h w"))
    with torch.inference_mode():
        model, clip, vae = Playground.execute().args
        control, *_ = Train.execute(
            model, clip, vae, data=str(tmp_path), name="follows", hint="canny", steps=360,
            learning_rate=1.5e-3, batch=4, accumulate=1, resolution=128, empty_share=0.5,
            measure="edges", preview_every=999, precision="bf16", checkpointing=False, warmup=1,
            average=0.0, flip=False, rank=0, layout="ldm", seed=0, lenient=False,
        ).args  # fmt: skip
        empty = clip.encode_from_tokens_scheduled(clip.tokenize(""))

        def adherence(strength: float) -> float:
            conds = Apply.execute(
                positive=empty, negative=empty, control_net=control, strength=strength,
                image=rearrange(hints, "b c h w -> b h w c"), start_percent=0.0, end_percent=1.0,
            ).args  # fmt: skip
            latents = sample(model, *conds, batch=SCENES, cfg=4.0, size=(16, 16), steps=12)
            painted = rearrange(vae.decode(latents), "b h w c -> b c h w")
            return float(MEASURES["edges"](hints, PREPROCESSORS["canny"](painted)).mean())

        without, followed = adherence(0.0), adherence(1.0)
    assert followed > without + 0.2, (without, followed)
