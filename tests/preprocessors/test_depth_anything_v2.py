"""Depth Anything against the library's own processor, and its two kinds of files."""

from __future__ import annotations

import pytest
import tiny_transformers
import torch

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import read_tensors, save_tensors
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._catalogue import CATALOGUE
from controlstack.preprocessors._depth import DISTANCE, extremes, spread
from controlstack.preprocessors._depth_anything import (
    METRES,
    configuration,
    open_depth_anything,
    to_library,
    to_original,
)
from controlstack.preprocessors._weights import Shelves, use_shelves

depth_anything_v2 = PREPROCESSORS["depth_anything_v2"]

# The state dict of the authors' module for a ViT of two blocks, without its leaves: written from
# the table of its layers, not from ours.
ORIGINAL = (
    "pretrained.cls_token",
    "pretrained.pos_embed",
    "pretrained.mask_token",
    "pretrained.patch_embed.proj.weight",
    "pretrained.blocks.0.norm1.weight",
    "pretrained.blocks.0.attn.qkv.weight",
    "pretrained.blocks.0.attn.qkv.bias",
    "pretrained.blocks.0.attn.proj.weight",
    "pretrained.blocks.0.ls1.gamma",
    "pretrained.blocks.0.norm2.bias",
    "pretrained.blocks.0.mlp.fc1.weight",
    "pretrained.blocks.0.mlp.fc2.bias",
    "pretrained.blocks.11.ls2.gamma",
    "pretrained.norm.weight",
    "depth_head.projects.0.weight",
    "depth_head.projects.3.bias",
    "depth_head.resize_layers.0.weight",
    "depth_head.resize_layers.1.bias",
    "depth_head.resize_layers.3.weight",
    "depth_head.scratch.layer1_rn.weight",
    "depth_head.scratch.layer4_rn.weight",
    "depth_head.scratch.refinenet1.out_conv.weight",
    "depth_head.scratch.refinenet4.resConfUnit1.conv1.weight",
    "depth_head.scratch.refinenet1.resConfUnit2.conv2.bias",
    "depth_head.scratch.output_conv1.weight",
    "depth_head.scratch.output_conv2.0.weight",
    "depth_head.scratch.output_conv2.2.bias",
)
LIBRARY = (
    "backbone.embeddings.cls_token",
    "backbone.embeddings.position_embeddings",
    "backbone.embeddings.mask_token",
    "backbone.embeddings.patch_embeddings.projection.weight",
    "backbone.encoder.layer.0.norm1.weight",
    "backbone.encoder.layer.0.attention.attention.query.weight",
    "backbone.encoder.layer.0.attention.attention.query.bias",
    "backbone.encoder.layer.0.attention.output.dense.weight",
    "backbone.encoder.layer.0.layer_scale1.lambda1",
    "backbone.encoder.layer.0.norm2.bias",
    "backbone.encoder.layer.0.mlp.fc1.weight",
    "backbone.encoder.layer.0.mlp.fc2.bias",
    "backbone.encoder.layer.11.layer_scale2.lambda1",
    "backbone.layernorm.weight",
    "neck.reassemble_stage.layers.0.projection.weight",
    "neck.reassemble_stage.layers.3.projection.bias",
    "neck.reassemble_stage.layers.0.resize.weight",
    "neck.reassemble_stage.layers.1.resize.bias",
    "neck.reassemble_stage.layers.3.resize.weight",
    "neck.convs.0.weight",
    "neck.convs.3.weight",
    "neck.fusion_stage.layers.3.projection.weight",
    "neck.fusion_stage.layers.0.residual_layer1.convolution1.weight",
    "neck.fusion_stage.layers.3.residual_layer2.convolution2.bias",
    "head.conv1.weight",
    "head.conv2.weight",
    "head.conv3.bias",
)


@pytest.fixture
def folder(tmp_path):
    """A small network, as the library saves it."""
    path = tmp_path / "hf"
    tiny_transformers.FOLDERS["depth_anything_v2_small"](path)
    return path


