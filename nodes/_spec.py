"""What all nodes of CONTROL_SPEC share: a spec comes in, or none, and goes out changed."""

from __future__ import annotations

from comfy_api.latest import io

from ..controlnet_core.control import EASINGS, ControlSpec
from ._types import CATEGORY, ControlSpecSocket

SPEC_OUTPUT = ControlSpecSocket.Output(display_name="spec", tooltip="For Apply ControlNet.")


def spec_schema(
    node_id: str,
    title: str,
    *inputs: io.Input,
    about: str,
    aliases: list[str],
    appended: tuple[io.Input, ...] = (),
    further: tuple[io.Output, ...] = (),
) -> io.Schema:
    """The schema of a node with these inputs and an optional spec behind them; it gives a spec.

    `appended` are inputs that were added later: the order of the others is what is saved.
    """
    spec = ControlSpecSocket.Input(
        "spec", optional=True, tooltip="A spec to add to; without one, a control that acts fully."
    )
    return io.Schema(
        node_id=node_id,
        display_name=title,
        category=f"{CATEGORY}/spec",
        description=about,
        search_aliases=aliases,
        inputs=[*inputs, spec, *appended],
        outputs=[SPEC_OUTPUT, *further],
    )


def changed(spec: ControlSpec | None, by: ControlSpec) -> io.NodeOutput:
    """Both specs at once, as the output of a node."""
    return io.NodeOutput(by if spec is None else spec * by)


def strength_input(
    name: str, tooltip: str, *, default: float = 1.0, step: float = 0.01
) -> io.Input:
    """A widget for a strength; ComfyUI's front end rounds what it is given to `step`."""
    return io.Float.Input(name, default=default, min=0.0, max=10.0, step=step, tooltip=tooltip)


def percent_input(name: str, tooltip: str, *, default: float) -> io.Input:
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.001, tooltip=tooltip)


def easing_input(name: str, *, what: str = "it") -> io.Input:
    """A choice of how a strength gets from one value to another; holding gets nowhere."""
    return io.Combo.Input(
        name, options=[each for each in EASINGS if each != "hold"],
        tooltip=f"How {what} gets there: evenly, slow at first (ease-in), slow at last "
        "(ease-out), or both.",
    )  # fmt: skip


def uncond_input(*, optional: bool = False) -> io.Input:
    """The widget `uncond_multiplier`; optional in nodes that had it not from the beginning."""
    return io.Float.Input(
        "uncond_multiplier", default=1.0, min=0.0, max=10.0, step=0.01, optional=optional,
        tooltip="Multiplies the control on the negative prompt. At 0 the net does not run for it.",
    )
