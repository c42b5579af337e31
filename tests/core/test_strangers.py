"""Files that are no ControlNet are named, and no control file is ever taken for one of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from controlstack.controlnet_core.files import Header, TensorInfo, read_header, save_tensors
from controlstack.controlnet_core.formats.strangers import STRANGERS, name_stranger

Shapes = dict[str, tuple[int, ...]]


def header(shapes: Shapes | tuple[str, ...], name: str = "sd15/a.safetensors") -> Header:
    shapes = shapes if isinstance(shapes, dict) else dict.fromkeys(shapes, (4, 4))
    tensors = {key: TensorInfo(shape, torch.float16) for key, shape in shapes.items()}
    return Header(Path(name), name, tensors, {}, 0)


def unet(context: int, prefix: str = "model.diffusion_model.", *, pooled: int = 0) -> Shapes:
    """Some names of an ldm UNet that attends to text of width `context`."""
    names = {
        "time_embed.0.weight": (1280, 320), "input_blocks.0.0.weight": (320, 4, 3, 3),
        "input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight": (320, 320),
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, context),
        "middle_block.0.in_layers.0.weight": (1280,), "out.2.weight": (4, 320, 3, 3),
        "output_blocks.0.0.in_layers.0.weight": (2560,),
    }
    pooling: Shapes = {"label_emb.0.0.weight": (1280, pooled)} if pooled else {}
    return {prefix + name: shape for name, shape in (names | pooling).items()}


VAE = ("encoder.conv_in.weight", "decoder.conv_in.weight", "quant_conv.weight")
INSIDE_VAE = tuple(f"first_stage_model.{name}" for name in VAE)
DIFFUSERS_UNET: Shapes = {
    "conv_in.weight": (320, 4, 3, 3), "time_embedding.linear_1.weight": (1280, 320),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "mid_block.resnets.0.conv1.weight": (4, 4), "up_blocks.0.resnets.0.conv1.weight": (4, 4),
}

FILES: dict[str, tuple[str, str, str, Shapes | tuple[str, ...]]] = {
    "kohya LoRA": ("CN-W01", "a LoRA", "Load LoRA", (
        "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
        "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight",
        "lora_unet_down_blocks_0_attentions_0_proj_in.alpha")),
    "PEFT LoRA": ("CN-W01", "a LoRA", "Load LoRA", (
        "transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight",
        "transformer.single_transformer_blocks.0.attn.to_k.lora_B.weight")),
    "diffusers LoRA": ("CN-W01", "a LoRA", "Load LoRA", (
        "unet.down_blocks.0.attentions.0.attn1.processor.to_q_lora.down.weight",)),
    "LoHa": ("CN-W01", "a LoRA", "Load LoRA", ("lora_te_text_model_mlp_fc1.hada_w1_a",)),
    "LoKr": ("CN-W01", "a LoRA", "Load LoRA", ("lycoris_blocks_0_attn.lokr_w1",)),
    "Flux depth LoRA": ("CN-W01", "a LoRA", "Load LoRA", (
        "double_blocks.0.img_attn.proj.lora_A.weight", "final_layer.linear.lora_A.weight")),
    "VAE": ("CN-W02", "a VAE", "Load VAE", VAE),
    "VAE diffusers": ("CN-W02", "a VAE", "Load VAE", (
        *VAE, "encoder.down_blocks.0.resnets.0.conv1.weight")),
    "VAE Wan": ("CN-W02", "a VAE", "Load VAE", ("encoder.conv1.weight", "decoder.conv1.weight")),
    "SD1.5": ("CN-W03", "a full SD1.5 checkpoint", "Load Checkpoint",
              unet(768) | dict.fromkeys(INSIDE_VAE, (4, 4))),
    "SD2": ("CN-W03", "a full SD2 checkpoint", "Load Checkpoint",
            unet(1024) | {"cond_stage_model.model.ln_final.weight": (1024,)}),
    "SDXL": ("CN-W03", "a full SDXL checkpoint", "Load Checkpoint",
             unet(2048, pooled=2816) | {"conditioner.embedders.0.transformer.a.weight": (1,)}),
    "refiner": ("CN-W03", "a full SDXL refiner checkpoint", "Load Checkpoint",
                unet(1280, pooled=2560) | {"conditioner.embedders.0.model.a.weight": (1,)}),
    "UNet": ("CN-W03", "the bare UNet of a SD1.5 model", "Diffusion Model", unet(768)),
    "UNet without decoder": ("CN-W03", "the bare UNet of a SDXL model", "Diffusion Model", {
        name: shape for name, shape in unet(2048, pooled=2816).items() if "out" not in name}),
    "UNet no prefix": ("CN-W03", "the bare UNet of a SD2 model", "Diffusion", unet(1024, "")),
    "UNet diffusers": ("CN-W03", "the bare UNet of a SD1.5 model", "Diffusion", DIFFUSERS_UNET),
    "UNet unknown": ("CN-W03", "the bare UNet of a diffusion model", "Diffusion", unet(64)),
    "Flux": ("CN-W03", "a diffusion transformer", "Load Diffusion Model", (
        "double_blocks.0.img_attn.qkv.weight", "img_in.weight", "final_layer.linear.weight")),
    "SD3": ("CN-W03", "a diffusion transformer", "Load Diffusion Model", (
        "joint_blocks.0.x_block.attn.qkv.weight", "final_layer.linear.weight")),
    "Qwen-Image": ("CN-W03", "a diffusion transformer", "Load Diffusion Model", (
        "transformer_blocks.0.img_mlp.net.0.proj.weight", "proj_out.weight",
        "norm_out.linear.weight")),
    "Wan": ("CN-W03", "a diffusion transformer", "Load Diffusion Model", (
        "blocks.0.cross_attn.k.weight", "head.head.weight", "patch_embedding.weight")),
    "CLIP-L": ("CN-W04", "a text encoder", "Load CLIP", (
        "text_model.encoder.layers.0.mlp.fc1.weight",)),
    "OpenCLIP": ("CN-W04", "a text encoder", "Load CLIP", (
        "transformer.resblocks.0.attn.in_proj_weight", "token_embedding.weight")),
    "T5": ("CN-W04", "a text encoder", "Load CLIP", (
        "encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight")),
    "Qwen VL": ("CN-W04", "a text encoder", "Load CLIP", (
        "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
        "visual.blocks.0.norm1.weight")),
    "CLIP vision": ("CN-W04", "a CLIP vision model", "Load CLIP Vision", (
        "vision_model.encoder.layers.0.mlp.fc1.weight", "visual_projection.weight")),
    "OpenCLIP vision": ("CN-W04", "a CLIP vision model", "Load CLIP Vision", (
        "visual.transformer.resblocks.0.attn.in_proj_weight", "visual.conv1.weight")),
    "ESRGAN": ("CN-W04", "an upscaler", "Load Upscale Model", (
        "model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight", "model.10.weight")),
    "Real-ESRGAN": ("CN-W04", "an upscaler", "Load Upscale Model", (
        "conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_last.weight")),
    "Real-ESRGAN compact": ("CN-W04", "an upscaler", "Load Upscale Model", (
        "body.0.weight", "body.0.bias", "body.1.weight", "body.2.weight")),
    "SwinIR": ("CN-W04", "an upscaler", "Load Upscale Model", (
        "conv_first.weight", "layers.0.residual_group.blocks.0.norm1.weight",
        "conv_after_body.weight")),
    "embedding": ("CN-W04", "a textual inversion", "embedding:NAME", {"emb_params": (8, 768)}),
    "embedding SDXL": ("CN-W04", "a textual inversion", "embedding:NAME", {
        "clip_l": (8, 768), "clip_g": (8, 1280)}),
    "embedding diffusers": ("CN-W04", "a textual inversion", "embedding:NAME", {"<cat>": (768,)}),
    "IP-Adapter": ("CN-W04", "an IP-Adapter", "IPAdapter_plus", (
        "image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight", "ip_adapter.1.to_v_ip.weight")),
    "motion module": ("CN-W04", "an AnimateDiff motion module", "AnimateDiff-Evolved", (
        "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight",)),
    "motion LoRA": ("CN-W04", "an AnimateDiff motion module", "AnimateDiff-Evolved", (
        "down_blocks.0.motion_modules.0.temporal_transformer.processor.to_q_lora.down.weight",)),
}


@pytest.mark.parametrize(("code", "kind", "instead", "shapes"), FILES.values(), ids=FILES)
def test_a_stranger_is_named(
    code: str, kind: str, instead: str, shapes: Shapes | tuple[str, ...]
) -> None:
    found = header(shapes)
    stranger = name_stranger(found)
    assert stranger is not None
    error = stranger.error(found)
    assert (error.code, error.where) == (code, "sd15/a.safetensors")
    assert error.found.startswith(kind)
    assert instead in error.fix
    assert error.expected == "a ControlNet"
    assert len(str(error)) <= 600
    assert "{" not in str(error)


def test_every_kind_has_an_example() -> None:
    found = [name_stranger(header(shapes)) for *_, shapes in FILES.values()]
    assert {row.is_one for row in found if row} == {row.is_one for row in STRANGERS}


CLDM = (
    "time_embed.0.weight", "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    "middle_block.0.in_layers.0.weight", "zero_convs.0.0.weight", "input_hint_block.0.weight",
    "middle_block_out.0.weight",
)
DIFFUSERS = (
    "conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight",
    "controlnet_cond_embedding.conv_in.weight", "controlnet_down_blocks.0.weight",
    "controlnet_mid_block.weight",
)
FLUX = (
    "controlnet_blocks.0.weight", "transformer_blocks.0.attn.to_k.weight", "proj_out.weight",
    "norm_out.linear.weight",
)
CONTROLS: dict[str, tuple[str, ...]] = {  # the keys of reference formats.md, sections 1 to 3
    "cldm": CLDM,
    **{f"cldm under {prefix}": tuple(f"{prefix}.{name}" for name in CLDM) for prefix in (
        "control_model", "module", "module.control_model", "diffusion_model", "model",
        "model.diffusion_model", "controlnet")},
    "cldm inside a full checkpoint": (
        *(f"control_model.{name}" for name in CLDM), *unet(768), *INSIDE_VAE),
    "cldm difference": (*(f"control_model.{name}" for name in CLDM), "difference"),
    "cldm half lost": tuple(name for name in CLDM if "hint" not in name),
    "diffusers": DIFFUSERS,
    "union": (*DIFFUSERS, "control_add_embedding.linear_1.bias", "task_embedding",
              "transformer_layes.0.attn.in_proj_weight", "spatial_ch_projs.weight"),
    "HunyuanDiT": ("blocks.0.attn1.Wqkv.weight", "after_proj_list.18.bias"),
    "Control-LoRA": ("lora_controlnet", "input_blocks.1.1.proj_in.down", "zero_convs.0.0.weight",
                     "input_blocks.1.1.proj_in.up", "input_hint_block.0.weight"),
    "Control-LoRA marker alone": ("lora_controlnet",),
    "Flux XLabs": ("controlnet_blocks.0.weight", "double_blocks.0.img_attn.norm.key_norm.scale",
                   "final_layer.linear.weight"),
    "SD3.5": (*FLUX, "pos_embed_input.proj.weight", "transformer_blocks.0.adaLN_modulation.1.bias"),
    "Qwen InstantX": (*FLUX, "transformer_blocks.0.img_mlp.net.0.proj.weight",
                      "controlnet_x_embedder.weight"),
    "Flux InstantX": (*FLUX, "controlnet_x_embedder.weight", "controlnet_mode_embedder.weight"),
    "Qwen Fun": ("control_blocks.0.after_proj.weight", "control_img_in.weight"),
    "MistoLine": ("controlnet_blocks.0.linear.weight", "single_controlnet_blocks.0.a.weight"),
    "T2I-Adapter": ("conv_in.weight", "body.0.block1.weight", "body.0.block2.weight"),
    "T2I-Adapter nested": ("adapter.conv_in.weight", "adapter.body.0.block1.weight"),
    "T2I-Adapter light": ("body.0.in_conv.weight", "body.0.body.0.block1.weight"),
    "T2I-Adapter diffusers": ("adapter.conv_in.weight", "adapter.body.0.resnets.0.block1.weight"),
    "T2I-Adapter half lost": ("conv_in.weight",),
    "Stable Cascade": ("backbone.0.0.weight", "projections.0.0.weight"),
    "Stable Cascade large": ("backbone.10.blocks.0.weight", "projections.0.0.weight"),
    "LLLite": ("lllite_unet_input_blocks_4_1_attn1_to_q.conditioning1.0.weight",
               "lllite_unet_input_blocks_4_1_attn1_to_q.down.0.weight"),
    "Anima LLLite": ("lllite_conditioning1.conv1.weight",
                     "lllite_dit_blocks_0_self_attn_q_proj.down.weight"),
    "SparseCtrl": ("down_blocks.0.motion_modules.0.temporal_transformer.norm.weight",
                   "controlnet_cond_embedding.weight", "controlnet_down_blocks.0.weight"),
    "SVD-ControlNet": ("controlnet_down_blocks.0.weight", "down_blocks.0.temporal_res_block.a"),
    "CtrLoRA": ("control_model.input_blocks.1.1.proj_in.lora_layer.down.weight",
                "control_model.input_blocks.1.1.proj_in.lora_layer.up.weight"),
    "CtrLoRA bare": ("input_blocks.1.1.proj_in.lora_layer.down.weight",
                     "input_blocks.1.1.proj_in.lora_layer.up.weight"),
    "Qwen DiffSynth": ("controlnet_blocks.0.y_rms.weight", "img_in.weight"),
    "USO": ("feature_embedder.mid_layer_norm.bias",),
    "Z-Image Fun": ("control_all_x_embedder.2-1.weight", "control_layers.0.attention.norm.weight"),
    "Uni3C": ("controlnet_patch_embedding.weight", "controlnet_blocks.0.ffn.0.bias"),
    "SUPIR": ("model.control_model.input_hint_block.0.weight", "model.diffusion_model.a.weight"),
    "MultiTalk": ("audio_proj.proj1.weight", "blocks.0.audio_cross_attn.proj.weight"),
    "Qwen Fun 2.1": ("control_img_in.weight", "control_blocks.0.img_mlp.out.weight"),
    "MiniMax Fun": ("control_proj_in.weight", "control_blocks.0.attn.qkv_proj.weight"),
}


@pytest.mark.parametrize("names", CONTROLS.values(), ids=CONTROLS)
@pytest.mark.parametrize("shape", [(4, 4), (768,), (320, 768)], ids=str)
def test_no_control_file_is_a_stranger(names: tuple[str, ...], shape: tuple[int, ...]) -> None:
    assert name_stranger(header(dict.fromkeys(names, shape))) is None


@pytest.mark.parametrize(
    "shapes", [{"a": (4, 4)}, {"a": ()}, {"a": (2, 3, 768)}, {"conv.weight": (768,)}, {}], ids=str
)
def test_an_unknown_file_has_no_name(shapes: Shapes) -> None:
    assert name_stranger(header(shapes)) is None


def test_a_stranger_is_told_from_a_real_file(tmp_path: Path) -> None:
    tensors = {"lora_unet_a.lora_down.weight": torch.ones(4, 64), "a.alpha": torch.ones(())}
    save_tensors(tmp_path / "a.safetensors", tensors, {})
    stranger = name_stranger(read_header(tmp_path / "a.safetensors"))
    assert stranger is not None
    assert stranger.kind == "a LoRA"


@pytest.mark.parametrize("value", [
    {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.ones(2, 768)}, "step": 9},
    {"image_proj": {"proj.weight": torch.ones(2)}, "ip_adapter": {"1.to_k.weight": torch.ones(2)}},
    {"params_ema": {"conv_first.weight": torch.ones(2), "conv_last.weight": torch.ones(2)}},
], ids=["embedding", "IP-Adapter", "upscaler"])
def test_pickled_strangers_are_named_too(value: dict[str, object], tmp_path: Path) -> None:
    torch.save(value, tmp_path / "a.pth")
    assert name_stranger(read_header(tmp_path / "a.pth")) is not None
