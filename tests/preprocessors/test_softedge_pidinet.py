"""PiDiNet's soft edges against the published detector, and what is done to its maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published import controlnet_aux, weighted

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import save_tensors
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._nets.pidinet import NETWORK, PiDiNet, open_pidinet
from controlstack.preprocessors._networks import ready
from controlstack.preprocessors._weights import Shelves, use_shelves

softedge_pidinet = PREPROCESSORS["softedge_pidinet"]
GAIN = 1.0  # blocks add to a sum


@pytest.mark.parametrize(
    "settings", [{"safe": False}, {"safe": True}, {"safe": True, "apply_filter": True}], ids=str
)
def test_equals_the_published_detector(settings, give, chart, levels_of):
    """All of it, at a size that needs neither resize nor padding: to a level of rounding."""
    pidi = controlnet_aux("pidi")
    theirs = weighted(pidi.pidinet(), gain=GAIN)
    give("pidinet", theirs)
    picture = np.ascontiguousarray(chart[:64, :128])
    expected = pidi.PidiNetDetector(theirs)(
        picture, detect_resolution=64, image_resolution=64, output_type="np", **settings
    )
    found = levels_of(softedge_pidinet, picture, **settings)
    assert expected.std() > 10
    assert np.abs(found - expected.astype(int)).max() <= (0 if settings["safe"] else 1)


def test_opens_the_published_form_and_folds_it(tmp_path):
    """The file has a nest and a prefix; no pixel difference is left to compute."""
    net = weighted(PiDiNet(), gain=GAIN)
    state = {f"module.{name}": x for name, x in net.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "table5_pidinet.pth")
    use_shelves(Shelves((tmp_path,)))
    opened = ready(NETWORK)
    kernel = opened.get_submodule("block1_2").conv1.weight
    assert kernel.shape == (60, 1, 5, 5)
    image = torch.rand(1, 3, 41, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(opened(image), net(image), rtol=0, atol=1e-6)


def test_weights_of_something_else_are_refused(tmp_path):
    path = tmp_path / "table5_pidinet.safetensors"
    save_tensors(path, {"init_block.weight": torch.zeros(60)}, {})
    with pytest.raises(ControlInputError, match="82 weights missing") as caught:
        open_pidinet(path)
    assert caught.value.code == "CN-W08"


def test_the_network_sees_blue_first():
    blue = torch.tensor([0.1, 0.2, 0.7]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    hint = softedge_pidinet.function(blue, lambda x: x[:, :1], safe=False)
    assert (hint == 0.7).all()


def test_steps_and_filter_are_of_the_map():
    ramp = torch.linspace(0, 1, 101).expand(1, 3, 8, 101)
    safe, smooth, sketch = (
        softedge_pidinet.function(ramp, lambda x: x[:, :1], **settings)[0, 0, 0]
        for settings in ({}, {"safe": False}, {"apply_filter": True})
    )
    assert (safe * 255).unique().tolist() == pytest.approx([0, 127, 255])
    assert torch.equal(smooth, ramp[0, 0, 0])
    assert torch.equal(sketch, (ramp[0, 0, 0] > 0.5).float())


def test_safe_hides_what_is_below_a_third():
    image = torch.full((1, 3, 8, 8), 0.33)
    assert not softedge_pidinet.function(image, lambda x: x[:, :1]).any()
