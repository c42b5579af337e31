"""What holds for every preprocessor of the registry."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import PREPROCESSORS, RESOLUTION, Preprocessor

EVERY = pytest.mark.parametrize("preprocessor", PREPROCESSORS.values(), ids=PREPROCESSORS)


def same(preprocessor: Preprocessor, one: Tensor, other: Tensor) -> bool:
    """Whether both are equal; to rounding for networks, whose sums depend on the batch's size."""
    return torch.allclose(one, other, rtol=0, atol=1e-5 if preprocessor.learned else 0)


@EVERY
def test_hints_are_float32_rgb_in_their_range(preprocessor, pictures, run):
    hints = run(preprocessor, pictures)
    low, high = preprocessor.output_range
    assert hints.shape == pictures.shape
    assert hints.dtype == torch.float32
    assert low <= hints.min()
    assert hints.max() <= high


@EVERY
def test_input_is_untouched_and_not_handed_out(preprocessor, pictures, run):
    before = pictures.clone()
    run(preprocessor, pictures).fill_(0.5)
    assert torch.equal(pictures, before)


@EVERY
def test_hints_can_be_written_channel_by_channel(preprocessor, pictures, run):
    hints = run(preprocessor, pictures)
    hints[:, 0] = 7.0
    assert not (hints[:, 1:] == 7.0).any()


@EVERY
def test_pictures_of_a_batch_are_independent(preprocessor, pictures, run):
    alone = torch.cat([run(preprocessor, picture[None]) for picture in pictures])
    assert same(preprocessor, run(preprocessor, pictures), alone)


@EVERY
def test_more_pictures_than_a_chunk_keep_their_order(preprocessor, pictures, run, monkeypatch):
    whole = run(preprocessor, pictures)
    monkeypatch.setattr("controlstack.preprocessors._frame.CHUNK_PIXELS", 1)
    seen = []
    hints = run(preprocessor, pictures, progress=lambda *now: seen.append(now))
    assert same(preprocessor, hints, whole)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@EVERY
def test_same_input_same_hint(preprocessor, pictures, run):
    assert torch.equal(run(preprocessor, pictures), run(preprocessor, pictures))


@EVERY
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (5, 1), (7, 13), (65, 63), (129, 257)])
def test_any_size(preprocessor, size, run):
    hints = run(preprocessor, torch.rand(2, 3, *size))
    assert hints.shape == (2, 3, *size)
    assert hints.isfinite().all()


@EVERY
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_pictures_give_finite_hints(preprocessor, level, run):
    assert run(preprocessor, torch.full((2, 3, 16, 24), level)).isfinite().all()


@EVERY
def test_grey_means_three_equal_channels(preprocessor, pictures, run):
    grey = pictures[:, :1]
    assert torch.equal(run(preprocessor, grey), run(preprocessor, grey.expand(-1, 3, -1, -1)))


@EVERY
def test_alpha_is_composited_on_white(preprocessor, pictures, run):
    alpha = torch.rand(4, 1, 40, 57)
    on_white = pictures * alpha + (1 - alpha)
    transparent = torch.cat([pictures, alpha], dim=1)
    assert torch.equal(run(preprocessor, transparent), run(preprocessor, on_white))


@EVERY
def test_a_picture_without_batch_axis_is_a_batch_of_one(preprocessor, pictures, run):
    assert torch.equal(run(preprocessor, pictures[1]), run(preprocessor, pictures[1:2]))


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read_as_float32(preprocessor, pictures, dtype, run):
    other = pictures.to(dtype)
    hints = run(preprocessor, other)
    assert hints.dtype == torch.float32
    assert torch.equal(hints, run(preprocessor, other.float()))


