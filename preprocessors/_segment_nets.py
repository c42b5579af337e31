"""Networks that give every pixel a class, with the scaling that their authors publish."""

# Sources: the test configurations of OneFormer, Mask2Former (detectron2) and of Swin's UPerNet and
# SegFormer (mmsegmentation); what becomes of logits as in post_process_semantic_segmentation of
# each model's image processor in transformers (Apache-2.0).

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._networks import Network
from ._transformers import (
    IMAGENET,
    Scaling,
    in_turns,
    linear,
    linear_rough,
    open_folder,
    short_and_long,
)

# "the task is semantic" as CLIP's tokenizer writes it: its start, four words of which the last
# takes two numbers, its end; the rest of OneFormer's line is 0.
TASK = (49406, 518, 10549, 533, 29119, 1550, 49407)
MASK_SIDE = (384, 384)  # at which transformers reads the masks of Mask2Former
PLANES = 16  # classes brought to the picture's size at a time

Scores = Callable[[Any, Tensor], Tensor]


class SegmentNet(nn.Module):
    """Classes of the pixels of pictures, by scores (b classes h w) of the model's own size."""

    def __init__(
        self, model: Any, scaling: Scaling, scores: Scores, resize: Callable[..., Tensor]
    ) -> None:
        super().__init__()
        self.model = model
        self.scaling = scaling
        self.scores = scores
        self.resize = resize

    def forward(self, image: Tensor) -> Tensor:
        """Numbers of classes (b H W), as floats, of pictures (b 3 H W) in 0..1."""
        size = image.shape[-2:]

        def classes(part: Tensor) -> Tensor:
            scores = self.scores(self.model, self.scaling(part)).float()
            return likeliest(scores, partial(self.resize, size=size))

        return in_turns(classes, image, self.scaling.size(*size)).float()


def likeliest(scores: Tensor, resize: Callable[[Tensor], Tensor]) -> Tensor:
    """For every pixel of the resized `scores` (b classes h w) the class with the highest, (b H W).

    A few classes at a time: at the size of a large picture all of them would take gigabytes.
    """
    best, labels = resize(scores[:, :PLANES]).max(1)
    for start in range(PLANES, scores.shape[1], PLANES):
        value, index = resize(scores[:, start : start + PLANES]).max(1)
        labels = torch.where(value > best, index + start, labels)
        best = torch.maximum(best, value)
    return labels


def of_pixels(model: Any, pixels: Tensor) -> Tensor:
    """Scores of a model that has them for every pixel."""
    return model(pixel_values=pixels).logits


def of_masks(model: Any, pixels: Tensor) -> Tensor:
    """Scores of Mask2Former: how likely a mask is of a class, and a pixel in the mask, summed."""
    made = model(pixel_values=pixels)
    masks = F.interpolate(made.masks_queries_logits.float(), MASK_SIDE, mode="bilinear")
    return _summed(made.class_queries_logits, masks)


def of_task(model: Any, pixels: Tensor) -> Tensor:
    """Scores of OneFormer, told to segment semantically."""
    task = F.pad(torch.tensor(TASK), (0, model.config.task_seq_len - len(TASK)))
    tasks = task.to(pixels.device).expand(len(pixels), -1)
    made = model(pixel_values=pixels, task_inputs=tasks)
    return _summed(made.class_queries_logits, made.masks_queries_logits.float())


def _summed(classes: Tensor, masks: Tensor) -> Tensor:
    """Both as logits, (b queries classes+1) and (b queries h w); the last class is none."""
    likely = classes.float().softmax(-1)[..., :-1]
    return torch.einsum("bqc, bqhw -> bchw", likely, masks.sigmoid())


def _open(
    path: Path, *, model: str, short: int, long: int, scores: Scores, resize: Callable[..., Tensor]
) -> SegmentNet:
    scaling = Scaling(partial(short_and_long, short=short, long=long), linear, *IMAGENET)
    return SegmentNet(open_folder(path, model), scaling, scores, resize)


_oneformer = partial(
    _open, model="OneFormerForUniversalSegmentation", scores=of_task, resize=linear
)
_mask2former = partial(
    _open, model="Mask2FormerForUniversalSegmentation", scores=of_masks, resize=linear_rough
)
_segformer = partial(
    _open, model="SegformerForSemanticSegmentation", scores=of_pixels, resize=linear_rough
)
_upernet = partial(
    _open, model="UperNetForSemanticSegmentation", scores=of_pixels, resize=linear_rough
)

# For one pixel of the input, the features of the widest layers, at a quarter of the size.
ADE20K: dict[str, Network] = {
    "oneformer": Network("oneformer_ade20k", partial(_oneformer, short=640, long=2560), 600),
    "mask2former": Network("mask2former_ade20k", partial(_mask2former, short=640, long=2560), 600),
    "segformer": Network("segformer_ade20k", partial(_segformer, short=640, long=2048), 600),
    "upernet": Network("upernet_ade20k", partial(_upernet, short=512, long=2048), 900),
}
COCO: dict[str, Network] = {
    "oneformer": Network("oneformer_coco", partial(_oneformer, short=800, long=1333), 600),
    "mask2former": Network("mask2former_coco", partial(_mask2former, short=800, long=1333), 600),
}
