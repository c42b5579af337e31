"""A picture's way from noise to latent, with any number of controls, on the core alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from ..control import ControlSession, ControlSpec, HintSource, Kept, Progress, Rows, take
from ..nets import ControlNet, UNet
from ..noise import Noise
from ..residuals import Residuals

OnStep = Callable[[int, int], object]


@dataclass(frozen=True, eq=False)
class Step:
    """What a net is told at one step: scaled latent (B 4 h w), timesteps (B), text (B N D)."""

    x: Tensor
    timesteps: Tensor
    context: Tensor
    y: Tensor | None = None
    """Pooled text (B D) of SDXL."""


class Prompts(Protocol):
    """Prompts as a UNet reads them."""

    @property
    def context(self) -> Tensor: ...
    @property
    def y(self) -> Tensor | None: ...


Session = ControlSession[Step, Tensor]


def control_session(
    net: ControlNet, hint: Tensor, spec: ControlSpec | None = None, *, noise: Noise
) -> Session:
    """`net` following `hint` (B 3 H W) as `spec` says, for one sampling run."""
    spec = spec or ControlSpec()

    def evaluate(step: Step, embedding: Tensor, kept: Kept) -> Residuals:
        inputs = (step.x, step.timesteps, step.context, embedding)
        y = None if step.y is None else take(step.y, kept)
        return net(*(take(x, kept) for x in inputs), y)

    def encode(hints: tuple[Tensor, ...]) -> Tensor:
        return net.encode_hint(hints[0])

    return ControlSession(
        evaluate,
        hints=HintSource((hint,), encode, scale=net.config.hint_scale).embedding,
        spec=spec,
        progress=Progress(noise.percent_to_sigma, spec.knots),
    )


def summed(
    controls: Sequence[Session], step: Step, sigma: float, rows: Rows
) -> Residuals | None:
    """The residuals of all controls that act at `sigma`, added in their order."""
    total: Residuals | None = None
    for control in controls:
        own = control.residuals(step, x=step.x, sigma=sigma, rows=rows)
        if own is not None:
            total = own if total is None else total + own
    return total


def sample(
    unet: UNet,
    latent: Tensor,
    cond: Tensor,
    uncond: Tensor,
    *,
    steps: int,
    cfg: float = 4.0,
    noise: Noise,
    ys: tuple[Tensor, Tensor] | None = None,
    controls: Sequence[Session] = (),
    on_step: OnStep | None = None,
) -> Tensor:
    """Clean latents (B 4 h w) from unit noise `latent`, by Euler's method with guidance.

    `cond` and `uncond` are text (1 N D) or (B N D); they run in one batch, as hosts run them.
    `ys` is the pooled text of both, for SDXL.
    """
    sigmas, batch = noise.steps(steps), latent.shape[0]
    context = torch.cat([text.expand(batch, -1, -1) for text in (cond, uncond)])
    y = torch.cat([text.expand(batch, -1) for text in ys]) if ys else None
    x = noise.start(latent, sigmas[0])
    for index, (sigma, next_sigma) in enumerate(pairwise(sigmas)):
        scaled = noise.scaled(torch.cat([x, x]), sigma)
        timesteps = torch.full((2 * batch,), noise.timestep(sigma), device=x.device)
        step = Step(scaled, timesteps, context, y)
        control = summed(controls, step, sigma, Rows(batch, 2, uncond=(False, True)))
        with_text, without = unet(scaled, timesteps, context, y, control=control).chunk(2)
        clean = noise.clean(x, without + cfg * (with_text - without), sigma)
        x = x + (x - clean) * ((next_sigma - sigma) / sigma)
        if on_step:
            on_step(index + 1, steps)
    return x


def paint(
    unet: UNet,
    noise: Noise,
    net: ControlNet | None,
    hints: Tensor,
    cond: Prompts,
    uncond: Prompts,
    *,
    steps: int = 20,
    cfg: float = 4.0,
    seed: int = 0,
) -> Tensor:
    """Clean latents, one for each of `hints` (B 3 H W), from fixed noise; `net` follows them."""
    scale = 8 if net is None else net.config.hint_scale
    cells = (len(hints), unet.config.in_channels, *(edge // scale for edge in hints.shape[-2:]))
    start = torch.randn(cells, generator=torch.Generator().manual_seed(seed)).to(cond.context)
    controls = [control_session(net, hints, noise=noise)] if net else []
    ys = None if cond.y is None or uncond.y is None else (cond.y, uncond.y)
    return sample(
        unet, start, cond.context, uncond.context, steps=steps, cfg=cfg, noise=noise, ys=ys,
        controls=controls,
    )  # fmt: skip
