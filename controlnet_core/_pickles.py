"""The pickle container of torch.save: looked through first, then read by torch's safe reader.

It comes in two forms: a zip archive, and before torch 1.6 a row of five pickles and then the data.
"""

# Source of both layouts: torch/serialization.py of PyTorch 2.9 (BSD-3-Clause), read, not copied.

from __future__ import annotations

import logging
import pickletools
import struct
import zipfile
from collections.abc import Iterator
from functools import cache
from io import BytesIO, FileIO
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.serialization import MAGIC_NUMBER

from ._disk import DOWNLOAD_AGAIN, quoted
from .errors import ControlInputError

MAX_PICKLE = 8_000_000  # bytes of description, the data of the tensors left out
MAX_NESTS = 3

NESTS = (
    "state_dict", "model", "module", "ema", "adapter", "params_ema", "params", "string_to_param",
)
"""Names under which trainers put a state dict, the more telling ones first."""

EXTRAS = frozenset((
    "epoch", "epochs", "step", "steps", "global_step", "iter", "iteration", "loss", "best_loss",
    "best_score", "version", "name", "arch", "args", "config", "hparams", "hparams_name",
    "hyper_parameters", "pytorch-lightning_version", "callbacks", "loops", "optimizer",
    "optimizers", "optimizer_states", "scheduler", "schedulers", "lr_scheduler", "lr_schedulers",
    "scaler", "native_amp_scaling_state", "string_to_token", "sd_checkpoint", "sd_checkpoint_name",
))
"""What training leaves beside the weights, and what we leave out."""

# Where the parts of a state dict come from. torch has its own, stricter list; ours comes first, so
# that the refusal names the part, and so that torch reads nothing more daring below 2.10 either.
_MODULES = frozenset((
    "collections", "_codecs", "torch", "torch._utils", "torch._tensor", "torch.cuda",
    "torch.nn.parameter", "torch.serialization", "torch.storage",
))

_HARMLESS = frozenset(f"{module} {kind}" for module in ("builtins", "__builtin__")
                      for kind in ("set", "bytearray"))

_ZIP_ERRORS = (  # all that zipfile was seen to raise on 6,000 damaged archives
    zipfile.BadZipFile, struct.error, EOFError, OSError, RuntimeError, OverflowError,
    UnicodeDecodeError,
)

_SAFE_FILE = "use the .safetensors version of this model, or ask its publisher for one"


def load_pickle(
    file: FileIO, size: int, path: Path, name: str, *, zipped: bool, device: str
) -> dict[str, Tensor]:
    """The tensors in `file` by name, on `device`: "meta" for shapes alone, "cpu" for the data.

    Tensors on the CPU may be views of a map of the file, which lives as long as they do.
    """
    if zipped:
        _check_parts(_zip_pickle(file, size, name), name, pickles=1)
    else:
        _check_parts(file.read(MAX_PICKLE), name, pickles=5)
    _warn_of_old_torch()
    return state_dict(_torch_load(path, name, zipped=zipped, device=device), name)


def _torch_load(path: Path, name: str, *, zipped: bool, device: str) -> object:
    """The one call of `torch.load` in this project.

    A map of an archive keeps the lengths that it claims for its tensors inside the file, and reads
    no data for "meta".
    """
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=zipped)
    except Exception:  # hostile bytes fail in any way; torch's text advises to switch safety off
        raise ControlInputError(
            "CN-C25", name, found="a pickle that is damaged, or holds more than weights",
            expected="a dict of tensors, as torch.save writes it", fix=_SAFE_FILE,
        ) from None


@cache
def _warn_of_old_torch() -> None:
    """Says once a process that reading pickles has a remaining risk with an old torch."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10):  # CVE-2026-24747
        logging.getLogger("controlstack").warning(
            "a pickle (.pth, .ckpt or .bin) is read with torch %s, and the safe reader of versions "
            "below 2.10 has known holes; to convert a file that you trust, run: %s",
            torch.__version__, "python -m controlstack.controlnet_core.formats convert FILE",
        )


def _zip_pickle(file: FileIO, size: int, name: str) -> bytes:
    """The description inside the archive, once nothing in it can grow when it is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_entries(entries, size, name)
            found = [entry for entry in entries if entry.filename.endswith("data.pkl")]
            if len(found) != 1 or found[0].file_size > MAX_PICKLE:
                raise ControlInputError(
                    "CN-C22", name, found="a zip archive without the one data.pkl of a state dict",
                    expected="a file written by torch.save", fix="unpack it if the model is inside",
                )
            return archive.read(found[0])
    except _ZIP_ERRORS as e:
        raise ControlInputError(
            "CN-C26", name, found=f"a zip archive cut short or damaged ({size:,} bytes)",
            expected="a whole file written by torch.save", fix=DOWNLOAD_AGAIN,
        ) from e


