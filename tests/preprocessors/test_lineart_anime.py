"""Line art of drawings against the published detector, and the stretch against OpenCV."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest
import torch
from published import controlnet_aux, weighted
from torch import Tensor, nn

from controlstack.controlnet_core.files import save_tensors
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._nets.anime2sketch import Anime2Sketch, open_anime2sketch

lineart_anime = PREPROCESSORS["lineart_anime"]


@pytest.mark.parametrize("width", [256, 512])
def test_equals_the_published_detector(width, give, chart, levels_of):
    """All of it, at sizes that need no resize: to a level of rounding."""
    module = controlnet_aux("lineart_anime")
    norm = partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    theirs = weighted(module.UnetGenerator(3, 1, 8, 4, norm_layer=norm))
    give("lineart_anime", theirs)
    picture = cv2.resize(chart, (width, 256))
    expected = module.LineartAnimeDetector(theirs)(
        picture, detect_resolution=256, image_resolution=256, output_type="np"
    )
    found = levels_of(lineart_anime, picture)
    assert expected.std() > 10
    assert np.abs(found - expected.astype(int)).max() <= 1


class Echo:
    """Gives the red channel back, and remembers the sizes that it saw."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, image: Tensor) -> Tensor:
        self.shapes.append(tuple(image.shape))
        return image[:, :1]


@pytest.mark.parametrize("size", [(200, 300), (256, 300), (200, 256), (30, 7), (1, 1)])
def test_a_picture_is_stretched_and_brought_back(size):
    """Cubic on the way there, by area on the way back, as sd-webui-controlnet does on levels."""
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    echo = Echo()
    hint = lineart_anime.function(image, echo)
    tall, wide = (-(-side // 256) * 256 for side in size)
    assert echo.shapes == [(1, 3, tall, wide)]
    there = cv2.resize(image[0, 0].numpy(), (wide, tall), interpolation=cv2.INTER_CUBIC)
    back = cv2.resize(there.clip(0, 1), size[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(hint[0, 0].numpy() - (1 - back)).max() < 2e-4  # of 65536 floats, summed in a row


def test_lines_are_white_on_black():
    paper = torch.ones(1, 3, 256, 256)
    paper[..., 100:104, :] = 0.0
    hint = lineart_anime.function(paper, Echo())
    assert torch.equal(hint, 1 - paper[:, :1])


@pytest.mark.parametrize(("side", "batches"), [(64, [1] * 4), (256, [4]), (190, [2, 2])])
def test_stretched_pictures_take_no_more_memory_than_was_planned(side, batches):
    echo = Echo()
    hint = lineart_anime.function(torch.rand(4, 3, side, side), echo)
    assert hint.shape == (4, 1, side, side)
    assert [shape[0] for shape in echo.shapes] == batches


def test_a_prefix_and_any_width_are_read(tmp_path):
    for prefix, width in (("", 3), ("module.", 64)):
        with torch.device("meta"):
            names = Anime2Sketch(width).state_dict()
        path = tmp_path / f"netG{width}.safetensors"
        tensors = {f"{prefix}{name}": torch.zeros(x.shape) for name, x in names.items()}
        save_tensors(path, {name: x.half() for name, x in tensors.items()}, {})
        assert open_anime2sketch(path).state_dict().keys() == names.keys()
