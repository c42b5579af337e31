"""Networks: filled from files, kept while nothing changes, run where they lie."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import pytest
import torch
from torch import Tensor, nn

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import read_tensors, save_tensors
from controlstack.preprocessors import PREPROCESSORS, _networks
from controlstack.preprocessors._frame import Frame
from controlstack.preprocessors._libraries import library
from controlstack.preprocessors._networks import (
    InProcess,
    Net,
    Network,
    OneOf,
    filled,
    ready,
    run,
    use_keeper,
)
from controlstack.preprocessors._registry import Choice, preprocessor
from controlstack.preprocessors._weights import use_folders


class Scale(nn.Module):
    """Multiplies by its one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.rand(1))

    def forward(self, x: Tensor) -> Tensor:
        assert x.dtype == self.factor.dtype
        return x * self.factor


opened: list[Path] = []


def open_scale(path: Path) -> nn.Module:
    opened.append(path)
    return filled(Scale, read_tensors(path), name=path.name)


SMALL = Network("lineart", open_scale, floats_per_pixel=10)
LARGE = Network("lineart_coarse", open_scale, floats_per_pixel=1000)


@preprocessor(title="Maybe", group="tests", source="none")
def maybe(
    image: Tensor,
    net: Annotated[Net | None, OneOf("variant", {"none": None, "small": SMALL})],
    *,
    variant: Annotated[Literal["none", "small"], Choice("which")] = "none",
) -> Tensor:
    """Times a factor, or black."""
    return torch.zeros_like(image) if net is None else net(image)


@preprocessor(title="Scaled", group="tests", source="none", multiple=8)
def scaled(
    image: Tensor,
    net: Annotated[Net, OneOf("variant", {"small": SMALL, "large": LARGE})],
    *,
    variant: Annotated[Literal["small", "large"], Choice("which")] = "small",
) -> Tensor:
    """Times a factor."""
    return net(image)


@pytest.fixture
def weights(tmp_path) -> Callable[[str, float], Path]:
    """Writes the weight of SMALL or LARGE."""
    use_folders(tmp_path)
    opened.clear()

    def write(name: str, factor: float) -> Path:
        path = tmp_path / f"{name}.safetensors"
        save_tensors(path, {"factor": torch.tensor([factor])}, {})
        return path

    return write


SK, SK2 = "sk_model", "sk_model2"


def test_a_choice_names_the_network_and_opens_no_other(weights):
    weights(SK, 0.5)
    weights(SK2, 0.25)
    image = torch.ones(2, 3, 5, 7)
    assert (scaled(image) == 0.5).all()
    assert [path.stem for path in opened] == [SK]
    assert (scaled(image, variant="large") == 0.25).all()
    assert [each.id for each in scaled.checkpoints] == ["lineart", "lineart_coarse"]
    assert scaled.learned


def test_a_choice_may_name_no_network(weights):
    image = torch.ones(3, 3, 5, 7)
    assert not maybe(image).any()
    assert opened == []
    assert [each.id for each in maybe.checkpoints] == ["lineart"]
    weights(SK, 0.5)
    assert (maybe(image, variant="small") == 0.5).all()


def test_a_network_is_opened_once_while_its_file_stays(weights):
    path = weights(SK, 0.5)
    module = ready(SMALL)
    assert ready(SMALL) is module
    assert opened == [path]
    weights(SK, 0.25)
    os.utime(path, ns=(1, 1))  # a change within the clock's tick
    assert float(ready(SMALL).factor) == 0.25
    assert opened == [path, path]


def test_an_older_file_of_the_same_weights_is_let_go(weights):
    keeper = InProcess()
    use_keeper(keeper)
    for stamp in (1, 2, 3):
        os.utime(weights(SK, float(stamp)), ns=(stamp, stamp))
        ready(SMALL)
    assert [float(module.factor) for module in keeper._modules.values()] == [3.0]


