"""Depth Anything, from a folder of transformers or from the file of its authors."""

# Source: DepthAnything/Depth-Anything-V2 (Apache-2.0) and depth_anything of transformers
# (Apache-2.0). The names on both sides were read off their modules; a network with random weights
# gives the same depth through either. Difference: for pictures that are not square the original
# interpolates position embeddings by a rounded factor, up to 0.6 % of the range apart.

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.files import read_tensors
from ._depth_nets import DepthNet
from ._libraries import library
from ._networks import Network
from ._transformers import (
    IMAGENET,
    Scaling,
    assembled,
    cubic,
    open_folder,
    same_size,
    shortest_side,
)

MODEL = "DepthAnythingForDepthEstimation"
PATCH = 14
SIDE = 518  # of the pictures that it was trained on
HEAD = 64  # channels of one attention head, in every published size
AS_IT_IS = Scaling(same_size, cubic, *IMAGENET)  # the caller chooses the size
TO_518 = Scaling(partial(shortest_side, side=SIDE, multiple=PATCH), cubic, *IMAGENET)
METRES = {"indoor": 20.0, "outdoor": 80.0}  # the farthest, by the data: Hypersim, Virtual KITTI

FUSED = "attn.qkv"
SPLIT = tuple(f"attention.attention.{each}" for each in ("query", "key", "value"))

