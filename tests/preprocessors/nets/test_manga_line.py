"""The manga line network against numbers of the published one, which no package holds."""

from __future__ import annotations

import pytest
import torch
from published import counts, difference, pictures, weighted

from controlstack.preprocessors._nets.manga_line import MangaLine

GAIN = 0.5  # blocks add to a sum

# model_torch.py of ljsabc/MangaLineExtraction_PyTorch, in the copy of comfyui_controlnet_aux 1.1.5:
#   y = weighted(res_skip(), gain=GAIN)(255 * pictures(48, 80, 1))
#   [y[b, 0, i, j].item() for b in (0, 1) for i, j in PLACES], y.mean((1, 2, 3)), y.std((1, 2, 3))
PLACES = ((0, 0), (5, 70), (23, 40), (40, 3), (47, 79))
VALUES = (
    -8.513198897864746, -18.469989776611328, -20.94322967529297, -11.195316314697266,
    -2.4291343688964844, 0.868343710899353, 5.587364196777344, -37.80841827392578,
    23.112070083618164, -26.378395080566406,
)
MEANS = (-12.702988624572754, -43.46702575683594)
DEVIATIONS = (7.8536295890808105, 43.55415725708008)


def test_has_the_published_tensors():
    with torch.device("meta"):
        assert counts(MangaLine()) == (43_100_147, 707)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("block0.model.0.conv1.model.0.running_mean", (1,)),
        ("block0.model.0.shortcut.model.0.weight", (24, 1, 1, 1)),
        ("block4.model.11.shortcut.model.0.weight", (384, 384, 1, 1)),
        ("block5.model.0.conv1.model.2.weight", (192, 384, 3, 3)),
        ("block9.model.1.residual.model.2.bias", (16,)),
        ("conv15.model.2.weight", (1, 16, 1, 1)),
    ],
)
def test_names_are_those_of_the_file(name, shape):
    with torch.device("meta"):
        assert MangaLine().state_dict()[name].shape == shape


def test_equals_the_published_network():
    lines = weighted(MangaLine(), gain=GAIN)(255 * pictures(48, 80, 1))
    scale = max(DEVIATIONS)
    found = torch.stack([lines[b, 0, i, j] for b in (0, 1) for i, j in PLACES])
    assert difference(found, torch.tensor(VALUES)) < 1e-5 * scale
    assert difference(lines.mean((1, 2, 3)), torch.tensor(MEANS)) < 1e-5 * scale
    assert difference(lines.std((1, 2, 3)), torch.tensor(DEVIATIONS)) < 1e-5 * scale


def test_pictures_do_not_see_each_other():
    net = weighted(MangaLine((2, 3, 4), (2, 2, 3), 3), gain=GAIN)
    both = 255 * pictures(24, 36, 1)
    lines = net(both)
    alone = torch.cat([net(each[None]) for each in both])
    assert lines.shape == (2, 1, 24, 36)
    assert difference(lines, alone) < 1e-5 * lines.abs().max().item()
