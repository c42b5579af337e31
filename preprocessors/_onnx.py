"""Networks in ONNX files, run by onnxruntime as modules, so that a `Keeper` can hold them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..controlnet_core.errors import ControlInputError
from ._libraries import library

log = logging.getLogger("controlstack")

# What runs on each kind of torch's devices, best first.
_PROVIDERS = {
    "cuda": ("CUDAExecutionProvider", "MIGraphXExecutionProvider", "ROCMExecutionProvider"),
    "mps": ("CoreMLExecutionProvider",),
    "privateuseone": ("DmlExecutionProvider",),
}
_CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3  # of onnxruntime's levels of logging


class OnnxNet(nn.Module):
    """The network in an ONNX file of one input, with float32 on the CPU coming in and going out.

    It has no parameters: onnxruntime holds the weights, on the device that the module was last
    moved to, from its first run there until it is moved away.
    """

    _at: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._runtime: Any = library("onnxruntime")
        self._session: Any = None
        # Tells the device: what has neither parameters nor buffers cannot be moved.
        self.register_buffer("_at", torch.zeros(0), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OnnxNet:
        before = self._at.device
        super()._apply(fn, recurse)
        if self._at.device != before:
            self._session = None
        return self

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Its answer for (b ...), or its several answers; `x` is cut where the file fixes b."""
        try:
            runs = list(self._runs(x))
        except _errors(self._runtime) as e:
            raise _unusable(self._path, e) from e
        columns = zip(*runs, strict=True)
        answers = [torch.from_numpy(np.concatenate(each))[: len(x)] for each in columns]
        return answers[0] if len(answers) == 1 else tuple(answers)

    def _runs(self, x: Tensor) -> Iterator[list[Any]]:
        if self._session is None:
            self._session = _session(self._runtime, self._path, self._at.device)
        [entry] = self._session.get_inputs()
        size = entry.shape[0] if isinstance(entry.shape[0], int) else max(1, len(x))
        missing = -len(x) % size
        filled = torch.cat([x, x.new_zeros((missing, *x.shape[1:]))]) if missing else x
        for part in torch.split(filled, size):
            yield self._session.run(None, {entry.name: part.contiguous().numpy()})


def open_onnx(path: Path) -> OnnxNet:
    """The network in the file at `path`; raises CN-LIBRARY where onnxruntime is missing.

    The file is read at the first run, which raises CN-ONNX where it is no network.
    """
    return OnnxNet(path).eval()


def providers(device: torch.device, offered: Collection[str]) -> list[str]:
    """Names of those that onnxruntime is to use for `device`, best first; the CPU is the last."""
    return [each for each in _PROVIDERS.get(device.type, ()) if each in offered] + [_CPU]


def _session(runtime: Any, path: Path, device: torch.device) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    names = providers(device, runtime.get_available_providers())
    index = {"device_id": str(device.index or 0)}
    settings = [index if name != _CPU and device.type != "mps" else {} for name in names]
    session = runtime.InferenceSession(
        str(path), sess_options=options, providers=list(zip(names, settings, strict=True))
    )
    if device.type != "cpu" and session.get_providers() == [_CPU]:
        log.warning(
            "%s runs on the CPU: this onnxruntime has nothing for %s. For NVIDIA cards, "
            "python -m pip install onnxruntime-gpu", path.name, device,
        )
    return session


def _errors(runtime: Any) -> tuple[type[Exception], ...]:
    """Every kind of error of onnxruntime; they have no base of their own."""
    state: Any = runtime.capi.onnxruntime_pybind11_state
    kinds: list[Any] = [getattr(state, name) for name in dir(state)]
    return tuple(each for each in kinds if isinstance(each, type) and issubclass(each, Exception))


def _unusable(path: Path, e: Exception) -> ControlInputError:
    words = " ".join(str(e).split())
    return ControlInputError(
        "CN-ONNX", path.name, found=f"onnxruntime cannot run it ({words[:200]})",
        expected="the network that is published under this name",
        fix="delete it and download it again",
    )
