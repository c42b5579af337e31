"""Controls that the host implements (Flux, SD3, Qwen, T2I-Adapter, ...) behind our `HostControl`.

So a mask, a schedule or layer weights act on every family through the same code. Nothing of a host
class is read but what `ControlBase` itself promises; a family that a later host adds works too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import comfy.cldm.cldm
import torch
from comfy.controlnet import ControlBase
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..controlnet_core.control import (
    Area,
    ControlSession,
    Kept,
    Rows,
    Same,
    part,
    take,
)
from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.formats import encoder_config
from ..controlnet_core.residuals import Residuals
from ._bridge import HostControl, HostStep, Run
from ._fit import check_fit, unet_config
from ._layout import from_control_dict
from ._prepared import Prepared


def as_host_control(control: ControlBase, *, name: str = "control_net") -> HostControl:
    """A fresh `HostControl` over any control: a copy of ours, or the host's own wrapped in one."""
    if isinstance(control, HostControl):
        return control.copy()
    wrapped = HostControl(HostNet(name, copy_of(control)))
    control.copy_to(wrapped)
    return wrapped


def copy_of(control: ControlBase) -> ControlBase:
    """A copy without a chain or a run; every control of the host has one, only its base has not."""
    return control.copy()  # pyright: ignore[reportAttributeAccessIssue]


class _Copy(NamedTuple):
    """A control of the host that answers calls of one layout, and what its hint depends on."""

    control: ControlBase
    key: tuple[object, ...]


@dataclass(eq=False)
class HostNet:
    """A control of the host, as a `ControlledNet`. Only copies of `control` are ever run."""

    name: str
    control: ControlBase
    prepared: Prepared = field(default_factory=Prepared)

    def patchers(self) -> list[ModelPatcher]:
        return self.control.get_models()

    def check(self, model: BaseModel) -> None:
        """UNet nets on UNets, token nets on token models; the host's loaders tell no more."""
        net = getattr(self.control, "control_model", None)  # adapters and Control-LoRAs have none
        if isinstance(net, comfy.cldm.cldm.ControlNet):
            shapes = {name: tuple(weight.shape) for name, weight in net.state_dict().items()}
            check_fit(encoder_config(shapes), model, name=self.name)
        elif net is not None and (base := unet_config(model)) is not None:
            raise ControlInputError(
                "CN-M07", self.name,
                found=f"a {type(net).__name__} on a MODEL that is {base.family}",
                expected="the transformer model it was made for",
                fix=f"load a ControlNet for {base.family}, or connect that model's checkpoint",
            )

    def session(self, control: HostControl, run: Run) -> ControlSession[HostStep, _Copy]:
        """The host's class does the hint; `spec` weighs what comes out of it.

        Its own strength stays inside, since some families bend it (Qwen Fun takes the root).
        """
        copies: dict[tuple[object, ...], _Copy] = {}
        hint, source = control.hint(), _source(control)

        def copy(x: Tensor, rows: Rows, area: Area | None) -> _Copy:
            # One copy for each layout of rows and each area: the host counts hints against the
            # whole call, so that two hints on one latent would part cond from uncond, and keeps
            # one prepared hint, which areas would drive out in turn.
            key = (*source, rows.batch, rows.chunks, rows.frames, area, x.shape[2:], x.device)
            if key not in copies:
                shown = hint if area is None else part(hint, latent=area.size, area=area)
                copies[key] = _Copy(self._copy(control, rows.spread(shown), run), key)
                self.prepared.lend(*copies[key])
            return copies[key]

        def evaluate(step: HostStep, copy: _Copy, kept: Kept) -> Residuals:
            residuals = copy.control.get_control(  # pyright: ignore[reportAttributeAccessIssue]
                step.x, step.sigmas, step.cond, step.rows.chunks, step.options
            )
            self.prepared.keep(*copy)
            whole = from_control_dict(residuals or {}, unet=run.is_unet)
            return whole.map(lambda site, index, count, x: take(x, kept))

        return ControlSession(
            evaluate, hints=copy, spec=control.spec.on_hints(hint),
            progress=run.progress(control.spec),
        )  # fmt: skip

    def _copy(self, control: HostControl, hint: Tensor, run: Run) -> ControlBase:
        copy = copy_of(self.control)
        control.copy_to(copy)
        copy.set_cond_hint(
            hint, control.strength, (0.0, 1.0), vae=control.vae,
            extra_concat=control.extra_concat_orig,
        )  # fmt: skip
        copy.pre_run(run.model, run.percent_to_sigma)
        return copy

    def memory(self, control: HostControl, dtype: torch.dtype) -> float:
        return self.control.inference_memory_requirements(dtype)

    def clone_to(self, device: torch.device) -> HostNet:
        return HostNet(self.name, self.control.deepclone_multigpu(device))


def _source(control: HostControl) -> tuple[object, ...]:
    """What a prepared hint depends on beside the call: the very hint, VAE and further channels."""
    sources = (control.given_hint(), control.vae, *control.extra_concat_orig)
    return tuple(None if source is None else Same(source) for source in sources)
