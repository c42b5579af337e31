"""A whole `get_control` on fake CUDA tensors: nothing of a step stays on the CPU.

Fake tensors have device, dtype and shape but no data, so this needs no GPU, and runs on builds of
torch with and without CUDA. The step begins after the one read of sigma.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import comfy.ops
import pytest
import torch
from nets import CONFIGS, picture
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from controlstack.controlnet_core.control import ControlSpec, HintSource, Window
from controlstack.controlnet_core.nets import ControlNet, Layers, build
from controlstack.nodes import _bridge
from controlstack.nodes._bridge import HostControl, Run
from controlstack.nodes._own_nets import OwnNet

pytestmark = pytest.mark.usefixtures("host")

CUDA = torch.device("cuda")


class Model:
    """What `Run` reads of a model."""

    def __init__(self) -> None:
        self.model_sampling, self.diffusion_model = Sampling(), None


class Sampling:
    """What a control asks of the host's model sampling, without looking into a tensor."""

    def calculate_input(self, sigma: Tensor, x: Tensor) -> Tensor:
        return x / (sigma.reshape(-1, 1, 1, 1) ** 2 + 1) ** 0.5

    def timestep(self, sigma: Tensor) -> Tensor:
        return sigma.log()


def _attention(q: Tensor, k: Tensor, v: Tensor, heads: int, *, upcast: bool = False) -> Tensor:
    """torch's fused attention asks the driver which kernel to take."""
    weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)), dim=-1)
    return torch.bmm(weights, v)


def _fake_net(layout: str, dtype: torch.dtype, **changes: Any) -> ControlNet:
    """A net of the host's layers, its parameters on the fake device; inside the mode."""
    layers = Layers(comfy.ops.disable_weight_init, _attention, dtype, device="meta")
    net = build(CONFIGS[layout].like(**changes), layers)
    for module in net.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            empty = torch.empty(parameter.shape, dtype=dtype, device=CUDA)
            setattr(module, name, torch.nn.Parameter(empty, requires_grad=False))
    return net


def _step(layout: str, dtype: torch.dtype, *, types: tuple[int, ...] = (), chain: int = 1) -> Any:
    """The dict of residuals of one step with hints and masks on the CPU, 3 hints on 2 latents."""
    mode, head = FakeTensorMode(allow_non_fake_inputs=True), None
    for _ in range(chain):
        with mode:
            net = _fake_net(layout, dtype, union_types=6 if types else 0)
        head = _prepared(net, dtype, types, head)
    # cuDNN asks the driver for the age of the GPU before it takes bfloat16.
    with mode, torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
        sigmas = torch.empty(1, device=CUDA)
        _bridge._last_read = (weakref.ref(sigmas), 7.0)
        width = CONFIGS[layout].context_dim
        cond = {"c_crossattn": torch.empty(4, 77, width), "y": torch.empty(4, 2816)}  # on the CPU
        control = head.get_control(
            torch.empty(4, 4, 9, 7, device=CUDA), torch.empty(4, device=CUDA), cond, 2,
            {"sigmas": sigmas, "cond_or_uncond": [1, 0]},
        )  # fmt: skip
        return control.copy()  # read, as the model does


def _prepared(
    net: ControlNet, dtype: torch.dtype, types: tuple[int, ...], previous: HostControl | None
) -> HostControl:
    """A control as `pre_run` leaves it."""
    patcher: Any = SimpleNamespace(
        model=net, add_callback=lambda *_: None, patches_uuid="none"
    )
    control = HostControl(OwnNet("fake", "ldm", patcher, dtype))
    control.spec = ControlSpec(0.5, Window(0.0, 0.9), mask=torch.ones(2, 1, 30, 40))
    if previous is not None:
        control.spec = replace(control.spec, uncond_strength=0.0)
    control.cond_hint_original = picture(3, 80, 60).movedim(-1, 1)
    control.set_extra_arg("control_type", list(types))
    control.timestep_range = (1e9, 0.0)
    control.set_previous_controlnet(previous)
    control._run = Run(Model(), lambda p: 15.0 - 14.9 * p)
    control._session = control.net.session(control, control._run)
    return control


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("layout", "types", "chain"),
    [("SD15", (), 1), ("SD20", (), 2), ("SDXL", (), 1), ("SDXL", (1, 3), 1)],
)
def test_every_residual_is_on_the_device(
    layout: str, types: tuple[int, ...], chain: int, dtype: torch.dtype
) -> None:
    control = _step(layout, dtype, types=types, chain=chain)
    residuals = [x for row in control.values() for x in row]
    assert len(residuals) == 5
    assert {(x.device.type, x.dtype) for x in residuals} == {("cuda", dtype)}


def test_a_hint_that_stays_on_the_cpu_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = HintSource.embedding

    def on_the_cpu(self: Any, x: Tensor, rows: Any, area: Any = None) -> Any:
        return real(self, x, rows, area).cpu()

    monkeypatch.setattr(HintSource, "embedding", on_the_cpu)
    with pytest.raises(RuntimeError, match="device"):
        _step("SD15", torch.float16)
