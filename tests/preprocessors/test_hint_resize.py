"""Resized hints: known checksums, lines that stay lines, colours that stay in the set."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors._sizes import RESIZE_MODES
from controlstack.preprocessors.hint_resize import resize_hint
from controlstack.preprocessors.palettes import ADE20K, COCO

JUST, CROP, FILL = RESIZE_MODES
BIG, SMALL = {"height": 256, "width": 256}, {"height": 64, "width": 80}


def source(name: str) -> np.ndarray:
    """(128 160 3) uint8, one for each way of resizing."""
    y, x = np.mgrid[:128, :160]
    frame = np.zeros((128, 160, 3), np.uint8)
    match name:
        case "one":
            cv2.rectangle(frame, (20, 20), (120, 100), (255, 255, 255), 1)
            cv2.line(frame, (10, 120), (150, 10), (255, 255, 255), 1)
        case "thick":
            cv2.rectangle(frame, (20, 20), (120, 100), (255, 255, 255), 7)
        case "seg":
            frame[:, :50], frame[:, 50:110], frame[80:, 60:] = 120, (6, 230, 230), (80, 50, 50)
        case "grad":
            frame[:] = np.stack([x * 255 // 159, y * 255 // 127, (x + y) % 256], axis=-1)
    return frame


def tensor(*frames: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1) / 255


def levels(hint: Tensor) -> np.ndarray:
    return np.ascontiguousarray((hint[0] * 255).round().byte().movedim(0, -1).numpy())


def crc(frame: np.ndarray) -> str:
    return f"{zlib.crc32(frame.tobytes()):08x}"


@pytest.mark.parametrize(
    ("name", "just", "fill", "crop", "small"),
    [
        ("one", "8e1da128", "acd3cd23", "495ec706", "3beda641"),
        ("thick", "83d54a2d", "58401007", "f7eae944", "3c8b5677"),
        ("seg", "08718b03", None, "558c3421", "51ff2475"),
        ("grad", "ca4ae403", "e3c21e6b", "e607fbd8", None),
    ],
)
def test_equals_the_known_checksums(name, just, fill, crop, small):
    hint = tensor(source(name))
    for mode, size, known in (
        (JUST, BIG, just), (FILL, BIG, fill), (CROP, BIG, crop), (JUST, SMALL, small)
    ):
        if known:
            assert crc(levels(resize_hint(hint, **size, mode=mode))) == known, (mode, size)


def test_the_border_beside_classes_is_a_class():
    """The known picture has (80, 120, 120) there: the median of the channels, and no class."""
    found = levels(resize_hint(tensor(source("seg")), **BIG, mode=FILL))
    for border in (found[:25], found[-26:]):
        assert (border == 120).all()
        border[:] = (80, 120, 120)
    assert crc(found) == "1f52f1ec"


def test_shades_are_not_rounded_to_8_bits():
    """Within a level of OpenCV's bytes, whose known checksum is quoted, and between levels."""
    expected = cv2.resize(source("grad"), (80, 64), interpolation=cv2.INTER_AREA)
    assert crc(expected) == "0d2c83fd"
    found = resize_hint(tensor(source("grad")), **SMALL)[0].movedim(0, -1).numpy() * 255
    assert 0.4 < np.abs(found - expected).max() < 0.51
    deep = torch.linspace(0, 1, 4000).expand(1, 3, 130, 4000) / 20
    assert len(resize_hint(deep, height=130, width=3000).unique()) > 2900


def drawing(draw: Callable[[np.ndarray], object], size: tuple[int, int]) -> np.ndarray:
    frame = np.zeros((*size, 3), np.uint8)
    draw(frame)
    return frame


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [(512, 512), (300, 700), (100, 120), (90, 64)])
def test_lines_of_one_pixel_stay_binary_and_thin(mode, size):
    def draw(frame: np.ndarray) -> None:
        cv2.circle(frame, (100, 75), 60, (255, 255, 255), 1)
        cv2.line(frame, (5, 10), (190, 140), (255, 255, 255), 1)

    hint = tensor(drawing(draw, (150, 200)))
    found = levels(resize_hint(hint, height=size[0], width=size[1], mode=mode))
    assert set(np.unique(found)) == {0, 255}
    assert (found == found[..., :1]).all()
    squares = [cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((side, side))) for side in (2, 3)]
    white = (found > 0).sum()
    assert (squares[0] > 0).sum() < 0.4 * white  # steps and crossings; all of a line of 2 pixels
    assert (squares[1] > 0).sum() < 0.02 * white
    assert white > 2 * min(size)  # and the lines are there


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("palette", [ADE20K, COCO], ids=["ade20k", "coco"])
def test_colours_of_classes_stay_in_the_set(mode, palette):
    random = np.random.default_rng(8)
    for count in (2, 3, len(palette.names)):
        cells = random.integers(0, count, (12, 15))
        frame = np.array(palette.colors, np.uint8)[cells].repeat(9, 0).repeat(7, 1)
        found = levels(resize_hint(tensor(frame), height=200, width=77, mode=mode))
        known = {tuple(color) for color in frame.reshape(-1, 3)}
        assert {tuple(color) for color in found.reshape(-1, 3)} <= known


