"""Pixel-perfect resolutions against known values, and where pictures come to lie in frames."""

from __future__ import annotations

import pytest

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors._sizes import RESIZE_MODES, Placement, pixel_perfect, placed

JUST, CROP, FILL = RESIZE_MODES


@pytest.mark.parametrize(
    ("source", "target", "covering", "fitting"),
    [
        # known values of sd-webui's function
        ((600, 800), (512, 768), 576, 512),
        ((1080, 1920), (1024, 1024), 1024, 576),
        ((512, 512), (768, 512), 768, 512),
        ((1333, 750), (1216, 832), 832, 684),
    ],
)
def test_pixel_perfect_equals_known_values(source, target, covering, fitting):
    for mode, expected in ((JUST, covering), (CROP, covering), (FILL, fitting)):
        found = pixel_perfect(*source, gen_height=target[0], gen_width=target[1], mode=mode)
        assert found == expected
        assert isinstance(found, int)


@pytest.mark.parametrize("size", [(1, 1), (100, 37), (512, 768), (1081, 1919)])
@pytest.mark.parametrize("target", [(64, 64), (513, 100), (1024, 1536)])
def test_placements_keep_aspect_and_centre(size, target):
    def at(mode: str) -> Placement:
        return placed(*size, to_height=target[0], to_width=target[1], mode=mode)

    assert at(JUST) == Placement(*target, 0, 0)
    cut, whole = at(CROP), at(FILL)
    for place, shortest in ((cut, CROP), (whole, FILL)):
        assert place.height / size[0] == pytest.approx(place.width / size[1], abs=1 / min(size))
        expected = pixel_perfect(*size, gen_height=target[0], gen_width=target[1], mode=shortest)
        assert min(place.height, place.width) == max(1, expected)
    assert target in ((cut.height, target[1]), (target[0], cut.width))
    assert cut.height >= target[0] >= whole.height
    assert cut.width >= target[1] >= whole.width
    for place in (cut, whole):
        below = target[0] - place.top - place.height
        right = target[1] - place.left - place.width
        assert abs(below - place.top) <= 1  # centred
        assert abs(right - place.left) <= 1


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_the_same_size_stays_where_it_is(mode):
    assert placed(120, 90, to_height=120, to_width=90, mode=mode) == Placement(120, 90, 0, 0)


def test_impossible_sizes_and_modes_are_refused():
    with pytest.raises(ControlInputError, match="CN-I03"):
        pixel_perfect(0, 4, gen_height=8, gen_width=8, mode=JUST)
    with pytest.raises(ControlInputError, match="CN-I03"):
        placed(4, 4, to_height=8, to_width=0, mode=FILL)
    with pytest.raises(ControlInputError, match=r"CN-PARAM.*Stretch"):
        placed(4, 4, to_height=8, to_width=8, mode="Stretch")
