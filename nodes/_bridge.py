"""The host's idea of a control, answered by a `ControlSession`.

`HostControl` is the one ControlBase of this pack. What stands behind it is a `ControlledNet`: a net
of ours (`_own_nets.py`) or a control that the host implements (`_host_nets.py`). The host owns the
order of events: `pre_run` several times, `get_control` at every model call, `cleanup` only when
sampling ends well. Nothing here relies on the last one.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from comfy.controlnet import ControlBase
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..controlnet_core.control import (
    Area,
    ControlSession,
    ControlSpec,
    Progress,
    Rows,
    Steps,
    check_hint,
    check_range,
    check_strength,
    in_range,
)
from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.residuals import Residuals
from ._host_range import end_is_inside
from ._layout import ControlDict, from_control_dict, to_control_dict
from ._lazy import LazyControl
from ._place import HostArea, area_of_call, latent_size, rows_of_call

log = logging.getLogger("controlstack")


@dataclass(frozen=True, eq=False)
class HostStep:
    """One model call of the host: raw latent, noise level and conditioning of every row."""

    x: Tensor
    sigmas: Tensor
    cond: Mapping[str, Any]
    options: dict[str, Any]
    rows: Rows


class ControlledNet(Protocol):
    """A net that a `HostControl` can run."""

    name: str
    """The file it came from, as messages call it."""

    def patchers(self) -> list[ModelPatcher]:
        """The host's handles of every weight of the net."""
        ...

    def check(self, model: BaseModel) -> None:
        """Raises unless the net was made for `model`."""
        ...

    def session(self, control: HostControl, run: Run) -> ControlSession[HostStep, Any]:
        """A session for one sampling run with the settings of `control`."""
        ...

    def memory(self, control: HostControl, dtype: torch.dtype) -> float:
        """Bytes of activations that a model call of this net is likely to need."""
        ...

    def clone_to(self, device: torch.device) -> ControlledNet:
        """The same net with weights of its own on another device."""
        ...


class Run:
    """What the host tells at the start of a sampling run.

    The model is held weakly: after an interrupt nobody calls `cleanup`, and a conditioning that
    waits in the host's cache must not keep a model in memory.
    """

    def __init__(self, model: BaseModel, percent_to_sigma: Callable[[float], float]) -> None:
        self._model = weakref.ref(model)
        self.percent_to_sigma = percent_to_sigma
        self.sampling = model.model_sampling
        self.is_unet = isinstance(model.diffusion_model, UNetModel)
        self.end_inside = end_is_inside()
        self.latent_size = latent_size(model)
        """Height and width of the whole latent, where the host tells; its calls may show parts."""
        self.told = False
        """Whether the user has been told of calls about an unknown part of the picture."""
        self.sample_sigmas: Tensor | None = None
        """The noise levels of all steps, once the first model call has told them."""

    @property
    def model(self) -> BaseModel:
        if (model := self._model()) is None:
            raise RuntimeError("the model of this sampling run is gone")
        return model

    def progress(self, spec: ControlSpec) -> Callable[[float], float]:
        """sigma -> progress; a spec that is the same throughout need not know it."""
        if spec.steady:
            return lambda sigma: 0.0
        progress = Progress(self.percent_to_sigma, spec.knots)
        if not spec.counts_steps:
            return progress
        return lambda sigma: self._steps.moment(progress(sigma), sigma)

    @cached_property
    def _steps(self) -> Steps:
        """Read once a run, and for schedules that count them alone: it waits for the device."""
        return Steps([] if self.sample_sigmas is None else self.sample_sigmas.tolist())


