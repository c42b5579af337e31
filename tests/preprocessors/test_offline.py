"""Without weights, without the net: every network's error, at once, with all that it takes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controlstack.preprocessors import PREPROCESSORS, Preprocessor
from controlstack.preprocessors._networks import OneOf

LEARNED = [each for each in PREPROCESSORS.values() if each.learned]

# Runs each of the settings on its stdin, and says what was raised, and what is imported by then.
CHILD = """
import json, socket, sys
import torch

def refused(*_args, **_options):
    raise AssertionError("a connection")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import PREPROCESSORS

told = []
for name, settings in json.load(sys.stdin):
    try:
        PREPROCESSORS[name](torch.rand(1, 3, 64, 64), **settings)
        error = ["nothing", "", ""]
    except ControlInputError as e:
        error = [e.code, e.where, str(e)]
    told.append([*error, sorted(sys.modules)])
json.dump(told, sys.stdout)
"""

HEAVY = {
    "cv2", "diffusers", "mediapipe", "onnxruntime", "scipy", "skimage", "timm", "torchvision",
    "transformers",
}  # fmt: skip


def choices_of(preprocessor: Preprocessor) -> list[dict[str, str]]:
    """Every combination of choices that name its networks."""
    named = [each for each in preprocessor.networks.values() if isinstance(each, OneOf)]
    every = itertools.product(*([(each.parameter, name) for name in each.networks]
                                for each in named))
    return [dict(pairs) for pairs in every]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Preprocessor, list[Any]]]:
    """What every network of every preprocessor raised, in a process that has read nothing yet."""
    home = tmp_path_factory.mktemp("home")
    (home / "path").mkdir()
    (home / "path" / "controlstack").symlink_to(Path(__file__).parents[2])
    asked = [(each, choice) for each in LEARNED for choice in choices_of(each)]
    ran = subprocess.run(
        [sys.executable, "-c", CHILD], text=True, capture_output=True, check=False,
        input=json.dumps([(each.name, choice) for each, choice in asked]),
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "PYTHONPATH": str(home / "path"), "HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "hub"),
            "CONTROLSTACK_WEIGHTS": str(home / "weights"), "AUX_ANNOTATOR_CKPTS_PATH": "",
        },
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return [(each, told) for (each, _), told in zip(asked, json.loads(ran.stdout), strict=True)]


def test_every_network_is_asked_for(runs):
    """Those of one preprocessor that runs several come one after the other, so not each here."""
    raised = {(each.name, where) for each, (_, where, *_) in runs}
    wanted = {(each.name, every.name) for each in LEARNED for every in each.checkpoints}
    assert raised <= wanted
    assert {name for name, _ in raised} == {each.name for each in LEARNED}
    assert {where for _, where in raised} == {where for _, where in wanted}


def test_each_error_has_all_that_it_takes_to_put_the_weights_there(runs):
    for preprocessor, (code, where, message, *_) in runs:
        assert code == "CN-WEIGHTS", message
        for each in (each for each in preprocessor.checkpoints if each.name == where):
            assert all(file in message for file in each.files)
            assert f"{Path('weights', each.repo)} (" in message
            assert f"repository {each.repo}" in message
            assert each.weight in message
            assert (each.sha256 or "") in message
            assert each.terms in message


def test_nothing_heavy_is_imported_before(runs):
    """Which is what keeps it below a second."""
    for preprocessor, (*_, modules) in runs:
        assert not HEAVY & {name.partition(".")[0] for name in modules}, preprocessor.name
