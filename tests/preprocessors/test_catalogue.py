"""The catalogue holds together, and has what the preprocessors ask for."""

from __future__ import annotations

import re

import pytest

from controlstack.preprocessors import PREPROCESSORS
from controlstack.preprocessors._catalogue import CATALOGUE

EVERY = pytest.mark.parametrize("checkpoint", CATALOGUE.values(), ids=CATALOGUE)


@EVERY
def test_an_entry_says_where_its_weights_are_and_under_which_terms(checkpoint):
    assert CATALOGUE[checkpoint.id] is checkpoint
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", checkpoint.repo)
    assert checkpoint.licence
    assert checkpoint.files
    assert not any(file.startswith("/") or ".." in file for file in checkpoint.files)
    assert checkpoint.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", checkpoint.sha256)
    assert checkpoint.is_folder == (len(checkpoint.files) > 1)


@EVERY
def test_an_entry_in_its_place_exists_and_has_the_same_weights(checkpoint):
    if checkpoint.instead is not None:
        other = CATALOGUE[checkpoint.instead]
        assert other.instead is None  # no chains
        assert not other.is_folder
        assert other.megabytes == checkpoint.megabytes or other.size is not None


def test_no_two_entries_are_one_file():
    places = [(each.repo, each.files) for each in CATALOGUE.values()]
    assert len(set(places)) == len(places)
    sums = [each.sha256 for each in CATALOGUE.values() if each.sha256]
    assert len(set(sums)) == len(sums)


def test_every_network_has_its_entry_and_tiny_weights(tiny_weights, pictures, run):
    learned = [each for each in PREPROCESSORS.values() if each.learned]
    assert learned
    for each in learned:
        assert all(CATALOGUE[checkpoint.id] is checkpoint for checkpoint in each.checkpoints)
        for checkpoint in each.checkpoints:
            assert (tiny_weights / checkpoint.repo).is_dir(), f"write a tiny {checkpoint.id}"


def test_terms_are_told_with_the_preprocessor():
    assert PREPROCESSORS["softedge_hed"].licences == (
        "ControlNetHED.pth: Apache-2.0; commercial use allowed"
    )
    assert PREPROCESSORS["canny"].licences == ""
    assert CATALOGUE["pidinet"].terms.endswith("commercial use not allowed")
    assert CATALOGUE["mteed"].terms.endswith("commercial use unclear")


def test_what_is_asked_for_most_is_there():
    wanted = (
        "hed pidinet teed mteed lineart lineart_coarse lineart_anime lineart_manga mlsd normal_bae "
        "depth_anything_v2_small depth_anything_v2_base depth_anything_v2_large zoedepth "
        "dpt_hybrid oneformer_ade20k oneformer_coco dwpose dwpose_detector sam_base"
    )
    assert set(wanted.split()) <= set(CATALOGUE)
