"""Hands as OpenPose draws them: landmarks that are known, and a painted hand that is found."""

from __future__ import annotations

import colorsys
import sys
import zlib
from types import ModuleType

import cv2
import numpy as np
import pytest
import tiny_mediapipe
import torch

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import PREPROCESSORS

mediapipe_hands = PREPROCESSORS["mediapipe_hands"]

# Lines of OpenPose's hand, in drawing order. Source: draw_handpose of lllyasviel/ControlNet.
EDGES = (
    (0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6), (6, 7), (7, 8), (0, 9), (9, 10), (10, 11),
    (11, 12), (0, 13), (13, 14), (14, 15), (15, 16), (0, 17), (17, 18), (18, 19), (19, 20),
)  # fmt: skip


def levels(hint: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray((hint.movedim(0, -1) * 255).round().byte().numpy())


@pytest.fixture
def hands(monkeypatch) -> list[np.ndarray]:
    """The hands that the detector sees in every picture; tests put them in."""
    seen: list[np.ndarray] = []

    class Given(tiny_mediapipe.Hands):
        def process(self, _rgb):
            return tiny_mediapipe.answer(*seen[: self.options["max_num_hands"]])

    tiny_mediapipe.stand_in(monkeypatch, hands=Given)
    return seen


def golden(*hands: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Those hands by OpenCV, in the published order and colours."""
    canvas = np.zeros((*size, 3), np.uint8)
    for hand in hands:
        at = [(int(x * size[1]), int(y * size[0])) for x, y in hand]
        for index, (first, last) in enumerate(EDGES):
            color = [255 * level for level in colorsys.hsv_to_rgb(index / 20, 1, 1)]
            cv2.line(canvas, at[first], at[last], color, 2)
        for place in at:
            cv2.circle(canvas, place, 4, (0, 0, 255), -1)
    return canvas


def test_a_hand_has_the_known_checksum(hands):
    """Of the pose drawing, whose points are these in pixels."""
    hands.append(tiny_mediapipe.hand())
    hint = mediapipe_hands(torch.rand(1, 3, 512, 512))
    assert zlib.crc32(levels(hint[0]).tobytes()) == 0x85EC2BC9


@pytest.mark.parametrize("size", [(200, 260), (512, 384)])
def test_equals_the_drawing_of_opencv(hands, size):
    """x is a share of the width, y of the height; the second hand lies over the first."""
    hands += [tiny_mediapipe.hand(), tiny_mediapipe.hand() + np.array([0.05, 0.02])]
    hint = levels(mediapipe_hands(torch.rand(1, 3, *size))[0])
    assert (hint == golden(*hands, size=size)).all()
    assert (hint != golden(*hands[::-1], size=size)).any()


def test_no_hand_is_black_and_max_hands_counts(hands):
    image = torch.rand(1, 3, 200, 200)
    assert not mediapipe_hands(image).any()
    hands += [tiny_mediapipe.hand() + each * np.array([0.25, 0.1]) for each in range(3)]
    for count in (1, 2, 3):
        hint = levels(mediapipe_hands(image, max_hands=count)[0])
        assert (hint == golden(*hands[:count], size=(200, 200))).all()


def test_a_hand_that_leaves_the_picture_is_cut(hands):
    """To the right and below: lines go on to points that MediaPipe guesses outside."""
    hands.append(2 * tiny_mediapipe.hand() + (0.4, -0.1))
    assert (hands[0] > 1).any(0).all()
    hint = levels(mediapipe_hands(torch.zeros(1, 3, 256, 256))[0])
    assert hint[:, -1].any()
    assert hint[-1].any()
    assert (hint == golden(hands[0], size=(256, 256))).all()


def test_points_left_of_and_above_the_picture_are_not_drawn(hands):
    hands.append(tiny_mediapipe.hand() - (1.0, 0.0))
    assert not mediapipe_hands(torch.zeros(1, 3, 256, 256)).any()


def test_pictures_of_a_batch_have_their_own_hands(monkeypatch):
    """The stand-in sees nothing in the dark, and moves its hand with the colours."""
    tiny_mediapipe.stand_in(monkeypatch)
    image = torch.tensor([0.9, 0.0, 0.3]).view(3, 1, 1, 1).expand(3, 3, 120, 160)
    hints = mediapipe_hands(image)
    assert [bool(hint.any()) for hint in hints] == [True, False, True]
    assert not torch.equal(hints[0], hints[2])
    assert torch.equal(hints, torch.cat([mediapipe_hands(each[None]) for each in image]))


def test_every_picture_has_a_detector_with_the_settings(monkeypatch):
    opened = []

    class Noted(tiny_mediapipe.Hands):
        def __enter__(self):
            opened.append(self.options)
            return super().__enter__()

    tiny_mediapipe.stand_in(monkeypatch, hands=Noted)
    mediapipe_hands(torch.rand(3, 3, 90, 90), max_hands=4, min_confidence=0.7)
    settings = {"min_detection_confidence": 0.7, "min_tracking_confidence": 0.7}
    assert opened == 3 * [{"static_image_mode": True, "max_num_hands": 4, **settings}]
    assert tiny_mediapipe.Hands.opened == 0


@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "without solutions"])
def test_a_mediapipe_that_cannot_is_told_with_the_line_that_installs_one(monkeypatch, is_there):
    for name in ("mediapipe.python", tiny_mediapipe.SOLUTIONS, tiny_mediapipe.HANDS):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "mediapipe", ModuleType("mediapipe") if is_there else None)
    with pytest.raises(ControlInputError, match=r'"mediapipe==0\.10\.21" "numpy<2"') as caught:
        mediapipe_hands(torch.rand(1, 3, 64, 64))
    assert caught.value.code == "CN-LIBRARY"
    assert len(str(caught.value)) <= 600


# Joints of the hand that `paint` paints, in pixels: wrist, then thumb to little finger.
PAINTED = np.array([
    (262, 440), (330, 410), (376, 360), (406, 318), (428, 282), (318, 262), (330, 190), (336, 150),
    (340, 112), (270, 250), (272, 166), (274, 120), (275, 78), (224, 262), (214, 184), (208, 142),
    (204, 106), (182, 288), (160, 232), (148, 198), (138, 166),
])  # fmt: skip


def paint(canvas: np.ndarray, joints: np.ndarray) -> None:
    """A raised palm and its arm, in a colour of skin with a darker rim."""
    x, y = joints[0].tolist()
    palm = np.array([(x - 46, y), (x + 46, y), *joints[[1, 5, 9, 13, 17]].tolist()])
    palm = cv2.convexHull(palm)
    for color, rim in (((170, 115, 90), 6), ((224, 172, 140), 0)):
        cv2.line(canvas, (x, y), (x, y + 160), color, 98 + rim)
        cv2.fillConvexPoly(canvas, palm, color)
        cv2.polylines(canvas, [palm], True, color, 10 + rim)
        for tip in range(4, 21, 4):
            cv2.polylines(canvas, [joints[tip - 3 : tip + 1]], False, color, 40 + rim)


def middles(drawing: np.ndarray) -> np.ndarray:
    """(20 2): x and y where each bone is seen, on average, by its colour."""
    colors = np.rint([np.multiply(255, colorsys.hsv_to_rgb(each / 20, 1, 1)) for each in range(20)])
    return np.array([np.argwhere((drawing == color).all(-1)).mean(0)[::-1] for color in colors])


def test_painted_hands_are_found_where_they_are():
    """A left and a right one, each bone in its colour: within 12 of a hand's 150 pixels."""
    if tiny_mediapipe.IS_MISSING:
        pytest.skip("needs mediapipe 0.10.21")
    canvas = np.full((1600, 2400, 3), (70, 90, 110), np.uint8)
    hands = [PAINTED + np.array([340, 1000]), PAINTED * (-1, 1) + np.array([2100, 900])]
    for hand in hands:
        paint(canvas, hand)
    image = torch.from_numpy(canvas).movedim(-1, 0)[None] / 255
    hint = levels(mediapipe_hands(image, resolution=640)[0])
    for hand, half in zip(hands, (np.s_[:, :480], np.s_[:, 480:]), strict=True):
        expected = golden(hand / (2400, 1600), size=(640, 960))
        assert abs(middles(hint[half]) - middles(expected[half])).max() < 12