@EVERY
def test_memory_order_gradients_and_inference_tensors_change_nothing(preprocessor, pictures, run):
    expected = run(preprocessor, pictures)
    turned = pictures.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    strided = torch.zeros(4, 3, 40, 114)[..., ::2].copy_(pictures)
    for same in (turned, strided, pictures.clone().requires_grad_()):
        torch.testing.assert_close(run(preprocessor, same), expected, rtol=0, atol=1e-6)
    with torch.inference_mode():
        assert torch.equal(run(preprocessor, pictures.clone()), expected)


@EVERY
def test_device_is_the_inputs(preprocessor, run):
    if preprocessor.per_frame or preprocessor.learned:
        pytest.skip("OpenCV and networks need pixels, which a meta tensor has not")
    hints = run(preprocessor, torch.rand(2, 3, 16, 24, device="meta"))
    assert hints.is_meta
    assert hints.shape == (2, 3, 16, 24)


@EVERY
@pytest.mark.parametrize("size", [(40, 57), (57, 40), (64, 64), (1, 1)])
@pytest.mark.parametrize("resolution", [16, 51, 100])
def test_resolution_is_the_shortest_side(preprocessor, size, resolution, run):
    hints = run(preprocessor, torch.rand(2, 3, *size), resolution=resolution)
    height, width = hints.shape[-2:]
    assert min(height, width) == resolution
    assert abs(height * size[1] - width * size[0]) <= max(size)  # aspect kept to a rounded pixel
    low, high = preprocessor.output_range
    assert low <= hints.min()
    assert hints.max() <= high


@EVERY
def test_resolution_resizes_before_the_algorithm(preprocessor, pictures, run):
    from controlstack.preprocessors._frame import resized

    small = resized(pictures, (20, 28))
    assert torch.equal(run(preprocessor, pictures, resolution=20), run(preprocessor, small))


@EVERY
def test_slight_overshoot_is_clamped(preprocessor, pictures, run):
    overshooting = pictures * 1.08 - 0.04
    assert torch.equal(
        run(preprocessor, overshooting), run(preprocessor, overshooting.clamp(0, 1))
    )


@EVERY
def test_progress_may_interrupt(preprocessor, run, monkeypatch):
    monkeypatch.setattr("controlstack.preprocessors._frame.CHUNK_PIXELS", 1)
    seen = []

    def interrupt(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(preprocessor, torch.rand(9, 3, 8, 8), progress=interrupt)
    assert seen == [(1, 9), (2, 9)]


@EVERY
def test_declares_all_that_a_node_shows(preprocessor):
    assert preprocessor.title.isascii()
    assert preprocessor.group
    assert preprocessor.source
    assert preprocessor.summary.endswith(".")
    own = () if preprocessor.finish is None else preprocessor.finish.parameters
    assert preprocessor.parameters[len(preprocessor.parameters) - len(own) - 1 :] == (
        RESOLUTION, *own
    )  # fmt: skip
    for parameter in preprocessor.parameters:
        assert parameter.help
        assert parameter.check(parameter.default, where="default") == parameter.default


@EVERY
def test_every_bound_of_every_parameter_runs(preprocessor, pictures, run):
    for parameter in preprocessor.parameters:
        if parameter is RESOLUTION:
            continue
        for value in (parameter.min, parameter.max, *parameter.choices, parameter.default):
            if value is not None:
                hints = run(preprocessor, pictures, **{parameter.name: value})
                assert hints.isfinite().all()


@EVERY
def test_every_wrong_parameter_is_refused(preprocessor, pictures, run):
    for parameter in preprocessor.parameters:
        for value in (None, "text", float("nan"), float("inf"), -1e9, 1e9, [], 0.5 + 1j):
            with pytest.raises(ControlInputError, match=parameter.name) as caught:
                run(preprocessor, pictures, **{parameter.name: value})
            assert caught.value.code == "CN-PARAM"


@EVERY
def test_a_misspelt_parameter_is_named_with_the_right_one(preprocessor, pictures, run):
    with pytest.raises(ControlInputError, match="write resolution"):
        run(preprocessor, pictures, resolutoin=64)
