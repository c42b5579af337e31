"""Where weights are found, in which order, and what is said where they are not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors import _weights
from controlstack.preprocessors._catalogue import CATALOGUE, Checkpoint
from controlstack.preprocessors._weights import (
    Shelves,
    find,
    locate,
    shelves,
    use_downloads,
    use_folders,
    use_shelves,
)

TEED = replace(CATALOGUE["teed"], size=4)
FOLDER = CATALOGUE["depth_anything_v2_small"]


def put(path: Path, content: bytes = b"good") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def roots(tmp_path) -> tuple[Path, Path]:
    """Two folders that weights are looked for in."""
    folders = tmp_path / "first", tmp_path / "second"
    use_folders(*folders)
    return folders


LAYOUTS = (  # in the order in which they are tried
    "bdsqlsz/qinglong_controlnet-lllite/Annotators/7_model.pth",
    "bdsqlsz/qinglong_controlnet-lllite/Annotators/7_model.safetensors",
    "7_model.pth",
    "7_model.safetensors",
    "Annotators/7_model.pth",
    "Annotators/7_model.safetensors",
    "TEED/7_model.pth",
    "TEED/7_model.safetensors",
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("root", [0, 1])
def test_every_layout_is_found_in_every_folder(roots, layout, root):
    path = put(roots[root] / layout)
    assert find(TEED) == path


def test_earlier_places_win(roots, tmp_path, monkeypatch):
    aux = tmp_path / "aux"
    monkeypatch.setenv("AUX_ANNOTATOR_CKPTS_PATH", str(aux))
    for root in (aux, *reversed(roots)):
        for layout in reversed(LAYOUTS):
            path = put(root / layout)
            assert find(TEED) == path


def test_nothing_is_found_where_nothing_is(roots):
    assert find(TEED) is None
    put(roots[0] / "7_model.onnx")
    (roots[0] / "TEED" / "7_model.pth").mkdir(parents=True)  # a folder is no file
    assert find(TEED) is None


def test_a_transformers_folder_needs_all_of_its_files(roots):
    home = roots[1] / FOLDER.repo
    put(home / "config.json")
    assert find(FOLDER) is None
    put(home / "model.safetensors")
    assert find(FOLDER) == home
    (home / "model.safetensors").rename(home / "pytorch_model.bin")
    assert find(FOLDER) == home


def test_a_transformers_folder_may_lie_flat(roots):
    home = roots[0] / "Depth-Anything-V2-Small-hf"
    for name in FOLDER.files:
        put(home / name)
    assert find(FOLDER) == home


def test_the_same_weights_in_another_form_serve_as_well(roots):
    path = put(roots[0] / "depth_anything_v2" / "depth_anything_v2_vits.safetensors")
    assert find(FOLDER) == path
    for name in FOLDER.files:
        put(roots[1] / FOLDER.repo / name)
    assert find(FOLDER) == roots[1] / FOLDER.repo  # the form asked for comes first


def cached(cache: Path, checkpoint: Checkpoint) -> Path:
    """Lays `checkpoint` into a hub cache, and gives its snapshot."""
    home = cache / f"models--{checkpoint.repo.replace('/', '--')}"
    put(home / "refs" / "main", b"abc123")
    for name in checkpoint.files:
        put(home / "snapshots" / "abc123" / name)
    return home / "snapshots" / "abc123"


def test_the_cache_of_the_hub_comes_last(roots, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = cached(tmp_path / "hub", TEED)
    assert find(TEED) == snapshot / "Annotators" / "7_model.pth"
    assert find(FOLDER) is None
    snapshot = cached(tmp_path / "hub", FOLDER)
    assert find(FOLDER) == snapshot
    (snapshot / "model.safetensors").unlink()
    assert find(FOLDER) is None
    path = put(roots[1] / "7_model.pth")
    assert find(TEED) == path


def test_without_the_library_there_is_no_cache(roots, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert find(TEED) is None


def test_a_truncated_file_is_told_and_not_passed_over(roots):
    put(roots[0] / "7_model.pth", b"goo")
    put(roots[1] / "7_model.pth")
    with pytest.raises(ControlInputError, match=r"truncated file, 3 bytes at .*7_model") as caught:
        find(TEED)
    assert caught.value.code == "CN-SIZE"
    put(roots[0] / "7_model.pth", b"wider numbers")
    assert find(TEED) == roots[0] / "7_model.pth"


@pytest.mark.parametrize("name", ["teed", "mteed"])
def test_a_file_of_a_size_that_is_not_sure_is_never_called_truncated(roots, name):
    """One source alone has theirs; a download is held to its sum, which several have."""
    path = put(roots[0] / Path(CATALOGUE[name].files[0]).name, b"x" * 200_000)
    assert find(CATALOGUE[name]) == path
    assert CATALOGUE[name].sha256


def test_a_missing_file_is_told_with_all_that_it_takes_to_get_it(roots):
    with pytest.raises(ControlInputError) as caught:
        locate(CATALOGUE["hed"])
    told = str(caught.value)
    assert caught.value.code == "CN-WEIGHTS"
    for part in (
        "ControlNetHED.pth", str(roots[0] / "lllyasviel" / "Annotators"), "29,444,406 bytes",
        "5ca93762ffd68a29fee1af9d495bf6aab80ae86f08905fb35472a083a4c7a8fa", "Apache-2.0",
        "repository lllyasviel/Annotators",
        f'python -m controlstack.preprocessors download hed --to "{roots[0]}"',
    ):
        assert part in told


def test_nothing_is_fetched_unless_that_is_allowed(roots, monkeypatch):
    fetched = []

    def download(checkpoint, folder, *, progress):
        fetched.append((checkpoint, folder, progress))
        return put(folder / checkpoint.repo / checkpoint.files[0])

    monkeypatch.setattr(_weights, "download", download)
    with pytest.raises(ControlInputError, match="CN-WEIGHTS"):
        locate(TEED)
    assert not fetched
    told = print
    use_downloads(True, progress=told)
    assert shelves().folders == roots
    path = locate(TEED)
    assert fetched == [(TEED, roots[0], told)]
    assert locate(TEED) == path
    assert len(fetched) == 1


def test_without_a_host_weights_lie_in_the_users_cache(monkeypatch, tmp_path):
    use_shelves(None)
    monkeypatch.delenv("CONTROLSTACK_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert shelves() == Shelves((tmp_path / "controlstack" / "weights",))
    monkeypatch.setenv("CONTROLSTACK_WEIGHTS", str(tmp_path / "mine"))
    assert shelves() == Shelves((tmp_path / "mine",))
    use_folders()
    assert shelves() == Shelves((tmp_path / "mine",))
