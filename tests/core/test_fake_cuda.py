"""A step on a GPU that is not there: no tensor of it stays on the CPU, and nothing waits for it.

torch's FakeTensorMode keeps shape, dtype and device of every tensor and computes nothing. It works
with and without CUDA in the build as long as nobody asks the driver: therefore no random
initialiser, no cuDNN (which asks for the GPU's age before it takes bfloat16), and an attention of
plain matrix products (the fused one picks a kernel by the GPU).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tiny_nets import FAMILIES
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

from controlstack.controlnet_core.control import (
    ControlSession,
    ControlSpec,
    HintSource,
    Kept,
    Rows,
    Soft,
)
from controlstack.controlnet_core.nets import ControlNet, Layers, UnionControlNet, build
from controlstack.controlnet_core.residuals import Residuals


def products(q: Tensor, k: Tensor, v: Tensor, heads: int, *, upcast: bool = False) -> Tensor:
    """Attention of matrix products alone."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    if upcast:
        q, k = q.float(), k.float()
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return (scores.softmax(dim=-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)


def empty_net(name: str, dtype: torch.dtype, device: str) -> ControlNet:
    """The net with weights on `device` that nobody initialised (zeros where they are real)."""
    net = build(FAMILIES[name], Layers(attention=products, dtype=dtype, device="meta"))
    for module in net.modules():
        for key, weight in module.named_parameters(recurse=False):
            there = torch.zeros(weight.shape, dtype=dtype, device=device)
            setattr(module, key, nn.Parameter(there, requires_grad=False))
    return net


class Run:
    """A session over two latents for cond and uncond; hints and mask are given on the CPU."""

    def __init__(
        self,
        name: str,
        dtype: torch.dtype,
        device: str,
        *,
        moved: Callable[[Tensor], Tensor] = lambda hint: hint,
    ) -> None:
        self.net, self.dtype, self.moved = empty_net(name, dtype, device), dtype, moved
        config = self.net.config
        self.types = (1, 4) if config.union_types else ()
        self.x = torch.zeros(4, 4, 9, 8, device=device)
        self.timesteps = torch.full((4,), 500.5, device=device)
        self.context = torch.zeros(4, 7, config.context_dim or 16, dtype=dtype, device=device)
        width = config.adm_in_channels
        self.y = None if width is None else torch.zeros(4, width, dtype=dtype, device=device)
        pictures = tuple(torch.zeros(n, 3, 70, 50) for n in (1, 3)[: max(1, len(self.types))])
        with unset_fake_temporarily():  # a session looks at its masks once, before the first step
            self.spec = ControlSpec(0.7, weights=Soft(), mask=torch.ones(3, 1, 33, 50))
            self.session = ControlSession(
                self.evaluate, hints=HintSource(pictures, self.encode).embedding, spec=self.spec,
                progress=lambda sigma: 1.0 - sigma,
            )  # fmt: skip

    def encode(self, hints: tuple[Tensor, ...]) -> Tensor:
        features = [self.net.encode_hint(self.moved(hint).to(self.dtype)) for hint in hints]
        if not isinstance(self.net, UnionControlNet):
            return features[0]
        return self.net.fuse(features, self.types)

    def evaluate(self, step: None, embedding: Tensor, kept: Kept) -> Residuals:
        given = (self.x.to(self.dtype), self.timesteps, self.context, embedding, self.y)
        named = {"types": self.types} if isinstance(self.net, UnionControlNet) else {}
        return self.net(*given, **named)

    def step(self) -> Residuals:
        residuals = self.session.residuals(None, x=self.x, sigma=0.5, rows=Rows(2, chunks=2))
        assert residuals is not None
        return residuals + residuals  # the chain's sum is part of a step


@pytest.fixture
def fake() -> Iterator[FakeTensorMode]:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
        yield mode


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["sd15", "union6"])
def test_step_stays_on_the_device(name: str, dtype: torch.dtype, fake: FakeTensorMode) -> None:
    run = Run(name, dtype, "cuda")
    with Watch() as watch:
        for _ in range(2):
            residuals = run.step().tensors()
    assert len(residuals) == len(run.net.config.residual_layout)
    assert {(x.device.type, x.dtype) for x in residuals} == {("cuda", dtype)}
    assert watch.waits == Counter()


def test_hint_left_on_the_cpu_is_caught(fake: FakeTensorMode) -> None:
    """What the test above is for."""
    run = Run("sd15", torch.float16, "cuda", moved=lambda hint: hint.to("cpu"))
    with pytest.raises(RuntimeError, match="device"):
        run.step()


def test_mask_left_on_the_cpu_is_caught(fake: FakeTensorMode) -> None:
    class Left:
        def on(self, x: Tensor, rows: Rows, **_: Any) -> Tensor:
            return torch.zeros(4, 1, *x.shape[-2:])

    run = Run("sd15", torch.float16, "cuda")
    run.session._turn(0.5).masks.on = Left().on
    with pytest.raises(RuntimeError, match="device"):
        run.step()


class Watch(TorchDispatchMode):
    """Counts what makes the CPU wait for a device: numbers read, sizes from data, copies."""

    READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        target, source = kwargs.get("device"), args[0] if args else None
        to_cpu = target is not None and torch.device(target).type == "cpu"
        self.calls += 1
        if name.startswith(self.READS):
            self.waits[name] += 1
        elif name == "_to_copy" and to_cpu and source.device.type != "cpu":
            self.waits["copy to the CPU"] += 1
        return func(*args, **kwargs)


@pytest.mark.parametrize("name", ["sd15", "union6"])
@torch.no_grad()
def test_step_reads_no_number_from_the_device(name: str) -> None:
    """With real tensors: data-dependent reads would otherwise depend on the fake mode's refusal."""
    run = Run(name, torch.float32, "cpu")
    with Watch() as watch:
        run.step()
    assert watch.waits == Counter()
    assert watch.calls > 300


@torch.no_grad()
def test_reads_and_copies_are_counted(fake: FakeTensorMode) -> None:
    """The watch itself."""
    with Watch() as watch:
        torch.ones(2, device="cuda").to("cpu")
        torch.ones(2).to("cpu", torch.float16)
        torch.ones(2).to(torch.empty(0, device="cuda").device)
    assert watch.waits == {"copy to the CPU": 1}


@torch.no_grad()
def test_numbers_read_are_counted() -> None:
    x = torch.ones(2)
    with Watch() as watch:
        float(x[0])
        bool(x.any())
        torch.equal(x, x)
    assert watch.waits == {"_local_scalar_dense": 2, "equal": 1}
