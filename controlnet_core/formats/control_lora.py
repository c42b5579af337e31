"""Control-LoRA files: what has two axes as products of low rank, the rest of the net whole.

A file means something only beside the base model that it was trained on. ComfyUI adds its products
inside every step; `load_control_lora` adds them once, and gives an ordinary ControlNet.

Source: Stability AI, Control-LoRA; the layout as ComfyUI reads it: `NAME.up` and `NAME.down` for
`NAME.weight`, whole biases, norms, hint encoder and zero convolutions in ldm names, and an empty
tensor `lora_controlnet` as its mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from os import PathLike

import torch
from torch import Tensor

from ..errors import ControlInputError
from ..files import Header, check_finite, read_header, read_tensors, save_tensors
from ..nets import ControlNet, Encoder, Layers, Unset, build, merge
from .base import Shapes, UnknownFormatError, fill
from .heads import heads_metadata
from .ldm import with_hint

MARK = "lora_controlnet"
_PARTS = ("up", "down", "weight", "bias")


def is_control_lora(header: Header) -> bool:
    """Whether a file is marked as a Control-LoRA and holds what one is made of."""
    return MARK in header.tensors and any(name.endswith(".up") for name in header.tensors)


def left_to_host(header: Header) -> UnknownFormatError | None:
    """What to say of a Control-LoRA where no base model is at hand; None for another file."""
    if not is_control_lora(header):
        return None
    return UnknownFormatError(
        "CN-W07", header.name, found=f"a Control-LoRA of rank {_rank(header)}",
        expected="a ControlNet with weights of its own",
        fix="load it in ComfyUI, which adds it to the base model",
    )


def save_control_lora(
    net: ControlNet, path: str | PathLike[str], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a net of `nets.control_lora` without what is the base model's; atomic, see `files`.

    Raises CN-W25 for a net without products, or with a hint encoder that the layout does not know.
    """
    weights = net.state_dict()
    tensors = {
        name: weight
        for name, weight in weights.items()
        if name.removesuffix("weight") + "up" not in weights
    }
    if len(tensors) == len(weights) or "input_hint_block.0.weight" not in tensors:
        raise ControlInputError(
            "CN-W25", "Control-LoRA", found="a net for which it has no names",
            expected="products of low rank and the official hint encoder",
            fix="make the net with control_lora, or save it as an ordinary ControlNet",
        )
    marked = {**tensors, MARK: torch.zeros(0)}
    save_tensors(path, marked, {**heads_metadata(net.config), **(metadata or {})})


def load_control_lora(
    path: str | PathLike[str], base: Encoder, *, name: str | None = None
) -> ControlNet:
    """The Control-LoRA at `path` added to `base` (a UNet): an ordinary ControlNet, on the CPU.

    Its weights have the dtype of the base where products are added to them. Raises CN-W07 for a
    file of another kind, CN-M03 where it was made for another base, CN-W08 where it lacks weights.
    """
    header = read_header(path, name=name)
    if not is_control_lora(header):
        raise UnknownFormatError(
            "CN-W07", header.name, found="no products of low rank", expected="a Control-LoRA",
            fix="load it as an ordinary ControlNet",
        )
    shapes = {name: info.shape for name, info in header.tensors.items() if _is_read(name)}
    config = with_hint(shapes, base.config)
    net = build(config, Layers(Unset, device="meta")).state_dict()
    shared = {name: w.detach().cpu() for name, w in base.state_dict().items() if name in net}
    _check(header, shapes, {name: tuple(w.shape) for name, w in net.items()}, shared)
    tensors = read_tensors(header)
    check_finite(header, tensors)
    return fill(config, merge({**shared, **{name: tensors[name] for name in shapes}}))


def _is_read(name: str) -> bool:
    """As ComfyUI has it: names of other endings, and with a double underscore, mean nothing."""
    return name.rpartition(".")[2] in _PARTS and "__" not in name


def _check(header: Header, shapes: Shapes, net: Shapes, shared: Mapping[str, Tensor]) -> None:
    """Raises unless file and base together hold the whole of `net`, and the file nothing else."""
    if odd := [name for name in shapes if not _fits(name, shapes, net)]:
        raise ControlInputError(
            "CN-M03", header.name, found=f"{odd[0]} of shape {shapes[odd[0]]}, and {len(odd) - 1} "
            "more weights that this base model has no place for",
            expected="a Control-LoRA made for this base model",
            fix="give the base model of its family (SD1.5, SD2.x or SDXL)",
        )
    if missing := [name for name in net if name not in shapes and name not in shared]:
        raise ControlInputError(
            "CN-W08", header.name, found=f"{len(missing)} tensors missing: {missing[0]}",
            expected="hint encoder and zero convolutions, whole",
            fix="download the file again or ask its author for a whole one",
        )


def _fits(name: str, shapes: Shapes, net: Shapes) -> bool:
    """Whether a tensor of the file is a weight of the net, or half of a product of its shape."""
    stem, _, part = name.rpartition(".")
    if part in ("weight", "bias"):
        return shapes[name] == net.get(name)
    up, down = shapes.get(f"{stem}.up"), shapes.get(f"{stem}.down")
    weight = net.get(f"{stem}.weight")
    if up is None or down is None or weight is None:
        return False
    product = (up[0], prod(up[1:]), prod(down[1:]))
    return product == (weight[0], down[0], prod(weight[1:]))


def _rank(header: Header) -> int:
    return max(x.shape[0] for name, x in header.tensors.items() if name.endswith(".down"))
