"""The laws of a control's strength over time, depth and place, in numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_nets import PLAIN, equal, inputs, random_net, relative, residuals_of
from torch import Tensor

from controlstack.controlnet_core.control import (
    Both,
    Constant,
    ControlSpec,
    Curve,
    Levels,
    Ramp,
    Rows,
    Soft,
    Uniform,
    Window,
)
from controlstack.controlnet_core.control.masks import MaskSource
from controlstack.controlnet_core.residuals import Residuals

few = settings(derandomize=True, deadline=None, max_examples=25)
EPS = 32 * torch.finfo(torch.float32).eps
SIZE = (16, 8)
ROWS = Rows(batch=2, chunks=2)
SD15 = PLAIN["sd15"]
RESIDUALS = residuals_of(random_net(SD15), inputs(SD15, batch=4, height=SIZE[0], width=SIZE[1]))


def apply(spec: ControlSpec, residuals: Residuals = RESIDUALS, t: float = 0.5) -> Residuals:
    return spec.apply(residuals, t, rows=ROWS, latent=SIZE)


def close(a: Residuals, b: Residuals) -> bool:
    pairs = zip(a.tensors(), b.tensors(), strict=True)
    return all(torch.equal(x, y) or relative(x, y) < EPS for x, y in pairs)


def blocks(*values: float, rows: int = 1) -> Tensor:
    """A mask (rows 1 128 64) of two squares, each one cell of the coarsest grid (8 x 8 latents)."""
    halves = torch.tensor(values).view(rows, 1, 2, 1)
    return F.interpolate(halves, size=(128, 64), mode="nearest")


def soft(rows: int = 1, seed: int = 3) -> Tensor:
    noise = torch.rand(rows, 1, 9, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(128, 64), mode="bilinear")


def test_default_spec_changes_nothing() -> None:
    out = apply(ControlSpec())
    assert all(a is b for a, b in zip(out.tensors(), RESIDUALS.tensors(), strict=True))


specs = st.builds(
    ControlSpec,
    strength=st.floats(-2, 2),
    schedule=st.builds(Constant, st.floats(0, 2))
    | st.sampled_from([Window(0.25, 0.75), Ramp(1.5, 0.0), Curve(((0.0, 0.2), (0.5, 1.0)))]),
    weights=st.builds(Uniform, st.floats(0, 2))
    | st.builds(Soft, st.floats(0.5, 1))
    | st.just(Levels((0.0, 0.5, 2.0))),
    mask=st.none() | st.sampled_from([blocks(1.0, 0.0), blocks(0.0, 1.0, 1.0, 0.5, rows=2)]),
)


@few
@given(specs, specs, st.floats(0, 1))
def test_a_product_acts_as_one_after_the_other(a: ControlSpec, b: ControlSpec, t: float) -> None:
    assert (a * b).gain(t) == pytest.approx(a.gain(t) * b.gain(t))
    assert close(apply(a * b, t=t), apply(b, apply(a, t=t), t=t))
    assert close(apply(a * b, t=t), apply(b * a, t=t))
    assert close(apply(a * ControlSpec(), t=t), apply(a, t=t))


@pytest.mark.parametrize(
    ("first", "second"),
    [(4, 2), (1, 3), (2, 3), (3, 2)],
)
def test_masks_of_other_counts_multiply_item_by_item(first: int, second: int) -> None:
    """Two masks for cond and three for the same four latents cycle each on its own."""
    a = torch.rand(first, 1, 16, 8, generator=torch.Generator().manual_seed(1)).round()
    b = torch.rand(second, 1, 16, 8, generator=torch.Generator().manual_seed(2)).round()
    x, rows = torch.ones(8, 1, *SIZE), Rows(batch=4, chunks=2)

    def acting(spec: ControlSpec, on: Residuals) -> Residuals:
        return spec.apply(on, 0.5, rows=rows, latent=SIZE)

    one, of_a, of_b = Residuals(output=(x,)), ControlSpec(mask=a), ControlSpec(mask=b)
    assert equal(acting(of_a * of_b, one), acting(of_b, acting(of_a, one)))


def test_masks_of_other_aspects_multiply_place_by_place() -> None:
    """A wide mask lies centre cut on a tall latent, alone as well as beside another mask."""
    tall, wide = blocks(1.0, 0.0), torch.zeros(1, 1, 64, 192)
    wide[..., 80:112] = 1.0  # all that is left of it on this latent
    assert equal(apply(ControlSpec(mask=wide)), RESIDUALS)
    both = ControlSpec(mask=tall) * ControlSpec(mask=wide)
    assert equal(apply(both), apply(ControlSpec(mask=tall)))


@few
@given(st.floats(-4, 4), st.floats(-4, 4))
def test_residuals_are_linear_in_strength(a: float, b: float) -> None:
    total = apply(ControlSpec(a)) + apply(ControlSpec(b))
    for x, y, r in zip(
        apply(ControlSpec(a + b)).tensors(), total.tensors(), RESIDUALS.tensors(), strict=True
    ):
        assert float((x - y).abs().max()) <= EPS * (abs(a) + abs(b)) * float(r.abs().max())


def test_powers_of_two_are_exact() -> None:
    half = apply(ControlSpec(0.5))
    assert equal(half + half, RESIDUALS)
    assert equal(apply(ControlSpec(2.0), half), RESIDUALS)


@pytest.mark.parametrize("values", [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0, 0.0, 1.0)], ids=str)
def test_mask_and_its_rest_are_the_whole(values: tuple[float, ...]) -> None:
    """Exact for a mask of 0 and 1 that follows the coarsest grid."""
    mask = blocks(*values, rows=len(values) // 2)
    inside, outside = apply(ControlSpec(mask=mask)), apply(ControlSpec(mask=1 - mask))
    assert equal(inside + outside, RESIDUALS)
    assert not equal(inside, RESIDUALS)
    assert not any((a * b).any() for a, b in zip(inside.tensors(), outside.tensors(), strict=True))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_soft_mask_and_its_rest_are_the_whole_but_for_rounding(rows: int) -> None:
    mask = soft(rows)
    assert close(apply(ControlSpec(mask=mask)) + apply(ControlSpec(mask=1 - mask)), RESIDUALS)


@pytest.mark.parametrize("strength", [1.0, 0.7])
@pytest.mark.parametrize("shape", [(1, 1, 128, 64), (2, 1, 1, 1), (3, 1, 300, 40)], ids=str)
def test_mask_of_ones_is_no_mask(shape: tuple[int, ...], strength: float) -> None:
    spec = ControlSpec(strength, weights=Soft())
    masked = ControlSpec(strength, weights=Soft(), mask=torch.ones(shape))
    assert equal(apply(masked), apply(spec))


def test_mask_of_zeros_is_no_control() -> None:
    assert not any(x.any() for x in apply(ControlSpec(mask=torch.zeros(1, 1, 8, 8))).tensors())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_itself(dtype: torch.dtype) -> None:
    half = RESIDUALS.map(lambda site, index, count, x: x.to(dtype))
    plain = apply(ControlSpec(0.7), half)
    masked = apply(ControlSpec(0.7, mask=torch.ones(1, 1, 8, 8)), half)
    for a, b in zip(plain.tensors(), masked.tensors(), strict=True):
        assert a.dtype == b.dtype == dtype
        assert relative(b, a) <= 2 * torch.finfo(dtype).eps


def test_mask_lies_where_the_hint_lies() -> None:
    """A wide mask on a tall latent is cut at its centre, as a hint is."""
    mask = torch.zeros(1, 1, 64, 192)
    mask[..., 80:112] = 1.0  # the middle third of 64 x 32: what is left of it
    mask[..., 112:] = 0.5
    whole = apply(ControlSpec(mask=mask), Residuals(output=(torch.ones(4, 2, *SIZE),)))
    assert torch.equal(whole.output[0], torch.ones(4, 2, *SIZE))


def test_repeated_tensor_is_weighted_once_at_each_place() -> None:
    shared = torch.full((4, 3, *SIZE), 2.0)
    before = shared._version
    repeated = Residuals(output=(shared,) * 3, middle=(shared,))
    out = apply(ControlSpec(0.5, mask=blocks(1.0, 0.0)), repeated)
    upper = [x[:, :, : SIZE[0] // 2] for x in out.tensors()]
    assert all(torch.equal(x, torch.ones_like(x)) for x in upper)
    assert shared._version == before
    assert torch.equal(shared, torch.full_like(shared, 2.0))


def test_layer_weights_see_site_index_count_and_height() -> None:
    seen = []

    def spy(site: str, index: int, count: int, height: float) -> float:
        seen.append((site, index, count, height))
        return 0.5 if site == "middle" else 2.0

    out = apply(ControlSpec(0.5, weights=Both(spy, Uniform(0.5))))
    heights = [8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]  # multiples of the deepest one's
    assert seen == [("middle", 0, 1, 1), *(("output", i, 12, h) for i, h in enumerate(heights))]
    assert torch.equal(out.middle[0], RESIDUALS.middle[0] * 0.125)
    assert torch.equal(out.output[3], RESIDUALS.output[3] * 0.5)


class TestTokens:
    """Residuals (B N D) of transformers: 2 x 2 patches of the latent, row by row, text behind."""

    latent = (5, 7)
    rows = Rows(2)

    def on(self, mask: Tensor, tokens: int) -> Tensor:
        spec = ControlSpec(mask=mask)
        x = torch.ones(2, tokens, 6)
        return spec.apply(Residuals(output=(x,)), 0.5, rows=self.rows, latent=self.latent).output[0]

    def test_odd_sides_round_up_and_text_is_left_alone(self) -> None:
        mask = torch.zeros(1, 1, 40, 56)
        mask[..., :14] = 1.0  # the first of four columns of patches
        found = self.on(mask, tokens=3 * 4 + 5)[0, :, 0]
        assert found.tolist() == [1.0, 0.0, 0.0, 0.0] * 3 + [1.0] * 5

    def test_tokens_are_masked_as_the_map_is(self) -> None:
        mask = soft(rows=2)
        grid = MaskSource(mask).on(torch.ones(2, 1, 3, 4), self.rows, latent=self.latent)
        assert torch.equal(self.on(mask, tokens=12)[..., 0], grid.flatten(1))


def test_mask_is_resized_once_for_each_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ControlSpec(mask=soft(2))
    masks = MaskSource(spec.mask)
    resized = []
    real = F.interpolate

    def counted(x: Tensor, *, size: tuple[int, int], mode: str) -> Tensor:
        resized.append(size)
        return real(x, size=size, mode=mode)

    monkeypatch.setattr(F, "interpolate", counted)
    for _ in range(3):
        spec.apply(RESIDUALS, 0.5, rows=ROWS, latent=SIZE, masks=masks)
    assert len(resized) == len({(x.shape[1:]) for x in RESIDUALS.tensors()})
    other = RESIDUALS.map(lambda site, index, count, x: x[:2])
    out = spec.apply(other, 0.5, rows=Rows(1, 2), latent=SIZE, masks=masks)
    expected = spec.apply(other, 0.5, rows=Rows(1, 2), latent=SIZE)
    assert equal(out, expected)
