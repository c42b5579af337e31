"""A trained net as a file: its weights in a published layout, with what a user has to know."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ControlInputError
from ..files import save_tensors
from ..formats import fill, format_for, save, save_control_lora
from ..nets import ControlNet, ControlNetConfig, UNet, merge
from ..sheet import as_image

LAYOUTS = ("ldm", "diffusers", "control-lora")


@dataclass(frozen=True)
class Card:
    """What goes into the file's metadata beside the weights."""

    title: str
    base: str
    """The model that it was trained for."""
    hint: str
    """Kind of hint, such as `canny` or `depth`."""
    polarity: str
    """How the hint is to be read, such as `white lines on black` or `near is white`."""
    steps: int
    """Optimiser steps."""
    strength: float = 1.0
    """Recommended strength."""
    end: float = 1.0
    """Recommended end of the range, as a share of the sampling."""

    def metadata(self, preview: Tensor | None = None) -> dict[str, str]:
        """The card as safetensors metadata; `preview` (1 3 h w) becomes its thumbnail.

        Title and thumbnail bear the names of Stability AI's ModelSpec 1.0.0.
        """
        own = {f"controlstack.{key}": str(value) for key, value in asdict(self).items()}
        spec = {"modelspec.sai_model_spec": "1.0.0", "modelspec.title": self.title}
        if preview is not None:
            spec["modelspec.thumbnail"] = _data_url(preview)
        return own | spec


def check_layout(config: ControlNetConfig, layout: str) -> None:
    """Raises CN-W25 where the layout has no names for a net of `config`: before it is trained."""
    if layout != "control-lora":
        format_for(config, layout)
    elif config.paper_hint:
        raise ControlInputError(
            "CN-W25", "Control-LoRA", found="the hint encoder of the paper",
            expected="that of the official code", fix="leave the paper's out, or train a whole net",
        )


def save_control(
    net: ControlNet,
    path: Path,
    card: Card,
    *,
    layout: str = "ldm",
    dtype: torch.dtype = torch.float16,
    preview: Tensor | None = None,
) -> None:
    """Writes the net to `path`, in one of LAYOUTS; atomic.

    A whole net is written as `dtype`; the products of a Control-LoRA keep their own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = card.metadata(preview)
    if layout == "control-lora":
        save_control_lora(net, path, metadata=metadata)
        return
    weights = {name: weight.to("cpu", dtype) for name, weight in merge(net.state_dict()).items()}
    copy = fill(net.config, weights)
    save(copy, path, format=format_for(net.config, layout), metadata=metadata)


def save_decoder(base: UNet, before: Mapping[str, Tensor], path: Path) -> None:
    """Writes what training changed in the base, as differences that a LoRA loader adds; atomic.

    `before` holds the weights as they were, by their names in `base`. Names and meaning are those
    of LyCORIS' full differences: `NAME.diff` of a weight, `NAME.diff_b` of a bias.
    """
    now = base.state_dict()
    ends = {"weight": "diff", "bias": "diff_b"}
    tensors: dict[str, Tensor] = {}
    for name, weight in before.items():
        stem, _, part = name.rpartition(".")
        change = now[name].detach().float().cpu() - weight.float().cpu()
        tensors[f"diffusion_model.{stem}.{ends[part]}"] = change.half()
    save_tensors(path, tensors, {"modelspec.title": path.stem})


def _data_url(picture: Tensor) -> str:
    buffer = io.BytesIO()
    as_image(picture).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
