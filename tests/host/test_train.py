"""Train ControlNet and Adherence Score in the host, on models small enough for a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.lora
import comfy.model_management
import folder_paths
import nets
import pytest
import torch
from einops import rearrange
from PIL import Image, ImageDraw
from tiny_nodes import LAYOUTS, TinyPictures, TinyText

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import read_header, read_tensors
from controlstack.controlnet_core.training.result import save_decoder
from controlstack.nodes import train as node
from controlstack.nodes._host_base import host_base
from controlstack.nodes.adherence import Adherence
from controlstack.nodes.apply import Apply
from controlstack.nodes.playground import Playground
from controlstack.nodes.train import GIVEN, Train

WIDGETS: dict[str, Any] = {
    "hint": "canny", "steps": 2, "learning_rate": 1e-2, "batch": 1, "accumulate": 1,
    "resolution": 64, "empty_share": 0.5, "measure": "edges", "preview_every": 99,
    "precision": "fp32", "checkpointing": False, "warmup": 1, "average": 0.0, "flip": False,
    "rank": 0, "layout": "ldm", "seed": 0, "lenient": False,
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pictures of boxes, with captions."""
    for index in range(3):
        picture = Image.new("RGB", (64, 64), (30, 40 * index, 60))
        ImageDraw.Draw(picture).rectangle((9, 9, 30 + 9 * index, 50), fill=(250, 220, 90))
        picture.save(tmp_path / f"{index}.png")
        (tmp_path / f"{index}.txt").write_text("a box")
    return tmp_path


@pytest.fixture(autouse=True)
def few_sampling_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    paint = node.paint
    monkeypatch.setattr(node, "paint", lambda *inputs: paint(*inputs, steps=2))


def trained(models: tuple[Any, Any, Any], data: Path, name: str, **changes: Any) -> tuple[Any, ...]:
    """The node's outputs; like the executor, we call it in inference mode."""
    widgets = {**WIDGETS, **changes}
    with torch.inference_mode():
        return Train.execute(*models, data=str(data), name=name, **widgets).args


def tiny(layout: str = "SD15") -> tuple[Any, Any, Any]:
    return nets.model(layout), TinyText(LAYOUTS[layout]["context_dim"]), TinyPictures()


@pytest.mark.parametrize(
    ("layout", "changes"),
    [("SD15", {}), ("SDXL", {"checkpointing": True}), ("SD15", {"rank": 4})],
    ids=["SD15", "SDXL", "lora"],
)
def test_trained_net_applies_in_the_hosts_sampler(
    data: Path, layout: str, changes: dict[str, Any]
) -> None:
    models = tiny(layout)
    before = {k: w.clone() for k, w in models[0].model.diffusion_model.state_dict().items()}
    name = f"boxes_{layout}_{'_'.join(changes)}"
    control, sheet, report = trained(models, data, name, **changes)
    after = models[0].model.diffusion_model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert "2 optimiser steps" in report
    assert "edge F1" in report
    assert sheet.ndim == 4
    assert sheet.shape[1] > 64
    positive, negative = nets.prompts(layout)
    with torch.inference_mode():
        applied = Apply.execute(
            positive=positive, negative=negative, control_net=control,
            image=nets.picture(), strength=1.0, start_percent=0.0, end_percent=1.0,
        ).args  # fmt: skip
    plain = nets.sample(models[0], positive, negative)
    steered = nets.sample(models[0], *applied[:2])
    assert torch.isfinite(steered).all()
    assert not torch.equal(plain, steered)


def test_playground_models_can_be_trained_for(data: Path) -> None:
    with torch.inference_mode():
        models = Playground.execute().args
    _, _, report = trained(models, data, "on_playground", steps=1, precision="bf16")
    assert "1 optimiser steps" in report


