"""Learned preprocessors in the host: read once, found in its folders, freed by its button."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import folder_paths
import hosts
import nodes
import pytest
import server
import torch
from nets import picture
from safetensors.torch import save_file

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.nodes._annotators import (
    FOLDER,
    KEEPER,
    SETTING,
    downloads_allowed,
    enter_host,
)
from controlstack.preprocessors import PREPROCESSORS, use_folders, use_keeper
from controlstack.preprocessors import _networks as networks
from controlstack.preprocessors._nets.hed import HED

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def weights(host: hosts.Host, tmp_path: Path) -> Iterator[Path]:
    """A tiny HED in the first folder that the host names for annotators."""
    before = folder_paths.folder_names_and_paths.get(FOLDER)
    folder_paths.folder_names_and_paths[FOLDER] = ([str(tmp_path)], set())
    enter_host()
    path = tmp_path / "lllyasviel" / "Annotators" / "ControlNetHED.safetensors"
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    save_file(HED((4, 4, 4, 4, 4)).state_dict(), path)
    yield path
    KEEPER._patchers.clear()
    if before is None:
        del folder_paths.folder_names_and_paths[FOLDER]
    else:
        folder_paths.folder_names_and_paths[FOLDER] = before
    enter_host()


@pytest.fixture
def reads() -> Iterator[list[Path]]:
    """Every path that a network is opened from."""
    seen: list[Path] = []
    network = PREPROCESSORS["softedge_hed"].networks["net"]
    assert isinstance(network, networks.Network)
    real = network.open

    def opening(path: Path) -> torch.nn.Module:
        seen.append(path)
        return real(path)

    object.__setattr__(network, "open", opening)
    yield seen
    object.__setattr__(network, "open", real)


def graph(seed: int = 0) -> dict[str, Any]:
    return {
        "1": {"class_type": "EmptyImage",
              "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 255 * seed + 9}},
        "2": {"class_type": "ControlStackSoftedgeHed",
              "inputs": {"image": ["1", 0], "safe": False, "resolution": 0}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }  # fmt: skip


def test_the_second_run_reads_no_weights(weights: Path, reads: list[Path], run_graph: Run) -> None:
    for seed in range(3):
        run_graph(graph(seed))
    assert reads == [weights]


def test_weights_that_changed_are_read_again(
    weights: Path, reads: list[Path], run_graph: Run
) -> None:
    run_graph(graph(0))
    save_file(HED((8, 4, 4, 4, 4)).state_dict(), weights)
    run_graph(graph(1))
    assert len(reads) == 2
    assert len(KEEPER._patchers) == 1


def test_networks_are_models_of_the_host(weights: Path) -> None:
    PREPROCESSORS["softedge_hed"](torch.rand(1, 3, 32, 32))
    (patcher,) = KEEPER._patchers.values()
    assert any(each.model is patcher for each in comfy.model_management.current_loaded_models)
    comfy.model_management.unload_all_models()
    assert not any(each.model is patcher for each in comfy.model_management.current_loaded_models)
    assert KEEPER._patchers, "unloaded for room, but not read again"


def test_a_hint_that_the_idle_host_throws_away_frees_the_networks(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = SimpleNamespace(currently_running={1: "a graph"})
    running = SimpleNamespace(prompt_queue=queue)
    monkeypatch.setattr(server.PromptServer, "instance", running, raising=False)
    from controlstack.nodes.preprocess import preprocess

    def hint() -> torch.Tensor:
        return preprocess(PREPROCESSORS["softedge_hed"], picture(), None, {})

    held = hint()
    del held
    assert KEEPER._patchers, "a graph that runs only replaces its results"
    held = hint()
    queue.currently_running = {}
    del held
    assert not KEEPER._patchers


def test_without_weights_the_error_comes_at_once_and_says_what_to_do(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.unlink()
    start = time.monotonic()
    with pytest.raises(ControlInputError, match="CN-WEIGHTS") as error:
        PREPROCESSORS["softedge_hed"](torch.rand(1, 3, 32, 32))
    assert time.monotonic() - start < 1.0
    for part in ("ControlNetHED.pth", str(weights.parent), "lllyasviel/Annotators", "download hed"):
        assert part in str(error.value)


def test_every_learned_node_names_the_licence_of_its_weights(host: hosts.Host) -> None:
    for each in PREPROCESSORS.values():
        node = nodes.NODE_CLASS_MAPPINGS.get(f"ControlStack{each.name.title().replace('_', '')}")
        if each.learned and node is not None:
            about = node.GET_SCHEMA().description
            assert all(checkpoint.licence in about for checkpoint in each.checkpoints), each.name


@pytest.mark.parametrize(
    ("content", "allowed"),
    [(None, False), ("{", False), ("[]", False), ({}, False), ({SETTING: False}, False),
     ({SETTING: "yes"}, False), ({SETTING: True}, True)],
)  # fmt: skip
def test_downloads_are_off_until_the_user_switches_them_on(
    content: Any, allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_paths, "get_user_directory", lambda: str(tmp_path))
    if content is not None:
        (tmp_path / "default").mkdir()
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "default" / "comfy.settings.json").write_text(text)
    assert downloads_allowed() is allowed


def test_the_pack_leaves_other_folders_of_the_category_alone(
    host: hosts.Host, tmp_path: Path
) -> None:
    before = folder_paths.folder_names_and_paths.get(FOLDER)
    folder_paths.folder_names_and_paths[FOLDER] = ([str(tmp_path)], {".pth"})
    enter_host()
    paths, suffixes = folder_paths.folder_names_and_paths[FOLDER]
    assert paths[0] == str(tmp_path)
    assert {".pth", ".onnx", ".safetensors"} <= suffixes
    if before is None:
        del folder_paths.folder_names_and_paths[FOLDER]
    else:
        folder_paths.folder_names_and_paths[FOLDER] = before
    enter_host()


def test_the_pack_can_be_left_to_its_own_folders(host: hosts.Host) -> None:
    """What enter_host changes can be put back, so that other tests see no host."""
    keeper = use_keeper(KEEPER)
    use_folders()
    assert use_keeper(keeper) is KEEPER
    enter_host()
