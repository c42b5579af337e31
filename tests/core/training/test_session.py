"""From a dataset to a file: a tiny session trains, looks, stops, goes on and is saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_runs import assert_same
from tiny_training import scenes, tiny_base
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import read_header, read_tensors
from controlstack.controlnet_core.formats import load, load_control_lora, open_file
from controlstack.controlnet_core.nets import ControlNet, merge
from controlstack.controlnet_core.training import loop
from controlstack.controlnet_core.training.adherence import MEASURES
from controlstack.controlnet_core.training.checkpoint import resume, save_checkpoint
from controlstack.controlnet_core.training.lessons import LessonOptions
from controlstack.controlnet_core.training.loop import Recipe, Trainer
from controlstack.controlnet_core.training.result import Card
from controlstack.controlnet_core.training.session import Plan, Session, new_net

RECIPE = Recipe(learning_rate=1e-3, warmup=1, steps=4, average=0.9)
PLAN = Plan(
    RECIPE, lessons=LessonOptions(resolution=64, batch=2), validate_every=2, save_every=3, rank=4
)
CARD = Card("boxes", "tiny", "outlines", "white on black", 4, strength=0.8, end=0.7)


def session(folder: Path, **changes: Any) -> Session:
    return Session(
        tiny_base(), scenes(folder / "data"), replace(PLAN, **changes), folder / "run",
        make_hint=lambda picture: (picture > 0.5).float(),
    )  # fmt: skip


def painted(net: ControlNet | None, hints: Tensor, prompts: object) -> Tensor:
    """No sampler: what a net adds in its middle, as a grey picture."""
    if net is None:
        return torch.zeros_like(hints)
    with torch.no_grad():
        x = torch.zeros(len(hints), 4, *(edge // 8 for edge in hints.shape[-2:]))
        out = net(x, torch.zeros(len(x)), torch.zeros(len(x), 5, 16), net.encode_hint(hints))
    return torch.full_like(hints, float(out.middle[0].abs().mean()))


def test_trains_looks_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole, first, second = (session(tmp_path / name) for name in ("whole", "parts", "parts"))
    exam = whole.exam(painted, MEASURES["edges"], pictures=2)
    seen = []
    assert whole.train(
        validation=exam, watch=lambda done, report: seen.append((done.step, report is not None))
    )
    assert seen == [(1, False), (2, True), (3, False), (4, True)]
    assert not first.train(watch=lambda done, _: done.step == 3)
    assert second.train()
    assert_same(whole.trainer, second.trainer)
    files = {path.name for path in (tmp_path / "whole" / "run").iterdir()}
    assert {"cache", "sheets", "log.jsonl", "validation.jsonl"} <= files
    again = session(tmp_path / "whole")
    assert again.resume()
    assert again.trainer.step == 4


def test_start_hangs_on_the_seed_alone() -> None:
    base = tiny_base()
    torch.manual_seed(1)
    one = new_net(base, PLAN).state_dict()
    other = new_net(base, PLAN).state_dict()
    third = new_net(base, replace(PLAN, seed=5)).state_dict()
    assert float(torch.rand(())) == pytest.approx(0.7576, abs=1e-4)  # seed 1's first number still
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], third[name]) for name in one)


@pytest.mark.parametrize("layout", ["ldm", "diffusers", "control-lora"])
def test_file_holds_the_averaged_net(tmp_path: Path, layout: str) -> None:
    run = session(tmp_path, layout=layout)
    run.train(validation=run.exam(painted, MEASURES["edges"], pictures=1))
    path = tmp_path / "out" / "boxes.safetensors"
    assert run.save(path, CARD) == [path]
    with run.trainer.averaged():
        expected = {name: w.clone() for name, w in merge(run.net.state_dict()).items()}
    if layout == "control-lora":
        found = load_control_lora(path, run.base.unet)
    else:
        assert open_file(path).format.id == layout
        found = load(path)
    found_weights = found.float().state_dict()
    assert found_weights.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found_weights[name], weight, rtol=2e-3, atol=2e-4)
    assert any(float(found_weights[f"zero_convs.{i}.0.weight"].abs().max()) > 0 for i in range(3))


def test_card_is_in_the_metadata(tmp_path: Path) -> None:
    run = session(tmp_path)
    run.train(validation=run.exam(painted, MEASURES["edges"], pictures=1))
    path = tmp_path / "boxes.safetensors"
    run.save(path, CARD)
    told = dict(read_header(path).metadata)
    assert told["modelspec.title"] == "boxes"
    assert told["modelspec.thumbnail"].startswith("data:image/jpeg;base64,")
    own = {key: told[f"controlstack.{key}"] for key in ("base", "hint", "steps", "strength", "end")}
    assert own == {
        "base": "tiny", "hint": "outlines", "steps": "4", "strength": "0.8", "end": "0.7"
    }  # fmt: skip
    assert told["controlstack.polarity"] == "white on black"


def test_unlocked_decoder_is_saved_as_differences(tmp_path: Path) -> None:
    before = {name: w.clone() for name, w in tiny_base().unet.state_dict().items()}
    run = session(tmp_path, unlocked=True)
    run.train()
    _, decoder = run.save(tmp_path / "boxes.safetensors", CARD)
    changes = read_tensors(read_header(decoder))
    with run.trainer.averaged():
        after = {name: w.clone() for name, w in run.base.unet.state_dict().items()}
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved
    assert all(name.startswith(("output_blocks.", "out.")) for name in moved)
    for name in moved:
        stem, _, part = name.rpartition(".")
        change = changes[f"diffusion_model.{stem}.{'diff' if part == 'weight' else 'diff_b'}"]
        torch.testing.assert_close(
            before[name] + change.float(), after[name], rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize("layout", ["diffusers", "control-lora"])
def test_layout_without_names_is_refused_before_the_first_step(
    tmp_path: Path, layout: str
) -> None:
    with pytest.raises(ControlInputError, match="CN-W25"):
        session(tmp_path, layout=layout, paper_hint=True)


def test_half_precision_is_refused_on_the_cpu() -> None:
    with pytest.raises(ControlInputError, match=r"CN-T06.*cpu.*bf16"):
        _trainer(Recipe(precision=torch.float16))


def test_loss_scale_of_half_precision_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU, which torch's scaler supports; we refuse it for its speed and range."""
    monkeypatch.setattr(loop, "_check", lambda *_: None)
    recipe = Recipe(learning_rate=0.1, warmup=1, precision=torch.float16)
    first, second = _trainer(recipe), _trainer(recipe)
    first.advance()
    first.scaler.update(8.0)
    save_checkpoint(tmp_path, first)
    assert resume(tmp_path, second)
    assert second.scaler.get_scale() == 8.0
    assert second.advance().loss == first.advance().loss
    torch.testing.assert_close(first.parameters["w"], second.parameters["w"], rtol=0, atol=0)


