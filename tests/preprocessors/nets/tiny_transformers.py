"""Folders of the library transformers with networks of few channels and random weights.

The library is imported when the first one is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

VIT = {"hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2}
DPT = {
    **VIT, "intermediate_size": 8, "image_size": 64, "patch_size": 16,
    "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 8, 8, 8],
    "fusion_hidden_size": 4,
}
SWIN = {
    "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "image_size": 64,
    "patch_size": 16,  # 4 in earnest: 16 times as many
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
MASKS = {
    "num_queries": 9, "hidden_dim": 32, "encoder_feedforward_dim": 8, "dim_feedforward": 8,
    "num_attention_heads": 2, "encoder_layers": 1, "decoder_layers": 2,
}


def transformers() -> Any:
    return pytest.importorskip("transformers", reason="needs transformers")


def names(count: int) -> dict[int, str]:
    """So many classes."""
    return {i: str(i) for i in range(count)}


def depth_anything(**more: Any) -> Any:
    t = transformers()
    backbone = t.Dinov2Config(
        hidden_size=8, num_hidden_layers=4, num_attention_heads=1, image_size=70, patch_size=14,
        mlp_ratio=2, out_indices=[1, 2, 3, 4], apply_layernorm=True, reshape_hidden_states=False,
    )
    return t.DepthAnythingForDepthEstimation(t.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=8, neck_hidden_sizes=[4, 6, 8, 10],
        fusion_hidden_size=4, head_hidden_size=5, patch_size=14, **more,
    ))


def dpt() -> Any:
    t = transformers()
    return t.DPTForDepthEstimation(t.DPTConfig(**DPT))


def dpt_hybrid() -> Any:
    t = transformers()
    backbone = t.BitConfig(
        global_padding="same", layer_type="bottleneck", depths=[1, 1, 1], hidden_sizes=[8, 8, 8],
        embedding_size=8, num_groups=2, out_features=["stage1", "stage2", "stage3"],
        embedding_dynamic_padding=True,
    )
    return t.DPTForDepthEstimation(t.DPTConfig(
        **DPT, is_hybrid=True, backbone_config=backbone, backbone_featmap_shape=[1, 8, 4, 4],
        neck_ignore_stages=[0, 1], readout_type="project",
    ))


def zoedepth() -> Any:
    t = transformers()
    backbone = t.BeitConfig(
        **VIT, intermediate_size=8, image_size=64, patch_size=16, reshape_hidden_states=False,
        use_relative_position_bias=True, out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    bins = [
        {"n_bins": 4, "min_depth": 0.001, "max_depth": most, "name": name}
        for name, most in (("nyu", 10.0), ("kitti", 80.0))
    ]
    return t.ZoeDepthForDepthEstimation(t.ZoeDepthConfig(
        backbone_config=backbone, backbone_hidden_size=8, neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=4, bottleneck_features=4, bin_embedding_dim=8, num_relative_features=4,
        num_attractors=[4, 2, 2, 1], bin_configurations=bins, patch_transformer_hidden_size=128,
        patch_transformer_intermediate_size=8, patch_transformer_num_attention_heads=2,
        num_patch_transformer_layers=4,
    ))


def depth_pro() -> Any:
    t = transformers()
    vit = {**VIT, "model_type": "dinov2", "image_size": 32, "patch_size": 8, "mlp_ratio": 1}
    return t.DepthProForDepthEstimation(t.DepthProConfig(
        fusion_hidden_size=8, patch_size=32, intermediate_hook_ids=[3, 1],
        intermediate_feature_dims=[8, 8], scaled_images_feature_dims=[8, 8, 8],
        image_model_config=vit, patch_model_config=dict(vit), fov_model_config=dict(vit),
        use_fov_model=True,
    ))


def oneformer(classes: int) -> Any:
    t = transformers()
    return t.OneFormerForUniversalSegmentation(t.OneFormerConfig(
        backbone_config=t.SwinConfig(**SWIN), **MASKS, mask_dim=32, conv_dim=32, task_seq_len=77,
        query_dec_layers=1, text_encoder_width=8, text_encoder_num_layers=1,
        text_encoder_vocab_size=16, text_encoder_context_length=7, id2label=names(classes),
    ))


def mask2former(classes: int) -> Any:
    t = transformers()
    return t.Mask2FormerForUniversalSegmentation(t.Mask2FormerConfig(
        backbone_config=t.SwinConfig(**SWIN), **MASKS, mask_feature_size=32, feature_size=32,
        id2label=names(classes),
    ))


def segformer() -> Any:
    t = transformers()
    return t.SegformerForSemanticSegmentation(t.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[4, 4, 8, 8], num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8, mlp_ratios=[1, 1, 1, 1], strides=[16, 2, 2, 2],
        patch_sizes=[19, 3, 3, 3], id2label=names(150),
    ))


def upernet() -> Any:
    t = transformers()
    return t.UperNetForSemanticSegmentation(t.UperNetConfig(
        backbone_config=t.SwinConfig(**SWIN), hidden_size=8, auxiliary_in_channels=32,
        auxiliary_channels=8, id2label=names(150),
    ))


def sam() -> Any:
    t = transformers()
    return t.SamModel(t.SamConfig(
        vision_config=t.SamVisionConfig(
            hidden_size=8, output_channels=8, num_hidden_layers=1, num_attention_heads=2,
            image_size=64, patch_size=16, window_size=2, global_attn_indexes=[0], mlp_dim=8,
            num_pos_feats=4,
        ),
        prompt_encoder_config=t.SamPromptEncoderConfig(
            hidden_size=8, image_size=64, patch_size=16, image_embedding_size=4,
            mask_input_channels=4,
        ),
        mask_decoder_config=t.SamMaskDecoderConfig(
            hidden_size=8, mlp_dim=8, num_hidden_layers=1, num_attention_heads=2,
            iou_head_hidden_dim=8,
        ),
    ))


LOUDER = {"quer": 4, "class_predictor": 4, "output_hypernetworks": 40}
"""Else all masks of a Mask2Former are of one class, and no mask of a SAM is stable."""


def lively(model: nn.Module) -> nn.Module:
    """`model` with weights that let pictures through, unlike those that training starts from."""
    with torch.no_grad():
        for name, x in model.named_parameters():
            gain = next((gain for part, gain in LOUDER.items() if part in name), 1)
            if x.ndim > 1:
                x.normal_(0, 1.3 * gain / x[0].numel() ** 0.5)
            else:
                x.normal_(float(name.endswith("weight")), 0.2)
            if name.endswith("iou_prediction_head.proj_out.bias"):
                x.add_(2)  # a SAM thinks well of its masks
    return model.eval()


def write(build: Callable[[], Any], folder: Path, *, seed: int = 0) -> Any:
    """A network as `build` makes it, saved to `folder` as the library does."""
    with seeded(seed):
        model = lively(build())
    model.save_pretrained(folder)
    return model


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


METRIC = {"depth_estimation_type": "metric"}
BUILDERS: dict[str, Callable[[], Any]] = {
    **{f"depth_anything_v2_{size}": depth_anything for size in ("small", "base", "large")},
    "depth_anything_v2_indoor": partial(depth_anything, **METRIC, max_depth=20),
    "depth_anything_v2_outdoor": partial(depth_anything, **METRIC, max_depth=80),
    **{f"depth_anything_{size}": depth_anything for size in ("small", "base", "large")},
    "dpt_hybrid": dpt_hybrid,
    "dpt_large": dpt,
    "zoedepth": zoedepth,
    "depth_pro": depth_pro,
    "oneformer_ade20k": partial(oneformer, 150),
    "oneformer_coco": partial(oneformer, 133),
    "mask2former_ade20k": partial(mask2former, 150),
    "mask2former_coco": partial(mask2former, 133),
    "segformer_ade20k": segformer,
    "upernet_ade20k": upernet,
    **{f"sam_{size}": sam for size in ("base", "large", "huge")},
}
"""By the ids of the catalogue."""

FOLDERS: dict[str, Callable[[Path], object]] = {
    name: partial(write, build) for name, build in BUILDERS.items()
}
"""Writes a small network to a folder, by the ids of the catalogue."""
