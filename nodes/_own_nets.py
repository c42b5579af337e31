"""Nets of this pack in the host's memory management: its layer classes, its patcher."""

from __future__ import annotations

import copy
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import comfy.ldm.modules.attention
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP
from torch import Tensor

from ..controlnet_core.control import (
    ControlSession,
    ControlSpec,
    Embeddings,
    HintSource,
    Kept,
    Same,
    take,
)
from ..controlnet_core.formats import ControlFile, fill
from ..controlnet_core.nets import ControlNet, Layers, UnionControlNet
from ..controlnet_core.residuals import Residuals, Site
from ._bridge import HostControl, HostStep, Run
from ._fit import check_fit

_COMPUTE_DTYPES = [torch.float16, torch.bfloat16, torch.float32]


def _host_attention(
    q: Tensor, k: Tensor, v: Tensor, heads: int, *, upcast: bool = False
) -> Tensor:
    precision = torch.float32 if upcast else None
    return comfy.ldm.modules.attention.optimized_attention(
        q, k, v, heads, attn_precision=precision
    )


def host_control(file: ControlFile, weights: dict[str, Tensor] | None = None) -> HostControl:
    """The net of a recognised file as a control of the host, which decides dtype and device."""
    weights = file.weights() if weights is None else weights
    count = Counter[torch.dtype]()
    for weight in weights.values():
        count[weight.dtype] += weight.numel()
    management = comfy.model_management
    dtype = management.unet_dtype(
        model_params=-1, supported_dtypes=_COMPUTE_DTYPES, weight_dtype=count.most_common(1)[0][0]
    )
    load_device = management.get_torch_device()
    cast = management.unet_manual_cast(dtype, load_device)
    operations = comfy.ops.pick_operations(dtype, cast, disable_fast_fp8=True)
    layers = Layers(operations, _host_attention, dtype)
    for name in list(weights):
        weights[name] = weights[name].to(dtype)
    net = fill(file.config, weights, layers)
    patcher = comfy.model_patcher.CoreModelPatcher(
        net, load_device=load_device, offload_device=management.unet_offload_device()
    )
    return HostControl(OwnNet(file.header.name, file.format.id, patcher, cast or dtype))


@dataclass(eq=False)
class OwnNet:
    """A ControlNet of ours, as a `ControlledNet`."""

    name: str
    format: str
    patcher: ModelPatcher
    dtype: torch.dtype
    embeddings: Embeddings = field(default_factory=Embeddings)
    """Encoded hints, from one run to the next; let go when the host unloads the net."""
    _fitting: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)

    def __post_init__(self) -> None:
        embeddings = self.embeddings

        def forget(patcher: ModelPatcher, unpatch_all: bool) -> None:
            if unpatch_all:  # else the host only moves the net to another place of its list
                embeddings.clear()

        self.patcher.add_callback(CallbacksMP.ON_DETACH, forget)

    @property
    def module(self) -> ControlNet:
        return self.patcher.model

    def patchers(self) -> list[ModelPatcher]:
        return [self.patcher]

    def check(self, model: BaseModel) -> None:
        if model.diffusion_model not in self._fitting:
            check_fit(self.module.config, model, name=self.name)
            self._fitting.add(model.diffusion_model)

    def session(self, control: HostControl, run: Run) -> ControlSession[HostStep, Tensor]:
        net, types = self.module, control.types if self.module.config.union_types else []
        pictures = tuple(
            control.hint(kind, channels=net.config.hint_channels) for kind in (types or [None])
        )
        sampling = run.sampling
        spec = (ControlSpec(control.strength) * control.spec).on_hints(*pictures)

        def encode(hints: tuple[Tensor, ...]) -> Tensor:
            features = [net.encode_hint(hint.to(self.dtype)) for hint in hints]
            return net.fuse(features, types) if isinstance(net, UnionControlNet) else features[0]

        def evaluate(step: HostStep, embedding: Tensor, kept: Kept) -> Residuals:
            sigmas = take(step.sigmas, kept)
            x = sampling.calculate_input(sigmas, take(step.x, kept)).to(self.dtype)
            timesteps = sampling.timestep(sigmas).float()
            text = step.cond.get("crossattn_controlnet", step.cond["c_crossattn"])
            context = self._cast(text, x, kept)
            y = None if net.label_emb is None else self._cast(step.cond.get("y"), x, kept)
            named = {"types": types} if isinstance(net, UnionControlNet) else {}
            residuals = net(x, timesteps, context, take(embedding, kept), y, **named)
            return residuals.map(_pooled) if control.global_average_pooling else residuals

        hints = HintSource(
            pictures, encode, scale=net.config.hint_scale, embeddings=self.embeddings,
            key=self._key(control, types),
        )  # fmt: skip
        return ControlSession(
            evaluate, hints=hints.embedding, spec=spec, progress=run.progress(spec)
        )

    def _key(self, control: HostControl, types: list[int]) -> tuple[object, ...]:
        """What an embedding of this net depends on beside the latents."""
        hints = [control.given_hint(kind) for kind in (types or [None])]
        return (*map(Same, hints), *types, self.patcher.patches_uuid)

    def memory(self, control: HostControl, dtype: torch.dtype) -> float:
        """For twice the pictures of the hint, since cond and uncond run in one call.

        The host tells no latent size when it asks; the hint's is the best guess there is.
        """
        config, size = self.module.config, comfy.model_management.dtype_size(self.dtype)
        hint = control.hint(channels=config.hint_channels)
        cells = hint.shape[-2] * hint.shape[-1] / config.hint_scale**2
        return 2 * hint.shape[0] * cells * config.activations_per_cell * size

    def clone_to(self, device: torch.device) -> OwnNet:
        net = copy.deepcopy(self.module)
        patcher = comfy.model_patcher.ModelPatcher(
            net, load_device=device, offload_device=self.patcher.offload_device
        )
        return OwnNet(self.name, self.format, patcher, self.dtype)

    def _cast(self, x: Tensor | None, like: Tensor, kept: Kept) -> Any:
        return None if x is None else take(x.to(device=like.device, dtype=self.dtype), kept)


def _pooled(site: Site, index: int, count: int, x: Tensor) -> Tensor:
    """The mean over all cells in every cell: how shuffle nets were trained."""
    return x.mean(dim=(2, 3), keepdim=True).expand_as(x)
