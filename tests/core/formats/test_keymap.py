"""Renaming, forth and back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_nets import FAMILIES, shapes_of

from controlstack.controlnet_core.formats import FORMATS, Format
from controlstack.controlnet_core.formats.keymap import KeyMap, nested
from controlstack.controlnet_core.nets import SD15, SD21, SDXL, ControlNetConfig

REFINER = SDXL.like(
    context_dim=1280, adm_in_channels=2560, model_channels=384, channel_mult=(1, 2, 4, 4),
    num_res_blocks=(2,) * 4, transformer_depth=(0, 0, 4, 4, 4, 4, 0, 0), transformer_depth_middle=4,
)  # fmt: skip
CONFIGS = FAMILIES | {"SD15": SD15, "SD21": SD21, "SDXL": SDXL, "refiner": REFINER}


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.id)
@pytest.mark.parametrize("name", CONFIGS)
def test_every_name_comes_back_and_none_is_shared(name: str, format: Format) -> None:
    config: ControlNetConfig = CONFIGS[name]
    keymap = format.keymap(config)
    ours = list(shapes_of(config))
    theirs = [keymap.to_file(key) for key in ours]
    assert len(set(theirs)) == len(ours)
    assert [keymap.to_module(key) for key in theirs] == ours


def test_known_names_of_diffusers() -> None:
    """Literals, from the published files of lllyasviel and xinsir."""
    keymap = next(f for f in FORMATS if f.id == "diffusers-union").keymap(SDXL.like(union_types=6))
    assert {ours: keymap.to_file(ours) for ours in LITERALS} == LITERALS


LITERALS = {
    "time_embed.2.bias": "time_embedding.linear_2.bias",
    "label_emb.0.0.weight": "add_embedding.linear_1.weight",
    "input_blocks.0.0.weight": "conv_in.weight",
    "input_blocks.3.0.op.weight": "down_blocks.0.downsamplers.0.conv.weight",
    "input_blocks.4.0.skip_connection.weight": "down_blocks.1.resnets.0.conv_shortcut.weight",
    "input_blocks.8.1.transformer_blocks.9.attn2.to_k.weight":
        "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k.weight",
    "middle_block.2.emb_layers.1.weight": "mid_block.resnets.1.time_emb_proj.weight",
    "input_hint_block.0.weight": "controlnet_cond_embedding.conv_in.weight",
    "input_hint_block.2.weight": "controlnet_cond_embedding.blocks.0.weight",
    "input_hint_block.12.weight": "controlnet_cond_embedding.blocks.5.weight",
    "input_hint_block.14.weight": "controlnet_cond_embedding.conv_out.weight",
    "zero_convs.8.0.bias": "controlnet_down_blocks.8.bias",
    "middle_block_out.0.weight": "controlnet_mid_block.weight",
    "task_embedding": "task_embedding",
    "transformer_layes.0.attn.in_proj.weight": "transformer_layes.0.attn.in_proj_weight",
    "transformer_layes.0.mlp.c_fc.bias": "transformer_layes.0.mlp.c_fc.bias",
    "spatial_ch_projs.weight": "spatial_ch_projs.weight",
    "control_add_embedding.linear_1.bias": "control_add_embedding.linear_1.bias",
}  # fmt: skip


def test_longest_beginning_wins() -> None:
    keymap = KeyMap((("a.", "x."), ("a.b.", "y."), *nested([("c.", "z.")], [("1.", "one.")])))
    names = {"a.c": "x.c", "a.b.c": "y.c", "c.1.w": "z.one.w", "d": "d"}
    assert {name: keymap.to_file(name) for name in names} == names
    assert {keymap.to_module(name): name for name in names.values()} == names


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.text("abc.", max_size=8))
def test_empty_map_is_the_identity(name: str) -> None:
    assert KeyMap().to_file(name) == KeyMap().to_module(name) == name
