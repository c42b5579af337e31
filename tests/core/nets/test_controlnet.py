"""What the method promises of a ControlNet, whatever its family."""

from __future__ import annotations

import pytest
import torch
from tiny_nets import (
    FAMILIES,
    PLAIN,
    equal,
    inputs,
    random_net,
    random_unet,
    randomize,
    relative,
    residuals_of,
)

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.nets import ControlNet, UnionControlNet, build, from_encoder
from controlstack.controlnet_core.residuals import Residuals

EPS = 32 * torch.finfo(torch.float32).eps
COMMON = ("sd15", "sd2", "sdxl", "union6")
ZERO_CONVS = ("zero_convs.", "middle_block_out.")


def types_of(net: ControlNet) -> tuple[int, ...]:
    return (1, 3) if isinstance(net, UnionControlNet) else ()


@pytest.mark.parametrize("name", [*COMMON, "sdxl-small", "ssd"])
@torch.no_grad()
def test_fresh_net_changes_nothing(name: str) -> None:
    """Difference 0.0 with the initialisation of a new net, whose other weights are random."""
    config = FAMILIES[name]
    unet, net = random_unet(config), build(config)
    given = inputs(config)
    residuals = residuals_of(net, given, types=types_of(net))
    assert len(residuals.tensors()) == len(config.residual_layout)
    assert not any(x.any() for x in residuals.tensors())
    plain = unet(given.x, given.timesteps, given.context, given.y)
    steered = unet(given.x, given.timesteps, given.context, given.y, control=residuals)
    assert torch.equal(plain, steered)


@pytest.mark.parametrize("name", COMMON)
@torch.no_grad()
def test_trained_net_changes_the_prediction(name: str) -> None:
    config = FAMILIES[name]
    unet, net, given = random_unet(config), random_net(config), inputs(config)
    residuals = residuals_of(net, given, types=types_of(net))
    plain = unet(given.x, given.timesteps, given.context, given.y)
    steered = unet(given.x, given.timesteps, given.context, given.y, control=residuals)
    assert relative(steered, plain) > 0.01


@pytest.mark.parametrize("name", COMMON)
def test_copy_takes_every_weight_of_the_encoder(name: str) -> None:
    config = FAMILIES[name]
    unet, fresh = random_unet(config), build(config)
    before = {key: weight.clone() for key, weight in fresh.state_dict().items()}
    copied, source = from_encoder(fresh, unet).state_dict(), unet.state_dict()
    own = {key.split(".")[0] for key in copied.keys() - source.keys()}
    assert {"input_hint_block", "zero_convs", "middle_block_out"} <= own
    assert {key.split(".")[0] for key in source.keys() - copied.keys()} == {"out", "output_blocks"}
    for key, weight in copied.items():
        assert torch.equal(weight, source.get(key, before[key])), key
        assert key not in source or weight.data_ptr() != source[key].data_ptr()


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_first_gradients_are_in_the_zero_convolutions_alone(name: str) -> None:
    config = FAMILIES[name]
    unet, net = random_unet(config), from_encoder(build(config), random_unet(config))
    given = inputs(config)

    def gradients() -> dict[str, bool]:
        net.zero_grad()
        hint = net.encode_hint(given.hint)
        control = net(given.x, given.timesteps, given.context, hint, given.y)
        noise = unet(given.x, given.timesteps, given.context, given.y, control=control)
        noise.square().mean().backward()
        return {key: bool(weight.grad.any()) for key, weight in net.named_parameters()}

    assert all(moves == key.startswith(ZERO_CONVS) for key, moves in gradients().items())
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    optimizer.step()
    moving = {key.split(".")[0] for key, moves in gradients().items() if moves}
    assert {"input_blocks", "middle_block", "time_embed", "input_hint_block"} <= moving


