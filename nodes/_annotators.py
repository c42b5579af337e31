"""Networks of preprocessors in the host: its memory management, its model folders, its settings."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import server
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..preprocessors import Key, use_downloads, use_folders, use_keeper

FOLDER = "controlnet_aux"
"""The host's category of model files, so that extra_model_paths.yaml can name folders for it."""
SETTING = "ControlStack.Downloads"
_SUFFIXES = {
    ".bin", ".ckpt", ".h5", ".onnx", ".pt", ".pt2", ".pth", ".safetensors", ".task", ".tflite",
    ".torchscript",
}  # fmt: skip
_CPU_BYTES = 2**30  # more pictures at once are no faster on a CPU
_SHARE = 0.8  # of what the host calls free; the rest is for what it cannot see


class HostKeeper:
    """Networks as models of the host: it decides the device, loads them, and frees their memory."""

    def __init__(self) -> None:
        self._patchers: dict[Key, ModelPatcher] = {}

    def ready(self, key: Key, open: Callable[[], nn.Module]) -> nn.Module:
        """The network of `key` on the host's device; read from its file once."""
        management = comfy.model_management
        if key not in self._patchers:
            device = management.get_torch_device()
            dtype = torch.float16 if management.should_use_fp16(device) else torch.float32
            self._forget(key[:2])
            self._patchers[key] = ModelPatcher(
                open().to(dtype), load_device=device,
                offload_device=management.unet_offload_device(),
            )  # fmt: skip
        patcher = self._patchers[key]
        management.load_models_gpu([patcher])
        return patcher.model

    def free_bytes(self, device: torch.device) -> int:
        if device.type == "cpu":
            return _CPU_BYTES
        free: Any = comfy.model_management.get_free_memory(device)
        return int(_SHARE * free)

    def free_with(self, hint: Tensor) -> None:
        """Lets go of all networks when the host throws `hint` away while it is idle.

        Its Free button empties the results of nodes and unloads models, and tells nobody else.
        """
        weakref.finalize(hint, self._free_if_idle).atexit = False

    def _free_if_idle(self) -> None:
        if not _busy():
            self._patchers.clear()

    def _forget(self, place: tuple[object, ...]) -> None:
        """Drops what an older file of the same place was opened to."""
        kept = self._patchers.items()
        self._patchers = {key: patcher for key, patcher in kept if key[:2] != place}


KEEPER = HostKeeper()


def enter_host() -> None:
    """Lets preprocessors use the host's folders and memory; called once, when the pack loads."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    paths, suffixes = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (paths, {*suffixes, *_SUFFIXES})
    packs = folder_paths.get_folder_paths("custom_nodes")
    older = [Path(each) / "comfyui_controlnet_aux" / "ckpts" for each in packs]
    use_folders(*map(Path, paths), *older)
    use_keeper(KEEPER)


def ask_for_downloads() -> None:
    """Allows or forbids downloads for the next run, as the user has set it in the host."""
    bars: dict[int, comfy.utils.ProgressBar] = {}

    def progress(done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if total:
            bars.setdefault(total, comfy.utils.ProgressBar(total)).update_absolute(done, total)

    use_downloads(downloads_allowed(), progress=progress)


def downloads_allowed() -> bool:
    """Whether the default user has switched downloads on; off where nothing says so."""
    path = Path(folder_paths.get_user_directory()) / "default" / "comfy.settings.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.get(SETTING) is True


def _busy() -> bool:
    """Whether the host runs a graph, or there is no queue that could tell."""
    queue = getattr(getattr(server.PromptServer, "instance", None), "prompt_queue", None)
    return queue is None or bool(queue.currently_running)
