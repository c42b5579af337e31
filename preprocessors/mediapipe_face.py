"""Face meshes of MediaPipe, as outlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from ._frame import Frame
from ._mediapipe import Landmarks, landmarks, solution
from ._registry import Float, Int, preprocessor

Color = tuple[int, int, int]

# Lines through the points of a face, drawn in this order. Source: tables of MediaPipe 0.10.21
# (Apache-2.0); colours of CrucibleAI/ControlNetMediaPipeFace. Sides are the person's own.
OVAL = (
    (176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332,
     284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176),
)  # fmt: skip
LEFT_EYE = (
    (263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362),
)  # fmt: skip
LEFT_BROW = ((276, 283, 282, 295, 285), (300, 293, 334, 296, 336))
RIGHT_EYE = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133), (33, 246, 161, 160, 159, 158, 157, 173, 133),
)  # fmt: skip
RIGHT_BROW = ((46, 53, 52, 65, 55), (70, 63, 105, 66, 107))
LIPS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
)
LINES: tuple[tuple[Sequence[Sequence[int]], Color], ...] = (
    (OVAL, (10, 200, 10)),
    (LEFT_EYE, (10, 200, 180)),
    (LEFT_BROW, (10, 220, 180)),
    (RIGHT_EYE, (180, 200, 10)),
    (RIGHT_BROW, (180, 220, 10)),
    (LIPS, (10, 180, 10)),
)
PUPILS: tuple[tuple[int, Color], ...] = ((468, (250, 200, 10)), (473, (10, 200, 250)))
THICKNESS = 2  # pixels of a line
PUPIL = 2  # half the side of a pupil's square, in pixels
MIN_SIDE = 64  # pixels of a face's box; smaller ones are left out


@preprocessor(
    title="Face mesh, MediaPipe", group="pose",
    source="FaceMesh of MediaPipe (Kartynnik et al. 2019, arXiv:1907.06724), drawn as in "
    "CrucibleAI/ControlNetMediaPipeFace; its weights come with the package mediapipe, Apache-2.0",
)
def mediapipe_face(
    rgb: Frame,
    *,
    max_faces: Annotated[int, Int("most faces in a picture", 1, 50)] = 10,
    min_confidence: Annotated[
        float, Float("how sure the detector must be of a face, 0 to 1", 0.1, 1.0)
    ] = 0.5,
) -> Frame:
    """Coloured outlines of faces on black: oval, eyes, brows, lips and pupils.

    Needs the Python package mediapipe 0.10.21. Faces below 64 pixels are left out; no face at all
    gives a black hint.
    """
    with _mesh(max_faces, min_confidence) as mesh:
        found = mesh.process(rgb).multi_face_landmarks
    return drawn(landmarks(found), *rgb.shape[:2])


def drawn(faces: Iterable[Landmarks], height: int, width: int) -> Frame:
    """(height width 3) levels: the outlines of `faces` on black. Points outside are left out.

    Each has 468 points, then 5 of each iris where they were looked for.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    for face in faces:
        pixels = np.minimum(np.floor(face * (width, height)), (width - 1, height - 1)).astype(int)
        inside: NDArray[np.bool_] = np.all((face >= 0) & (face <= 1), axis=-1)
        if np.ptp(face * (width, height), axis=0).min() >= MIN_SIDE:
            _draw_lines(canvas, pixels, inside)
            _draw_pupils(canvas, pixels, inside)
    return canvas


def _mesh(max_faces: int, min_confidence: float) -> Any:
    """MediaPipe's detector for one picture, since threads cannot share it."""
    return solution("face_mesh").FaceMesh(
        static_image_mode=True, max_num_faces=max_faces, refine_landmarks=True,
        min_detection_confidence=min_confidence,
    )


def _draw_lines(canvas: Frame, pixels: NDArray[np.int_], inside: NDArray[np.bool_]) -> None:
    import cv2

    for lines, color in LINES:
        for line in lines:
            for first, last in pairwise(line):
                if inside[first] and inside[last]:
                    start, end = pixels[first].tolist(), pixels[last].tolist()
                    cv2.line(canvas, start, end, color, THICKNESS)


def _draw_pupils(canvas: Frame, pixels: NDArray[np.int_], inside: NDArray[np.bool_]) -> None:
    for index, color in PUPILS:
        if index < len(pixels) and inside[index]:
            left, top = (max(0, int(place) - PUPIL) for place in pixels[index])
            right, bottom = (int(place) + PUPIL for place in pixels[index])
            canvas[top:bottom, left:right] = color
