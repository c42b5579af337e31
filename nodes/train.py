"""Train ControlNet: a folder of pictures becomes a CONTROL_NET, inside the graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from PIL import Image
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ..controlnet_core.nets import ControlNet
from ..controlnet_core.playground.sampling import paint
from ..controlnet_core.training.adherence import MEASURES
from ..controlnet_core.training.base import Base
from ..controlnet_core.training.data import (
    STRICT,
    MakeHint,
    lint,
    open_dataset,
    strict,
    usable,
)
from ..controlnet_core.training.lessons import LessonOptions
from ..controlnet_core.training.loop import Done, Recipe
from ..controlnet_core.training.losses import LossOptions
from ..controlnet_core.training.result import LAYOUTS, Card
from ..controlnet_core.training.session import Plan, Session
from ..controlnet_core.training.validation import Paint, Report, Scores, last_page
from ..preprocessors import PREPROCESSORS
from ._host_base import host_base
from ._types import CATEGORY
from .load import control_at

GIVEN = "given with the pictures"
PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}
_WHOLE = tuple(layout for layout in LAYOUTS if layout != "control-lora")
_SHEET = 1024  # widest preview in pixels


class Train(io.ComfyNode):
    """The trainer of the shell, on the models of the graph."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        recipe, loss = Recipe(), LossOptions()
        return io.Schema(
            node_id="ControlStackTrain",
            display_name="Train ControlNet",
            category=f"{CATEGORY}/train",
            description="Trains a ControlNet for the connected model on a folder of pictures. Can "
            "be stopped at any step: the same name goes on where it was.",
            search_aliases=["controlnet training", "finetune controlnet", "fit", "learn control"],
            inputs=[
                io.Model.Input("model", tooltip="The base, which stays as it is."),
                io.Clip.Input("clip", tooltip="Reads the captions."),
                io.Vae.Input("vae", tooltip="Encodes the pictures."),
                io.String.Input(
                    "data", default="",
                    tooltip="Folder or file of the dataset: pictures with .txt captions and "
                    "hints of equal names, jsonl, prompt.json, parquet or tar. Relative paths "
                    "start in ComfyUI's input folder.",
                ),
                io.Combo.Input(
                    "hint", options=[GIVEN, *PREPROCESSORS], default="canny",
                    tooltip="The preprocessor that makes the hints, and reads them again from "
                    "what is painted, to see whether the net follows.",
                ),
                io.String.Input(
                    "name", default="my_controlnet",
                    tooltip="Of the run and of its file, in output/controlnet.",
                ),
                io.Int.Input("steps", default=4000, min=1, max=10_000_000,
                             tooltip="Optimiser steps."),
                io.Float.Input("learning_rate", default=recipe.learning_rate, min=1e-8, max=1.0,
                               step=1e-7, tooltip="1e-5 suits SD1.5; small models want more."),
                io.Int.Input("batch", default=4, min=1, max=1024,
                             tooltip="Pictures at a time; as many as fit the memory."),
                io.Int.Input("accumulate", default=1, min=1, max=1024,
                             tooltip="Such batches in one optimiser step."),
                io.Int.Input("resolution", default=512, min=64, max=4096, step=8,
                             tooltip="Side of a square picture; others have as many pixels."),
                io.Float.Input("empty_share", default=loss.empty_share, min=0.0, max=1.0,
                               step=0.01, tooltip="Share of captions left out, so that the net "
                               "reads the hint itself."),
                io.Combo.Input("measure", options=list(MEASURES), default="edges",
                               tooltip="How it is scored whether the net follows."),
                io.Int.Input("preview_every", default=250, min=1, max=1_000_000,
                             tooltip="Steps between sheets."),
                io.Combo.Input("precision", options=list(PRECISIONS), default="bf16",
                               advanced=True, tooltip="Of the arithmetic; weights are float32."),
                io.Boolean.Input("checkpointing", default=True, advanced=True,
                                 tooltip="Less memory, a third slower."),
                io.Int.Input("warmup", default=recipe.warmup, min=0, max=100_000, advanced=True,
                             tooltip="Steps in which the learning rate rises."),
                io.Float.Input("average", default=0.999, min=0.0, max=0.99999, step=0.00001,
                               advanced=True, tooltip="Decay of the moving average of the "
                               "weights, which is what is saved; 0 for none."),
                io.Boolean.Input("flip", default=False, advanced=True,
                                 tooltip="Mirror half of the examples."),
                io.Int.Input("rank", default=0, min=0, max=1024, advanced=True,
                             tooltip="Of a Control-LoRA; 0 trains a whole ControlNet."),
                io.Combo.Input("layout", options=list(_WHOLE), default="ldm", advanced=True,
                               tooltip="Names of the weights in a whole ControlNet's file."),
                io.Int.Input("seed", default=0, min=0, max=2**31 - 1, advanced=True,
                             tooltip="Of noise, order and crops."),
                io.Boolean.Input("lenient", default=False, advanced=True,
                                 tooltip="Leave out broken and unpaired pictures and resize odd "
                                 "hints, instead of stopping before the first step."),
            ],
            outputs=[
                io.ControlNet.Output(display_name="control_net", tooltip="Ready to apply."),
                io.Image.Output(display_name="sheet", tooltip="What it could do at the end."),
                io.String.Output(display_name="report", tooltip="Scores, and where the file is."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, model: ModelPatcher, clip: Any, vae: Any, **widgets: Any) -> io.NodeOutput:
        with torch.inference_mode(False), torch.enable_grad():
            run = _Run(model, clip, vae, widgets)
            file = run.train()
        control, sheet = control_at(str(file), name=file.name), run.sheet()
        return io.NodeOutput(control, sheet, run.report(), ui=ui.PreviewImage(sheet, cls=cls))


class _Run:
    """A session with its progress shown in the node, and an ear for the stop button."""

    def __init__(
        self, model: ModelPatcher, clip: Any, vae: Any, widgets: dict[str, Any]
    ) -> None:
        name = _file_name(widgets["name"])
        output = Path(folder_paths.get_output_directory()) / "controlnet"
        self.widgets, self.file = widgets, output / f"{name}.safetensors"
        self.scores: Scores | None = None
        make_hint, dataset = _make_hint(widgets["hint"]), open_dataset(_place(widgets["data"]))
        base = host_base(model, clip, vae, dtype=torch.float32)
        self.findings = lint(
            dataset, make_hint=make_hint, strange_words=base.strange_words,
            skip_broken=widgets["lenient"],
        )  # fmt: skip
        allow = STRICT if widgets["lenient"] else ()
        dataset = usable(dataset, strict(self.findings, allow=allow))
        self.session = Session(
            base, dataset, _plan(widgets), output / "runs" / name, make_hint=make_hint
        )
        self.bar = comfy.utils.ProgressBar(widgets["steps"])

    def train(self) -> Path:
        session, widgets = self.session, self.widgets
        session.lessons.prepare(_listen)
        exam = session.exam(_painter(session.base), MEASURES[widgets["measure"]])
        comfy.model_management.unload_all_models()  # the memory is the training's from here on
        session.train(validation=exam, watch=self._watch)
        card = Card(
            self.file.stem, session.base.name, widgets["hint"], "as in training",
            session.trainer.step,
        )  # fmt: skip
        session.save(self.file, card)
        return self.file

    def _watch(self, done: Done, report: Report | None) -> None:
        _listen()
        preview = None
        if report:
            self.scores = report.scores
            preview = ("JPEG", report.page, _SHEET)
        self.bar.update_absolute(done.step, self.widgets["steps"], preview)

    def sheet(self) -> Tensor:
        """IMAGE (1 h w 3) of the last sheet."""
        page = last_page(self.session.folder) or Image.new("RGB", (64, 64), "grey")
        return torch.from_numpy(np.asarray(page, np.float32) / 255.0)[None]

    def report(self) -> str:
        lines = [f"{self.file}, {self.session.trainer.step} optimiser steps"]
        if self.scores:
            lines.append(f"{MEASURES[self.widgets['measure']].title} {self.scores}")
        return "\n".join([*lines, *map(str, self.findings)])


def _listen() -> None:
    comfy.model_management.throw_exception_if_processing_interrupted()


def _place(data: str) -> Path:
    """The dataset's path; a relative one starts in the host's input folder."""
    if not data.strip():
        raise ControlInputError(
            "CN-T10", "data of Train ControlNet", found="no path", expected="a folder of pictures",
            fix="write the path of the dataset into the widget",
        )
    return Path(folder_paths.get_input_directory()) / data.strip()


def _file_name(name: str) -> str:
    """The name, if it is one of a file and not a path."""
    if name.strip() and Path(name).name == name and not name.startswith("."):
        return name.strip()
    raise ControlInputError(
        "CN-T05", "name of Train ControlNet", found=repr(name), expected="the name of a file",
        fix="leave out slashes and dots in front; runs are kept in output/controlnet",
    )


def _make_hint(name: str) -> MakeHint | None:
    if name == GIVEN:
        return None
    return lambda picture: PREPROCESSORS[name](picture)


def _plan(widgets: dict[str, Any]) -> Plan:
    recipe = Recipe(
        learning_rate=widgets["learning_rate"], warmup=widgets["warmup"], steps=widgets["steps"],
        accumulate=widgets["accumulate"], average=widgets["average"],
        precision=PRECISIONS[widgets["precision"]],
    )  # fmt: skip
    lessons = LessonOptions(
        resolution=widgets["resolution"], multiple=min(64, widgets["resolution"]),
        batch=widgets["batch"], parts=widgets["accumulate"], flip=widgets["flip"],
        hint_name=widgets["hint"], seed=widgets["seed"],
    )  # fmt: skip
    return Plan(
        recipe, LossOptions(widgets["empty_share"]), lessons,
        layout="control-lora" if widgets["rank"] else widgets["layout"], rank=widgets["rank"],
        checkpointing=widgets["checkpointing"], validate_every=widgets["preview_every"],
        seed=widgets["seed"],
    )  # fmt: skip


def _painter(base: Base) -> Paint:
    def painted(net: ControlNet | None, hints: Tensor, prompts: Sequence[str]) -> Tensor:
        size = (hints.shape[-2], hints.shape[-1])
        cond, uncond = base.read(prompts, size), base.read([""], size)
        _listen()
        with torch.no_grad():
            hints = hints.to(cond.context.device)
            return base.decode(paint(base.unet, base.noise, net, hints, cond, uncond)).cpu()

    return painted
