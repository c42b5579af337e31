"""ControlNet files from a shell: `python -m controlstack.controlnet_core.formats`.

`inspect FILE` tells what a file holds, from its header alone. `convert FILE -o NEW.safetensors`
writes it as safetensors, which no code can hide in, in the ldm or the diffusers layout.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from ..errors import ControlInputError
from . import ControlFile, fill, format_for, open_file, save

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def main() -> None:
    """Runs the command; bad input is one line on stderr and exit code 2."""
    options = _options()
    try:
        print(_inspect(options) if options.command == "inspect" else _convert(options))
    except ControlInputError as e:
        print(e, file=sys.stderr)
        raise SystemExit(2) from None


def _inspect(options: argparse.Namespace) -> str:
    file = open_file(options.file)
    file.check()
    config, size = file.config, file.header.size / 2**20
    residuals = ", ".join(f"{channels}@1/{stride}" for channels, stride in config.residual_layout)
    return "\n".join((
        f"file: {file.header.name}, {size:,.0f} MiB, {len(file.header.tensors)} tensors",
        f"format: {file.format.title}" + (f", prefix {file.prefix}" if file.prefix else ""),
        f"base model: {config.family}, text width {config.context_dim or 'none'}",
        f"control types: {config.union_types or 'one'}",
        f"residuals: {residuals}",
        f"weights: {'differences to the base model' if file.is_difference else 'whole'}",
    ))  # fmt: skip


def _convert(options: argparse.Namespace) -> str:
    file = open_file(options.file)
    if file.is_difference:
        return _refuse_difference(file)
    net = fill(file.config, file.weights())
    if options.dtype:
        net = net.to(_DTYPES[options.dtype])
    format = format_for(file.config, options.layout)
    out = options.out or options.file.with_suffix(".safetensors")
    if out.exists() and not options.force:
        raise ControlInputError(
            "CN-FILE", out.name, found="a file of that name", expected="a new name",
            fix="choose another with -o, or add --force",
        )
    metadata = {k: v for k, v in file.header.metadata.items() if k != "format"}
    save(net, out, format=format, metadata=metadata)
    return f"wrote {out} ({format.title})"


def _refuse_difference(file: ControlFile) -> str:
    raise ControlInputError(
        "CN-W22", file.header.name, found="difference weights", expected="whole weights",
        fix="load it in ComfyUI with Load ControlNet (Diff); there is nothing to convert alone",
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("controlstack.controlnet_core.formats", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    verbs = {"inspect": "tell what FILE holds", "convert": "write FILE as safetensors"}
    for name, help in verbs.items():
        command = commands.add_parser(name, help=help)
        command.add_argument("file", type=Path, help="a ControlNet file")
        if name == "convert":
            command.add_argument("-o", "--out", type=Path, help="default: FILE.safetensors")
            command.add_argument("--layout", choices=("ldm", "diffusers"), default="ldm")
            command.add_argument("--dtype", choices=_DTYPES, help="default: as it is")
            command.add_argument("--force", action="store_true", help="write over an old file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