def test_names_map_to_those_of_the_library():
    found = to_library({name: torch.zeros(3, 2) for name in ORIGINAL})
    for theirs, ours in zip(ORIGINAL, LIBRARY, strict=True):
        assert ours in found, theirs
    assert len(found) == len(ORIGINAL) + 4  # keys and values, of a weight and of a bias


def test_the_map_goes_both_ways_and_keeps_every_value():
    with tiny_transformers.seeded(3):
        before = {name: torch.rand(6, 2) for name in ORIGINAL}
    after = to_original(to_library(before))
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], x) for name, x in before.items())


def test_a_whole_file_maps_both_ways(folder):
    """Every name of a folder has one in the original: no name is passed on by chance."""
    library = read_tensors(folder / "model.safetensors")
    original = to_original(library)
    assert all(name.startswith(("pretrained.", "depth_head.")) for name in original)
    again = to_library(original)
    assert again.keys() == library.keys()
    assert all(torch.equal(again[name], x) for name, x in library.items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_authors_file_gives_the_depth_of_the_folder(folder, tmp_path, suffix, pictures):
    original = to_original(read_tensors(folder / "model.safetensors"))
    path = tmp_path / f"depth_anything_v2_vits{suffix}"
    torch.save(original, path) if suffix == ".pth" else save_tensors(path, original, {})
    image = torch.nn.functional.interpolate(pictures, (70, 98))
    one, other = open_depth_anything(folder), open_depth_anything(path)
    with torch.inference_mode():
        expected, found = one(image), other(image)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert expected.std() > 0.01


@pytest.mark.parametrize(
    ("width", "count", "neck", "features", "taps"),
    [
        (384, 12, [48, 96, 192, 384], 64, [3, 6, 9, 12]),
        (768, 12, [96, 192, 384, 768], 128, [3, 6, 9, 12]),
        (1024, 24, [256, 512, 1024, 1024], 256, [5, 12, 18, 24]),
    ],
)
def test_published_sizes_are_read_off_the_shapes(width, count, neck, features, taps):
    """From empty weights of the published shapes: the library would build the same network."""
    t = tiny_transformers.transformers()
    published = t.DepthAnythingConfig(
        backbone_config=t.Dinov2Config(
            hidden_size=width, num_hidden_layers=count, num_attention_heads=width // 64,
            image_size=518, patch_size=14, out_indices=taps, apply_layernorm=True,
            reshape_hidden_states=False,
        ),
        reassemble_hidden_size=width, neck_hidden_sizes=neck, fusion_hidden_size=features,
    )
    with torch.device("meta"):
        state = t.DepthAnythingForDepthEstimation(published).state_dict()
    found = configuration(state, metres=None)
    for name in ("neck_hidden_sizes", "fusion_hidden_size", "reassemble_hidden_size",
                 "head_hidden_size", "reassemble_factors", "depth_estimation_type"):
        assert getattr(found, name) == getattr(published, name), name
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "mlp_ratio",
                 "image_size", "patch_size", "out_indices"):
        assert getattr(found.backbone_config, name) == getattr(published.backbone_config, name)


