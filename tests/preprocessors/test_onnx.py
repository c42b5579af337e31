"""ONNX files as modules: batches of any size, moved, and refused in words."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
import torch
from tiny_pose import onnx_file

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.preprocessors._networks import run
from controlstack.preprocessors._onnx import open_onnx, providers

CUDA, CPU, TENSORRT = (f"{name}ExecutionProvider" for name in ("CUDA", "CPU", "Tensorrt"))


@pytest.fixture
def sums(tmp_path):
    """A file that gives x times 2 and x plus 1, for so many rows at once, None for any number."""
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    helper = pytest.importorskip("onnx", reason="needs onnx").helper

    def write(rows: int | str, outputs: int = 2):
        nodes = [helper.make_node("Mul", ["x", "two"], ["a"]),
                 helper.make_node("Add", ["x", "one"], ["b"])][:outputs]
        weights = {"two": np.float32([2]), "one": np.float32([1])}
        path = tmp_path / f"{rows}_{outputs}.onnx"
        names = ("a", "b")[:outputs]
        onnx_file(path, nodes, {key: weights[key] for key in ("two", "one")[:outputs]},
                  {"x": [rows, 3]}, {name: [rows, 3] for name in names})
        return path

    return write


@pytest.mark.parametrize("rows", ["batch", 1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_any_batch_fits_files_of_fixed_ones(sums, rows, count):
    x = torch.rand(count, 3)
    doubled, more = run(open_onnx(sums(rows)), x)
    assert torch.equal(doubled, 2 * x)
    assert torch.equal(more, x + 1)


def test_one_answer_is_no_tuple(sums):
    x = torch.rand(2, 3)
    assert torch.equal(run(open_onnx(sums("batch", 1)), x), 2 * x)


def test_memory_order_and_half_precision_are_seen_to(sums):
    net = open_onnx(sums("batch", 1)).to(torch.float16)
    x = torch.rand(3, 4).T[:4]
    assert torch.equal(run(net, x), 2 * x)
    assert run(net, x.half()).dtype == torch.float32


def test_a_session_is_opened_once_and_anew_where_the_module_moves(sums):
    net = open_onnx(sums("batch"))
    run(net, torch.rand(1, 3))
    first = net._session
    run(net.to(torch.float16).to("cpu"), torch.rand(2, 3))
    assert net._session is first
    net.to("meta")
    assert net._session is None, "what it held there is freed"
    assert list(net.parameters()) == []
    assert net.state_dict() == {}


def test_a_device_without_its_provider_is_told(sums, caplog):
    net = open_onnx(sums("batch")).to("meta")
    with caplog.at_level(logging.WARNING, logger="controlstack"):
        run(net, torch.rand(1, 3))
    assert "onnxruntime-gpu" in caplog.text


@pytest.mark.parametrize(
    ("device", "offered", "expected"),
    [
        ("cpu", [CUDA, CPU], [CPU]),
        ("cuda", [TENSORRT, CUDA, CPU], [CUDA, CPU]),
        ("cuda:1", [CPU], [CPU]),
        ("cuda", ["MIGraphXExecutionProvider", CPU], ["MIGraphXExecutionProvider", CPU]),
        ("mps", ["CoreMLExecutionProvider", CPU], ["CoreMLExecutionProvider", CPU]),
        ("xpu", [CPU], [CPU]),
    ],
)
def test_providers_follow_the_device(device, offered, expected):
    assert providers(torch.device(device), offered) == expected


def test_a_file_that_is_no_network_is_told(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    path = tmp_path / "yolox_l.onnx"
    path.write_text("<!DOCTYPE html>")
    with pytest.raises(ControlInputError, match=r"yolox_l\.onnx: found onnxruntime") as caught:
        run(open_onnx(path), torch.rand(1, 3))
    assert caught.value.code == "CN-ONNX"
    assert len(str(caught.value)) <= 600


def test_pictures_of_another_size_are_told(sums):
    with pytest.raises(ControlInputError, match="CN-ONNX"):
        run(open_onnx(sums("batch")), torch.rand(1, 4))


def test_a_missing_runtime_is_told_with_the_line_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ControlInputError, match="pip install onnxruntime") as caught:
        open_onnx(tmp_path / "x.onnx")
    assert caught.value.code == "CN-LIBRARY"
