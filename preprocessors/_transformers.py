"""Models of the library transformers: made from the files of a folder, and fed with our pictures.

Pictures are scaled here, on tensors: the library's image processors need torchvision and go
through 8-bit levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.files import read_tensors
from ._catalogue import OTHER_NAME
from ._libraries import library

Size = tuple[int, int]
Triple = tuple[float, float, float]

IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF: tuple[Triple, Triple] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # 0..1 becomes -1..1

# The filters of the library's processors, which smooth where they shrink unless said otherwise.
cubic = partial(F.interpolate, mode="bicubic", antialias=True)
linear = partial(F.interpolate, mode="bilinear", antialias=True)
linear_rough = partial(F.interpolate, mode="bilinear")
linear_corners = partial(F.interpolate, mode="bilinear", align_corners=True)


@dataclass(frozen=True, eq=False)
class Scaling:
    """How a model wants pictures: their size from that of the original, filter, mean and deviation.

    `size` takes and gives height and width.
    """

    size: Callable[[int, int], Size]
    resize: Callable[..., Tensor]
    mean: Triple
    deviation: Triple

    def __call__(self, image: Tensor) -> Tensor:
        """What goes into the model for pictures (b 3 H W) in 0..1."""
        resized = self.resize(image, self.size(*image.shape[-2:]))
        return standardised(resized, self.mean, self.deviation)


def standardised(image: Tensor, mean: Triple, deviation: Triple) -> Tensor:
    """`image` (b 3 H W) without the `mean` of each channel, over its `deviation`."""
    middle, spread = (image.new_tensor(each).view(3, 1, 1) for each in (mean, deviation))
    return (image - middle) / spread


def same_size(height: int, width: int) -> Size:
    """No other size."""
    return height, width


def square(height: int, width: int, *, side: int) -> Size:
    """`side` pixels each way, whatever the picture's shape."""
    return side, side


def shortest_side(height: int, width: int, *, side: int, multiple: int) -> Size:
    """Sides that are multiples of `multiple`, the shorter one `side` or more, aspect kept.

    Source: Depth Anything's transform, "lower_bound"; see `depth_anything_v2`.
    """
    scale = side / min(height, width)
    least = math.ceil(side / multiple)
    sides = [max(round(each * scale / multiple), least) * multiple for each in (height, width)]
    return sides[0], sides[1]


def short_and_long(height: int, width: int, *, short: int, long: int) -> Size:
    """A shorter side of `short` pixels, or less where the longer one would be over `long`.

    Source: ResizeShortestEdge of detectron2, in the rounding of transformers.
    """
    low, high = sorted((height, width))
    wanted = min(short, long * low / high)
    side, other = max(1, round(wanted)), int(wanted * high / low)
    if side == low:
        return height, width
    return (side, other) if height <= width else (other, side)


def nearest_multiple(height: int, width: int, *, to: Size, multiple: int) -> Size:
    """Height or width of `to`, whichever is the smaller change, aspect kept but for `multiple`."""
    high, wide = to[0] / height, to[1] / width
    scale = wide if abs(1 - wide) < abs(1 - high) else high
    sides = [max(1, round(each * scale / multiple)) * multiple for each in (height, width)]
    return sides[0], sides[1]


def in_turns(make: Callable[[Tensor], Tensor], image: Tensor, size: Size) -> Tensor:
    """`make` of all pictures (b 3 H W), of so many at a time that memory is no more than planned.

    The chunk was measured at the size of the pictures; `size` is that at which the model works.
    They are brought into one memory order, since sums in another are rounded otherwise.
    """
    pixels = image.shape[0] * image.shape[-2] * image.shape[-1]
    at_once = max(1, pixels // (size[0] * size[1]))
    return torch.cat([make(part) for part in torch.split(image.contiguous(), at_once)])


def open_folder(folder: Path, model: str, *, spare: str | None = None) -> Any:
    """The model of the library's class `model` that lies in `folder`, for inference.

    Reads config.json and the weights, nothing else, and never the net. Weights whose names begin
    with `spare` may be missing: the model has, and never uses, them.
    """
    kind = getattr(library("transformers"), model)
    weights = next(
        folder / name
        for name in ("model.safetensors", OTHER_NAME["model.safetensors"])
        if (folder / name).is_file()
    )
    return assembled(
        kind, _configuration(kind, folder), read_tensors(weights),
        name=f"{folder.name}/{weights.name}", spare=spare,
    )


def assembled(
    kind: Any, config: Any, tensors: Mapping[str, Tensor], *, name: str, spare: str | None = None
) -> Any:
    """The model of the library's class `kind` with `tensors`, in their dtype, for inference.

    The library renames weights of older files. More weights than the model has are ignored, since
    published folders hold buffers of older versions; missing ones and other shapes raise CN-W08
    and CN-W13, which call the file `name`.
    """
    module, found = kind.from_pretrained(
        None, config=config, state_dict=dict(tensors), dtype=_dtype(tensors),
        ignore_mismatched_sizes=True, output_loading_info=True, local_files_only=True,
    )
    missing = [
        key for key in found["missing_keys"] if spare is None or not key.startswith(spare)
    ]
    shapes = [key for key, *_ in found["mismatched_keys"]]
    for code, what, keys in (("CN-W13", "of other shapes", shapes), ("CN-W08", "missing", missing)):
        if keys:
            raise ControlInputError(
                code, name, found=f"{len(keys)} weights {what}, such as {sorted(keys)[0][:80]}",
                expected=f"the weights of a {kind.__name__} as its config.json describes it",
                fix="download both files again, from one repository",
            )
    return module.eval().requires_grad_(False)


def _configuration(kind: Any, folder: Path) -> Any:
    """config.json of `folder`, which must be one of a model `kind`."""
    auto = library("transformers").AutoConfig
    wanted = kind.config_class.model_type
    try:
        config = auto.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as e:
        raise _odd(folder, f"an unreadable one ({str(e)[:200]})", wanted) from e
    if config.model_type != wanted:
        raise _odd(folder, f"one of a {config.model_type[:40]}", wanted)
    return config


def _odd(folder: Path, found: str, wanted: str) -> ControlInputError:
    return ControlInputError(
        "CN-W08", f"{folder.name}/config.json", found=found,
        expected=f"the configuration of a {wanted}",
        fix="download the folder that the catalogue names",
    )


def _dtype(tensors: Mapping[str, Tensor]) -> torch.dtype:
    """The dtype of the largest weight: constants of a model may be of another."""
    return max(tensors.values(), key=Tensor.numel, default=torch.empty(0)).dtype
