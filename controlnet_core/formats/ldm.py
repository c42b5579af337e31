"""The ldm layout: the names of the official ControlNet code, which are those of our modules.

Sources: lllyasviel/ControlNet (Apache-2.0), the layout of `control_*.pth` and `*.safetensors`;
CompVis/latent-diffusion (MIT), the layout of the encoder.
"""

from __future__ import annotations

from itertools import count, takewhile

from ..nets import ControlNetConfig
from .base import Format, Shapes
from .heads import guess_heads
from .keymap import KeyMap

_SOURCE = "lllyasviel/ControlNet"
_SIGNATURE = ("zero_convs.0.0.weight", "middle_block_out.0.weight")
_FOREIGN = ("lora_controlnet", "lora_layer", "motion_modules", "temporal")
_UNION = "control_add_embedding."
_PAPER = "paper_hint_block."


def config(shapes: Shapes) -> ControlNetConfig:
    """The hyperparameters of an encoder (of a ControlNet or a UNet) in ldm names."""
    width, in_channels = shapes["input_blocks.0.0.weight"][:2]
    levels: list[list[int]] = [[]]
    depths: list[int] = []
    for index in count(1):
        if f"input_blocks.{index}.0.op.weight" in shapes:
            levels.append([])
            continue
        if (weight := shapes.get(f"input_blocks.{index}.0.in_layers.2.weight")) is None:
            break
        levels[-1].append(weight[0] // width)
        depths.append(_depth(shapes, f"input_blocks.{index}.1"))
    text = next((s[1] for n, s in shapes.items() if n.endswith("attn2.to_k.weight")), None)
    projections = [s for n, s in shapes.items() if n.endswith("proj_in.weight")]
    has_middle = "middle_block.1.norm.weight" in shapes
    return with_hint(shapes, guess_heads(ControlNetConfig(
        channel_mult=tuple(level[-1] if level else 1 for level in levels),
        num_res_blocks=tuple(map(len, levels)),
        transformer_depth=tuple(depths),
        transformer_depth_middle=_depth(shapes, "middle_block.1") if has_middle else None,
        context_dim=text,
        use_linear_in_transformer=any(len(shape) == 2 for shape in projections),
        adm_in_channels=shapes.get("label_emb.0.0.weight", (None, None))[1],
        union_types=shapes.get("task_embedding", (0,))[0],
        model_channels=width,
        in_channels=in_channels,
    )))  # fmt: skip


def _depth(shapes: Shapes, transformer: str) -> int:
    names = (f"{transformer}.transformer_blocks.{i}.norm1.weight" for i in count())
    return len(list(takewhile(shapes.__contains__, names)))


def with_hint(shapes: Shapes, config: ControlNetConfig) -> ControlNetConfig:
    """`config` with the hint encoder that a file holds; unchanged where it holds none."""
    if paper := any(name.startswith(_PAPER) for name in shapes):
        found = [shapes[f"{_PAPER}{i}.weight"] for i in (0, 2, 4, 6)]
    else:  # the first convolution and those of stride 2
        names = (f"input_hint_block.{i}.weight" for i in count(0, 4))
        found = [shapes[name] for name in takewhile(shapes.__contains__, names)]
    if not found:
        return config
    widths = tuple(outputs for outputs, *_ in found)
    return config.like(hint_channels=found[0][1], hint_widths=widths, paper_hint=paper)


def identity(_: ControlNetConfig) -> KeyMap:
    return KeyMap()


LDM = Format(
    id="ldm", title="ControlNet in ldm layout", signature=_SIGNATURE,
    foreign=(*_FOREIGN, _UNION, _PAPER), required=(), config=config, keymap=identity,
    source=_SOURCE,
)  # fmt: skip

LDM_PAPER_HINT = Format(
    id="ldm-paper-hint", title="ControlNet in ldm layout with the paper's hint encoder",
    signature=_SIGNATURE, foreign=(*_FOREIGN, _UNION), required=(_PAPER,), config=config,
    keymap=identity,
    source="our own: the ldm names, and for the hint encoder some that no other reader takes for "
    "the official one",
)  # fmt: skip

LDM_UNION = Format(
    id="ldm-union", title="union ControlNet in ldm layout", signature=_SIGNATURE,
    foreign=(*_FOREIGN, _PAPER), required=(_UNION,), config=config, keymap=identity,
    source="our own layout of xinsir's union nets: their weights by the names of the ldm code",
)  # fmt: skip