def test_missing_eight_bit_optimiser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ControlInputError, match=r"CN-T07.*pip install bitsandbytes"):
        _trainer(Recipe(eight_bit=True))


class Together:
    """One of two processes; the other's tensors, in their order, were noted before."""

    num_processes = 2

    def __init__(self, index: int, others: list[Tensor]) -> None:
        self.process_index, self.others, self.own = index, iter(others), list[Tensor]()

    def reduce(self, tensor: Tensor, reduction: str) -> Tensor:
        assert reduction == "sum"
        self.own.append(tensor.clone())
        return tensor + next(self.others, torch.zeros(()))


def test_two_processes_take_the_step_of_one() -> None:
    recipe = Recipe(learning_rate=0.1, warmup=1, accumulate=4, clip=1.0)
    alone = _trainer(recipe)
    expected = alone.advance()
    second = Together(1, [])
    _trainer(recipe, second).advance()
    first = _trainer(recipe, Together(0, second.own))
    done = first.advance()
    assert done.loss == pytest.approx(expected.loss)
    torch.testing.assert_close(first.parameters["w"], alone.parameters["w"])
    assert first.leads
    assert not _trainer(recipe, second).leads
    with pytest.raises(ControlInputError, match=r"CN-T06.*3 parts"):
        _trainer(replace(recipe, accumulate=3), second)


def _trainer(recipe: Recipe, team: Together | None = None) -> Trainer:
    weights = {"w": torch.nn.Parameter(torch.tensor([1.0, 2.0]))}
    targets = torch.tensor([[3.0, 0.0], [5.0, -2.0], [0.0, 1.0], [2.0, 2.0]])
    return Trainer(
        weights, lambda _, part: (weights["w"] - targets[part]).square().mean(), recipe, team=team
    )
