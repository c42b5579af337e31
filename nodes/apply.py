"""Apply ControlNet and the Control Stack: controls join the conditioning."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import reduce
from typing import Any

from comfy.controlnet import ControlBase
from comfy_api.latest import io
from torch import Tensor

from ..controlnet_core.control import ControlSpec, check_hint, check_range, check_strength
from ..controlnet_core.errors import ControlInputError
from ._apply_inputs import VAE, joined, net_inputs, piece_inputs, place_inputs, strength_inputs
from ._bridge import HostControl
from ._host_nets import as_host_control
from ._layout import from_image, from_mask
from ._place import area_of_options
from ._types import CATEGORY, ControlItemSocket

log = logging.getLogger("controlstack")

_SMALLEST = 8  # pixels of one latent cell: a smaller hint tells a whole picture one value

Conditioning = list[list[Any]]


@dataclass(frozen=True, eq=False)
class Item:
    """One control with its hint, strength, range, mask and spec, ready to be applied."""

    control_net: ControlBase
    image: Tensor
    strength: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    mask: Tensor | None = None
    spec: ControlSpec | None = None
    enabled: bool = True

    def control(self, vae: object | None) -> HostControl:
        """The settings as a control of the host; raises for those that cannot act."""
        control = as_host_control(self.control_net)
        where = control.net.name
        check_strength(self.strength, where=f"strength of {where}")
        check_range(self.start_percent, self.end_percent, where=f"range of {where}")
        hint = check_hint(from_image(self.image), channels=3, where=f"image for {where}")
        if control.latent_format is not None:
            _check_vae(vae, control.latent_format.latent_channels, where=where)
        control.set_cond_hint(hint, self.strength, (self.start_percent, self.end_percent), vae=vae)
        mask = None if self.mask is None else from_mask(self.mask, where=f"mask for {where}")
        self._warn(where, hint, mask)
        control.spec = control.spec * (self.spec or ControlSpec()) * ControlSpec(mask=mask)
        return control

    def _warn(self, where: str, hint: Tensor, mask: Tensor | None) -> None:
        """Logs what is allowed and yet rarely meant."""
        if min(hint.shape[-2:]) < _SMALLEST:
            log.warning("%s: a hint of %d x %d pixels", where, hint.shape[-1], hint.shape[-2])
        if self.start_percent == self.end_percent:
            log.warning("%s: start and end are equal, so it never acts", where)
        if mask is not None and not mask.any():
            log.warning(
                "%s: the mask is black everywhere, so it never acts. Load Image gives such a mask "
                "for a picture without transparency.", where,
            )  # fmt: skip


def _check_vae(vae: object | None, channels: int, *, where: str) -> None:
    """Raises unless `vae` makes latents of the width that a net reads its hint in."""
    found = getattr(vae, "latent_channels", channels)
    if vae is None or found != channels:
        raise ControlInputError(
            "CN-M08", where, found="no VAE" if vae is None else f"a VAE of {found} latent channels",
            expected=f"a VAE of {channels}, which turns this net's hint into latents",
            fix="connect the VAE of the base model to vae",
        )


def apply_item(
    item: Item,
    conditionings: tuple[Conditioning, ...],
    *,
    vae: object | None = None,
    lend_to_uncond: bool = False,
) -> tuple[Conditioning, ...]:
    """Each conditioning with the item's control put at the head of its chain.

    Conditionings of one area whose chains end in the same object share the new one, so that cond
    and uncond still run in one batch. Strength 0 or a disabled item changes nothing and costs
    nothing. `lend_to_uncond` lets the host control the other prompt, too, where nothing does.
    """
    if item.strength == 0.0 or not item.enabled:
        return conditionings
    control, heads = item.control(vae), dict[Any, HostControl]()

    def chained(options: dict[str, Any]) -> dict[str, Any]:
        previous, area = options.get("control"), area_of_options(options)
        key = (previous, area and area.key)
        if key not in heads:
            heads[key] = control.copy()
            heads[key].area = area
            heads[key].set_previous_controlnet(previous)
        return {**options, "control": heads[key], "control_apply_to_uncond": lend_to_uncond}

    return tuple(
        [[text, chained(options)] for text, options in conditioning]
        for conditioning in conditionings
    )


_POSITIVE = io.Conditioning.Input("positive", tooltip="The prompt.")
_NEGATIVE = io.Conditioning.Input("negative", tooltip="The negative prompt.")
_OUTPUTS: list[Any] = [
    io.Conditioning.Output(display_name="positive", tooltip="The prompt, controlled."),
    io.Conditioning.Output(display_name="negative", tooltip="The negative prompt, controlled."),
]


class Apply(io.ComfyNode):
    """Adds one control to positive and negative conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackApply",
            display_name="Apply ControlNet",
            category=f"{CATEGORY}/apply",
            description="Adds a ControlNet to the prompts. Chain several: their residuals are "
            "summed. Takes any CONTROL_NET, also those that ComfyUI loaded.",
            search_aliases=["controlnet", "apply controlnet", "use controlnet", "control net"],
            inputs=[
                _POSITIVE,
                _NEGATIVE,
                *net_inputs(),
                *strength_inputs(),
                VAE,
                *place_inputs(),
                *piece_inputs(),
            ],
            outputs=_OUTPUTS,
        )

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        control_net: ControlBase,
        image: Tensor,
        strength: float,
        start_percent: float,
        end_percent: float,
        vae: object | None = None,
        mask: Tensor | None = None,
        spec: ControlSpec | None = None,
        layer_weights: ControlSpec | None = None,
        batch_strengths: ControlSpec | None = None,
        curve: object | None = None,
    ) -> io.NodeOutput:
        spec = joined(spec, layer_weights, batch_strengths, curve=curve)
        item = Item(control_net, image, strength, start_percent, end_percent, mask, spec)
        return io.NodeOutput(*apply_item(item, (positive, negative), vae=vae))


