"""The playground in the host: its own classes compute what our core computes, from our files."""

from __future__ import annotations

from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from einops import rearrange

from controlstack.controlnet_core.control import ControlSpec
from controlstack.controlnet_core.playground.family import NOISE, Family, load_family
from controlstack.controlnet_core.playground.sampling import control_session, sample
from controlstack.controlnet_core.playground.scenes import random_scene
from controlstack.nodes.apply import Apply
from controlstack.nodes.load import load_control
from controlstack.nodes.playground import Playground, PlaygroundScene, show_controls

PROMPTS = ("a red ball left of a blue star on a striped green ground", "", "a cat")


@pytest.fixture(scope="module")
def family() -> Family:
    return load_family()


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any, Any]:
    with torch.inference_mode():
        return Playground.execute().args


def encoded(clip: Any, prompt: str) -> list[Any]:
    with torch.inference_mode():
        return clip.encode_from_tokens_scheduled(clip.tokenize(prompt))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_text_is_ours(family: Family, loaded: tuple[Any, Any, Any], prompt: str) -> None:
    theirs = encoded(loaded[1], prompt)[0][0]
    torch.testing.assert_close(theirs, family.read([prompt]), rtol=1e-4, atol=1e-5)


def test_a_word_may_weigh_more(loaded: tuple[Any, Any, Any]) -> None:
    plain, heavy = (encoded(loaded[1], text)[0][0] for text in ("red ball", "(red:1.5) ball"))
    assert plain.shape == heavy.shape
    assert (plain - heavy).abs().max() > 1e-3


def test_vae_is_ours(family: Family, loaded: tuple[Any, Any, Any]) -> None:
    picture = PlaygroundScene.execute(seed=5).args[0]
    with torch.inference_mode():
        theirs = loaded[2].encode(picture)
        ours = family.vae.encode(rearrange(picture, "b h w c -> b c h w"))
        inner = loaded[0].model.process_latent_in(theirs)
        again = rearrange(loaded[2].decode(theirs), "b h w c -> b c h w")
        expected = family.vae.decode(ours)
    torch.testing.assert_close(inner, ours, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(again, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kinds", [(), ("edges",), ("edges", "depth")], ids=str)
def test_host_paints_what_the_core_paints(
    family: Family, loaded: tuple[Any, Any, Any], kinds: tuple[str, ...]
) -> None:
    """Same weights, sigmas, noise and hints: the host's sampler with our nodes, and our own."""
    show_controls()
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    positive, negative = encoded(loaded[1], PROMPTS[0]), encoded(loaded[1], "")
    scene = dict(zip(("edges", "depth"), PlaygroundScene.execute(seed=7).args[2:4], strict=True))
    for kind in kinds:
        control = load_control(f"playground_{kind}.safetensors")
        positive, negative, *_ = Apply.execute(
            positive=positive, negative=negative, control_net=control, image=scene[kind],
            strength=0.8, start_percent=0.0, end_percent=1.0,
        ).args  # fmt: skip
    sigmas = torch.tensor(NOISE.steps(4))
    with torch.inference_mode():
        theirs = comfy.sample.sample_custom(
            loaded[0], noise, 4.0, comfy.samplers.sampler_object("euler"), sigmas, positive,
            negative, torch.zeros_like(noise), disable_pbar=True, seed=0,
        )  # fmt: skip
        ours = sample(
            family.unet, noise, family.read([PROMPTS[0]]), family.read([""]), steps=4, cfg=4.0,
            noise=NOISE, controls=[
                control_session(
                    family.controls[kind], rearrange(scene[kind], "b h w c -> b c h w"),
                    ControlSpec(0.8), noise=NOISE,
                )
                for kind in kinds
            ],
        )  # fmt: skip
    inner = loaded[0].model.process_latent_in(theirs)
    assert float((inner - ours).norm() / ours.norm()) < 1e-3


def test_scene_node_gives_the_scene() -> None:
    picture, caption, outlines, depth, labels = PlaygroundScene.execute(seed=3).args
    assert caption == random_scene(3).caption
    assert all(x.shape == (1, 128, 128, 3) for x in (picture, outlines, depth, labels))
    assert all(0.0 <= float(x.min()) <= float(x.max()) <= 1.0 for x in (picture, depth, labels))
    assert set(outlines.unique().tolist()) == {0.0, 1.0}