def test_stop_keeps_the_last_whole_step_and_the_name_goes_on(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = node._Run._watch

    def stopped(self: Any, done: Any, report: Any) -> None:
        if done.step == 2:
            comfy.model_management.interrupt_current_processing()
        watch(self, done, report)

    monkeypatch.setattr(node._Run, "_watch", stopped)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        trained(tiny(), data, "parts", steps=4)
    monkeypatch.undo()
    output = Path(folder_paths.get_output_directory()) / "controlnet"
    assert [p.stem for p in (output / "runs" / "parts").glob("*.safetensors")] == [
        "checkpoint-00000002"
    ]
    trained(tiny(), data, "parts", steps=4)
    trained(tiny(), data, "whole", steps=4)
    one, other = (
        read_tensors(read_header(output / f"{name}.safetensors")) for name in ("parts", "whole")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_bad_data_is_told_before_the_first_step(data: Path) -> None:
    def refused(code: str, data: Path | str = data, **changes: Any) -> None:
        with pytest.raises(ControlInputError, match=code):
            trained(tiny(), data, changes.pop("name", "bad"), **changes)  # type: ignore[arg-type]

    refused("CN-T16", hint=GIVEN)  # no hints in it
    (data / "1.png").write_bytes(b"no picture")
    refused(r"CN-T16.*\(1\)")
    refused("CN-T10", "")
    refused("CN-T10", "not_in_the_input_folder")
    refused("CN-T05", name="../escape")
    assert not (Path(folder_paths.get_output_directory()) / "controlnet" / "runs" / "bad").exists()


def test_lenient_leaves_broken_pictures_out(data: Path) -> None:
    (data / "1.png").write_bytes(b"no picture")
    _, _, report = trained(tiny(), data, "lenient", steps=1, lenient=True)
    assert "1 broken examples, left out" in report


@pytest.mark.parametrize("layout", ["SD15", "SDXL"])
def test_base_computes_what_the_model_computes(layout: str) -> None:
    """UNet, latents, text and label, against the host's own ways."""
    model, clip, vae = tiny(layout)
    base = host_base(model, clip, vae, dtype=torch.float32)
    text = base.read(["a house", ""], (64, 48))
    x = torch.randn(2, 4, 8, 6, generator=torch.Generator().manual_seed(4))
    when = torch.tensor([7.0, 600.0])
    with torch.inference_mode():
        theirs = model.model.diffusion_model(x, timesteps=when, context=text.context, y=text.y)
        ours = base.unet(x, when, text.context, text.y)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    picture = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(5))
    latent = base.encode(picture)
    pixels = rearrange(picture, "b c h w -> b h w c")
    torch.testing.assert_close(latent, model.model.process_latent_in(vae.encode(pixels)))
    assert not latent.is_inference()


def test_trained_decoder_loads_as_a_lora(tmp_path: Path) -> None:
    """What `--unlocked` writes, through the host's LoRA loader: the base as it was trained."""
    model, clip, vae = tiny()
    base = host_base(model, clip, vae, dtype=torch.float32)
    before = {
        name: weight.clone() for name, weight in base.unet.state_dict().items()
        if name.startswith(("output_blocks.", "out."))
    }  # fmt: skip
    for name in before:
        base.unet.state_dict()[name].add_(0.125)
    save_decoder(base.unet, before, tmp_path / "decoder.safetensors")
    tensors = read_tensors(read_header(tmp_path / "decoder.safetensors"))
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    patched = model.clone()
    taken = patched.add_patches(comfy.lora.load_lora(tensors, keys), 1.0)
    assert len(taken) == len(before)
    ours = host_base(patched, clip, vae, dtype=torch.float32).unet.state_dict()
    for name, weight in before.items():
        torch.testing.assert_close(ours[name], weight + 0.125)


def test_adherence_by_hand() -> None:
    """Two columns of edges, of which the picture has one, and one more far away."""
    hint, image = torch.zeros(1, 32, 64, 3), torch.zeros(1, 32, 64, 3)
    hint[:, :, 10] = hint[:, :, 30] = 1.0
    image[:, :, 11] = image[:, :, 50] = 1.0  # beside the first, within two pixels; and a stray
    ready = "the image is a hint already"
    score, differences = Adherence.execute(image, hint, ready, "edges").args
    assert score == pytest.approx(0.5)  # precision 1/2, recall 1/2
    assert differences[0, 0, 30].tolist() == [1.0, 0.0, 0.0]  # the hint's alone
    assert differences[0, 0, 50].tolist() == [0.0, 0.0, 1.0]  # the picture's alone
    depth, _ = Adherence.execute(image * 0.5 + 0.25, image * 0.5, ready, "depth").args
    assert depth == pytest.approx(0.25)
    labels, _ = Adherence.execute(image, hint, ready, "labels").args
    assert labels == pytest.approx((0 / 4 + 60 / 64) / 2)  # white: nothing; black: 60 of 64 columns
    with pytest.raises(ControlInputError, match="CN-T02"):
        Adherence.execute(image.repeat(3, 1, 1, 1), hint.repeat(2, 1, 1, 1), ready, "edges")
