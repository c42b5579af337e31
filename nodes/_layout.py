"""Between the host's layouts and ours: pictures, masks, and the dict of residuals."""

from __future__ import annotations

from collections.abc import Mapping

from einops import rearrange
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.residuals import SITES, Residuals

ControlDict = dict[str, list[Tensor | None]]


def from_image(image: Tensor, *, where: str = "image") -> Tensor:
    """IMAGE (B H W C), or one picture (H W C), as (B C H W)."""
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4:
        raise ControlInputError(
            "CN-I08", where, found=f"a tensor of {image.ndim} axes",
            expected="IMAGE (batch, height, width, channels)", fix="connect an IMAGE",
        )
    return rearrange(image, "b h w c -> b c h w")


def from_mask(mask: Tensor, *, where: str = "mask") -> Tensor:
    """MASK (B H W), or one mask (H W), as (B 1 H W) float in 0..1."""
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim == 4 and 1 in (mask.shape[1], mask.shape[-1]):
        mask = mask[:, 0] if mask.shape[1] == 1 else mask[..., 0]
    if mask.ndim != 3 or 0 in mask.shape:
        raise ControlInputError(
            "CN-K03", where, found=f"a mask of shape {tuple(mask.shape)}",
            expected="MASK (batch, height, width) with at least one pixel", fix="connect a MASK",
        )
    mask = mask.float()
    if not bool(mask.isfinite().all()):
        raise ControlInputError(
            "CN-K06", where, found="a mask with NaN or infinite values",
            expected="numbers between 0 and 1", fix="mend the node that makes this mask",
        )
    low, high = (float(bound) for bound in mask.aminmax())
    if low < -0.05 or high > 1.05:
        raise ControlInputError(
            "CN-K07", where, found=f"values from {low:g} to {high:g}",
            expected="numbers between 0 and 1", fix="divide the mask by its highest value",
        )
    return rearrange(mask.clamp(0.0, 1.0), "b h w -> b 1 h w")


def to_control_dict(residuals: Residuals, *, unet: bool) -> ControlDict:
    """The host's control dict, in fresh lists: models pop their residuals from them.

    UNets pop from the end, so their `input` list runs against the order of the blocks.
    """
    control: ControlDict = {site: list(row) for site, row in residuals.rows()}
    if unet:
        control["input"].reverse()
    return control


def from_control_dict(control: Mapping[str, list[Tensor | None]], *, unet: bool) -> Residuals:
    """Residuals in the order of the blocks, out of the host's control dict."""
    rows = {site: tuple(control.get(site) or ()) for site in SITES}
    if unet:
        rows["input"] = rows["input"][::-1]
    return Residuals(**rows)