def test_a_folder_changes_with_its_files(tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    before = _networks._key("zoedepth", tmp_path)
    (tmp_path / "config.json").write_bytes(b"xy")
    assert _networks._key("zoedepth", tmp_path) != before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_runs_in_its_own_dtype_and_answers_in_float32(dtype):
    answer = run(Scale().to(dtype), torch.ones(1, 3, 2, 2))
    assert answer.dtype == torch.float32
    assert not answer.requires_grad


def test_several_answers_are_a_tuple_and_several_inputs_pass():
    class Pair(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return x.double(), x + y

    first, second = run(Pair(), torch.ones(1, dtype=torch.float64), torch.ones(1))
    assert (first.dtype, second.dtype) == (torch.float32, torch.float32)
    assert float(second) == 2


class Recorder:
    """A keeper with little memory."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.asked: list[torch.device] = []

    def ready(self, key, open):
        return open()

    def free_bytes(self, device: torch.device) -> int:
        self.asked.append(device)
        return self.free


@pytest.mark.parametrize(
    ("floats", "chunks"),
    [(0, [1, 2, 3, 4]), (2 * 8 * 16 * 10, [2, 4]), (4 * 8 * 16 * 10, [4])],
)
def test_chunks_fit_the_memory_that_the_keeper_has(weights, floats, chunks):
    weights(SK, 0.5)
    keeper = Recorder(4 * floats)  # float32; sides 5 x 15 are padded to 8 x 16
    use_keeper(keeper)
    seen = []
    scaled(torch.rand(4, 3, 5, 15), progress=lambda done, _total: seen.append(done))
    assert seen == chunks
    assert keeper.asked == [torch.device("cpu")]


def test_missing_weights_are_told_after_the_picture_is_checked(weights):
    with pytest.raises(ControlInputError, match="CN-I02"):
        scaled(torch.rand(0, 3, 4, 4))
    with pytest.raises(ControlInputError, match=r"CN-WEIGHTS.*sk_model\.pth"):
        scaled(torch.rand(1, 3, 4, 4))


def test_a_module_is_filled_without_a_copy_and_for_inference():
    weights = {"0.weight": torch.rand(4, 3, dtype=torch.float16), "0.bias": torch.rand(4).half()}
    module = filled(lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout()), weights, name="x")
    assert module[0].weight.data_ptr() == weights["0.weight"].data_ptr()
    assert module[0].weight.dtype == torch.float16
    assert not module.training
    assert not any(each.requires_grad for each in module.parameters())


def test_the_prefix_of_parallel_training_is_taken_off():
    state = {f"module.{name}": x for name, x in nn.Linear(3, 4).state_dict().items()}
    module = filled(lambda: nn.Linear(3, 4), state, name="x")
    assert torch.equal(module.weight, state["module.weight"])


def test_counters_that_older_files_lack_are_zero():
    state = nn.BatchNorm2d(3).state_dict()
    state["num_batches_tracked"] += 7
    whole = filled(lambda: nn.BatchNorm2d(3), state, name="x")
    assert int(whole.num_batches_tracked) == 7
    del state["num_batches_tracked"]
    old = filled(lambda: nn.BatchNorm2d(3), state, name="x")
    assert int(old.num_batches_tracked) == 0
    assert old.num_batches_tracked.device.type == "cpu"
    del state["running_var"]
    with pytest.raises(ControlInputError, match="1 weights missing, such as running_var"):
        filled(lambda: nn.BatchNorm2d(3), state, name="x")


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ({"weight": (4, 3)}, "CN-W08", "1 weights missing, such as bias"),
        ({"weight": (4, 3), "bias": (4,), "mean": (1,)}, "CN-W14", "too many, such as mean"),
        ({"weight": (4, 2), "bias": (4,)}, "CN-W13", "of other shapes, such as weight"),
    ],
)
def test_other_weights_are_refused(state, code, words):
    tensors = {name: torch.zeros(shape) for name, shape in state.items()}
    with pytest.raises(ControlInputError, match=words) as caught:
        filled(lambda: nn.Linear(3, 4), tensors, name="lines.pth")
    assert (caught.value.code, caught.value.where) == (code, "lines.pth")


def test_whole_numbers_are_no_weights():
    tensors = {"weight": torch.zeros(4, 3, dtype=torch.int32), "bias": torch.zeros(4)}
    with pytest.raises(ControlInputError, match=r"CN-W13.*such as weight"):
        filled(lambda: nn.Linear(3, 4), tensors, name="lines.pth")


def test_networks_for_other_choices_than_there_are_is_refused_at_import():
    def off(
        image: Tensor,
        net: Annotated[Net, OneOf("variant", {"small": SMALL})],
        *,
        variant: Annotated[Literal["small", "large"], Choice("which")] = "small",
    ) -> Tensor:
        return net(image)

    with pytest.raises(TypeError, match="each choice of variant"):
        preprocessor(title="", group="", source="")(off)


def test_a_frame_with_a_network_is_refused():
    def off(rgb: Frame, net: Annotated[Net, SMALL]) -> Frame:
        return rgb

    with pytest.raises(TypeError, match="tensors"):
        preprocessor(title="", group="", source="")(off)


def test_a_missing_library_is_told_with_the_line_that_installs_it():
    with pytest.raises(ControlInputError, match="python -m pip install timm-of-tests") as caught:
        library("not_a_module_at_all", pip="timm-of-tests")
    assert caught.value.code == "CN-LIBRARY"
    assert library("json").dumps(1) == "1"


def test_import_brings_no_library_that_only_some_need(shell):
    code = (
        "import sys, controlstack.preprocessors.__main__\n"
        "libraries = {'cv2', 'scipy', 'transformers', 'timm', 'onnxruntime', 'mediapipe',\n"
        "             'huggingface_hub', 'filelock', 'requests', 'httpx'}\n"
        "sys.exit(str(libraries & set(sys.modules)) if libraries & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=shell, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_networks_are_not_of_the_weightless():
    assert not PREPROCESSORS["canny"].learned
    assert PREPROCESSORS["canny"].checkpoints == ()
