"""Outlines of faces: landmarks that are known, drawn by OpenCV's own lines beside ours."""

from __future__ import annotations

import importlib
import sys
from itertools import pairwise

import cv2
import numpy as np
import pytest
import tiny_mediapipe
import torch

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import PREPROCESSORS

module = importlib.import_module("controlstack.preprocessors.mediapipe_face")
mediapipe_face = PREPROCESSORS["mediapipe_face"]

# Counts of lines in MediaPipe 0.10.21's tables FACEMESH_FACE_OVAL, _LEFT_EYE, _LEFT_EYEBROW,
# _RIGHT_EYE, _RIGHT_EYEBROW and _LIPS, with which ours were compared as sets: equal.
EDGES = (36, 16, 8, 16, 8, 40)


def levels(hint: torch.Tensor) -> np.ndarray:
    return (hint[0].movedim(0, -1) * 255).round().byte().numpy()


@pytest.fixture
def faces(monkeypatch) -> list[np.ndarray]:
    """The faces that the detector sees in every picture; tests put them in."""
    seen: list[np.ndarray] = []

    class Given(tiny_mediapipe.FaceMesh):
        def process(self, rgb):
            assert self.options["static_image_mode"]
            assert self.options["refine_landmarks"]
            return tiny_mediapipe.answer(*seen[: self.options["max_num_faces"]])

    tiny_mediapipe.stand_in(monkeypatch, Given)
    return seen


def golden(face: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same face by OpenCV's line and slices, in the published order and colours."""
    canvas = np.zeros((height, width, 3), np.uint8)
    at = [(min(int(x * width), width - 1), min(int(y * height), height - 1)) for x, y in face]
    for lines, color in module.LINES:
        for line in lines:
            for first, last in pairwise(line):
                cv2.line(canvas, at[first], at[last], color, 2)
    for (x, y), color in ((at[468], (250, 200, 10)), (at[473], (10, 200, 250))):
        canvas[y - 2 : y + 2, x - 2 : x + 2] = color
    return canvas


def test_tables_have_mediapipes_lines():
    assert tuple(sum(len(line) - 1 for line in lines) for lines, _ in module.LINES) == EDGES
    for lines, _ in module.LINES:
        edges = [frozenset(pair) for line in lines for pair in pairwise(line)]
        assert len(set(edges)) == len(edges)
        assert all(0 <= index < 468 for edge in edges for index in edge)


# Red, green and blue of the published styles, by the contour's first point, in drawing order.
# Source: gen_landmarks of CrucibleAI/ControlNetMediaPipeFace, whose tables are blue first.
COLORS = (
    (176, (10, 200, 10)),  # oval
    (263, (10, 200, 180)),  # left eye
    (276, (10, 220, 180)),  # left brow
    (33, (180, 200, 10)),  # right eye
    (46, (180, 220, 10)),  # right brow
    (61, (10, 180, 10)),  # lips
)


def test_contours_have_the_published_colours_and_order():
    assert tuple((lines[0][0], color) for lines, color in module.LINES) == COLORS
    assert module.PUPILS == ((468, (250, 200, 10)), (473, (10, 200, 250)))  # right, left


def test_every_published_colour_is_drawn():
    drawn = module.drawn([tiny_mediapipe.spiral()], 512, 512).reshape(-1, 3)
    pupils = {(250, 200, 10), (10, 200, 250)}
    assert {tuple(map(int, each)) for each in np.unique(drawn, axis=0)} == {
        (0, 0, 0), *pupils, *(color for _, color in COLORS)
    }  # fmt: skip


@pytest.mark.parametrize("size", [(200, 260), (512, 384)])
def test_equals_the_drawing_of_opencv(faces, size):
    faces.append(tiny_mediapipe.spiral())
    hint = mediapipe_face(torch.rand(1, 3, *size))
    assert (levels(hint) == golden(faces[0], *size)).all()
    assert {(250, 200, 10), (10, 200, 250)} <= {tuple(each) for each in levels(hint).reshape(-1, 3)}


def test_small_faces_are_left_out(faces):
    """Of 63 and of 65 pixels in a picture of 1000."""
    for side in (63, 65):
        points = tiny_mediapipe.spiral()
        points = (points - points.min(0)) / np.ptp(points, axis=0) * side / 1000 + 0.3
        faces[:] = [points]
        assert bool(mediapipe_face(torch.zeros(1, 3, 1000, 1000)).any()) == (side > 64)


def test_points_outside_are_left_out(faces):
    faces.append(tiny_mediapipe.spiral() + np.array([0.3, 0.2]))
    hint = levels(mediapipe_face(torch.zeros(1, 3, 300, 300)))
    inside = np.clip(faces[0], 0, 1)
    assert hint.any()
    assert (hint > 0).sum() < (golden(inside, 300, 300) > 0).sum()


def test_pupils_at_the_edge_are_cut(faces):
    face = tiny_mediapipe.spiral()
    face[468], face[473] = (0.0, 0.0), (1.0, 1.0)
    faces.append(face)
    hint = levels(mediapipe_face(torch.zeros(1, 3, 100, 120)))
    assert (hint[:2, :2] == (250, 200, 10)).all()
    assert (hint[97:, 117:] == (10, 200, 250)).all()


def test_nobody_is_black_and_max_faces_counts(faces):
    image = torch.rand(1, 3, 200, 200)
    assert not mediapipe_face(image).any()
    faces += [tiny_mediapipe.spiral(), tiny_mediapipe.spiral()[:, ::-1]]
    one, two = (levels(mediapipe_face(image, max_faces=count)) for count in (1, 2))
    assert (one == golden(faces[0], 200, 200)).all()
    assert (one != two).any()


def test_detectors_are_closed(monkeypatch):
    tiny_mediapipe.stand_in(monkeypatch)
    mediapipe_face(torch.rand(3, 3, 90, 90))
    assert tiny_mediapipe.FaceMesh.opened == 0


def test_a_missing_mediapipe_is_told_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, tiny_mediapipe.MODULE, None)
    with pytest.raises(ControlInputError, match=r'"mediapipe==0\.10\.21" "numpy<2"') as caught:
        mediapipe_face(torch.rand(1, 3, 64, 64))
    assert caught.value.code == "CN-LIBRARY"
    assert len(str(caught.value)) <= 600


def test_real_faces_are_found():
    if tiny_mediapipe.IS_MISSING:
        pytest.skip("needs mediapipe 0.10.21")
    data = pytest.importorskip("skimage.data", reason="needs scikit-image")
    photo = torch.from_numpy(data.astronaut()).movedim(-1, 0)[None] / 255
    hint = levels(mediapipe_face(photo))
    rows, columns = np.nonzero(hint.any(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx(
        (70, 178, 178, 271), abs=3
    )
