"""Segmentation networks against the library's processors and their own semantic maps."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_transformers
import torch
import torch.nn.functional as F
from torch import Tensor

from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._catalogue import CATALOGUE
from controlstack.preprocessors._segment_nets import ADE20K as ADE20K_NETS
from controlstack.preprocessors._segment_nets import COCO as COCO_NETS
from controlstack.preprocessors._segment_nets import TASK, likeliest
from controlstack.preprocessors._transformers import short_and_long
from controlstack.preprocessors.palettes import ADE20K, COCO, labels_of

SIZE = (90, 131)
NETWORKS = {"ade20k": ADE20K_NETS, "coco": COCO_NETS}
EVERY = pytest.mark.parametrize(
    ("data", "model"), [(data, model) for data, nets in NETWORKS.items() for model in nets]
)
SIDES = {"oneformer": (640, 2560), "mask2former": (640, 2560), "segformer": (640, 2048),
         "upernet": (512, 2048)}


@pytest.fixture
def library() -> Any:
    """The module transformers, where its processors have the torchvision that they need."""
    pytest.importorskip("torchvision", reason="the library's processors need torchvision")
    return tiny_transformers.transformers()


@pytest.fixture
def image(pictures) -> Tensor:
    return F.interpolate(pictures[:2], SIZE, mode="bilinear")


@EVERY
def test_labels_equal_the_librarys_semantic_maps(data, model, library, image, tmp_path):
    network = NETWORKS[data][model]
    short, long = (800, 1333) if data == "coco" else SIDES[model]
    prepared = [_prepared(library, model, each, short, long) for each in image]
    for seed in range(20):  # random weights often see one class everywhere
        builder = tiny_transformers.BUILDERS[network.checkpoint_id]
        theirs = tiny_transformers.write(builder, tmp_path, seed=seed)
        expected = torch.stack([_labels(theirs, *each) for each in prepared])
        if len(expected.unique()) > 1:
            break
    assert len(expected.unique()) > 1
    with torch.inference_mode():
        found = network.open(tmp_path)(image)
    differing = (found != expected).float().mean()
    assert differing < 1e-3  # ties between sums that are taken in another order


def _labels(theirs: Any, prepare: Any, inputs: Any) -> Tensor:
    """Classes (H W) that the library sees in one picture."""
    with torch.inference_mode():
        made = theirs(**inputs)
        (labels,) = prepare.post_process_semantic_segmentation(made, target_sizes=[SIZE])
    return labels


def _prepared(library: Any, model: str, image: Tensor, short: int, long: int) -> tuple[Any, Any]:
    """The processor, and what it makes of `image` (3 H W)."""
    if model in ("segformer", "upernet"):
        height, width = short_and_long(*image.shape[-2:], short=short, long=long)
        prepare = library.SegformerImageProcessor(size={"height": height, "width": width})
        return prepare, prepare([image], do_rescale=False, return_tensors="pt")
    size = {"shortest_edge": short, "longest_edge": long}
    if model == "mask2former":
        prepare = library.Mask2FormerImageProcessor(size=size, size_divisor=0)
        made = prepare([image], do_rescale=False, return_tensors="pt")
        return prepare, {"pixel_values": made["pixel_values"]}
    prepare = library.OneFormerImageProcessor(
        size=size, class_info_file=None, num_text=None, metadata={}
    )
    made = prepare([image], ["semantic"], do_rescale=False, return_tensors="pt")
    task = torch.zeros(1, 77, dtype=torch.long)
    task[0, : len(TASK)] = torch.tensor(TASK)
    return prepare, {"pixel_values": made["pixel_values"], "task_inputs": task}


@pytest.mark.parametrize("size", [(90, 131), (131, 90), (40, 400), (1, 30), (640, 853), (5, 5)])
@pytest.mark.parametrize("sides", [(640, 2560), (800, 1333), (512, 2048)])
def test_sizes_are_those_of_the_library(size, sides, library):
    from transformers.image_transforms import get_size_with_aspect_ratio

    found = short_and_long(*size, short=sides[0], long=sides[1])
    assert found == tuple(get_size_with_aspect_ratio(size, *sides))


def test_the_task_is_spelt_as_clips_tokenizer_does(library):
    """With the vocabulary that ComfyUI carries, where it stands beside the tests."""
    spec = importlib.util.find_spec("comfy")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs ComfyUI on the path")
    folder = Path(next(iter(spec.submodule_search_locations))) / "sd1_tokenizer"
    tokenizer = library.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    assert tuple(tokenizer("the task is semantic")["input_ids"]) == TASK


@pytest.mark.parametrize("classes", [1, 15, 16, 17, 150])
def test_the_likeliest_class_is_that_of_all_at_once(classes):
    scores = torch.rand(2, classes, 7, 9, generator=torch.Generator().manual_seed(classes))
    grow = partial(F.interpolate, size=(31, 40), mode="bilinear")
    assert torch.equal(likeliest(scores, grow), grow(scores).argmax(1))


@EVERY
def test_hints_are_labels_in_the_palette_of_their_data(data, model, pictures, tiny_weights):
    palette = {"ade20k": ADE20K, "coco": COCO}[data]
    hint = PREPROCESSORS[f"seg_{data}"](pictures[:1], model=model)
    network = NETWORKS[data][model]
    with torch.inference_mode():
        labels = network.open(tiny_weights / CATALOGUE[network.checkpoint_id].repo)(pictures[:1])
    colours = torch.tensor(palette.colors)[labels.long()].movedim(-1, 1) / 255
    assert torch.equal(hint, colours)
    assert torch.equal(torch.tensor(palette.colors)[labels_of(hint, palette)],
                       torch.tensor(palette.colors)[labels.long()])  # two classes share one


def test_every_class_has_a_colour():
    for data, palette in (("ade20k", ADE20K), ("coco", COCO)):
        for network in NETWORKS[data].values():
            built = tiny_transformers.BUILDERS[network.checkpoint_id]()
            assert built.config.num_labels == len(palette.colors)