def test_two_colours_other_than_black_and_white_are_kept():
    red = drawing(lambda frame: cv2.circle(frame, (40, 40), 20, (255, 0, 0), -1), (80, 80))
    found = levels(resize_hint(tensor(red), height=130, width=130))
    assert {tuple(color) for color in found.reshape(-1, 3)} == {(0, 0, 0), (255, 0, 0)}


def test_a_depth_map_of_8_bits_has_no_steps():
    """Under 200 greys, which the published rule took for classes."""
    ramp = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None], (100, 50, 3))
    found = resize_hint(tensor(ramp), height=400, width=50)[0, 0, :, 0]
    assert (found.diff()[8:-8] > 0).all()


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("name", ["one", "thick", "seg", "grad"])
def test_the_same_size_changes_nothing(name, mode):
    hint = tensor(source(name))
    assert torch.equal(resize_hint(hint, height=128, width=160, mode=mode), hint)


def test_each_picture_of_a_batch_is_resized_for_itself():
    hints = tensor(*(source(name) for name in ("one", "seg", "grad", "thick")))
    seen = []
    found = resize_hint(
        hints, **BIG, mode=CROP, progress=lambda *now: seen.append(now)
    )
    for row, hint in enumerate(hints):
        assert torch.equal(found[row], resize_hint(hint[None], **BIG, mode=CROP)[0])
    assert seen == [(done, 4) for done in (1, 2, 3, 4)]


@pytest.mark.parametrize("name", ["one", "seg"])
def test_half_precision_is_known_for_8_bits(name):
    expected = resize_hint(tensor(source(name)), **BIG)
    found = resize_hint(tensor(source(name)).half(), **BIG)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 1e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (7, 2), (33, 65)])
@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_any_size(size, mode):
    for hint in (torch.rand(2, 3, *size), torch.zeros(1, 1, *size), torch.ones(1, 4, *size)):
        found = resize_hint(hint, height=19, width=40, mode=mode)
        assert found.shape == (len(hint), 3, 19, 40)
        assert 0 <= found.min() <= found.max() <= 1


def test_it_runs_in_inference_mode_as_in_the_host():
    hint = tensor(source("grad"))
    with torch.inference_mode():
        assert torch.equal(resize_hint(hint.clone(), **BIG), resize_hint(hint, **BIG))


def test_the_hint_is_untouched():
    hint = torch.rand(1, 3, 9, 9)
    before = hint.clone()
    resize_hint(hint, height=9, width=9).fill_(7)
    resize_hint(hint, height=20, width=9).fill_(7)
    assert torch.equal(hint, before)


@pytest.mark.parametrize(
    ("hint", "size", "code"),
    [
        (torch.rand(1, 3, 8, 8), (0, 8), "CN-I03"),
        (torch.rand(1, 3, 8, 8), (20000, 20000), "CN-I21"),
        (torch.rand(1, 5, 8, 8), (8, 8), "CN-I06"),
        (torch.rand(1, 3, 8, 8) * 255, (8, 8), "CN-I12"),
        (torch.full((1, 3, 8, 8), float("nan")), (8, 8), "CN-I14"),
    ],
)
def test_what_is_no_hint_is_refused(hint, size, code):
    with pytest.raises(ControlInputError) as caught:
        resize_hint(hint, height=size[0], width=size[1])
    assert caught.value.code == code


def test_progress_may_interrupt():
    def interrupt(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resize_hint(torch.rand(9, 3, 8, 8), height=4, width=4, progress=interrupt)
