"""AnyLine against the published detector where that is right, and its parts by themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published import controlnet_aux, weighted
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._nets.teed import TEED

anyline = PREPROCESSORS["anyline"]


def blended(base: np.ndarray, top: np.ndarray) -> np.ndarray:
    """The published formula on levels, in floats: in uint8, as published, it overflows."""
    base, top = base / 255, top / 255
    return np.where(top > 0, 1 - (1 - top) * (1 - base), base) * 255


def test_equals_the_published_detector_but_for_its_overflow(give, chart, levels_of, monkeypatch):
    """All of it, with the last step on floats.

    scikit-image 0.26 also takes strokes of exactly `min_size` away; before, and here, they stay.
    """
    morphology = pytest.importorskip("skimage.morphology", reason="needs scikit-image")
    module = controlnet_aux("anyline")
    theirs = weighted(TEED())
    give("mteed", theirs)
    detector = module.AnylineDetector(theirs)
    monkeypatch.setattr(detector, "combine_layers", blended)
    keep = morphology.remove_small_objects
    monkeypatch.setattr(
        module.morphology, "remove_small_objects",
        lambda strokes, min_size, connectivity: keep(
            strokes, max_size=min_size - 1, connectivity=connectivity
        ),
    )  # fmt: skip
    picture = np.ascontiguousarray(chart[:128, :192])
    expected = detector(picture, detect_resolution=128, output_type="np")
    found = levels_of(anyline, picture)
    art = PREPROCESSORS["lineart_standard"](
        torch.from_numpy(picture).movedim(-1, 0)[None] / 255, gaussian_sigma=2.0,
        intensity_threshold=3,
    )
    assert (art > 0).float().mean() > 0.02
    assert (np.abs(found - expected) > 0.51).mean() < 1e-3  # where an edge is near a step


@pytest.mark.parametrize("connectivity", [1, 2])
@pytest.mark.parametrize("least", [1, 2, 3, 4, 36, 37, 100, 16384])
def test_strokes_are_kept_as_by_scikit_image(least, connectivity):
    """On the three channels that the published filter sees, so that a pixel counts three times."""
    morphology = pytest.importorskip("skimage.morphology", reason="needs scikit-image")
    art = np.random.default_rng(least).random((60, 80)) < 0.42
    art[5, 10:22] = art[20, 10:23] = True
    three = np.repeat(art[..., None], 3, 2)
    expected = morphology.remove_small_objects(
        three, max_size=least - 1, connectivity=connectivity
    )
    kept = drawn(art, object_min_size=least, object_connectivity=connectivity)
    assert np.array_equal(kept > 0, expected[..., 0])


def drawn(art: np.ndarray, **settings: object) -> np.ndarray:
    """(H W) of AnyLine where the network sees no edge, and line art is `art` (H W), 0..1."""
    image = torch.from_numpy(1 - art.astype(np.float32)).expand(1, 3, *art.shape)
    hint = anyline.function(
        image, no_edges, lambda x: x[:, :1], merge_with_lineart="lineart_realistic", **settings
    )
    return hint[0, 0].numpy()


def no_edges(image: Tensor) -> list[Tensor]:
    return [torch.full_like(image[:, :1], -50.0)] * 4


def test_the_least_stroke_has_a_third_of_its_size_in_pixels():
    art = np.zeros((30, 40))
    art[5, 10:21] = 1.0  # 11 pixels
    art[20, 10:22] = 1.0  # 12
    assert drawn(art).any(1).nonzero()[0].tolist() == [20]
    assert drawn(art, object_min_size=33).any(1).nonzero()[0].tolist() == [5, 20]
    assert not drawn(art, object_min_size=37).any()


def test_corners_join_strokes_where_asked():
    art = np.eye(16)
    assert not drawn(art).any()
    assert (drawn(art, object_connectivity=2) == art).all()


def test_art_out_of_bounds_is_left_out():
    art = np.repeat(np.array([0.2, 0.5, 0.9]), 16)[None].repeat(16, 0)
    kept = drawn(art, lineart_lower_bound=0.3, lineart_upper_bound=0.8)
    np.testing.assert_allclose(kept, np.where(art == 0.5, 0.5, 0), atol=1e-6)


def test_art_lies_on_edges_as_light_does():
    """Edges have three levels; known sums of the formula in floats, for art of 60 and 200."""
    logits = torch.tensor([-50.0, 0.0, 50.0]).repeat_interleave(16).expand(1, 1, 16, 48)
    image = torch.ones(1, 3, 16, 48)
    known = {0: (0, 127, 255), 60: (60, 157.118, 255), 200: (200, 227.392, 255)}
    for level, expected in known.items():
        hint = anyline.function(
            image, lambda _: [logits] * 4, lambda x, at=level: x[:, :1] * (1 - at / 255),
            merge_with_lineart="lineart_realistic",
        )
        assert (hint[0, 0, 0, ::16] * 255).tolist() == pytest.approx(expected, abs=0.01)


def test_each_line_art_is_that_of_its_preprocessor(pictures):
    """Where the edges of MTEED are black, lines are those of the other preprocessor."""
    for name in ("lineart_standard", "lineart_realistic", "lineart_anime", "lineart_manga"):
        settings = {"gaussian_sigma": 2.0, "intensity_threshold": 3}
        art = PREPROCESSORS[name](pictures, **settings if name == "lineart_standard" else {})
        hint = anyline(pictures, merge_with_lineart=name, object_min_size=1)
        edges = anyline(pictures, merge_with_lineart=name, lineart_lower_bound=1.0)
        torch.testing.assert_close(hint, edges + art * (1 - edges), rtol=0, atol=1e-5)


def test_standard_line_art_needs_no_other_weights(give):
    give("mteed", TEED())
    assert anyline(torch.rand(1, 3, 20, 30)).shape == (1, 3, 20, 30)
    with pytest.raises(ControlInputError, match=r"CN-WEIGHTS.*netG\.pth"):
        anyline(torch.rand(1, 3, 20, 30), merge_with_lineart="lineart_anime")
