"""Parts of the picture and of the batch: areas and context windows get their own hints."""

from __future__ import annotations

import logging
from typing import Any

import comfy.model_management
import hosts
import nodes
import pytest
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from nets import model, net_file, picture, prompts, sample
from test_bridge import applied, counted, t2i_adapter
from torch import Tensor

from controlstack.controlnet_core.control import ControlSpec, fit_hint
from controlstack.controlnet_core.nets import ControlNet
from controlstack.nodes._bridge import HostControl
from controlstack.nodes.apply import Item, apply_item
from controlstack.nodes.load import load_control

SIZE = (16, 24)
"""Latent cells of the whole picture."""
BOX = (8, 8, 4, 12)
"""Height, width, y and x of an area in it."""
HINT = picture(1, 8 * SIZE[0], 8 * SIZE[1])


@pytest.fixture
def control(host: hosts.Host) -> HostControl:
    return load_control(net_file(host.controlnets, seed=1))


def in_area(conditioning: Any, *, how: str) -> Any:
    """`conditioning` in the area BOX, by one of the host's nodes."""
    height, width, y, x = BOX
    if how == "pixels":
        return nodes.ConditioningSetArea().append(
            conditioning, 8 * width, 8 * height, 8 * x, 8 * y, 1.0
        )[0]
    if how == "shares":
        return nodes.ConditioningSetAreaPercentage().append(
            conditioning, width / SIZE[1], height / SIZE[0], x / SIZE[1], y / SIZE[0], 1.0
        )[0]
    mask = torch.zeros(1, *SIZE)
    mask[:, y : y + height, x : x + width] = 1.0
    return nodes.ConditioningSetMask().append(conditioning, mask, "mask bounds", 1.0)[0]