class HostControl(ControlBase):
    """A net, its hint and its settings as the host's samplers know them.

    The settings live in the fields that ControlBase has for them, since tiled samplers and other
    packs read and change those: `cond_hint_original`, `strength`, `timestep_percent_range`,
    `previous_controlnet`, `vae`. Ours are `spec`, the `area` of the conditioning, and for union
    nets `type_hints`, the hints of single control types.
    """

    def __init__(self, net: ControlledNet) -> None:
        super().__init__()
        self.net = net
        self.spec = ControlSpec()
        self.type_hints: dict[int, Tensor] = {}
        self.area: HostArea | None = None
        self._run: Run | None = None
        self._session: ControlSession[HostStep, Any] | None = None

    def copy(self) -> HostControl:
        """The same net and settings, without a chain and without the state of any run."""
        other = HostControl(self.net)
        self.copy_to(other)
        return other

    def copy_to(self, c: ControlBase) -> None:
        super().copy_to(c)
        if isinstance(c, HostControl):
            c.spec, c.type_hints, c.area = self.spec, dict(self.type_hints), self.area

    @property
    def types(self) -> list[int]:
        """Control types set on a union net, by our node or by the host's."""
        return list(self.extra_args.get("control_type", ()))

    def given_hint(self, kind: int | None = None) -> Tensor | None:
        """The hint of a control type, or of them all, as it was set."""
        picture = None if kind is None else self.type_hints.get(kind)
        return self.cond_hint_original if picture is None else picture

    def hint(self, kind: int | None = None, *, channels: int = 3) -> Tensor:
        """The hint (B `channels` H W) of a control type, or of them all; checked, fit for use."""
        where = f"hint of {self.net.name}"
        picture = self.given_hint(kind)
        if picture is None:
            raise ControlInputError(
                "CN-I02", where, found="no picture", expected="a hint",
                fix="connect the control to Apply ControlNet with an image",
            )
        return check_hint(picture, channels=channels, where=where)

    # The host's calls, in the order in which they come.

    def get_models(self) -> list[ModelPatcher]:
        return [*super().get_models(), *self.net.patchers()]

    def inference_memory_requirements(self, dtype: torch.dtype) -> float:
        return self.net.memory(self, dtype) + super().inference_memory_requirements(dtype)

    def pre_run(
        self, model: BaseModel, percent_to_timestep_function: Callable[[float], float]
    ) -> None:
        """Checks that all fits and starts afresh, whatever an earlier run left behind."""
        super().pre_run(model, percent_to_timestep_function)
        check_strength(self.strength, where=self.net.name)
        check_range(*self.timestep_percent_range, where=self.net.name)
        self.net.check(model)
        self._run = Run(model, percent_to_timestep_function)
        self._session = self.net.session(self, self._run)

    def get_control(
        self,
        x_noisy: Tensor,
        t: Tensor,
        cond: Mapping[str, Any],
        batched_number: int,
        transformer_options: dict[str, Any],
    ) -> ControlDict | None:
        """This control's residuals added to those of the chain before it, for one model call.

        Whether it acts is decided here; its net runs when the model reads the dict.
        """
        previous: ControlDict | None = None
        if self.previous_controlnet is not None:
            previous = self.previous_controlnet.get_control(  # pyright: ignore[reportAttributeAccessIssue]
                x_noisy, t, cond, batched_number, transformer_options
            )
        run, session = self._run, self._session
        if run is None or session is None:
            raise RuntimeError("get_control before pre_run: this control was not prepared")
        sigma = _noise_level(transformer_options.get("sigmas", t))
        if not self._acts(sigma, run):
            return previous
        run.sample_sigmas = transformer_options.get("sample_sigmas")
        rows = rows_of_call(x_noisy, batched_number, transformer_options)
        area = self._area(x_noisy, run)
        latent = (x_noisy.shape[-2], x_noisy.shape[-1])
        if not session.acts(sigma, rows, latent=latent, area=area):
            return previous
        step = HostStep(x_noisy, t, cond, transformer_options, rows)

        def make() -> ControlDict:
            own = session.residuals(step, x=x_noisy, sigma=sigma, rows=rows, area=area)
            own = own or Residuals()
            if previous is not None:
                own = from_control_dict(previous, unet=run.is_unet) + own
            return to_control_dict(own, unet=run.is_unet)

        return LazyControl(make)

    def cleanup(self) -> None:
        super().cleanup()
        self._run = self._session = None

    def deepclone_multigpu(
        self, load_device: torch.device, autoregister: bool = False
    ) -> HostControl:
        """A copy whose weights are its own, for another device."""
        clone = self.copy()
        clone.net = self.net.clone_to(load_device)
        if autoregister:
            self.multigpu_clones[load_device] = clone
        return clone

    def _area(self, x: Tensor, run: Run) -> Area | None:
        """The part of the picture that a call is about; told once a run where nobody can say."""
        area = area_of_call(self.area, x, whole=run.latent_size, hint=self.given_hint())
        if area is None and not run.told and run.latent_size not in (None, tuple(x.shape[-2:])):
            run.told = True
            log.warning(
                "%s: the sampler asks for a part of the picture and does not say which, so the "
                "whole hint is laid on it. Set the area before Apply ControlNet.", self.net.name,
            )  # fmt: skip
        return area

    def _acts(self, sigma: float, run: Run) -> bool:
        first, last = self.timestep_percent_range
        if self.strength == 0.0 or first == last or self.timestep_range is None:
            return False
        start, end = (float(bound) for bound in self.timestep_range)
        return in_range(sigma, start, end, end_inside=run.end_inside)


_last_read: tuple[weakref.ref[Tensor], float] | None = None


def _noise_level(sigmas: Tensor) -> float:
    """The noise level of a step. Reading it waits for the device, so it is read once a step.

    The host passes one tensor object to every call of a step; the whole chain shares its value.
    """
    global _last_read
    if _last_read is None or _last_read[0]() is not sigmas:
        _last_read = (weakref.ref(sigmas), float(sigmas[0]))
    return _last_read[1]
