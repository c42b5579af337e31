"""A trained net as a file: its weights in a published layout, with what a user has to know."""

from __future__ import annotations

import base64
import io
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..formats import FORMATS, Format, save
from ..nets import ControlNet
from ..sheet import as_image

LAYOUTS: dict[str, Format] = {format.id: format for format in FORMATS}


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


def save_control(
    net: ControlNet,
    path: Path,
    card: Card,
    *,
    layout: str = "ldm",
    dtype: torch.dtype = torch.float16,
    preview: Tensor | None = None,
) -> None:
    """Writes the net to `path` as `dtype`, in the layout of one of LAYOUTS; atomic."""
    config = net.config
    weights = {name: weight.detach().to(dtype) for name, weight in net.state_dict().items()}
    with torch.device("meta"):
        copy = type(net)(config)
    copy.load_state_dict(weights, assign=True)
    save(copy, path, format=LAYOUTS[layout], metadata=card.metadata(preview))


def _data_url(picture: Tensor) -> str:
    buffer = io.BytesIO()
    as_image(picture).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
