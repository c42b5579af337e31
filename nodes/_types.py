"""The sockets of this pack. Everything else travels on the host's own."""

from __future__ import annotations

from comfy_api.latest import io

ControlSpecSocket = io.Custom("CONTROL_SPEC")
"""How a control acts: a `ControlSpec`."""

ControlItemSocket = io.Custom("CONTROL_ITEM")
"""One net with its hint and range, for the Control Stack: an `Item`."""

CATEGORY = "ControlStack"
