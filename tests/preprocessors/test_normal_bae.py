"""Normals against the published detector, and the colours of known directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published import controlnet_aux, weighted
from torch import Tensor

from controlstack.controlnet_core.files import save_tensors
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._nets.normal_bae import NormalBAE, open_normal_bae

normal_bae = PREPROCESSORS["normal_bae"]


def tiny() -> NormalBAE:
    pytest.importorskip("timm", reason="the encoder is missing: pip install --no-deps timm")
    return weighted(NormalBAE(
        "tf_efficientnet_b0", skips=(16, 24, 40, 112), deepest=1280, widths=(16, 8, 8, 8),
        hidden=24,
    ))  # fmt: skip


class Nested(torch.nn.Module):
    """Answers as the published network does: maps of every scale, finest last, and more."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[list[Tensor], None]:
        return [image, self.net(image)], None


def test_equals_the_published_detector(give, chart, levels_of):
    """All but the network, which has a test of its own, at a size that needs no resize."""
    pytest.importorskip("torchvision", reason="the reference is missing: pip install torchvision")
    net = tiny()
    give("normal_bae", net)
    picture = np.ascontiguousarray(chart[:64, :128])
    expected = controlnet_aux("normalbae").NormalBaeDetector(Nested(net))(
        picture, detect_resolution=64, image_resolution=64, output_type="np"
    )
    found = levels_of(normal_bae, picture)
    assert expected.std((0, 1)).min() > 3
    assert np.abs(found - expected.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("normal", "color"),
    [
        ((0, 0, 1), (0.5, 0.5, 1.0)),  # a wall before you is blue
        ((1, 0, 0), (1.0, 0.5, 0.5)),  # what faces left is red
        ((0, 1, 0), (0.5, 1.0, 0.5)),  # what faces up is green
        ((-0.6, 0, 0.8), (0.2, 0.5, 0.9)),
    ],
)
def test_directions_have_their_colours(normal, color):
    """In the axes of the ScanNet protocol, in which the network answers."""

    def flat(x: Tensor) -> Tensor:
        sure = torch.tensor([*map(float, normal), 7.0])
        return sure.view(1, 4, 1, 1).expand(len(x), 4, *x.shape[-2:])

    hint = normal_bae.function(torch.rand(2, 3, 32, 32), flat)
    expected = torch.tensor(color).view(1, 3, 1, 1).expand(2, 3, 32, 32)
    torch.testing.assert_close(hint, expected)


def test_the_network_sees_the_scale_of_imagenet():
    seen: list[Tensor] = []

    def echo(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    image = torch.tensor([0.485, 0.456 + 0.224, 0.406 - 0.225]).view(1, 3, 1, 1)
    normal_bae.function(image, echo)
    torch.testing.assert_close(seen[0].flatten(), torch.tensor([0.0, 1.0, -1.0]))


def test_opens_the_published_form(tmp_path):
    """A nest, a prefix, no counters; and an encoder that is known by its widths."""
    net = tiny()
    state = net.state_dict()
    old = {f"module.{n}": x for n, x in state.items() if not n.endswith("num_batches_tracked")}
    torch.save({"model": {name.removeprefix("module."): x for name, x in old.items()}},
               tmp_path / "scannet.pt")
    opened = open_normal_bae(tmp_path / "scannet.pt")
    image = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(opened(image), net(image))


def test_a_published_file_is_full_size(tmp_path):
    pytest.importorskip("timm", reason="the encoder is missing: pip install --no-deps timm")
    with torch.device("meta"):
        names = NormalBAE().state_dict()
    old = {
        f"module.{name}": torch.zeros(x.shape, dtype=torch.float16)
        for name, x in names.items() if not name.endswith("num_batches_tracked")
    }
    save_tensors(tmp_path / "scannet.safetensors", old, {})
    opened = open_normal_bae(tmp_path / "scannet.safetensors")
    assert opened.state_dict().keys() == names.keys()


def test_keeps_more_than_256_levels(give, pictures):
    give("normal_bae", tiny())
    assert len(normal_bae(pictures).unique()) > 1000
