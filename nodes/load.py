"""Load ControlNet: a weight file becomes a CONTROL_NET."""

from __future__ import annotations

import logging
from pathlib import Path

import comfy.controlnet
import comfy.model_management
import folder_paths
from comfy.controlnet import ControlBase, ControlLora
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.formats import ControlFile, UnknownFormatError, open_file
from ._own_nets import host_control
from ._types import CATEGORY

log = logging.getLogger("controlstack")

_POOLED = ("_shuffle", "_shuffle_fp16")
"""Endings of file names by which ComfyUI knows a net that wants its residuals pooled."""


def load_control(name: str, *, model: ModelPatcher | None = None) -> ControlBase:
    """The control in the file `name` of the host's controlnet folders.

    With `model`, difference weights are added to those of its UNet.
    """
    path = folder_paths.get_full_path("controlnet", name)
    if path is None:
        raise ControlInputError(
            "CN-C28", name, found="no such file in the controlnet folders",
            expected="a file in " + " or ".join(
                Path(folder).name for folder in folder_paths.get_folder_paths("controlnet")
            ),
            fix="put the file there and press R to refresh the list",
        )  # fmt: skip
    return control_at(path, name=name, model=model)


def control_at(path: str, *, name: str, model: ModelPatcher | None = None) -> ControlBase:
    """The control in a file anywhere; one of a family that is not ours is the host's to load."""
    try:
        file = open_file(path, name=name)
    except UnknownFormatError as unknown:
        return _load_with_host(path, model, unknown)
    control = host_control(file, _weights(file, model))
    control.global_average_pooling = Path(name).stem.endswith(_POOLED)
    return control


def _weights(file: ControlFile, model: ModelPatcher | None) -> dict[str, Tensor]:
    weights = file.weights()
    if not file.is_difference:
        return weights
    if model is None:
        raise ControlInputError(
            "CN-W22", file.header.name, found="difference weights, which mean nothing alone",
            expected="the base model they were taken from",
            fix="load it with Load ControlNet (Diff) and connect the MODEL",
        )
    return _plus_base(weights, model, name=file.header.name)


def _plus_base(
    weights: dict[str, Tensor], model: ModelPatcher, *, name: str
) -> dict[str, Tensor]:
    """`weights` with those of the model's UNet added where both have one."""
    comfy.model_management.load_models_gpu([model])
    base = model.model_state_dict("diffusion_model.")
    base = {key.removeprefix("diffusion_model."): weight for key, weight in base.items()}
    shared = weights.keys() & base.keys()
    if wrong := [key for key in shared if weights[key].shape != base[key].shape] or not shared:
        raise ControlInputError(
            "CN-M03", name, found=f"difference weights that do not fit this MODEL ({wrong})",
            expected="the base model they were taken from", fix="connect that model's checkpoint",
        )
    return {
        key: weight + base[key].to(weight) if key in shared else weight
        for key, weight in weights.items()
    }


def _load_with_host(
    path: str, model: ModelPatcher | None, unknown: UnknownFormatError
) -> ControlBase:
    try:
        control = comfy.controlnet.load_controlnet(path, model)
    except (KeyError, RuntimeError, ValueError) as e:
        raise unknown from e
    if control is None or _is_hollow(control):
        raise unknown
    log.info("%s: loaded by ComfyUI's own loader", unknown.where)
    return control


def _is_hollow(control: ControlBase) -> bool:
    """A Control-LoRA by its mark alone; ComfyUI would find out in the sampler."""
    return isinstance(control, ControlLora) and (
        "input_hint_block.0.weight" not in control.control_weights
    )


class Load(io.ComfyNode):
    """Reads a ControlNet of any family that we or the host know."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackLoad",
            display_name="Load ControlNet",
            category=f"{CATEGORY}/load",
            description="Loads a ControlNet. SD1.5, SD2.x, SDXL and union files are checked weight "
            "by weight; other families go to ComfyUI's own loader.",
            search_aliases=["controlnet", "load controlnet", "controlnet loader", "control net"],
            inputs=[_file_input()],
            outputs=[io.ControlNet.Output(tooltip="For Apply ControlNet, ours or ComfyUI's own.")],
        )

    @classmethod
    def fingerprint_inputs(cls, control_net_name: str) -> tuple[object, ...]:
        """Changes when the file is replaced, so that a new one is read."""
        return fingerprint(control_net_name)

    @classmethod
    def execute(cls, control_net_name: str) -> io.NodeOutput:
        return io.NodeOutput(load_control(control_net_name))


class LoadDiff(io.ComfyNode):
    """Reads a ControlNet stored as the difference to its base model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ControlStackLoadDiff",
            display_name="Load ControlNet (Diff)",
            category=f"{CATEGORY}/load",
            description="Loads a ControlNet whose file holds the difference to a base model, and "
            "adds that model's weights. Files with weights of their own load as they are.",
            search_aliases=["difference controlnet", "diff controlnet loader"],
            inputs=[
                io.Model.Input("model", tooltip="The base model that the difference belongs to."),
                _file_input(),
            ],
            outputs=[io.ControlNet.Output(tooltip="For Apply ControlNet, ours or ComfyUI's own.")],
        )

    @classmethod
    def fingerprint_inputs(cls, model: object, control_net_name: str) -> tuple[object, ...]:
        """Changes when the file is replaced, so that a new one is read."""
        return fingerprint(control_net_name)

    @classmethod
    def execute(cls, model: ModelPatcher, control_net_name: str) -> io.NodeOutput:
        return io.NodeOutput(load_control(control_net_name, model=model))


def fingerprint(name: str) -> tuple[object, ...]:
    """Path, size and time of the file `name`; empty where there is none."""
    path = folder_paths.get_full_path("controlnet", name)
    if path is None:
        return ()
    status = Path(path).stat()
    return str(Path(path).resolve()), status.st_size, status.st_mtime_ns


def _file_input() -> io.Combo.Input:
    return io.Combo.Input(
        "control_net_name", options=folder_paths.get_filename_list("controlnet"),
        tooltip="A file in models/controlnet, or a folder that extra_model_paths.yaml names.",
    )


