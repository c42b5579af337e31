"""Checkpoint formats of ControlNets: recognise, load, save.

Four pure steps load a file: its header (names and shapes), `detect`, the configuration out of the
shapes, and a strict load into a net that was built without memory. Every rename table works both
ways, so saving is free. A new format is one file and one line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

from ..errors import ControlInputError
from ..files import Header, read_header, save_tensors
from ..nets import ControlNet, ControlNetConfig, Layers, merge
from .base import ControlFile, Format, UnknownFormatError, fill, log
from .control_lora import left_to_host, load_control_lora, save_control_lora
from .diffusers import DIFFUSERS, DIFFUSERS_UNION
from .heads import heads_metadata, stated_heads
from .ldm import LDM, LDM_PAPER_HINT, LDM_UNION
from .ldm import config as encoder_config
from .prefixes import names_without, prefix_of
from .strangers import name_stranger
from .unets import load_unet

__all__ = [
    "FORMATS", "ControlFile", "Format", "UnknownFormatError", "detect", "encoder_config", "fill",
    "format_for", "load", "load_control_lora", "load_unet", "open_file", "save",
    "save_control_lora",
]  # fmt: skip

FORMATS: tuple[Format, ...] = (LDM_UNION, LDM, LDM_PAPER_HINT, DIFFUSERS_UNION, DIFFUSERS)
"""Tried in this order; each file is claimed by exactly one."""


def open_file(path: str | PathLike[str], *, name: str | None = None) -> ControlFile:
    """The ControlNet file at `path`, recognised; its data is not read yet.

    `name` is what messages call it. Raises `UnknownFormatError` for a file of another family and
    `ControlInputError` for one that is broken or is no ControlNet at all.
    """
    return detect(read_header(path, name=name))


def detect(header: Header) -> ControlFile:
    """Which format a header is of, and the configuration of the net it describes."""
    for format in FORMATS:
        prefix = prefix_of(header.tensors, format.signature)
        if prefix is None:
            continue
        shapes = {n: i.shape for n, i in names_without(prefix, header.tensors).items()}
        if format.claims(shapes):
            if prefix:
                log.info("%s: names without their prefix %s", header.name, prefix)
            return ControlFile(header, format, prefix, _config(format, shapes, header))
    if lora := left_to_host(header):
        raise lora
    if stranger := name_stranger(header):
        raise stranger.error(header)
    raise UnknownFormatError(
        "CN-W07", header.name,
        found="tensors such as " + ", ".join(list(header.tensors)[:5]),
        expected="the weights of a ControlNet",
        fix="check that the file is a ControlNet of a family listed in docs/formats.md",
    )


def _config(
    format: Format, shapes: Mapping[str, tuple[int, ...]], header: Header
) -> ControlNetConfig:
    try:
        config = format.config(shapes)
    except (KeyError, IndexError) as missing:
        raise ControlInputError(
            "CN-W08", header.name, found=f"no usable tensor {missing}",
            expected=f"every weight of a {format.title}",
            fix="download the file again or ask its author for a whole one",
        ) from missing
    return stated_heads(config, dict(header.metadata))


def load(
    path: str | PathLike[str], *, name: str | None = None, layers: Layers | None = None
) -> ControlNet:
    """The net in the file at `path`, on the CPU in the file's own dtype."""
    file = open_file(path, name=name)
    if file.is_difference:
        raise ControlInputError(
            "CN-W22", file.header.name, found="difference weights, which mean nothing alone",
            expected="a ControlNet with its own weights",
            fix="load it with Load ControlNet (Diff) and connect the base model",
        )
    return fill(file.config, file.weights(), layers)


def save(
    net: ControlNet,
    path: str | PathLike[str],
    *,
    format: Format | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes `net` in the layout of `format` (default: ldm), heads in the metadata.

    A Control-LoRA is written merged, as an ordinary ControlNet. Atomic, see `files`; raises CN-W25
    where the layout has no names for such a net.
    """
    format = format or format_for(net.config)
    keymap = format.keymap(net.config)
    tensors = {keymap.to_file(name): w for name, w in merge(net.state_dict()).items()}
    if not format.claims(tensors):
        raise _without_layout(format.title)
    save_tensors(path, tensors, {**heads_metadata(net.config), **(metadata or {})})


def format_for(config: ControlNetConfig, layout: str = "ldm") -> Format:
    """The format in which a net of `config` is written in `layout`, "ldm" or "diffusers".

    Raises CN-W25 where there is none.
    """
    for format in FORMATS:
        if format.id.startswith(layout) and format.fits(config):
            return format
    raise _without_layout(f"ControlNet in {layout} layout")


def _without_layout(title: str) -> ControlInputError:
    return ControlInputError(
        "CN-W25", title, found="a net for which it has no names",
        expected="a net of that kind", fix="save it in the ldm layout, which has names for all",
    )
