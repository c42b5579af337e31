"""Files that are no ControlNet and often taken for one: what each is, and where it belongs.

A signature is written as the parts that its tensor names hold: any row of it is enough, and all
parts of that row must occur. `^` stands for the start of a name.
"""

# Sources of the names: kohya-ss/sd-scripts, huggingface/peft (LoRA); CompVis/latent-diffusion,
# huggingface/diffusers (checkpoint, UNet, VAE); openai/CLIP, mlfoundations/open_clip,
# huggingface/transformers (encoders); xinntao/ESRGAN, xinntao/Real-ESRGAN (upscalers);
# tencent-ailab/IP-Adapter; guoyww/AnimateDiff; AUTOMATIC1111/stable-diffusion-webui (embeddings).

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..errors import ControlInputError
from ..files import Header, TensorInfo

Tensors = Mapping[str, TensorInfo]


@dataclass(frozen=True)
class Stranger:
    """A kind of file that is no ControlNet; `{family}` in `kind` is filled in from the shapes."""

    code: str
    kind: str
    instead: str
    is_one: Callable[[Tensors], bool]

    def error(self, header: Header) -> ControlInputError:
        """What to tell a user who took `header`'s file for a ControlNet."""
        return ControlInputError(
            self.code, header.name, found=self.kind, expected="a ControlNet", fix=self.instead
        )


def name_stranger(header: Header) -> Stranger | None:
    """What the file is, if it is known and has no part of a control net; None otherwise."""
    tensors = header.tensors
    if _CONTROL(tensors):
        return None
    stranger = next((row for row in STRANGERS if row.is_one(tensors)), None)
    if stranger is None:
        return None
    return replace(stranger, kind=stranger.kind.format(family=_family(tensors)))


def _names(*rows: tuple[str, ...]) -> Callable[[Tensors], bool]:
    def holds(tensors: Tensors) -> bool:
        text = "".join(f"^{name}\n" for name in tensors)
        return any(all(part in text for part in row) for row in rows)

    return holds


def _is_embedding(tensors: Tensors) -> bool:
    """One tensor of token vectors for each text encoder, and nothing else."""
    widths = (768, 1024, 1280, 4096)  # CLIP-L, OpenCLIP-H, OpenCLIP-G, T5-XXL
    return 0 < len(tensors) <= 4 and all(
        len(x.shape) in (1, 2) and x.shape[-1] in widths and not name.endswith((".weight", ".bias"))
        for name, x in tensors.items()
    )


def _family(tensors: Tensors) -> str:
    """SD1.5, SD2 or SDXL by the width of the text that the UNet attends to, if it says so."""
    width = next((x.shape[-1] for name, x in tensors.items() if name.endswith(_TO_K)), 0)
    pooled = any("label_emb." in name or "add_embedding." in name for name in tensors)
    return _FAMILIES.get((width, pooled), "diffusion")


_TO_K = "attn2.to_k.weight"
_FAMILIES = {
    (768, False): "SD1.5", (1024, False): "SD2", (1024, True): "SD2 unCLIP",
    (2048, True): "SDXL", (1280, True): "SDXL refiner",
}

_CONTROL = _names(
    ("control",), ("zero_convs.",), ("input_hint_block",), ("task_embedding",), ("lllite",),
    ("lora_layer.", "^input_blocks."), ("after_proj_list.",), ("^feature_embedder.",),
    ("adapter.body.",), ("body.0.block1.",), ("body.0.in_conv.",), ("body.0.resnets.",),
)
"""Parts of control nets and adapters of every family in docs/formats.md: never a stranger."""

_LDM_UNET = "^model.diffusion_model."

STRANGERS: tuple[Stranger, ...] = (
    Stranger(
        "CN-W04", "an AnimateDiff motion module",
        'put it into models/animatediff_models and load it with the AnimateDiff-Evolved nodes',
        _names((".motion_modules.",), ("temporal_transformer.",)),
    ),
    Stranger(
        "CN-W04", "an IP-Adapter",
        'put it into models/ipadapter and load it with the nodes of ComfyUI_IPAdapter_plus',
        _names(("^ip_adapter.",), ("^image_proj.",), (".to_k_ip.",)),
    ),
    Stranger(
        "CN-W01", "a LoRA",
        'put it into models/loras and use the node "Load LoRA"',
        _names(
            (".lora_down.",), (".lora_A.",), ("lora.down.",), ("lora_linear_layer.down.",),
            (".hada_w1_a",), (".lokr_w1",), (".oft_blocks",), ("^lora_unet_",), ("^lora_te",),
        ),
    ),
    Stranger(
        "CN-W03", "a full {family} checkpoint",
        'put it into models/checkpoints and use the node "Load Checkpoint"',
        _names(
            (_LDM_UNET, "^first_stage_model."), (_LDM_UNET, "^cond_stage_model."),
            (_LDM_UNET, "^conditioner."), (_LDM_UNET, "^text_encoders."), (_LDM_UNET, "^vae."),
        ),
    ),
    Stranger(
        "CN-W03", "the bare UNet of a {family} model",
        'put it into models/diffusion_models and use the node "Load Diffusion Model"',
        _names(
            (_LDM_UNET,), ("^input_blocks.", "^output_blocks."),
            ("^down_blocks.", "^up_blocks.", "^time_embedding."),
        ),
    ),
    Stranger(
        "CN-W03", "a diffusion transformer (Flux, SD3, Wan or the like)",
        'put it into models/diffusion_models and use the node "Load Diffusion Model"',
        _names(
            ("^double_blocks.", "^final_layer."), ("^joint_blocks.", "^final_layer."),
            ("^transformer_blocks.", "^proj_out.", "^norm_out."),
            ("^blocks.0.cross_attn.", "^head.head."),
        ),
    ),
    Stranger(
        "CN-W02", "a VAE", 'put it into models/vae and use the node "Load VAE"',
        _names(
            ("encoder.conv_in.weight", "decoder.conv_in.weight"),
            ("encoder.conv1.weight", "decoder.conv1.weight"), ("^decoder.conv_in.weight",),
        ),
    ),
    Stranger(
        "CN-W04", "a CLIP vision model",
        'put it into models/clip_vision and use the node "Load CLIP Vision"',
        _names(("vision_model.",), ("^visual.transformer.",), ("^visual.trunk.",)),
    ),
    Stranger(
        "CN-W04", "a text encoder",
        'put it into models/text_encoders and use the node "Load CLIP"',
        _names(
            ("text_model.",), ("^transformer.resblocks.", "^token_embedding."),
            ("^encoder.block.0.layer.", "^shared."), ("^model.embed_tokens.", "^model.layers.0."),
        ),
    ),
    Stranger(
        "CN-W04", "an upscaler",
        'put it into models/upscale_models and use the node "Load Upscale Model"',
        _names(
            ("^model.0.weight", "^model.1.sub."), ("^conv_first.weight", "^conv_last.weight"),
            ("^conv_first.weight", "^conv_after_body."), ("^RRDB_trunk.",),
            ("^body.0.weight", "^body.1.weight", "^body.2.weight"),
        ),
    ),
    Stranger(
        "CN-W04", "a textual inversion embedding",
        "put it into models/embeddings and write embedding:NAME into the prompt",
        _is_embedding,
    ),
)
"""Tried in this order: what holds parts of others (a checkpoint has a VAE) comes before them."""
