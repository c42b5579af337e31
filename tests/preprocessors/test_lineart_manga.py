"""Line art of manga against the published detector's steps; its network has a test of its own."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from published import weighted
from torch import Tensor

from controlstack.controlnet_core.files import save_tensors
from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._nets.manga_line import MangaLine, open_manga_line

lineart_manga = PREPROCESSORS["lineart_manga"]
WIDTHS = (2, 3, 4, 3, 2)


def published(frame: np.ndarray, net: torch.nn.Module) -> np.ndarray:
    """Levels (H W), by the steps of manga_line in comfyui_controlnet_aux, no package holds it."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    lines = net(torch.from_numpy(grey).float()[None, None])[0, 0].numpy()
    return 255 - lines.clip(0, 255).astype(np.uint8)


def test_equals_the_published_steps(give, chart, levels_of):
    """To two levels: the published grey is rounded before the network, and its lines are cut."""
    net = weighted(MangaLine(WIDTHS, last=2), gain=0.5)
    give("lineart_manga", net)
    picture = np.ascontiguousarray(chart[:64, :128])
    expected = published(picture, net)
    found = levels_of(lineart_manga, picture)
    assert expected.std() > 10
    assert np.abs(found[..., 0] - expected.astype(int)).max() <= 2


def test_the_network_sees_levels_of_grey(chart):
    seen: list[Tensor] = []

    def echo(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    hint = lineart_manga.function(torch.from_numpy(chart).movedim(-1, 0)[None] / 255, echo)
    grey = cv2.cvtColor(chart.astype(np.float32), cv2.COLOR_RGB2GRAY)
    assert np.abs(seen[0][0, 0].numpy() - grey).max() < 1e-3
    assert np.abs(hint[0, 0].numpy() - (1 - grey / 255)).max() < 1e-5  # dark lines become white


def test_answers_beyond_paper_and_ink_are_cut():
    answers = torch.tensor([-80.0, 0.0, 51.0, 255.0, 300.0]).view(1, 1, 1, 5)
    hint = lineart_manga.function(torch.zeros(1, 3, 1, 5), lambda _: answers)
    torch.testing.assert_close(hint.flatten(), torch.tensor([1.0, 1.0, 0.8, 0.0, 0.0]))


def test_opens_a_file_with_a_prefix_and_without_counters(tmp_path):
    state = weighted(MangaLine()).state_dict()
    old = {f"module.{n}": x for n, x in state.items() if not n.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    path = tmp_path / "erika.safetensors"
    save_tensors(path, old, {})
    opened = open_manga_line(path).state_dict()
    assert opened.keys() == state.keys()
    assert all(torch.equal(opened[name.removeprefix("module.")], x) for name, x in old.items())


def test_keeps_more_than_256_levels(give, pictures):
    give("lineart_manga", weighted(MangaLine(WIDTHS, last=2), gain=0.5))
    assert len(lineart_manga(pictures).unique()) > 1000
