"""The playground's models as the host's own objects: MODEL, CLIP and VAE."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
from comfy.clip_model import CLIPTextModel
from comfy.model_base import ModelType
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDClipModel, SDTokenizer
from comfy.supported_models_base import ClipTarget
from torch import Tensor

from ..controlnet_core.files import read_header, read_tensors
from ..controlnet_core.playground import words
from ..controlnet_core.playground.family import CONFIG, WEIGHTS
from ..controlnet_core.playground.text import HOST_CONFIG, WIDTH

UNET_CONFIG: dict[str, Any] = {
    "image_size": 16,
    "in_channels": CONFIG.in_channels,
    "out_channels": CONFIG.out_channels,
    "model_channels": CONFIG.model_channels,
    "num_res_blocks": list(CONFIG.num_res_blocks),
    "channel_mult": CONFIG.channel_mult,
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
    "legacy": False,
    "transformer_depth": list(CONFIG.transformer_depth),
    "transformer_depth_output": list(CONFIG.transformer_depth_output),
    "transformer_depth_middle": CONFIG.transformer_depth_middle,
    "use_linear_in_transformer": CONFIG.use_linear_in_transformer,
    "context_dim": CONFIG.context_dim,
    "adm_in_channels": None,
}
"""`CONFIG` in the host's words."""


class PlaygroundModel(comfy.supported_models.SD15):
    """SD1.5's network at small width, predicting v."""

    unet_extra_config = {"num_heads": -1, "num_head_channels": CONFIG.num_head_channels}  # noqa: RUF012

    def model_type(self, state_dict: Any, prefix: str = "") -> ModelType:
        return ModelType.V_PREDICTION


def playground_model() -> comfy.model_patcher.ModelPatcher:
    """The base as a MODEL."""
    management = comfy.model_management
    device = management.get_torch_device()
    config = PlaygroundModel(UNET_CONFIG)
    dtype = management.unet_dtype(supported_dtypes=config.supported_inference_dtypes)
    config.set_inference_dtype(dtype, management.unet_manual_cast(dtype, device))
    model = config.get_model({}, device=management.unet_offload_device())
    model.load_model_weights(_weights("unet"), "")
    return comfy.model_patcher.CoreModelPatcher(
        model, load_device=device, offload_device=management.unet_offload_device()
    )


def playground_clip() -> comfy.sd.CLIP:
    """The text encoder as a CLIP; prompts may have weights, as with any other."""
    weights = _weights("text")
    target = ClipTarget(_Tokenizers, _TextModels)
    clip = comfy.sd.CLIP(target, parameters=sum(x.numel() for x in weights.values()))
    clip.cond_stage_model.clip_playground.transformer.load_state_dict(weights, strict=False)
    return clip


def playground_vae() -> comfy.sd.VAE:
    """The autoencoder as a VAE."""
    return comfy.sd.VAE(sd=_weights("vae"))


def _weights(name: str) -> dict[str, Tensor]:
    return read_tensors(read_header(WEIGHTS / f"{name}.safetensors"))


class _Words:
    """The playground's words, asked as a tokenizer of transformers is."""

    @classmethod
    def from_pretrained(cls, _path: str, **_options: Any) -> _Words:
        return cls()

    def get_vocab(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(words.VOCABULARY)}

    def __call__(self, text: str) -> dict[str, list[int]]:
        numbers = words.numbers(text)
        return {"input_ids": [words.START, *numbers, words.END]}


class _Tokenizer(SDTokenizer):
    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        super().__init__(
            ".", max_length=words.LENGTH, embedding_directory=embedding_directory,
            embedding_size=WIDTH, embedding_key="clip_playground",
            tokenizer_class=_Words,  # type: ignore[arg-type]  # the host asks it two things alone
            tokenizer_data=tokenizer_data or {},
        )  # fmt: skip


class _Tokenizers(SD1Tokenizer):
    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        super().__init__(embedding_directory, tokenizer_data or {}, "playground", _Tokenizer)


class _SmallText(CLIPTextModel):
    """The host's CLIP text model with as many words as the playground has."""

    def __init__(self, config: dict[str, Any], dtype: Any, device: Any, operations: Any) -> None:
        super().__init__(config, dtype, device, operations)
        self.set_input_embeddings(operations.Embedding(
            config["vocab_size"], config["hidden_size"], dtype=dtype, device=device
        ))  # fmt: skip


class _Text(SDClipModel):
    def __init__(
        self, device: Any = "cpu", dtype: Any = None, model_options: Any = None
    ) -> None:
        super().__init__(
            device=device, dtype=dtype, max_length=words.LENGTH,
            textmodel_json_config=dict(HOST_CONFIG), model_class=_SmallText,
            special_tokens={"start": words.START, "end": words.END, "pad": words.END},
            return_projected_pooled=False, model_options=model_options or {},
        )  # fmt: skip


class _TextModels(SD1ClipModel):
    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> None:
        super().__init__(device, dtype, model_options or {}, "playground", _Text)  # type: ignore[arg-type]
