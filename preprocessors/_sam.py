"""Segment Anything without questions: a grid of points, and the masks that survive."""

# Source: Kirillov et al. 2023 (arXiv:2304.02643), SamAutomaticMaskGenerator, in the numbers of the
# mask generation of transformers (Apache-2.0), for one crop, the whole picture.
# Difference: no torchvision; masks come to the picture's size only where they may survive.

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._networks import Network
from ._transformers import IMAGENET, Scaling, Size, linear, open_folder

POINTS = 64  # asked about at a time
PLANES = 16  # masks brought to the picture's size at a time
MARGIN = 1.0  # by which a logit is moved to see how stable its mask is
OVERLAP = 0.7  # of two boxes above which the lesser mask goes


class SamNet(nn.Module):
    """Segments of pictures, numbered."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.side = int(model.config.vision_config.image_size)
        self.scaling = Scaling(self._fitted, linear, *IMAGENET)

    def _fitted(self, height: int, width: int) -> Size:
        scale = self.side / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))

    def forward(self, image: Tensor, points: Tensor, limits: Tensor) -> Tensor:
        """Numbers (b 1 H W), as floats, of segments of pictures (b 3 H W) in 0..1.

        0 is none; the larger a segment, the smaller its number; where two lie over each other it
        is that of the smaller one. `points` (n 2) are asked about, x and y in 0..1; `limits` (2)
        are the least quality that the model itself sees in a mask, and the least stability.
        """
        least_quality, least_stability = float(limits[0]), float(limits[1])
        return torch.stack([
            numbered(*self._masks(each, points, least_quality, least_stability))
            for each in torch.split(image, 1)
        ])

    def _masks(
        self, image: Tensor, points: Tensor, least_quality: float, least_stability: float
    ) -> tuple[Tensor, Tensor]:
        """Masks (n H W) of one picture (1 3 H W) that are good enough, and their qualities (n)."""
        inner, size = self.scaling.size(*image.shape[-2:]), image.shape[-2:]
        pixels = F.pad(self.scaling(image), (0, self.side - inner[1], 0, self.side - inner[0]))
        seen = self.model.get_image_embeddings(pixels)
        places = points * points.new_tensor(inner[::-1])
        masks = [pixels.new_zeros(0, *size, dtype=torch.bool)]
        qualities = [pixels.new_zeros(0, dtype=torch.float32)]
        for some in torch.split(places, POINTS):
            made = self.model(image_embeddings=seen, input_points=some[None, :, None])
            quality = made.iou_scores[0].flatten().float()
            for i in torch.split((quality > least_quality).nonzero()[:, 0], PLANES):
                if len(i):
                    whole = self._whole(made.pred_masks[0].flatten(0, 1)[i].float(), inner, size)
                    stable = stability(whole) > least_stability
                    masks.append(whole[stable] > 0)
                    qualities.append(quality[i[stable]])
        return torch.cat(masks), torch.cat(qualities)

    def _whole(self, logits: Tensor, inner: Size, size: torch.Size) -> Tensor:
        """Logits (n h w) of the padded square as (n H W) of the picture."""
        square = F.interpolate(logits[None], (self.side, self.side), mode="bilinear")
        return F.interpolate(square[..., : inner[0], : inner[1]], size, mode="bilinear")[0]


def stability(logits: Tensor) -> Tensor:
    """How alike masks (n H W) are with a higher and a lower threshold: 0..1, (n).

    Empty masks are not stable.
    """
    inner, outer = ((logits > level).sum((1, 2)) for level in (MARGIN, -MARGIN))
    return inner / outer.clamp(min=1)


def numbered(masks: Tensor, qualities: Tensor) -> Tensor:
    """Numbers (1 H W) of the masks (n H W) that no better one repeats; see `SamNet`."""
    kept = masks[best_boxes(boxes(masks), qualities)]
    kept = kept[kept.sum((1, 2)).sort(descending=True, stable=True).indices]
    numbers = torch.zeros(1, *masks.shape[1:], device=masks.device)
    for number, mask in enumerate(kept, start=1):
        numbers = torch.where(mask, float(number), numbers)
    return numbers


def boxes(masks: Tensor) -> Tensor:
    """Left, top, right and bottom pixel (n 4) of masks (n H W); 0 of an empty one."""
    sides: list[Tensor] = []
    for filled in (masks.any(1), masks.any(2)):  # columns, then rows
        places = torch.arange(filled.shape[1], device=masks.device)
        first = torch.where(filled, places, filled.shape[1]).amin(1)
        last = torch.where(filled, places, 0).amax(1)
        sides += [torch.minimum(first, last), last]
    return torch.stack([sides[i] for i in (0, 2, 1, 3)], 1).float()


def best_boxes(places: Tensor, qualities: Tensor) -> Tensor:
    """Indices of the boxes (n 4), best first, that overlap no better one by more than OVERLAP."""
    order = qualities.sort(descending=True, stable=True).indices
    kept: list[Tensor] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[_overlap(places[best], places[order]) <= OVERLAP]
    return torch.stack(kept) if kept else order


def _overlap(one: Tensor, others: Tensor) -> Tensor:
    """Shared area of a box (4) and each of `others` (n 4), over the area of both together."""
    sides = torch.minimum(one[2:], others[:, 2:]) - torch.maximum(one[:2], others[:, :2])
    shared = sides.clamp(min=0).prod(1)
    both = (one[2:] - one[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return torch.where(both > 0, shared / both.clamp(min=1e-12), 0.0)


def grid(side: int) -> Tensor:
    """Points (side^2 2), x and y, in the middles of that many cells each way."""
    middles = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def open_sam(path: Path) -> SamNet:
    """The network of the folder at `path`."""
    return SamNet(open_folder(path, "SamModel"))


# Masks at the picture's size: before and after their resize, twice compared; and those kept.
NETWORKS = {
    size: Network(f"sam_{size}", open_sam, floats_per_pixel=200)
    for size in ("base", "large", "huge")
}
