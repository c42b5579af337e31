"""Depth networks of the library transformers, each with the scaling that its authors publish."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._networks import Network
from ._transformers import (
    HALF,
    Scaling,
    Size,
    cubic,
    in_turns,
    linear_corners,
    linear_rough,
    nearest_multiple,
    open_folder,
    square,
)

UNUSED = "neck.fusion_stage.layers.0.residual_layer1."  # has no second input; not in every file


class DepthNet(nn.Module):
    """Depth of pictures at their own size, in the units of its model."""

    def __init__(self, model: Any, scaling: Scaling) -> None:
        super().__init__()
        self.model = model
        self.scaling = scaling

    def forward(self, image: Tensor) -> Tensor:
        """Depth (b 1 H W) of pictures (b 3 H W) in 0..1, by a cubic from the model's size."""
        size = image.shape[-2:]

        def depth(part: Tensor) -> Tensor:
            made = self.model(pixel_values=self.scaling(part)).predicted_depth[:, None]
            return F.interpolate(made.float(), size, mode="bicubic", align_corners=False)

        return in_turns(depth, image, self.scaling.size(*size))


class ZoeNet(DepthNet):
    """Distances in metres. Source: ZoeDepthImageProcessor of transformers, without the flipping."""

    def forward(self, image: Tensor) -> Tensor:
        """Distances (b 1 H W) of pictures (b 3 H W) in 0..1, with mirrored borders around them.

        One picture at a time: the model lets all pictures vote whether they are taken indoors.
        """
        high, wide = (int((side / 2) ** 0.5 * 3) for side in image.shape[-2:])
        around = _mirrored(_mirrored(image, 2, high), 3, wide)
        depths = torch.cat([super(ZoeNet, self).forward(each) for each in torch.split(around, 1)])
        return depths[..., high : high + image.shape[-2], wide : wide + image.shape[-1]]


def _mirrored(x: Tensor, axis: int, border: int) -> Tensor:
    """`x` with `border` more places at both ends of `axis`, by reflection as often as needed."""
    last = x.shape[axis] - 1
    place = torch.arange(-border, last + 1 + border, device=x.device)
    if last == 0:
        return x.index_select(axis, torch.zeros_like(place))
    return x.index_select(axis, last - (place % (2 * last) - last).abs())


class DepthProNet(DepthNet):
    """Inverse distances. Source: DepthProImageProcessor of transformers, after apple/ml-depth-pro.

    The model says how near things would be with a lens as wide as the picture, and how wide the
    lens was.
    """

    def forward(self, image: Tensor) -> Tensor:
        """1 over the distance in metres (b 1 H W) of pictures (b 3 H W) in 0..1."""
        size = image.shape[-2:]

        def inverse(part: Tensor) -> Tensor:
            made = self.model(pixel_values=self.scaling(part))
            near = made.predicted_depth[:, None].float()
            if made.field_of_view is not None:
                half = torch.deg2rad(made.field_of_view.float()) / 2
                near = near * 2 * half.tan().view(-1, 1, 1, 1)
            return F.interpolate(near, size, mode="bilinear")

        return in_turns(inverse, image, self.scaling.size(*size))


def open_dpt(path: Path) -> DepthNet:
    """MiDaS with a transformer, of the folder at `path`: pictures are squares of its size."""
    model = open_folder(path, "DPTForDepthEstimation", spare=UNUSED)
    side = int(model.config.image_size)
    return DepthNet(model, Scaling(partial(square, side=side), cubic, *HALF))


def open_zoe(path: Path) -> ZoeNet:
    """ZoeDepth of the folder at `path`."""
    model = open_folder(path, "ZoeDepthForDepthEstimation")
    return ZoeNet(model, Scaling(_zoe_size, linear_corners, *HALF))


def _zoe_size(height: int, width: int) -> Size:
    return nearest_multiple(height, width, to=(384, 512), multiple=32)


def open_depth_pro(path: Path) -> DepthProNet:
    """Depth Pro of the folder at `path`: squares of so many patches as its coarsest scale has."""
    model = open_folder(path, "DepthProForDepthEstimation")
    side = round(model.config.patch_size / min(model.config.scaled_images_ratios))
    return DepthProNet(model, Scaling(partial(square, side=side), linear_rough, *HALF))


# For one pixel of its input, the widest features of the head; of the patches for Depth Pro.
MIDAS_HYBRID = Network("dpt_hybrid", open_dpt, floats_per_pixel=600)
MIDAS_LARGE = Network("dpt_large", open_dpt, floats_per_pixel=600)
ZOE = Network("zoedepth", open_zoe, floats_per_pixel=800)
DEPTH_PRO = Network("depth_pro", open_depth_pro, floats_per_pixel=600)
