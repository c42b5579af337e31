"""ControlStack: ControlNets for ComfyUI, which takes the nodes from `comfy_entrypoint`."""

from __future__ import annotations

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> object:
    """The extension that lists our nodes; imported here, so that the package needs no host."""
    from .nodes import ControlStackExtension

    return ControlStackExtension()
