"""Set Union Type: which kinds of hint a union net is to follow, several in one pass."""

from __future__ import annotations

from comfy.controlnet import ControlBase
from comfy_api.latest import io
from torch import Tensor

from ..controlnet_core.control import check_hint
from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.nets import UNION_TYPES, check_types
from ._bridge import HostControl
from ._host_nets import copy_of
from ._layout import from_image
from ._own_nets import OwnNet
from ._types import CATEGORY

_AUTO = "auto"


def with_type(
    control: ControlBase, type: str, image: Tensor | None = None
) -> ControlBase:
    """A copy of `control` that also follows hints of `type`; "auto" forgets all types."""
    kind = UNION_TYPES.get(type)
    if isinstance(control, HostControl) and isinstance(control.net, OwnNet):
        _check_type(control.net, kind)
        hint = None if image is None else from_image(image)
        if hint is not None:
            hint = check_hint(hint, channels=3, where=f"{type} hint")
        return _with_own_type(control.copy(), kind, hint)
    if image is not None:
        raise ControlInputError(
            "CN-W23", "image", found="a hint for one type of a net that ComfyUI runs",
            expected="no image here: such a net follows one type",
            fix="connect the image to Apply ControlNet",
        )
    copy = copy_of(control)
    copy.set_extra_arg("control_type", [] if kind is None else [kind])
    return copy


def _with_own_type(
    control: HostControl, kind: int | None, hint: Tensor | None
) -> HostControl:
    if kind is None:
        control.set_extra_arg("control_type", [])
        control.type_hints.clear()
        return control
    others = [other for other in control.types if other != kind]
    control.set_extra_arg("control_type", [*others, kind])
    if hint is not None:
        control.type_hints[kind] = hint
    return control


def _check_type(net: OwnNet, kind: int | None) -> None:
    config = net.module.config
    if not config.union_types:
        raise ControlInputError(
            "CN-W23", net.name, found=f"an ordinary ControlNet for {config.family}",
            expected="a union ControlNet", fix="remove Set Union Type, or load a union file",
        )
    if kind is not None:
        check_types([kind], config.union_types, where=net.name)


class UnionType(io.ComfyNode):
    """Adds a control type to a union net."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackUnionType",
            display_name="Set Union ControlNet Type",
            category=f"{CATEGORY}/load",
            description="Tells a union ControlNet what kind of hint it gets. Chain several to "
            "follow several kinds at once, each with its own image, in one evaluation.",
            search_aliases=["union controlnet", "set controlnet type", "controlnet++", "promax"],
            inputs=[
                io.ControlNet.Input("control_net", tooltip="A union net, or one with types set."),
                io.Combo.Input(
                    "type", options=[_AUTO, *UNION_TYPES],
                    tooltip="The kind of hint. auto names none, and forgets earlier ones.",
                ),
                io.Image.Input(
                    "image", optional=True,
                    tooltip="The hint of this type. Without one, the type takes Apply's image.",
                ),
            ],
            outputs=[io.ControlNet.Output(tooltip="For Apply ControlNet or another type.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        control_net: ControlBase,
        type: str,
        image: Tensor | None = None,
    ) -> io.NodeOutput:
        return io.NodeOutput(with_type(control_net, type, image))
