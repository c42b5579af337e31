"""Scribbles by their formula, and known checksums of both polarities."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from controlstack.preprocessors import PREPROCESSORS

scribble = PREPROCESSORS["scribble"]


@pytest.mark.parametrize("threshold", [0, 1, 127, 255])
def test_equals_the_formula(frames, levels_of, threshold):
    for frame in frames:
        dark = np.zeros(frame.shape, np.uint8)
        dark[np.logical_or.reduce([frame[..., c] < threshold for c in range(3)])] = 255
        hints = [
            levels_of(scribble, frame, strokes=strokes, threshold=threshold)
            for strokes in ("dark", "bright")
        ]
        assert np.array_equal(hints[0], dark)
        assert np.array_equal(hints[1], 255 - dark)


@pytest.mark.parametrize(("strokes", "known"), [("dark", 0x477E6135), ("bright", 0xD3B8805A)])
def test_equals_the_known_checksum(chart, levels_of, strokes, known):
    assert zlib.crc32(levels_of(scribble, chart, strokes=strokes).tobytes()) == known


def test_a_pencil_of_any_colour_on_paper_is_a_stroke(levels_of):
    drawing = np.full((4, 6, 3), 250, np.uint8)
    drawing[1] = (250, 30, 250)
    strokes = levels_of(scribble, drawing)
    assert (strokes[1] == 255).all()
    assert not np.delete(strokes, 1, axis=0).any()
