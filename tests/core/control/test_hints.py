"""Hints: what is refused or mended, how they are cut and resized, and what is encoded again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from controlstack.controlnet_core.control import (
    Area,
    Embeddings,
    HintSource,
    Rows,
    Same,
    check_hint,
    fit_hint,
)
from controlstack.controlnet_core.errors import ControlInputError

few = settings(derandomize=True, deadline=None, max_examples=25)


def picture(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(7)) * 0.8 + 0.1


def with_pixel(value: float) -> Tensor:
    x = picture(2, 3, 8, 9)
    x[1, 2, 4, 5] = value
    return x


REFUSED: dict[str, tuple[Callable[[], Tensor], str, str]] = {
    "I02 no picture": (lambda: torch.zeros(0, 3, 8, 8), "CN-I02", "(0, 3, 8, 8)"),
    "I03 no rows": (lambda: torch.zeros(1, 3, 0, 8), "CN-I02", "(1, 3, 0, 8)"),
    "I03 no columns": (lambda: torch.zeros(1, 3, 8, 0), "CN-I02", "(1, 3, 8, 0)"),
    "I06 two channels": (lambda: picture(1, 2, 8, 8), "CN-I06", "2 channels"),
    "I06 five channels": (lambda: picture(1, 5, 8, 8), "CN-I06", "5 channels"),
    "I07 no batch": (lambda: picture(3, 8, 8), "CN-I02", "(3, 8, 8)"),
    "I08 video": (lambda: picture(1, 2, 3, 8, 8), "CN-I02", "(1, 2, 3, 8, 8)"),
    "I09 channels first": (lambda: picture(1, 64, 3, 48), "CN-I06", "64 channels"),
    "I11 bytes": (lambda: (picture(1, 3, 8, 8) * 255).byte(), "CN-I11", "to 2"),
    "I12 floats of bytes": (lambda: picture(1, 3, 8, 8) * 255, "CN-I11", "to 2"),
    "I13 far above": (lambda: with_pixel(1.1), "CN-I11", "to 1.1"),
    "I13 far below": (lambda: with_pixel(-1.1), "CN-I11", "from -1.1"),
    "I14 NaN": (lambda: with_pixel(float("nan")), "CN-I14", "1 pixel"),
    "I15 infinite": (lambda: with_pixel(float("inf")), "CN-I14", "1 pixel"),
    "I18 a line": (lambda: picture(1, 3, 1, 2048), "CN-I18", "2048 x 1 "),
    "I18 a thin strip": (lambda: picture(1, 3, 330, 10), "CN-I18", "10 x 330"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_hint_that_means_nothing_is_refused(row: str) -> None:
    make, code, says = REFUSED[row]
    with pytest.raises(ControlInputError) as caught:
        check_hint(make(), channels=3, where="hint of a")
    error = caught.value
    assert (error.code, error.where) == (code, "hint of a")
    assert says in error.found
    assert error.expected
    assert error.fix
    assert len(str(error)) <= 600


def test_first_bad_pixel_is_named() -> None:
    x = with_pixel(float("nan"))
    x[1, 0, 7, 8] = float("inf")
    with pytest.raises(ControlInputError, match=r"2 pixels .*first: picture 1, row 4, column 5,"):
        check_hint(x, channels=3, where="hint")


def check(x: Tensor, channels: int = 3) -> Tensor:
    return check_hint(x, channels=channels, where="hint")


def test_good_hint_passes_as_it_is() -> None:
    """I01, I19, I20: any size, a single pixel included."""
    for size in [(1, 1), (63, 65), (7, 9), (64, 2)]:
        x = picture(2, 3, *size)
        assert torch.equal(check(x), x)


def test_grey_is_repeated() -> None:
    """I05."""
    grey = picture(2, 1, 8, 8)
    assert torch.equal(check(grey), grey.repeat(1, 3, 1, 1))


def test_alpha_is_composited_on_white() -> None:
    """I04."""
    color, alpha = picture(1, 3, 4, 4), torch.tensor([0.0, 0.25, 1.0, 0.5]).expand(1, 1, 4, 4)
    found = check(torch.cat([color, alpha], dim=1))
    torch.testing.assert_close(found, color * alpha + 1 - alpha)
    assert torch.equal(found[..., 0], torch.ones(1, 3, 4))
    assert torch.equal(found[..., 2], color[..., 2])
    x = picture(1, 4, 4, 4)
    assert torch.equal(check(x, channels=4), x)  # a net that reads four keeps all four


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_any_float_becomes_float32(dtype: torch.dtype) -> None:
    """I10."""
    x = picture(1, 3, 8, 8).to(dtype)
    assert torch.equal(check(x), x.float())


def test_overshoot_of_a_resize_is_clamped() -> None:
    """I13; what lies clearly below 0 is an inpaint hint's mark of its hole, and stays."""
    assert check(with_pixel(1.04)).max() == 1.0
    assert check(with_pixel(-0.04)).min() == 0.0
    hole = with_pixel(-1.0)
    assert torch.equal(check(hole), hole)
    assert check(with_pixel(-1.04)).min() == -1.0