SIZES = [*((side, side) for side in range(1, 10)), (1, 9), (8, 3), (17, 23)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_every_latent_size_gives_the_stated_residuals(name: str, size: tuple[int, int]) -> None:
    config = PLAIN[name]
    given = inputs(config, height=size[0], width=size[1])
    residuals = residuals_of(random_net(config), given)
    found = [tuple(x.shape[1:]) for x in (*residuals.output, *residuals.middle)]
    assert found == [
        (channels, *(-(-side // stride) for side in size))
        for channels, stride in config.residual_layout
    ]
    assert all(x.isfinite().all() for x in residuals.tensors())
    steered = random_unet(config)(
        given.x, given.timesteps, given.context, given.y, control=residuals
    )
    assert steered.shape == given.x.shape
    assert steered.isfinite().all()


@pytest.mark.parametrize("name", ["sd15", "union6"])
@torch.no_grad()
def test_one_hint_serves_the_whole_batch(name: str) -> None:
    config = FAMILIES[name]
    net, given = random_net(config), inputs(config, batch=3)
    hint = net.encode_hint(given.hint[:1])
    args = (given.x, given.timesteps, given.context)
    shared, repeated = net(*args, hint, given.y), net(*args, hint.repeat(3, 1, 1, 1), given.y)
    assert equal(shared, repeated)


@pytest.mark.parametrize("name", COMMON)
def test_a_batch_is_its_items(name: str) -> None:
    """Items differ in noise level, text and hint, so that nothing may leak between them."""
    config = FAMILIES[name]
    net, given = random_net(config), inputs(config, batch=3)
    whole = residuals_of(net, given, types=types_of(net))
    for index in range(3):
        alone = residuals_of(net, given.row(index), types=types_of(net))
        for a, b in zip(whole.tensors(), alone.tensors(), strict=True):
            assert relative(a[index : index + 1], b) < EPS * 4  # another batch takes other kernels


def test_no_input_is_written() -> None:
    config = FAMILIES["sdxl"]
    given = inputs(config)
    parts = (given.x, given.timesteps, given.context, given.hint, given.y)
    before = [part.clone() for part in parts]
    control = residuals_of(random_net(config), given)
    kept = control.map(lambda site, index, count, x: x.clone())
    random_unet(config)(given.x, given.timesteps, given.context, given.y, control=control)
    assert all(torch.equal(a, b) for a, b in zip(parts, before, strict=True))
    assert equal(control, kept)


def test_missing_pooled_text_is_an_error() -> None:
    given = inputs(FAMILIES["sd15"])
    with pytest.raises(ControlInputError, match=r"CN-M01.*no pooled text.*2816.*SDXL"):
        random_net(FAMILIES["sdxl"])(
            given.x, given.timesteps, given.context, torch.zeros(1, 32, 8, 8)
        )


class TestSites:
    """Where each site of the residuals joins the UNet."""

    config = PLAIN["sd15"]
    given = inputs(config)

    def predict(self, control: Residuals | None = None, unet=None) -> torch.Tensor:
        unet = unet or random_unet(self.config)
        return unet(self.given.x, self.given.timesteps, self.given.context, control=control)

    def test_middle_and_output_act_alone_and_together(self) -> None:
        whole = residuals_of(random_net(self.config), self.given)
        middle, output = Residuals(middle=whole.middle), Residuals(output=whole.output)
        plain = self.predict()
        moved = [self.predict(control) for control in (middle, output, whole)]
        assert all(relative(x, plain) > 0.01 for x in moved)
        assert relative(moved[0], moved[1]) > 0.01
        assert torch.equal(self.predict(middle + output), moved[2])

    def test_input_joins_trunk_and_skip_as_a_bias_would(self) -> None:
        """A constant residual after the first convolution is a shift of that convolution's bias."""
        shift = torch.linspace(-1, 1, 32).view(1, -1, 1, 1)
        control = Residuals(input=(shift.expand(2, -1, 8, 8),))
        shifted = type(random_unet(self.config))(self.config).requires_grad_(False)
        shifted.load_state_dict(random_unet(self.config).state_dict())
        shifted.input_blocks[0][0].bias += shift.flatten()
        steered = self.predict(control)
        assert relative(steered, self.predict(unet=shifted)) < 1e-4
        assert relative(steered, self.predict(Residuals(output=control.input))) > 0.01

    def test_none_leaves_a_block_alone(self) -> None:
        whole = residuals_of(random_net(self.config), self.given)
        zero = whole.map(lambda site, index, count, x: x if index == 3 else torch.zeros_like(x))
        holes = Residuals(output=(None, None, None, whole.output[3]))
        assert torch.equal(self.predict(holes), self.predict(zero))


def test_a_net_may_hold_other_channels() -> None:
    """Hints of four channels and latents of nine, as inpaint nets have them."""
    config = PLAIN["sd15"].like(hint_channels=4, in_channels=9)
    net = randomize(build(config), seed=5)
    given = inputs(config)
    assert (given.x.shape[1], given.hint.shape[1]) == (9, 4)
    assert len(residuals_of(net, given).tensors()) == 13
