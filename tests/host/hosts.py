"""Where ComfyUI is on this machine, and how to import it into a test process on the CPU."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]
HOW_TO_GET_ONE = (
    "No ComfyUI found, so host tests are skipped. Get it by `pip install comfy-cli; comfy install`"
    " or `git clone https://github.com/comfyanonymous/ComfyUI ~/comfy/ComfyUI`,"
    " or set COMFYUI_PATH to yours."
)


def is_host(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("main.py", "nodes.py", "comfy/sd.py"))


def find_host() -> Path | None:
    """$COMFYUI_PATH, else the ComfyUI that this pack is installed in, else comfy-cli's."""
    return _find("COMFYUI_PATH", *PACK.parents[1:2], Path("~/comfy/ComfyUI").expanduser())


def find_old_host() -> Path | None:
    """$COMFYUI_PATH_OLD, else ~/comfy/ComfyUI-0.19: the oldest version that we support."""
    return _find("COMFYUI_PATH_OLD", Path("~/comfy/ComfyUI-0.19").expanduser())


def _find(variable: str, *folders: Path) -> Path | None:
    if not (named := os.environ.get(variable)):
        return next((folder.resolve() for folder in folders if is_host(folder)), None)
    folder = Path(named).expanduser().resolve()
    if not is_host(folder):
        raise FileNotFoundError(
            f"{variable} is {named}, which holds no ComfyUI (main.py, nodes.py, comfy/sd.py)."
            " Set it to the folder of ComfyUI's main.py, or unset it."
        )
    return folder


@dataclass(frozen=True)
class Host:
    """The host inside this process: what a test needs to know of it."""

    path: Path
    version: str
    base: Path
    """Holds models, input, output, temp, user and custom_nodes, all for this run alone."""

    @property
    def controlnets(self) -> Path:
        return self.base / "models" / "controlnet"


def enter(path: Path, base: Path) -> Host:
    """Makes the host at `path` importable on the CPU, with all its folders under `base`.

    The host reads its options at import: nothing of it may be imported before.
    """
    for name in ("models/controlnet", "input", "output", "temp", "user", "custom_nodes", "web"):
        (base / name).mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(path))
    from comfy.cli_args import args

    args.cpu = True
    args.base_directory = str(base)
    args.database_url = "sqlite:///:memory:"
    args.disable_all_custom_nodes = True
    args.front_end_root = str(base / "web")  # the front end is a package of its own, not needed
    import comfyui_version

    importlib.import_module("utils.install_util")  # before `nodes` puts another `utils` first
    return Host(path, comfyui_version.__version__, base)
