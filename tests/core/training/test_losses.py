"""What a control net learns from, and what stays as it is."""

from __future__ import annotations

import pytest
import torch
from tiny_training import CONFIG, EMPTY, base_and_copy, batch_at, control_loss, tiny_trainer
from torch import Tensor, nn

from controlstack.controlnet_core.nets import ControlNet, from_encoder
from controlstack.controlnet_core.noise import DiffusionNoise, FlowNoise, Noise
from controlstack.controlnet_core.training.loop import generator
from controlstack.controlnet_core.training.losses import (
    Batch,
    ControlLoss,
    LossOptions,
    checkpoint_blocks,
    trainable,
)

ZERO = ("zero_convs.", "middle_block_out.")
PARTS = ("time_embed.", "input_blocks.", "middle_block.", "input_hint_block.", *ZERO)


def learned(parameters: dict[str, nn.Parameter]) -> set[str]:
    """The parts that have a gradient."""
    moved = [n for n, p in parameters.items() if p.grad is not None and p.grad.abs().max() > 0]
    return {part for part in PARTS if any(name.startswith(part) for name in moved)}


def test_a_fresh_copy_changes_nothing() -> None:
    base, net = base_and_copy()
    batch = batch_at(generator(1))
    timesteps = torch.tensor([10.0, 900.0])
    with torch.no_grad():
        residuals = net(batch.latent, timesteps, batch.context, net.encode_hint(batch.hint))
        plain = base(batch.latent, timesteps, batch.context)
        steered = base(batch.latent, timesteps, batch.context, control=residuals)
    assert (plain - steered).abs().max() == 0.0


def test_gradients_reach_the_zero_convolutions_first() -> None:
    trainer = tiny_trainer()
    base = trainer.loss.__closure__[0].cell_contents.base  # type: ignore[attr-defined]
    before = {name: p.clone() for name, p in base.named_parameters()}
    trainer.advance()
    assert learned(trainer.parameters) == set(ZERO)
    trainer.advance()
    assert learned(trainer.parameters) == set(PARTS)
    trainer.advance()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trainer.parameters.values())
    assert all(p.grad is None and torch.equal(p, before[n]) for n, p in base.named_parameters())


@pytest.mark.parametrize("noise", [DiffusionNoise("eps"), DiffusionNoise("v"), FlowNoise()])
def test_loss_is_the_base_s_own(noise: Noise) -> None:
    """A base that answers what it was trained to answer has no loss, in its own words."""
    base, net = base_and_copy()
    loss = control_loss(base, net, noise)
    batch = batch_at(generator(3))
    draw = generator(3)
    batch_at(draw)
    unit = torch.randn(batch.latent.shape, generator=draw)
    timesteps = torch.randint(1000, (2,), generator=draw)
    answer = noise.target(batch.latent, unit, timesteps)
    base.decode = lambda *_args, **_kwargs: answer  # type: ignore[method-assign]
    assert float(loss(generator(3)).detach()) == pytest.approx(0.0, abs=1e-12)
    base.decode = lambda *_args, **_kwargs: answer + 0.5  # type: ignore[method-assign]
    assert float(loss(generator(3)).detach()) == pytest.approx(0.25, rel=1e-5)


def test_a_batch_is_the_mean_of_its_pictures() -> None:
    """Every picture learns from its own prompt and hint (the host's own trainer averages them)."""
    base, net = moved_copy()
    batch = batch_at(generator(4), 3)
    whole = gradients(base, net, batch, slice(0, 3))
    single = [gradients(base, net, batch, slice(i, i + 1)) for i in range(3)]
    for name, gradient in whole.items():
        mean = torch.stack([one[name] for one in single]).mean(0)
        torch.testing.assert_close(gradient, mean, rtol=1e-3, atol=1e-6, msg=name)


def moved_copy() -> tuple[nn.Module, ControlNet]:
    base, net = base_and_copy()
    with torch.no_grad():
        for p in net.parameters():
            p += 0.02 * torch.randn(p.shape, generator=generator(9))
    return base, net


class FixedNoise(ControlLoss):
    """Noise and timesteps that belong to the picture, not to its place in the batch."""

    rows = slice(0, 3)

    def _noise(self, latent: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        unit = torch.randn(3, *latent.shape[1:], generator=torch.Generator().manual_seed(7))
        return unit[self.rows], torch.tensor([50, 400, 900])[self.rows]


def gradients(base: nn.Module, net: ControlNet, batch: Batch, rows: slice) -> dict[str, Tensor]:
    part = Batch(*(x[rows] for x in batch if x is not None))
    loss = FixedNoise(
        base, net, DiffusionNoise(), lambda _: part, empty=EMPTY, options=LossOptions(0.0)
    )  # type: ignore[arg-type]
    loss.rows = rows
    net.zero_grad(set_to_none=True)
    loss(generator(0)).backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("share", "same"), [(1.0, True), (0.0, False)])
def test_prompts_are_dropped(share: float, same: bool) -> None:
    base, net = base_and_copy()

    def of(shift: float) -> float:
        def shifted(draw: torch.Generator) -> Batch:
            batch = batch_at(draw)
            return batch._replace(context=batch.context + shift)

        options = LossOptions(share)
        loss = ControlLoss(base, net, DiffusionNoise(), shifted, empty=EMPTY, options=options)
        return float(loss(generator(5)).detach())

    assert (of(0.0) == of(1.0)) == same


def test_half_of_the_prompts_are_dropped_by_default() -> None:
    base, net = base_and_copy()
    context, y = torch.ones(4000, 5, 16), torch.ones(4000, 3)
    batch = Batch(context, context, context, y, empty_y=torch.zeros_like(y))
    dropped, dropped_y = control_loss(base, net)._dropped(batch, generator(6))
    empty = (dropped == 0).all(dim=(1, 2))
    assert float(empty.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert torch.equal((dropped_y == 0).all(dim=1), empty)  # SDXL's pooled text tells nothing then


def test_only_the_middle_acts() -> None:
    base, net = base_and_copy()
    control_loss(base, net, only_middle=True)(generator(0)).backward()
    parameters = dict(net.named_parameters())
    assert learned(parameters) == {"middle_block_out."}


def test_unlocked_decoder_learns_and_the_encoder_does_not() -> None:
    base, net = base_and_copy()
    named = trainable(net, base, unlocked=True)
    control_loss(base, net)(generator(0)).backward()
    own = {name for name in named if name.startswith("base.")}
    assert own
    assert all(name.startswith(("base.output_blocks.", "base.out.")) for name in own)
    assert all(named[name].grad is not None for name in own)
    assert all(p.grad is None for p in base.input_blocks.parameters())


def test_checkpointed_blocks_have_the_same_gradients() -> None:
    base, net = moved_copy()
    plain = gradients(base, net, batch_at(generator(4), 3), slice(0, 3))
    checkpoint_blocks(base, net)  # type: ignore[arg-type]
    again = gradients(base, net, batch_at(generator(4), 3), slice(0, 3))
    assert plain.keys() == again.keys()
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def test_copy_needs_a_base_of_its_layout() -> None:
    """`from_encoder` copies every weight that both have; nothing else of the net changes."""
    base, net = base_and_copy()
    fresh = from_encoder(ControlNet(CONFIG), base)
    copied = base.state_dict().keys() & fresh.state_dict().keys()
    assert len(copied) > 20
    assert all(torch.equal(fresh.state_dict()[name], base.state_dict()[name]) for name in copied)
    assert all(not p.any() for name, p in net.named_parameters() if name.startswith(ZERO))