def _check_entries(entries: list[zipfile.ZipInfo], size: int, name: str) -> None:
    if any(entry.filename.endswith("constants.pkl") for entry in entries):
        raise ControlInputError(
            "CN-C23", name, found="a TorchScript archive (a program with its weights)",
            expected="weights alone", fix=_SAFE_FILE,
        )
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    total = sum(entry.file_size for entry in entries)
    if packed or total > size:
        how = "compressed" if packed else "overlapping"
        raise ControlInputError(
            "CN-C27", name, found=f"{how} entries that expand to {total:,} bytes from {size:,}",
            expected="entries stored as they are", fix=_SAFE_FILE,
        )


def _check_parts(raw: bytes, name: str, *, pickles: int) -> None:
    """Refuses a pickle that asks for more than the parts of a state dict, and says for what.

    The older form is a row of pickles, of which the first is a magic number.
    """
    stream = BytesIO(raw)
    try:
        for n in range(pickles):
            for part in _parts(stream):
                if isinstance(part, str):
                    _check_part(part, name)
                elif pickles > 1 and n == 0 and part != MAGIC_NUMBER:
                    raise ValueError("no magic number")
    except ControlInputError:
        raise
    except ValueError as e:
        raise ControlInputError(
            "CN-C25", name, found="a pickle that is damaged, or that torch.save did not write",
            expected="a dict of tensors, as torch.save writes it", fix=_SAFE_FILE,
        ) from e


def _parts(stream: BytesIO) -> Iterator[str | int]:
    """What one pickle asks for, as "module name", and its long integers."""
    texts = ["?", "?"]
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif opcode.name == "STACK_GLOBAL":  # protocol 4: module and name are the texts before it
            yield " ".join(texts)
        elif opcode.name.startswith("LONG") and isinstance(argument, int):
            yield argument
        elif isinstance(argument, str):
            texts = [texts[1], argument]


def _check_part(part: str, name: str) -> None:
    if part.partition(" ")[0] not in _MODULES and part not in _HARMLESS:
        asked = quoted(part.replace(" ", "."))
        raise ControlInputError(
            "CN-C24", name, found=f"a pickle that asks to run code ({asked}): refused",
            expected="weights and nothing else", fix=_SAFE_FILE,
        )


def state_dict(top: object, name: str) -> dict[str, Tensor]:
    """The named tensors in what a pickle holds: nests opened, the leavings of training left out.

    A dict of tensors beside others is a part of the net, and its name a prefix (IP-Adapter files).
    """
    if not isinstance(top, dict):
        kind = "None" if top is None else f"a {type(top).__name__.lower()}"
        raise ControlInputError(
            "CN-W20", name, found=kind, expected="a state dict (names with tensors)", fix=_SAFE_FILE
        )
    level = cast("dict[object, object]", top)
    for _ in range(MAX_NESTS):
        nest = next((key for key in NESTS if isinstance(level.get(key), dict)), None)
        if nest is None or any(isinstance(value, Tensor) for value in level.values()):
            break
        level = cast("dict[object, object]", level[nest])
    return dict(_named(level, name))


def _named(
    level: dict[object, object], name: str, prefix: str = ""
) -> Iterator[tuple[str, Tensor]]:
    for key, value in level.items():
        if not isinstance(key, str):
            raise _foreign(name, f"the name {quoted(str(key))}, which is a {type(key).__name__}")
        if isinstance(value, Tensor):
            yield prefix + key, value.detach()
        elif isinstance(value, dict) and not prefix and key not in EXTRAS:
            yield from _named(cast("dict[object, object]", value), name, f"{key}.")
        elif key not in EXTRAS:
            kind = type(cast("object", value)).__name__
            raise _foreign(name, f"{quoted(prefix + key)}, which is a {kind}")


def _foreign(name: str, found: str) -> ControlInputError:
    return ControlInputError(
        "CN-W21", name, found=found, expected="texts as names and tensors as values", fix=_SAFE_FILE
    )
