"""The size, channels and depth in which pictures reach a preprocessor and leave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Frame = NDArray[np.integer[Any] | np.floating[Any]]
"""One uint8 picture, (H W 3) RGB or (H W) grey; typed as loosely as OpenCV types its arrays."""
Floats = NDArray[np.float32]
"""One picture in 0..1, (H W 3) RGB or (H W) grey."""

CHUNK_PIXELS = 2_000_000  # 24 MB of RGB floats: above 32 MB malloc maps fresh pages every time
_UNIT = (np.arange(256) / 255.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Pictures:
    """A checked batch (B C H W), whose rows are RGB of `size`, made when they are taken."""

    image: Tensor
    size: tuple[int, int]
    clamp: bool

    def __getitem__(self, rows: slice) -> Tensor:
        """Those rows (b 3 h w), float32 in 0..1."""
        return resized(as_rgb(self.image[rows], clamp=self.clamp), self.size)

    @property
    def at_once(self) -> int:
        """How many fit a chunk, before and after their resize."""
        height, width = self.image.shape[-2:]
        return max(1, CHUNK_PIXELS // max(height * width, self.size[0] * self.size[1]))


def fitted_size(image: Tensor, resolution: int) -> tuple[int, int]:
    """Height and width with a shortest side of `resolution` pixels; 0 leaves them as they are."""
    height, width = image.shape[-2:]
    if not resolution:
        return height, width
    short = min(height, width)
    return round(height * resolution / short), round(width * resolution / short)


def as_rgb(image: Tensor, *, clamp: bool) -> Tensor:
    """(B 3 H W) float32 of 1, 3 or 4 channels; alpha is composited on white."""
    image = image.float()
    if clamp:
        image = image.clamp(0.0, 1.0)
    if image.shape[1] == 4:
        alpha = image[:, 3:]
        image = image[:, :3] * alpha + (1.0 - alpha)
    return image.expand(-1, 3, -1, -1)


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """`image` (B 3 H W) at `size`: by pixel area when it shrinks, cubic when it grows.

    OpenCV's filters, as in the packs that people come from, but on floats. On the CPU also for
    other devices: 4 ms for 720p to 512, where the same area weights as a matrix product take 88.
    """
    if image.shape[-2:] == size:
        return image
    import cv2

    how = cv2.INTER_AREA if size[0] < image.shape[-2] else cv2.INTER_CUBIC
    frames = [
        cv2.resize(channels_last(frame), size[::-1], interpolation=how)
        for frame in image.detach().cpu()
    ]
    return torch.as_tensor(np.stack(frames)).movedim(-1, 1).clamp_(0.0, 1.0).to(image.device)


def padded(image: Tensor, multiple: int) -> Tensor:
    """`image` grown to the right and down to multiples of `multiple` by repeating its edge pixels.

    The inverse is the slice `[..., :H, :W]`.
    """
    height, width = image.shape[-2:]
    if height % multiple == 0 == width % multiple:
        return image
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def channels_last(frame: Tensor) -> Frame:
    """(H W 3) floats of one picture (3 H W) on the CPU; no copy where memory lies so already."""
    last = frame.permute(1, 2, 0)
    if last.is_contiguous():
        return last.numpy()
    import cv2

    return cv2.merge([plane.numpy() for plane in frame])  # 5 times faster than a strided copy


def to_levels(frame: Tensor) -> Frame:
    """(H W 3) levels 0..255 of one picture (3 H W) in 0..1 on the CPU, rounded half to even."""
    import cv2

    last = frame.permute(1, 2, 0)
    if last.is_contiguous():
        return cv2.convertScaleAbs(last.numpy(), alpha=255.0)
    return cv2.merge([cv2.convertScaleAbs(plane.numpy(), alpha=255.0) for plane in frame])


def darkest(frame: Frame) -> Frame:
    """(H W) the least of the three channels of `frame` (H W 3), ten times as fast as numpy's."""
    import cv2

    red, green, blue = cv2.split(frame)
    return cv2.min(cv2.min(red, green), blue)


def white_where(there: NDArray[np.bool_]) -> Frame:
    """Levels: 255 where it holds, 0 elsewhere."""
    return np.multiply(255, there, dtype=np.uint8)


def into_hint(made: Frame | Floats, out: Floats) -> None:
    """Writes levels 0..255, (h w 3) or (h w), or floats (h w) into `out` (h w 3) as 0..1.

    Grey goes into every channel.
    """
    import cv2

    if made.dtype == np.float32:
        cv2.merge([made, made, made], dst=out)
        return
    if made.ndim == 2:
        made = cv2.cvtColor(made, cv2.COLOR_GRAY2RGB)
    cv2.LUT(made, _UNIT, dst=out)  # twice as fast as a division, and exactly k/255 as well