def test_equals_the_librarys_processor_and_model(tiny_weights, pictures):
    """At a size where both choose the same rectangle: ours never shrinks the shorter side."""
    processor = pytest.importorskip("transformers").DPTImageProcessor
    pytest.importorskip("torchvision")
    checkpoint = CATALOGUE["depth_anything_v2_small"]
    image = torch.nn.functional.interpolate(pictures, (600, 800), mode="bilinear")[:2]
    hint = depth_anything_v2(image)  # writes the folder
    model = tiny_transformers.transformers().DepthAnythingForDepthEstimation.from_pretrained(
        tiny_weights / checkpoint.repo, local_files_only=True
    )
    prepare = processor(
        size={"height": 518, "width": 518}, keep_aspect_ratio=True, ensure_multiple_of=14,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225], do_rescale=False,
    )
    with torch.inference_mode():
        made = model(**prepare(list(image), return_tensors="pt"))
    depths = prepare.post_process_depth_estimation(made, [(600, 800)] * 2)
    theirs = torch.stack([each["predicted_depth"] for each in depths])[:, None]
    expected = spread(theirs, *extremes(theirs))
    torch.testing.assert_close(hint, expected.expand(-1, 3, -1, -1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("variant", METRES)
def test_metric_nets_show_the_inverse_of_what_they_measure(variant, tiny_weights, pictures):
    hint = depth_anything_v2(pictures, variant=variant, infer_size=140)
    net = open_depth_anything(tiny_weights / CATALOGUE[f"depth_anything_v2_{variant}"].repo)
    assert net.model.config.max_depth == METRES[variant]
    image = torch.nn.functional.interpolate(pictures, (140, 196), mode="bicubic", antialias=True)
    with torch.inference_mode():
        metres = torch.nn.functional.interpolate(net(image), (40, 57), mode="bicubic")
    near = DISTANCE.near(metres)
    torch.testing.assert_close(hint[:, :1], spread(near, *extremes(near)), rtol=0, atol=1e-4)
    for one, distance in zip(hint[:, 0], metres[:, 0], strict=True):
        assert one.flatten()[distance.argmax()] == 0  # the farthest pixel is black
        assert one.flatten()[distance.argmin()] == 1


@pytest.mark.parametrize("variant", ["small", "outdoor"])
def test_a_batch_may_have_one_range(variant, pictures, monkeypatch):
    """Then its pictures are to each other as the network said, in whatever chunks they came."""
    settings = {"variant": variant, "infer_size": 140}
    whole = depth_anything_v2(pictures, normalise="the whole batch", **settings)
    assert (whole.min(), whole.max()) == (0, 1)
    assert whole.amax((1, 2, 3)).min() < 1
    each = depth_anything_v2(pictures, **settings)
    spans = whole.amax((1, 2, 3)) - whole.amin((1, 2, 3))
    stretched = (whole - whole.amin((1, 2, 3), keepdim=True)) / spans.view(-1, 1, 1, 1)
    torch.testing.assert_close(stretched, each, rtol=0, atol=1e-4)
    monkeypatch.setattr("controlstack.preprocessors._frame.CHUNK_PIXELS", 1)
    apart = depth_anything_v2(pictures, normalise="the whole batch", **settings)
    torch.testing.assert_close(apart, whole, rtol=0, atol=1e-5)


def test_a_hint_goes_from_black_to_white_in_more_than_8_bits(pictures):
    for hint in depth_anything_v2(pictures):
        assert (hint.min(), hint.max()) == (0, 1)
        assert len(hint[0].unique()) > 1000


def test_the_size_of_looking_is_rounded_to_whole_patches(pictures):
    rounded = depth_anything_v2(pictures, infer_size=280)
    assert torch.equal(depth_anything_v2(pictures, infer_size=285), rounded)
    assert not torch.equal(depth_anything_v2(pictures, infer_size=294), rounded)


def test_the_authors_file_stands_in_for_the_folder(tmp_path, folder, pictures):
    original = to_original(read_tensors(folder / "model.safetensors"))
    torch.save(original, tmp_path / "depth_anything_v2_vitb.pth")
    use_shelves(Shelves((tmp_path,)))  # _tiny_nets puts it back
    with pytest.raises(ControlInputError, match="truncated"):
        depth_anything_v2(pictures, variant="base")  # 389 MB are expected under this name
    save_tensors(tmp_path / "depth_anything_v2_vits.safetensors", original, {})
    hint = depth_anything_v2(pictures[:1], infer_size=140)
    assert hint.shape == (1, 3, 40, 57)
    assert hint.max() == 1


def test_weights_of_something_else_are_refused(folder, tmp_path):
    state = read_tensors(folder / "model.safetensors")
    for code, broken in (
        ("CN-W08", {name: x for name, x in state.items() if name != "head.conv1.bias"}),
        ("CN-W13", {**state, "head.conv1.bias": torch.zeros(99)}),
    ):
        save_tensors(folder / "model.safetensors", broken, {})
        with pytest.raises(ControlInputError, match=r"head\.conv1\.bias") as caught:
            open_depth_anything(folder)
        assert caught.value.code == code
    other = tmp_path / "other.safetensors"
    save_tensors(other, {"vgg.weight": torch.zeros(3)}, {})
    with pytest.raises(ControlInputError) as caught:
        open_depth_anything(other)
    assert caught.value.code == "CN-W08"

