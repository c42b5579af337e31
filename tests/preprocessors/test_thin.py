"""Thinning against OpenCV's hit-or-miss transform, and known checksums."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest

from controlstack.preprocessors._thin import ERASED, PRUNED, STROKES, ridges, thinned


def published(white: np.ndarray, *, prune: bool) -> np.ndarray:
    """The same thinning by OpenCV over every pixel."""

    def turned(patterns: tuple) -> list[np.ndarray]:
        return [np.rot90(np.array(each), turn) for turn in range(4) for each in patterns]

    def erased(x: np.ndarray, patterns: tuple) -> np.ndarray:
        for kernel in turned(patterns):
            hits = cv2.morphologyEx(x, cv2.MORPH_HITMISS, np.ascontiguousarray(kernel))
            x = np.where(hits > 127, 0, x).astype(np.uint8)
        return x

    x = white.copy()
    for _ in range(32):
        before, x = x, erased(x, ERASED)
        if (before == x).all():
            break
    return erased(x, PRUNED) if prune else x


def frame(kind: str) -> np.ndarray:
    """(60 70) of levels 0 and 255."""
    noise = np.random.default_rng(3).random((60, 70)).astype(np.float32)
    if kind == "blobs":
        noise = cv2.GaussianBlur(noise, (0, 0), 3)
    white = noise > np.quantile(noise, 0.9 if kind == "specks" else 0.5)
    white &= kind != "black"
    white |= kind == "white"
    return np.where(white, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("kind", ["specks", "noise", "blobs", "black", "white"])
def test_equals_hit_or_miss_of_opencv(kind, prune):
    assert (thinned(frame(kind), prune=prune) == published(frame(kind), prune=prune)).all()


def test_equals_the_known_checksums():
    thick = np.zeros((128, 160), np.uint8)
    cv2.rectangle(thick, (20, 20), (120, 100), 255, 7)
    assert zlib.crc32(thinned(thick, prune=True).tobytes()) == 0x9A533A76
    assert zlib.crc32(thinned(thick, prune=False).tobytes()) == 0x16C7FFFA
    y, x = np.mgrid[:128, :160]
    assert zlib.crc32(ridges(((x + y) % 256).astype(np.uint8)).tobytes()) == 0xEDA64E78


def test_thinning_again_changes_nothing():
    once = thinned(frame("blobs"), prune=False)
    assert (thinned(once, prune=False) == once).all()


def test_the_input_is_untouched():
    white = frame("blobs")
    before = white.copy()
    thinned(white, prune=True)[:] = 7
    ridges(white)[:] = 7
    assert (white == before).all()


def test_ridges_are_the_highest_along_a_stroke():
    noise = np.random.default_rng(4).integers(0, 256, (20, 30), dtype=np.uint8)
    padded = np.pad(noise.astype(int), 1, constant_values=-1)
    highest = np.zeros(noise.shape, bool)
    for stroke in STROKES:
        shifts = [padded[y : y + 20, x : x + 30] for y, x in np.argwhere(stroke)]
        highest |= noise >= np.max(shifts, axis=0)
    assert (ridges(noise) == np.where(highest, noise, 0)).all()
