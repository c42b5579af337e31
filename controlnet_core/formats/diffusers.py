"""The diffusers layout: one file of a `ControlNetModel` or `ControlNetUnionModel`.

Source: huggingface/diffusers (Apache-2.0), names of its state dict; xinsir's union nets, whose
names it kept. The key `transformer_layes` is spelt so in every file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, takewhile

from ..nets import SD21, ControlNetConfig
from .base import Format, Shapes
from .heads import guess_heads
from .keymap import KeyMap, nested

RES_BLOCK = (
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
)
_EMBEDDER = (("0.", "linear_1."), ("2.", "linear_2."))
_UNION = "control_add_embedding."


def config(shapes: Shapes) -> ControlNetConfig:
    """The hyperparameters of an encoder in diffusers names."""
    width, in_channels = shapes["conv_in.weight"][:2]
    blocks = [
        _counted(shapes, f"down_blocks.{level}.resnets.{{}}.conv1.weight")
        for level in range(_counted(shapes, "down_blocks.{}.resnets.0.conv1.weight"))
    ]
    levels = list(enumerate(blocks))
    middle = "mid_block.attentions.0"
    text = next((s[1] for n, s in shapes.items() if n.endswith("attn2.to_k.weight")), None)
    projections = [s for n, s in shapes.items() if n.endswith("proj_in.weight")]
    labels = shapes.get("add_embedding.linear_1.weight") or shapes.get(
        "class_embedding.linear_1.weight", (0, None)
    )
    return guess_heads(ControlNetConfig(
        channel_mult=tuple(
            shapes[f"down_blocks.{level}.resnets.0.conv1.weight"][0] // width for level, _ in levels
        ),
        num_res_blocks=tuple(blocks),
        transformer_depth=tuple(
            _depth(shapes, f"down_blocks.{level}.attentions.{index}")
            for level, number in levels for index in range(number)
        ),
        transformer_depth_middle=(
            _depth(shapes, middle) if f"{middle}.norm.weight" in shapes else None
        ),
        context_dim=text,
        use_linear_in_transformer=any(len(shape) == 2 for shape in projections),
        adm_in_channels=labels[1],
        union_types=shapes.get("task_embedding", (0,))[0],
        model_channels=width,
        in_channels=in_channels,
        hint_channels=shapes.get("controlnet_cond_embedding.conv_in.weight", (0, 3))[1],
        hint_widths=_hint_widths(shapes) or ControlNetConfig.hint_widths,
    ))  # fmt: skip


def keymap(config: ControlNetConfig) -> KeyMap:
    """Our names and those of diffusers, for a net of that configuration."""
    return KeyMap((
        *nested([("time_embed.", "time_embedding.")], _EMBEDDER),
        *nested([("label_emb.0.", _label_name(config))], _EMBEDDER),
        ("input_blocks.0.0.", "conv_in."),
        *_encoder(config),
        *nested([("middle_block.0.", "mid_block.resnets.0.")], RES_BLOCK),
        ("middle_block.1.", "mid_block.attentions.0."),
        *nested([("middle_block.2.", "mid_block.resnets.1.")], RES_BLOCK),
        *_hint_encoder(config),
        *(
            (f"zero_convs.{index}.0.", f"controlnet_down_blocks.{index}.")
            for index in range(len(config.residual_layout) - 1)
        ),
        ("middle_block_out.0.", "controlnet_mid_block."),
        ("transformer_layes.0.attn.in_proj.", "transformer_layes.0.attn.in_proj_"),
    ))  # fmt: skip


def _label_name(config: ControlNetConfig) -> str:
    """SDXL reads text and sizes (`add_embedding`), SD2.x unCLIP a class (`class_embedding`)."""
    return "class_embedding." if config.context_dim == SD21.context_dim else "add_embedding."


def _encoder(config: ControlNetConfig) -> Iterator[tuple[str, str]]:
    depths, index = iter(config.transformer_depth), 1
    for level, blocks in enumerate(config.num_res_blocks):
        block = f"down_blocks.{level}"
        for number in range(blocks):
            ours = f"input_blocks.{index}"
            yield from nested([(f"{ours}.0.", f"{block}.resnets.{number}.")], RES_BLOCK)
            if next(depths):
                yield f"{ours}.1.", f"{block}.attentions.{number}."
            index += 1
        if level != len(config.num_res_blocks) - 1:
            yield f"input_blocks.{index}.0.op.", f"{block}.downsamplers.0.conv."
            index += 1


def _hint_encoder(config: ControlNetConfig) -> Iterator[tuple[str, str]]:
    ours, theirs = "input_hint_block", "controlnet_cond_embedding"
    inner = 2 * (len(config.hint_widths) - 1)
    yield f"{ours}.0.", f"{theirs}.conv_in."
    for index in range(inner):
        yield f"{ours}.{2 * index + 2}.", f"{theirs}.blocks.{index}."
    yield f"{ours}.{2 * inner + 2}.", f"{theirs}.conv_out."


def _depth(shapes: Shapes, transformer: str) -> int:
    return _counted(shapes, transformer + ".transformer_blocks.{}.norm1.weight")


def _counted(shapes: Shapes, pattern: str) -> int:
    return len(list(takewhile(shapes.__contains__, (pattern.format(i) for i in count()))))


def _hint_widths(shapes: Shapes) -> tuple[int, ...]:
    """Output width of the first convolution, then of those of stride 2 (blocks 1, 3, 5 ...)."""
    theirs = "controlnet_cond_embedding"
    first = shapes.get(f"{theirs}.conv_in.weight")
    names = (f"{theirs}.blocks.{i}.weight" for i in count(1, 2))
    return () if first is None else (
        first[0], *(shapes[name][0] for name in takewhile(shapes.__contains__, names))
    )  # fmt: skip


_SIGNATURE = (
    "controlnet_cond_embedding.conv_in.weight", "controlnet_mid_block.weight",
    "controlnet_down_blocks.0.weight",
)  # fmt: skip
_FOREIGN = ("lora_controlnet", "motion_modules", "temporal", "double_blocks", "paper_hint_block.")

DIFFUSERS = Format(
    id="diffusers", title="ControlNet in diffusers layout", signature=_SIGNATURE,
    foreign=(*_FOREIGN, _UNION), required=(), config=config, keymap=keymap,
    source="huggingface/diffusers, ControlNetModel",
)  # fmt: skip

DIFFUSERS_UNION = Format(
    id="diffusers-union", title="union ControlNet in diffusers layout", signature=_SIGNATURE,
    foreign=_FOREIGN, required=(_UNION,), config=config, keymap=keymap,
    source="xinsir6/ControlNetPlus; huggingface/diffusers, ControlNetUnionModel",
)  # fmt: skip