class StackItem(io.ComfyNode):
    """One control for the Control Stack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackItem",
            display_name="Control Item",
            category=f"{CATEGORY}/apply",
            description="One ControlNet with its hint, strength and range, for the Control Stack.",
            search_aliases=["controlnet unit", "controlnet stack item", "multi controlnet"],
            inputs=[
                *net_inputs(),
                *strength_inputs(),
                io.Boolean.Input(
                    "enabled", default=True, tooltip="Off leaves this item out of the stack."
                ),
                *place_inputs(),
                *piece_inputs(),
            ],
            outputs=[ControlItemSocket.Output(display_name="item", tooltip="For Control Stack.")],
        )

    @classmethod
    def execute(
        cls,
        control_net: ControlBase,
        image: Tensor,
        strength: float,
        start_percent: float,
        end_percent: float,
        enabled: bool = True,
        mask: Tensor | None = None,
        spec: ControlSpec | None = None,
        layer_weights: ControlSpec | None = None,
        batch_strengths: ControlSpec | None = None,
        curve: object | None = None,
    ) -> io.NodeOutput:
        spec = joined(spec, layer_weights, batch_strengths, curve=curve)
        return io.NodeOutput(
            Item(control_net, image, strength, start_percent, end_percent, mask, spec, enabled)
        )


class Stack(io.ComfyNode):
    """Applies any number of items in their order."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        items = io.Autogrow.TemplatePrefix(
            ControlItemSocket.Input("item", tooltip="From Control Item."),
            prefix="item", min=1, max=32,
        )
        return io.Schema(
            node_id="ControlStackStack",
            display_name="Control Stack",
            category=f"{CATEGORY}/apply",
            description="Applies several Control Items in order. A new socket appears for each.",
            search_aliases=["multi controlnet", "controlnet stack", "apply controlnets"],
            inputs=[
                _POSITIVE,
                _NEGATIVE,
                io.Autogrow.Input("items", template=items, tooltip="One Control Item a socket."),
                VAE,
            ],
            outputs=_OUTPUTS,
        )

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        items: dict[str, Item],
        vae: object | None = None,
    ) -> io.NodeOutput:
        conditionings = reduce(
            lambda conditionings, item: apply_item(item, conditionings, vae=vae),
            items.values(),
            (positive, negative),
        )
        return io.NodeOutput(*conditionings)
