"""Bases from diffusers: our UNet, latents and text are the pipeline's own. Nothing is downloaded:
tiny pipelines of random weights are written to the disk."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.training.base import Base
from controlstack.controlnet_core.training.pipelines import pipeline_base

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

PROMPTS = ["a red ball", "two boxes"]


def clip_config(width: int, projection: int | None = None) -> Any:
    return transformers.CLIPTextConfig(
        hidden_size=width, intermediate_size=16, num_attention_heads=2, num_hidden_layers=2,
        vocab_size=len(_vocabulary()), max_position_embeddings=77, projection_dim=projection or 8,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip


def _vocabulary() -> dict[str, int]:
    letters = [chr(c) for c in range(97, 123)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    return {token: number for number, token in enumerate(tokens)}


def tokenizer(folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(_vocabulary()))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=77
    )


def parts(folder: Path, **scheduler: Any) -> dict[str, Any]:
    return {
        "vae": diffusers.AutoencoderKL(
            block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4,
        ),
        "tokenizer": tokenizer(folder / "words"),
        "scheduler": diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012,
            **{"beta_schedule": "scaled_linear", **scheduler},
        ),
    }  # fmt: skip


UNET: dict[str, Any] = {
    "block_out_channels": (32, 64), "layers_per_block": 1, "attention_head_dim": 8,
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "sample_size": 8,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
}  # fmt: skip


def sd15(folder: Path, **scheduler: Any) -> Path:
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        **UNET | {"cross_attention_dim": 16}
    )
    pipe = diffusers.StableDiffusionPipeline(
        unet=unet, text_encoder=transformers.CLIPTextModel(clip_config(16)), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False, **parts(folder, **scheduler),
    )  # fmt: skip
    pipe.save_pretrained(folder / "model")
    return folder / "model"


def sdxl(folder: Path) -> Path:
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        **UNET | {
            "cross_attention_dim": 24, "attention_head_dim": (1, 1), "use_linear_projection": True,
            "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 6 * 256 + 8,
        }
    )  # fmt: skip
    second = transformers.CLIPTextModelWithProjection(clip_config(8, 8))
    pipe = diffusers.StableDiffusionXLPipeline(
        unet=unet, text_encoder=transformers.CLIPTextModel(clip_config(16)), text_encoder_2=second,
        tokenizer_2=tokenizer(folder / "words"), add_watermarker=False, **parts(folder),
    )  # fmt: skip
    pipe.save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The base of a saved pipeline, and the pipeline itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own deprecations
        place = {"sd15": sd15, "sdxl": sdxl}[request.param](tmp_path_factory.mktemp("base"))
        return pipeline_base(str(place)), diffusers.DiffusionPipeline.from_pretrained(str(place))


def test_unet_and_text_are_the_pipelines(both: tuple[Base, Any]) -> None:
    base, pipe = both
    text = base.read(PROMPTS, (64, 96))
    x = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    encoded = pipe.encode_prompt(
        PROMPTS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    torch.testing.assert_close(text.context, encoded[0], rtol=1e-5, atol=1e-5)
    added = None
    if text.y is not None:
        ids = torch.tensor([[64, 96, 0, 0, 64, 96]] * 2, dtype=torch.float32)
        added = {"text_embeds": encoded[2], "time_ids": ids}
    with torch.no_grad():
        ours = base.unet(x, torch.tensor([7.0, 500.0]), text.context, text.y)
        theirs = pipe.unet(x, torch.tensor([7, 500]), encoded[0], added_cond_kwargs=added).sample
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not any(p.requires_grad for p in base.unet.parameters())


def test_latents_are_the_pipelines(both: tuple[Base, Any]) -> None:
    base, pipe = both
    picture = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    latent = base.encode(picture)
    with torch.no_grad():
        scale = pipe.vae.config.scaling_factor
        theirs = pipe.vae.encode(picture * 2 - 1).latent_dist.mode() * scale
        again = pipe.vae.decode(theirs / scale).sample / 2 + 0.5
    torch.testing.assert_close(latent, theirs)
    torch.testing.assert_close(base.decode(latent), again.clamp(0, 1))
    assert not latent.requires_grad


def test_noise_is_the_schedulers(both: tuple[Base, Any]) -> None:
    base, pipe = both
    latent, unit = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    when = torch.tensor([400])
    theirs = pipe.scheduler.add_noise(latent, unit, when)
    torch.testing.assert_close(base.noise.noised(latent, unit, when), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_scheduler_tells_what_is_predicted(tmp_path: Path) -> None:
    base = pipeline_base(str(sd15(tmp_path / "v", prediction_type="v_prediction")))
    scheduler = diffusers.DDIMScheduler.from_pretrained(tmp_path / "v" / "model" / "scheduler")
    latent, unit = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    when = torch.tensor([400])
    torch.testing.assert_close(
        base.noise.target(latent, unit, when), scheduler.get_velocity(latent, unit, when),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    with pytest.raises(ControlInputError, match=r"CN-T03.*sample"):
        pipeline_base(str(sd15(tmp_path / "x0", prediction_type="sample")))
    with pytest.raises(ControlInputError, match=r"CN-T03.*linear"):
        pipeline_base(str(sd15(tmp_path / "linear", beta_schedule="linear")))


def test_nothing_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ControlInputError, match="CN-T04"):
        pipeline_base(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ControlInputError, match="CN-T04"):
        pipeline_base(str(tmp_path / "empty"))
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ControlInputError, match=r"CN-T04.*pip install diffusers"):
        pipeline_base(str(tmp_path))


@pytest.mark.filterwarnings("ignore")
def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    pipe = diffusers.DDPMPipeline(
        unet=diffusers.UNet2DModel(block_out_channels=(32,), down_block_types=("DownBlock2D",),
                                   up_block_types=("UpBlock2D",), layers_per_block=1),
        scheduler=diffusers.DDPMScheduler(),
    )  # fmt: skip
    pipe.save_pretrained(tmp_path)
    with pytest.raises(ControlInputError, match="CN-T03"):
        pipeline_base(str(tmp_path))
