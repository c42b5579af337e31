"""From a signature to a declaration, and what the decorator refuses."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import PREPROCESSORS, RESOLUTION, Parameter
from controlstack.preprocessors._finish import Step
from controlstack.preprocessors._frame import Frame
from controlstack.preprocessors._registry import Choice, Flag, Float, Int, Mask, preprocessor
from controlstack.preprocessors._run import run_frames


@preprocessor(title="Sample", group="tests", source="none", output_range=(-1.0, 1.0), multiple=8)
def sample(
    image: Tensor,
    mask: Annotated[Tensor, Mask("where")],
    *,
    weight: Annotated[float, Float("weight in grams", 0.0, 2.0)] = 1,
    count: Annotated[int, Int("pixels", 1, 9)] = 3,
    mode: Annotated[Literal["a", "b"], Choice("which")] = "b",
    wide: Annotated[bool, Flag("whether")] = False,
) -> Tensor:
    """First line.

    More lines.
    """
    assert not any(side % 8 for side in image.shape[-2:])
    return image.mean(1, keepdim=True) * weight


def test_signature_becomes_a_declaration():
    assert sample.name == "sample"
    assert (sample.summary, sample.description) == ("First line.", "First line.\n\nMore lines.")
    assert sample.needs_mask
    assert sample.mask == Mask("where")
    assert not sample.per_frame
    assert sample.parameters == (
        Parameter("weight", "float", 1, "weight in grams", 0.0, 2.0, 0.01),
        Parameter("count", "int", 3, "pixels", 1, 9, 1),
        Parameter("mode", "choice", "b", "which", choices=("a", "b")),
        Parameter("wide", "flag", False, "whether"),
        RESOLUTION,
    )


def test_padding_is_cropped_and_one_channel_becomes_three():
    image = torch.rand(2, 3, 13, 21)
    hints = sample(image, torch.zeros(1, 1, 4, 4), weight=0.5)
    assert torch.equal(hints, (image.mean(1, keepdim=True) * 0.5).expand(-1, 3, -1, -1))


def test_whole_numbers_are_kept_whole_and_numpy_numbers_are_numbers():
    weight, count, *_ = sample.parameters
    assert type(weight.check(2, where="")) is float
    assert type(count.check(np.int64(2), where="")) is int
    for parameter, wrong in ((count, 2.5), (count, 2.0), (count, True), (weight, True)):
        with pytest.raises(ControlInputError, match=r"expected a (whole )?number from"):
            parameter.check(wrong, where="sample")


def test_a_flag_is_not_a_number():
    with pytest.raises(ControlInputError, match="true or false"):
        sample.parameters[3].check(1, where="sample")


def test_an_unknown_choice_is_answered_with_all_of_them():
    with pytest.raises(ControlInputError, match="one of a, b"):
        sample.parameters[2].check("c", where="sample")


def test_a_parameter_without_its_note_is_refused():
    def bare(image: Tensor, *, sigma: float = 1.0) -> Tensor:
        return image * sigma

    with pytest.raises(TypeError, match="sigma"):
        preprocessor(title="", group="", source="")(bare)


def test_a_frame_with_a_mask_is_refused():
    def both(rgb: Frame, mask: Annotated[Tensor, Mask("where")]) -> Frame:
        return rgb

    with pytest.raises(TypeError, match="mask"):
        preprocessor(title="", group="", source="")(both)


def over_the_brightest(
    made: Tensor, *, gain: float, floor: Annotated[float, Float("level", 0.0, 1.0)] = 0.0
) -> Step:
    highest = made.max()
    return lambda one: (one / highest * gain).clamp(min=floor)


@preprocessor(title="Finished", group="tests", source="none", finish=over_the_brightest)
def finished(
    image: Tensor, *, gain: Annotated[float, Float("factor", 0.0, 1.0)] = 1.0
) -> Tensor:
    """Grey."""
    return image.mean(1, keepdim=True)


def test_a_finish_sees_the_whole_batch_once_and_has_settings_of_its_own(monkeypatch):
    """They come behind `resolution`: saved workflows hold settings by their place."""
    assert [each.name for each in finished.parameters] == ["gain", "resolution", "floor"]
    monkeypatch.setattr("controlstack.preprocessors._frame.CHUNK_PIXELS", 1)
    image = torch.tensor([0.1, 0.4, 0.2]).view(3, 1, 1, 1).expand(3, 3, 4, 5)
    hints = finished(image, gain=0.5, floor=0.2)
    expected = torch.tensor([0.2, 0.5, 0.25]).view(3, 1, 1, 1).expand(3, 3, 4, 5)
    torch.testing.assert_close(hints, expected)
    with pytest.raises(ControlInputError, match="floor"):
        finished(image, floor=2.0)


def test_a_frame_with_a_finish_is_refused():
    def frame(rgb: Frame) -> Frame:
        return rgb

    with pytest.raises(TypeError, match="finish"):
        preprocessor(title="", group="", source="", finish=over_the_brightest)(frame)


def test_a_default_out_of_range_is_refused():
    def off(image: Tensor, *, sigma: Annotated[float, Float("px", 0, 1)] = 2.0) -> Tensor:
        return image * sigma

    with pytest.raises(ControlInputError, match="sigma"):
        preprocessor(title="", group="", source="")(off)


def test_an_interrupt_waits_for_frames_in_flight_only():
    made = []

    def slow(index: int) -> Frame:
        made.append(index)
        time.sleep(0.01)
        return np.zeros((1, 1), np.uint8)

    def interrupt(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_frames(slow, 200, progress=interrupt)
    assert len(made) < 150


def test_names_are_in_the_order_of_the_menu():
    assert list(PREPROCESSORS) == [
        "canny",
        "canny_pyramid",
        "lineart_standard", "lineart_realistic", "lineart_coarse", "lineart_anime", "lineart_manga",
        "softedge_hed", "softedge_pidinet", "softedge_teed", "anyline", "mlsd",
        "scribble",
        "scribble_xdog", "scribble_hed", "scribble_pidinet",
        "binary",
        "invert",
        "blur",
        "tile_resample",
        "tile_pyramid",
        "tile_guided",
        "inpaint_hint",
        "depth_anything_v2", "depth",
        "normal_bae",
        "normal_from_depth",
        "seg_ade20k", "seg_coco", "sam_segments",
        "dwpose",
        "mediapipe_face",
        "mediapipe_hands",
        "recolor_luminance",
        "recolor_intensity",
        "shuffle",
        "color_grid",
    ]
    assert all(name == each.name for name, each in PREPROCESSORS.items())


def test_import_brings_no_opencv(shell):
    code = "import sys, controlstack.preprocessors; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=shell, check=False).returncode == 0