def test_odd_memory_means_the_same_and_is_never_written() -> None:
    """I16, I17."""
    x = with_pixel(1.04)
    expected, kept = check(x), x.clone()
    wide = torch.zeros(2, 3, 8, 18)
    wide[..., ::2] = x
    with torch.inference_mode():
        inference = x.clone()
    odd = [wide[..., ::2], x.transpose(2, 3).contiguous().transpose(2, 3), inference,
           x.clone().requires_grad_()]  # fmt: skip
    for same in odd:
        assert torch.equal(check(same), expected)
        assert torch.equal(same, kept)
    assert torch.equal(x, kept)


def by_hand(x: Tensor, height: int, width: int) -> Tensor:
    """The middle of `x` with the aspect of width x height, in whole pixels, then torch's resize."""
    rows, columns = x.shape[-2:]
    if columns * height > rows * width:
        cut = round((columns - rows * width / height) / 2)
        x = x[..., cut : columns - cut]
    else:
        cut = round((rows - columns * height / width) / 2)
        x = x[..., cut : rows - cut, :]
    return F.interpolate(x, size=(height, width), mode="nearest-exact")


@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((64, 64), (64, 64)), ((63, 65), (64, 64)), ((513, 769), (512, 768)),
        ((100, 300), (64, 64)), ((300, 100), (64, 64)), ((37, 91), (8, 24)), ((1, 1), (64, 64)),
        ((8, 8), (64, 128)), ((50, 40), (8, 256)), ((9, 7), (7, 9)),
    ],
    ids=str,
)  # fmt: skip
def test_hint_is_cut_at_its_centre_then_resized(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    x = picture(2, 3, *size)
    found = fit_hint(x, width=target[1], height=target[0])
    assert found.shape == (2, 3, *target)
    assert torch.equal(found, by_hand(x, *target))


@few
@given(*[st.integers(1, 60)] * 4)
def test_any_aspect_is_fitted_or_refused(rows: int, columns: int, height: int, width: int) -> None:
    x = picture(1, 1, rows, columns)
    left = round((columns - rows * width / height) / 2)
    top = round((rows - columns * height / width) / 2)
    if 2 * left >= columns or 2 * top >= rows:
        with pytest.raises(ControlInputError) as caught:
            fit_hint(x, width=width, height=height)
        assert caught.value.code == "CN-I18"
        assert f"{columns} x {rows}" in caught.value.found
        assert f"{width} x {height}" in caught.value.expected
    else:
        found = fit_hint(x, width=width, height=height)
        assert torch.equal(found, by_hand(x, height, width))


def test_line_cannot_be_cut_to_a_square() -> None:
    """I18: the cut leaves nothing. ComfyUI fails on it with "input (H: 1, W: 0)"."""
    for shape in ((1, 2048), (2048, 1)):
        with pytest.raises(ControlInputError, match=r"CN-I18.*keeps at least one pixel"):
            fit_hint(picture(1, 3, *shape), width=64, height=64)


class Encoder:
    """Counts what it is asked to encode, and gives back the last of the pictures."""

    def __init__(self) -> None:
        self.shapes: list[list[tuple[int, ...]]] = []

    def __call__(self, hints: tuple[Tensor, ...]) -> Tensor:
        self.shapes.append([tuple(hint.shape) for hint in hints])
        return hints[-1]


def latent(height: int, width: int, rows: int = 2) -> Tensor:
    return torch.zeros(rows, 4, height, width)


def test_hint_is_encoded_once_for_a_size() -> None:
    encode = Encoder()
    source = HintSource((picture(1, 3, 50, 40), picture(2, 3, 64, 64)), encode)
    first = source.embedding(latent(8, 6), Rows(2))
    assert encode.shapes == [[(1, 3, 64, 48), (2, 3, 64, 48)]]
    assert torch.equal(source.embedding(latent(8, 6), Rows(2)), first)
    source.embedding(latent(9, 6), Rows(2))
    assert len(encode.shapes) == 2
    both = source.embedding(latent(8, 6, rows=4), Rows(2, chunks=2))
    assert len(encode.shapes) == 2, "two pictures are encoded once for cond and uncond"
    assert torch.equal(both, torch.cat([first, first]))


def test_scale_is_the_encoders() -> None:
    encode = Encoder()
    HintSource((picture(1, 3, 50, 40),), encode, scale=4).embedding(latent(8, 6), Rows(2))
    assert encode.shapes == [[(1, 3, 32, 24)]]


def test_the_size_that_was_longest_unused_is_forgotten() -> None:
    encode = Encoder()
    most = sum(3 * (8 * side) ** 2 * 4 for side in (4, 6, 7, 8))
    source = HintSource((picture(1, 3, 32, 32),), encode, embeddings=Embeddings(most))
    for side in (4, 5, 6, 7):
        source.embedding(latent(side, side), Rows(2))
    source.embedding(latent(4, 4), Rows(2))  # used again, so 5 is now the oldest
    source.embedding(latent(8, 8), Rows(2))
    assert len(encode.shapes) == 5
    for side in (4, 6, 7, 8):
        source.embedding(latent(side, side), Rows(2))
    assert len(encode.shapes) == 5
    source.embedding(latent(5, 5), Rows(2))
    assert len(encode.shapes) == 6


def test_one_that_is_larger_than_the_bound_is_kept_while_it_is_used() -> None:
    encode = Encoder()
    source = HintSource((picture(1, 3, 32, 32),), encode, embeddings=Embeddings(10))
    for _ in range(3):
        source.embedding(latent(4, 4), Rows(2))
    assert len(encode.shapes) == 1


def test_embeddings_serve_the_next_run_for_the_same_hint_alone() -> None:
    encode, kept = Encoder(), Embeddings()
    hint, other = picture(1, 3, 32, 32), picture(1, 3, 32, 32)
    for shown in (hint, hint, other, hint):
        HintSource((shown,), encode, embeddings=kept, key=(Same(shown),)).embedding(
            latent(4, 4), Rows(2)
        )
    assert len(encode.shapes) == 2
    kept.clear()
    HintSource((hint,), encode, embeddings=kept, key=(Same(hint),)).embedding(latent(4, 4), Rows(2))
    assert len(encode.shapes) == 3


def test_a_key_of_an_object_that_is_gone_means_no_other() -> None:
    key = Same(gone := picture(1, 3, 4, 4))
    assert key == Same(gone)
    del gone
    assert key != Same(picture(1, 3, 4, 4))
    assert key != key.__class__(picture(1, 3, 4, 4))


AREA = Area(whole=(8, 6), size=(3, 2), top=4, left=1)


def test_an_area_gets_its_part_of_the_hint() -> None:
    """Peers and ComfyUI lay the whole hint on the area."""
    hint = picture(1, 3, 128, 96)
    source = HintSource((hint,), Encoder())
    whole = source.embedding(latent(8, 6), Rows(1))
    found = source.embedding(latent(3, 2), Rows(1), AREA)
    assert torch.equal(found, whole[..., 32:56, 8:24])


def test_areas_are_encoded_once_each() -> None:
    encode = Encoder()
    source = HintSource((picture(1, 3, 64, 48),), encode)
    areas = [Area((8, 6), (3, 2), top, left) for top in (0, 5) for left in (0, 4)]
    for _ in range(5):
        for area in areas:
            source.embedding(latent(3, 2), Rows(1), area)
    assert len(encode.shapes) == 4


def test_windows_get_their_own_frames_for_every_chunk() -> None:
    """Finding W8: both windows saw hints 0..7, cond the upper half of them, uncond the lower."""
    frames = torch.arange(1, 9).view(8, 1, 1, 1).expand(8, 3, 8, 8) / 10
    encode = Encoder()
    source = HintSource((frames,), encode)

    def shown(*window: int) -> list[int]:
        rows = Rows(4, 2, frames=window, total=8)
        return [round(float(row.mean()) * 10) - 1 for row in source.embedding(latent(1, 1), rows)]

    assert shown(0, 1, 2, 3) == [0, 1, 2, 3] * 2
    assert shown(2, 3, 6, 7) == [2, 3, 6, 7] * 2
    assert shown(4, 5, 6, 7) == [4, 5, 6, 7] * 2
    assert encode.shapes == [[(8, 3, 8, 8)]], "all frames once, for every window and step"


def test_many_frames_are_encoded_a_call_at_a_time() -> None:
    encode = Encoder()
    source = HintSource((picture(1, 3, 8, 8), picture(7, 3, 8, 8)), encode)
    found = source.embedding(latent(1, 1), Rows(2, 1, frames=(3, 4), total=7))
    assert found.shape[0] == 2
    assert [shapes[1][0] for shapes in encode.shapes] == [2, 2, 2, 1]


def test_fewer_hints_than_frames_are_cycled_over_the_whole_batch() -> None:
    frames = torch.arange(1, 4).view(3, 1, 1, 1).expand(3, 3, 8, 8) / 10
    rows = Rows(3, 1, frames=(5, 6, 7), total=8)
    found = HintSource((frames,), Encoder()).embedding(latent(1, 1), rows)
    assert [round(float(row.mean()) * 10) - 1 for row in found] == [2, 0, 1]


def test_rows_that_differ_get_their_own_hints() -> None:
    """Finding F3 and F4: two pictures for one latent, then for two in two chunks."""
    pictures = torch.stack([torch.full((3, 8, 8), 0.25), torch.full((3, 8, 8), 0.75)])
    source = HintSource((pictures,), Encoder())
    levels = [
        [float(row.mean()) for row in source.embedding(latent(1, 1, b * n), Rows(b, n))]
        for b, n in [(1, 2), (2, 2), (3, 1), (1, 2)]
    ]
    assert levels == [[0.25], [0.25, 0.75] * 2, [0.25, 0.75, 0.25], [0.25]]
