"""Published networks to compare with, and weights and pictures to compare them on."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from controlstack.preprocessors._networks import run

PARENT = "controlnet_aux_parts"


def controlnet_aux(module: str) -> types.ModuleType:
    """`module` of PyPI's controlnet-aux, without its root, which imports all that it depends on."""
    spec = importlib.util.find_spec("controlnet_aux")
    if spec is None or spec.origin is None:
        pytest.skip("the reference is missing: pip install --no-deps controlnet-aux==0.0.10")
    if PARENT not in sys.modules:
        parent = types.ModuleType(PARENT)
        parent.__path__ = [str(Path(spec.origin).parent)]
        sys.modules[PARENT] = parent
    return importlib.import_module(f"{PARENT}.{module}")


def weighted(net: nn.Module, *, gain: float = 2.0) -> nn.Module:
    """`net` for inference, with random weights: the same for networks of the same names and shapes.

    Biases, norms and their statistics are random too. `gain` is what a layer does to the variance
    of what goes through it; 2 makes up for a ReLU, and where layers add to a sum it must be less.
    """
    random = torch.Generator().manual_seed(0)
    tensors = net.state_dict()
    for name in sorted(tensors):
        tensors[name] = _drawn(name, tensors[name], gain, random)
    net.load_state_dict(tensors)
    return net.eval().requires_grad_(False)


def _drawn(name: str, x: Tensor, gain: float, random: torch.Generator) -> Tensor:
    if not x.is_floating_point():  # a norm's count of batches
        return x
    if name.endswith("running_var") or (name.endswith("weight") and x.ndim == 1):
        return 0.5 + torch.rand(x.shape, generator=random)
    scale = 0.1 if x.ndim == 1 else (gain / x[0].numel()) ** 0.5
    return scale * torch.randn(x.shape, generator=random)


def pictures(height: int, width: int, channels: int = 3) -> Tensor:
    """(2 C H W) in 0..1, unlike in level and contrast, so that statistics over both would show."""
    random = torch.Generator().manual_seed(height * width)
    dim, wild = torch.rand(2, channels, height, width, generator=random)
    return torch.stack((0.1 + 0.1 * dim + torch.linspace(0, 0.2, width), wild))


def counts(net: nn.Module) -> tuple[int, int]:
    """How many parameters and how many tensors `net` has."""
    return sum(each.numel() for each in net.parameters()), len(net.state_dict())


def shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that a file for `net` holds, by its name."""
    return {name: tuple(x.shape) for name, x in net.state_dict().items()}


def difference(a: Tensor, b: Tensor) -> float:
    """The largest difference between two tensors of one shape."""
    assert a.shape == b.shape
    return (a - b).abs().max().item()


def flat_pictures(height: int, width: int) -> Tensor:
    """(4 3 H W) in 0..1: black, one level, a ramp of three levels of 255, and noise of one."""
    random = torch.Generator().manual_seed(1)
    level = torch.tensor([0.1, 0.5, 0.3]).view(3, 1, 1).expand(3, height, width)
    noise = torch.rand(3, height, width, generator=random) / 255
    ramp = torch.linspace(0, 3 / 255, width)
    return torch.stack((torch.zeros_like(level), level, level + ramp, level + noise))


def in_halves(net: nn.Module, image: Tensor) -> Tensor:
    """What a copy of `net` answers that was asked to run in float16, in float32."""
    return run(copy.deepcopy(net).half(), image)