# The original's names, and those in the library's files; {n} is a block.
OUTSIDE = (
    ("pretrained.cls_token", "backbone.embeddings.cls_token"),
    ("pretrained.mask_token", "backbone.embeddings.mask_token"),
    ("pretrained.pos_embed", "backbone.embeddings.position_embeddings"),
    ("pretrained.patch_embed.proj", "backbone.embeddings.patch_embeddings.projection"),
    ("pretrained.norm", "backbone.layernorm"),
    *(
        (f"depth_head.{kind}s.{i}", f"neck.reassemble_stage.layers.{i}.{name}")
        for kind, name in (("project", "projection"), ("resize_layer", "resize"))
        for i in range(4)
    ),
    *((f"depth_head.scratch.layer{i + 1}_rn", f"neck.convs.{i}") for i in range(4)),
    *(
        (f"depth_head.scratch.refinenet{4 - i}.{part}", f"neck.fusion_stage.layers.{i}.{name}")
        for i in range(4)
        for part, name in (
            ("out_conv", "projection"),
            *(
                (f"resConfUnit{j}.conv{k}", f"residual_layer{j}.convolution{k}")
                for j in (1, 2)
                for k in (1, 2)
            ),
        )
    ),
    ("depth_head.scratch.output_conv1", "head.conv1"),
    ("depth_head.scratch.output_conv2.0", "head.conv2"),
    ("depth_head.scratch.output_conv2.2", "head.conv3"),
)
INSIDE = (
    *((name, name) for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2")),
    ("attn.proj", "attention.output.dense"),
    ("ls1.gamma", "layer_scale1.lambda1"),
    ("ls2.gamma", "layer_scale2.lambda1"),
)


def to_library(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The original's weights under the names of the library's files; unknown names stay."""
    names = _names(tensors, 0)
    return dict(
        pair for name, x in tensors.items() for pair in _split(_renamed(name, names), x)
    )


def to_original(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_library`."""
    names = _names(tensors, 1)
    return dict(_joined({_renamed(name, names): x for name, x in tensors.items()}))


def _names(tensors: Mapping[str, Tensor], side: int) -> dict[str, str]:
    """From the names of one side, 0 for the original's, to the other's: modules and parameters."""
    blocks = ("pretrained.blocks.", "backbone.encoder.layer.")
    numbers = {name.removeprefix(blocks[side]).partition(".")[0] for name in tensors
               if name.startswith(blocks[side])}
    inside = [
        tuple(f"{block}{n}.{name}" for block, name in zip(blocks, pair, strict=True))
        for n in numbers for pair in (*INSIDE, (FUSED, FUSED), *((each, each) for each in SPLIT))
    ]
    return {pair[side]: pair[1 - side] for pair in (*OUTSIDE, *inside)}


def _renamed(name: str, names: Mapping[str, str]) -> str:
    if name in names:
        return names[name]
    module, dot, leaf = name.rpartition(".")
    return names.get(module, module) + dot + leaf


def _split(name: str, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Three weights for one that makes queries, keys and values."""
    if f".{FUSED}." not in name:
        yield name, x
        return
    for part, rows in zip(SPLIT, x.chunk(3), strict=True):
        yield name.replace(FUSED, part), rows


def _joined(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    query, *others = SPLIT
    for name, x in tensors.items():
        if f".{query}." in name:
            rows = [x, *(tensors[name.replace(query, other)] for other in others)]
            yield name.replace(query, FUSED), torch.cat(rows)
        elif not any(f".{other}." in name for other in others):
            yield name, x


def configuration(tensors: Mapping[str, Tensor], *, metres: float | None) -> Any:
    """The library's configuration of weights under its names, by their shapes.

    `metres` is the farthest distance of a net that measures, None for one that only compares.
    """
    transformers = library("transformers")
    layer = "backbone.encoder.layer."
    count = 1 + max(int(name.removeprefix(layer).partition(".")[0]) for name in tensors
                    if name.startswith(layer))
    width = tensors["backbone.embeddings.cls_token"].shape[-1]
    grid = round((tensors["backbone.embeddings.position_embeddings"].shape[1] - 1) ** 0.5)
    neck = [tensors[f"neck.convs.{i}.weight"] for i in range(4)]
    backbone = transformers.Dinov2Config(
        hidden_size=width, num_hidden_layers=count, num_attention_heads=max(1, width // HEAD),
        mlp_ratio=tensors[f"{layer}0.mlp.fc1.bias"].shape[0] // width,
        image_size=grid * PATCH, patch_size=PATCH, out_indices=_taps(count),
        apply_layernorm=True, reshape_hidden_states=False,
    )
    return transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=width, patch_size=PATCH,
        neck_hidden_sizes=[each.shape[1] for each in neck], fusion_hidden_size=neck[0].shape[0],
        head_hidden_size=tensors["head.conv2.bias"].shape[0],
        depth_estimation_type="metric" if metres else "relative", max_depth=metres or 1,
    )


def _taps(count: int) -> list[int]:
    """Blocks, from 1, whose output the head sees: published for 24, evenly spread otherwise."""
    return [5, 12, 18, 24] if count == 24 else [count * i // 4 for i in range(1, 5)]


def open_depth_anything(
    path: Path, *, metres: float | None = None, scaling: Scaling = AS_IT_IS
) -> DepthNet:
    """The network in the folder, or in the original file, at `path`."""
    if path.is_dir():
        return DepthNet(open_folder(path, MODEL), scaling)
    tensors = to_library(read_tensors(path))
    kind = getattr(library("transformers"), MODEL)
    try:
        config = configuration(tensors, metres=metres)
    except (KeyError, ValueError) as e:  # a name that it needs, or no block at all
        raise ControlInputError(
            "CN-W08", path.name, found=f"weights of another network ({e})",
            expected="those of Depth Anything V2", fix="download the file that the catalogue names",
        ) from e
    return DepthNet(assembled(kind, config, tensors, name=path.name), scaling)


def _network(name: str, floats: int) -> Network:
    opened = partial(open_depth_anything, metres=METRES.get(name))
    return Network(f"depth_anything_v2_{name}", opened, floats_per_pixel=floats)


# At half the size of the picture all features of the head, and those going in; estimated.
FLOATS = {"small": 150, "base": 300, "large": 600}
V2 = {name: _network(name, FLOATS.get(name, FLOATS["large"]))
      for name in ("small", "base", "large", *METRES)}
V1 = {
    size: Network(
        f"depth_anything_{size}", partial(open_depth_anything, scaling=TO_518),
        floats_per_pixel=FLOATS[size],
    )
    for size in ("small", "base", "large")
}