class Encoded:
    """Every hint that a net's encoder is given while the block runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hints: list[Tensor] = []
        real = ControlNet.encode_hint

        def spied(net: ControlNet, hint: Tensor) -> Tensor:
            self.hints.append(hint)
            return real(net, hint)

        monkeypatch.setattr(ControlNet, "encode_hint", spied)


def cut_out(hint: Tensor) -> Tensor:
    """The part of an IMAGE that lies in BOX, at eight pixels a cell (1 3 H W)."""
    height, width, y, x = (8 * cells for cells in BOX)
    fitted = fit_hint(hint.movedim(-1, 1), width=8 * SIZE[1], height=8 * SIZE[0])
    return fitted[..., y : y + height, x : x + width]


@pytest.mark.parametrize("how", ["pixels", "shares", "mask bounds"])
def test_an_area_gets_its_part_of_the_hint_once_a_run(
    how: str, control: HostControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    positive, negative = prompts()
    conds = apply_item(Item(control, HINT), (in_area(positive, how=how), negative))
    encoded = Encoded(monkeypatch)
    sample(model(), *conds, size=SIZE, steps=4)
    part = [hint for hint in encoded.hints if hint.shape[-1] == 8 * BOX[1]]
    assert len(encoded.hints) == 2, "the area's, and that of the whole for the negative prompt"
    assert len(part) == 1
    torch.testing.assert_close(part[0], cut_out(HINT).to(part[0]))


def test_a_hint_of_any_size_is_cut_where_the_host_tells_the_pictures_size(
    control: HostControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    positive, negative = prompts()
    hint = picture(1, 100, 140)
    conds = apply_item(Item(control, hint), (in_area(positive, how="pixels"), negative))
    encoded = Encoded(monkeypatch)
    sample(model(), *conds, size=SIZE)
    if not hasattr(model().model, "latent_shapes"):
        pytest.skip("this ComfyUI does not tell the size of the latent")
    part = next(hint for hint in encoded.hints if hint.shape[-1] == 8 * BOX[1])
    torch.testing.assert_close(part, cut_out(hint).to(part))


def test_cond_and_uncond_of_an_area_share_a_call(control: HostControl) -> None:
    positive, negative = prompts()
    conds = apply_item(Item(control, HINT), (in_area(positive, how="pixels"), negative))
    with counted(ControlNet, "forward") as nets, counted(UNetModel, "_forward") as unets:
        sample(model(), *conds, size=SIZE, steps=2)
    assert sorted(nets) == [1, 1, 2, 2]
    assert sorted(unets) == [1, 1, 2, 2]


def test_two_areas_encode_two_hints_a_run(
    control: HostControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ComfyUI's own nodes scale the hint eight times in four steps of two areas."""
    positive, negative = prompts()
    shares = [(0.5, 1.0, 0.0, 0.0), (0.5, 1.0, 0.5, 0.0)]
    left, right = (
        nodes.ConditioningSetAreaPercentage().append(positive, *share, 1.0)[0] for share in shares
    )
    (conds, plain) = apply_item(Item(control, HINT), (left + right, negative))
    encoded = Encoded(monkeypatch)
    sample(model(), conds, plain, size=SIZE, steps=4)
    halves = [hint for hint in encoded.hints if hint.shape[-1] == 8 * SIZE[1] // 2]
    assert len(encoded.hints) == 3
    whole = fit_hint(HINT.movedim(-1, 1), width=8 * SIZE[1], height=8 * SIZE[0])
    found = torch.cat(sorted(halves, key=lambda x: float(x.sum())), dim=0)
    expected = torch.cat(sorted(whole.chunk(2, dim=-1), key=lambda x: float(x.sum())), dim=0)
    torch.testing.assert_close(found, expected.to(found))


def test_an_area_that_is_set_after_apply_is_told_once(
    control: HostControl, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    positive, negative = apply_item(Item(control, HINT), tuple(prompts()))
    encoded = Encoded(monkeypatch)
    with caplog.at_level(logging.WARNING, logger="controlstack"):
        sample(model(), in_area(positive, how="pixels"), negative, size=SIZE, steps=3)
    part = next(hint for hint in encoded.hints if hint.shape[-1] == 8 * BOX[1])
    whole = fit_hint(HINT.movedim(-1, 1), width=8 * BOX[1], height=8 * BOX[0])
    torch.testing.assert_close(part, whole.to(part))
    if hasattr(model().model, "latent_shapes"):
        assert caplog.text.count("Set the area before Apply") == 1


def test_masks_are_cut_with_the_area(control: HostControl) -> None:
    """A mask that is black in the area keeps the net from running for it."""
    mask = torch.ones(1, 8 * SIZE[0], 8 * SIZE[1])
    height, width, y, x = (8 * cells for cells in BOX)
    mask[:, y : y + height, x : x + width] = 0.0
    positive, negative = prompts()
    conds = apply_item(
        Item(control, HINT, mask=mask), (in_area(positive, how="pixels"), negative)
    )
    with counted(ControlNet, "forward") as nets:
        sample(model(), *conds, size=SIZE, steps=2)
    assert nets == [1, 1], "for the negative prompt's whole picture alone"


def test_a_control_of_the_host_gets_the_areas_part_too(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, seen = t2i_adapter(), []
    real = type(adapter.t2i_model).forward

    def spied(net: Any, x: Tensor) -> Any:
        seen.append(x)
        return real(net, x)

    monkeypatch.setattr(type(adapter.t2i_model), "forward", spied)
    positive, negative = prompts()
    conds = apply_item(Item(adapter, HINT), (in_area(positive, how="pixels"), negative))
    sample(model(), *conds, size=SIZE, steps=3)
    part = [x for x in seen if x.shape[-1] == 8 * BOX[1]]
    assert len(seen) == 2
    torch.testing.assert_close(part[0], cut_out(HINT).to(part[0]))


def windowed(length: int, overlap: int) -> Any:
    return ContextWindowsManualNode.execute(
        model(), length, overlap, "standard_static", 1, False, "pyramid", 0, False
    ).args[0]


@pytest.mark.parametrize("family", ["ours", "host"])
def test_windows_give_each_frame_its_own_hint(family: str, control: HostControl) -> None:
    """Finding W8. The tiny UNet knows no time: with the right hints a window changes nothing."""
    chosen = control if family == "ours" else t2i_adapter()
    conds = applied(chosen, image=picture(8, 64, 64))
    whole = sample(model(), *conds, batch=8, steps=2)
    parts = sample(windowed(4, 1), *conds, batch=8, steps=2)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-3)
    plain = sample(windowed(4, 1), *prompts(), batch=8, steps=2)
    assert (parts - plain).abs().amax(dim=(1, 2, 3)).min() > 1e-2


def test_windows_share_one_encoding_of_the_frames(
    control: HostControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    conds = applied(control, image=picture(8, 64, 64))
    encoded = Encoded(monkeypatch)
    sample(windowed(4, 1), *conds, batch=8, steps=3)
    assert sum(hint.shape[0] for hint in encoded.hints) == 8


def test_strengths_and_masks_of_pictures_go_with_their_frames(control: HostControl) -> None:
    mask = torch.stack([torch.full((64, 64), float(index % 3 == 0)) for index in range(8)])
    conds = applied(control, image=picture(8, 64, 64), mask=mask)
    whole = sample(model(), *conds, batch=8, steps=2)
    with counted(ControlNet, "forward") as nets:
        parts = sample(windowed(4, 1), *conds, batch=8, steps=2)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-3)
    assert max(nets) <= 4, "black frames are not computed"


def test_the_next_run_encodes_no_hint_again(
    control: HostControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    conds = applied(control)
    encoded = Encoded(monkeypatch)
    first = sample(model(), *conds)
    assert torch.equal(sample(model(), *conds), first)
    assert len(encoded.hints) == 1
    comfy.model_management.unload_all_models()  # the Free button
    assert torch.equal(sample(model(), *conds), first)
    assert len(encoded.hints) == 2
    sample(model(), *applied(control, image=picture(seed=10)))
    assert len(encoded.hints) == 3


def test_the_next_run_makes_no_features_of_the_same_hint_again() -> None:
    adapter = t2i_adapter()
    conds = applied(adapter)
    with counted(type(adapter.t2i_model), "forward") as calls:
        first = sample(model(), *conds)
        assert torch.equal(sample(model(), *conds), first)
        assert len(calls) == 1
        sample(model(), *conds, size=(16, 16))
        sample(model(), *applied(adapter, image=picture(seed=10)))
        assert len(calls) == 3
        assert torch.equal(sample(model(), *conds), first)
    assert len(calls) == 3


def test_a_black_mask_runs_no_net(control: HostControl) -> None:
    conds = applied(control, mask=torch.zeros(1, 64, 64))
    with counted(ControlNet, "forward") as nets:
        latents = sample(model(), *conds)
    assert nets == []
    assert torch.equal(latents, sample(model(), *prompts()))


def test_a_spec_strength_of_0_runs_no_net_in_an_area(control: HostControl) -> None:
    positive, negative = prompts()
    item = Item(control, HINT, spec=ControlSpec(0.0))
    conds = apply_item(item, (in_area(positive, how="pixels"), negative))
    with counted(ControlNet, "forward") as nets:
        sample(model(), *conds, size=SIZE)
    assert nets == []
