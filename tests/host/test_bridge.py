"""How `HostControl` behaves inside the host's sampler: batching, chains, state, cost."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.controlnet
import comfy.model_management
import hosts
import nodes
import pytest
import torch
from nets import model, net_file, picture, prompts, sample
from torch.utils._python_dispatch import TorchDispatchMode

from controlstack.controlnet_core.control import ControlSpec, Window
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.nets import ControlNet
from controlstack.nodes._bridge import HostControl
from controlstack.nodes.apply import Item, apply_item
from controlstack.nodes.load import load_control

Conds = tuple[Any, ...]


@pytest.fixture
def control(host: hosts.Host) -> HostControl:
    control = load_control(net_file(host.controlnets, seed=1))
    assert isinstance(control, HostControl)
    return control


def applied(control: Any, **settings: Any) -> Conds:
    image = settings.pop("image", None)
    item = Item(control, picture() if image is None else image, **settings)
    return apply_item(item, tuple(prompts()))


@contextmanager
def counted(owner: type, name: str) -> Iterator[list[int]]:
    """The batch sizes of the calls of a method while the block runs."""
    calls: list[int] = []
    real: Callable[..., Any] = getattr(owner, name)

    def counting(self: Any, x: torch.Tensor, *args: Any, **named: Any) -> Any:
        calls.append(x.shape[0])
        return real(self, x, *args, **named)

    setattr(owner, name, counting)
    try:
        yield calls
    finally:
        setattr(owner, name, real)


class SmallAdapter(torch.nn.Module):
    """What `T2IAdapter` asks of its network: features for the last input block, 128 x h/2 x w/2."""

    unshuffle_amount = 16

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3 * 16**2, 128, 3, padding=1)

    def forward(self, x: torch.Tensor) -> dict[str, list[torch.Tensor | None]]:
        return {"input": [self.conv(torch.nn.functional.pixel_unshuffle(x, 16)), None, None, None]}


def t2i_adapter(seed: int = 0) -> comfy.controlnet.T2IAdapter:
    """A control of a family that the host runs, of the tiny model's widths."""
    torch.manual_seed(seed)
    return comfy.controlnet.T2IAdapter(
        SmallAdapter(), 3, 8, "nearest-exact", device=torch.device("cpu")
    )


# What the net is asked for, and how often.


def test_cond_and_uncond_run_in_one_batch_and_the_hint_is_encoded_once(
    control: HostControl,
) -> None:
    with counted(ControlNet, "forward") as nets, counted(ControlNet, "encode_hint") as hints:
        sample(model(), *applied(control), steps=4)
    assert nets == [2] * 4
    assert hints == [1]


@pytest.mark.parametrize("off", [{"strength": 0.0}, {"enabled": False}])
def test_strength_0_or_off_leaves_the_conditioning_alone(
    off: dict[str, Any], control: HostControl
) -> None:
    conds = tuple(prompts())
    assert apply_item(Item(control, picture(), **off), conds) is conds


def test_strength_0_set_later_does_not_run_the_net(control: HostControl) -> None:
    conds = applied(control)
    conds[0][0][1]["control"].strength = 0.0  # as other packs do
    with counted(ControlNet, "forward") as calls:
        latents = sample(model(), *conds)
    assert calls == []
    assert torch.equal(latents, sample(model(), *prompts()))


@pytest.mark.parametrize(
    "spec", [ControlSpec(strength=0.0), ControlSpec(schedule=Window(0.0, 0.0))]
)
def test_a_spec_that_is_zero_does_not_run_the_net(spec: ControlSpec, control: HostControl) -> None:
    with counted(ControlNet, "forward") as calls:
        latents = sample(model(), *applied(control, spec=spec))
    assert calls == []
    assert torch.equal(latents, sample(model(), *prompts()))


def test_an_untrained_net_changes_nothing(host: hosts.Host) -> None:
    from controlstack.controlnet_core import formats

    config_net = load_control(net_file(host.controlnets, seed=1)).net.module
    for zero in (*config_net.zero_convs, config_net.middle_block_out):
        for parameter in zero.parameters():
            parameter.data.zero_()
    formats.save(config_net, host.controlnets / "untrained.safetensors")
    latents = sample(model(), *applied(load_control("untrained.safetensors")))
    assert (latents - sample(model(), *prompts())).abs().max() == 0.0


# Ranges and windows.


@pytest.mark.parametrize("scheduler", ["normal", "sgm_uniform", "karras", "simple"])
@pytest.mark.parametrize("steps", [4, 8])
@pytest.mark.parametrize("cut", [0.25, 0.5, 1 / 3])
def test_windows_that_meet_act_as_one(
    cut: float, steps: int, scheduler: str, control: HostControl
) -> None:
    settings = {"steps": steps, "scheduler": scheduler}
    early, late = (ControlSpec(schedule=Window(*w)) for w in ((0.0, cut), (cut, 1.0)))
    halves = apply_item(Item(control, picture(), spec=late), applied(control, spec=early))
    with counted(ControlNet, "forward") as calls:
        latents = sample(model(), *halves, **settings)
    assert len(calls) == steps
    assert torch.equal(latents, sample(model(), *applied(control), **settings))


def test_ranges_of_apply_act_on_the_hosts_own_steps(control: HostControl, host: hosts.Host) -> None:
    """At every sigma that stands on a bound, as the installed host's class decides."""
    sampling = model().model.model_sampling
    theirs = comfy.controlnet.load_controlnet(str(host.controlnets / "SD15-1.safetensors"))
    conds = [prompts(), prompts()]
    for percent in (0.2, 0.25, 0.5, 0.75):
        sigma = sampling.percent_to_sigma(percent)
        sigmas = torch.tensor([14.0, sigma, sigma * 0.9, 0.0], dtype=torch.float32)
        for window in ((0.0, percent), (percent, 1.0)):
            ours = apply_item(Item(control, picture(), 1.0, *window), tuple(conds[0]))
            core = nodes.ControlNetApplyAdvanced().apply_controlnet(
                *conds[1], theirs, picture(), 1.0, *window
            )
            assert torch.equal(
                sample(model(), *ours, sigmas=sigmas), sample(model(), *core, sigmas=sigmas)
            )


# Hints and masks of other counts.


@pytest.mark.parametrize(
    ("hints", "latents"), [(4, 2), (2, 1), (6, 3), (8, 4), (3, 2), (2, 4), (2, 3)]
)
def test_hints_are_never_split_over_cond_and_uncond(
    hints: int, latents: int, control: HostControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F3, N12: batched cond and uncond give what they give one after the other."""
    conds = applied(control, image=picture(hints))
    together = sample(model(), *conds, batch=latents)
    monkeypatch.setattr(comfy.model_management, "get_free_memory", no_memory)
    with counted(ControlNet, "forward") as calls:
        apart = sample(model(), *conds, batch=latents)
    assert set(calls) == {latents}
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=3e-3)  # of values up to 40


def no_memory(device: Any = None, torch_free_too: bool = False) -> Any:
    return (0, 0) if torch_free_too else 0


@pytest.mark.parametrize("family", ["ours", "host"])
def test_masks_part_the_picture(family: str, control: HostControl) -> None:
    """All white = no mask, all black = no control, and the halves act each on its side."""
    chosen = control if family == "ours" else t2i_adapter()
    plain, full = sample(model(), *prompts()), sample(model(), *applied(chosen))
    white, black = torch.ones(1, 64, 64), torch.zeros(3, 20, 30)
    assert torch.equal(sample(model(), *applied(chosen, mask=white)), full)
    assert torch.equal(sample(model(), *applied(chosen, mask=black)), plain)
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1.0
    one_step = {"steps": 1, "sampler": "euler"}
    both = apply_item(Item(chosen, picture(), mask=1 - left), applied(chosen, mask=left))
    torch.testing.assert_close(
        sample(model(), *both, **one_step), sample(model(), *applied(chosen), **one_step),
        rtol=1e-4, atol=1e-3,
    )


# Chains.


def test_chains_mix_freely_with_the_hosts_controls(control: HostControl, host: hosts.Host) -> None:
    name = net_file(host.controlnets, seed=2)
    theirs = comfy.controlnet.load_controlnet(str(host.controlnets / name))
    image = picture()

    def core(control: Any, conds: Conds, strength: float) -> Conds:
        return nodes.ControlNetApplyAdvanced().apply_controlnet(
            *conds, control, image, strength, 0.0, 1.0
        )

    def ours(control: Any, conds: Conds, strength: float) -> Conds:
        return apply_item(Item(control, image, strength), conds)

    expected = sample(model(), *core(theirs, applied(control, strength=0.5), 0.7))
    for first, second in ((core, core), (core, ours), (ours, core), (ours, ours)):
        for mine, other in ((control, theirs), (control, load_control(name))):
            conds = second(other, first(mine, tuple(prompts()), 0.5), 0.7)
            assert torch.equal(sample(model(), *conds), expected)


def test_an_adapter_of_the_host_through_our_apply_equals_the_hosts(control: HostControl) -> None:
    adapter, image = t2i_adapter(), picture()
    core = nodes.ControlNetApplyAdvanced().apply_controlnet(
        *applied(control), adapter, image, 0.6, 0.0, 0.9
    )
    ours = apply_item(Item(adapter, image, 0.6, 0.0, 0.9), applied(control))
    latents = sample(model(), *ours, batch=2)
    assert torch.equal(latents, sample(model(), *core, batch=2))
    assert (latents - sample(model(), *applied(control), batch=2)).abs().max() > 1e-2


def test_a_later_apply_does_not_touch_an_earlier_one(control: HostControl) -> None:
    first = applied(control)
    before = sample(model(), *first)
    apply_item(Item(control, picture(seed=5), 2.0, 0.5, 0.6), first)
    assert torch.equal(sample(model(), *first), before)


def test_64_controls_in_one_chain(control: HostControl) -> None:
    conds = tuple(prompts())
    for _ in range(64):
        conds = apply_item(Item(control, picture(), 1 / 64), conds)
    assert sample(model(), *conds, steps=1).isfinite().all()


# State.


class StopError(Exception):
    """What the stop button raises, in a test."""


@pytest.mark.parametrize("family", ["ours", "host"])
@pytest.mark.parametrize("error", [StopError, torch.OutOfMemoryError])
def test_an_interrupted_run_leaves_no_trace(
    error: type[Exception], family: str, control: HostControl
) -> None:
    """F4: the next run with the same conditioning and another batch equals a fresh one."""
    chosen = control if family == "ours" else t2i_adapter()
    conds, fresh = applied(chosen, image=picture(4)), applied(chosen, image=picture(4))

    def stop(step: int, *_: Any) -> None:
        raise error

    with pytest.raises(error):
        sample(model(), *conds, batch=1, callback=stop)
    assert torch.equal(sample(model(), *conds, batch=4), sample(model(), *fresh, batch=4))


def test_an_interrupted_run_keeps_no_model_alive(control: HostControl) -> None:
    from tiny_nodes import tiny_model

    conds, own = applied(control), tiny_model("SD15", seed=7)
    alive = weakref.ref(own.model)

    def stop(*_: Any) -> None:
        raise StopError

    with pytest.raises(StopError):
        sample(own, *conds, callback=stop)
    comfy.model_management.unload_all_models()
    del own
    comfy.model_management.cleanup_models()
    import gc

    gc.collect()
    assert alive() is None


def test_pre_run_may_come_twice_and_cleanup_without_it(control: HostControl) -> None:
    conds = applied(control)
    head = conds[0][0][1]["control"]
    head.cleanup()
    base = model()
    for _ in range(3):
        head.pre_run(base.model, base.model.model_sampling.percent_to_sigma)
    head.cleanup()
    head.cleanup()
    assert torch.equal(sample(base, *conds), sample(base, *applied(control)))


def test_two_sizes_in_one_run_encode_the_hint_once_each(control: HostControl) -> None:
    (positive, negative) = applied(control)
    area = {"area": (4, 4, 0, 0), "strength": 1.0}
    small = [[text, {**options, **area}] for text, options in positive]
    with counted(ControlNet, "encode_hint") as calls:
        sample(model(), positive + small, negative, steps=4)
    assert len(calls) == 2


# What the host reads off a control.


def test_copies_share_the_weights_and_no_state(control: HostControl) -> None:
    (positive, _) = applied(control, mask=torch.ones(1, 8, 8))
    head = positive[0][1]["control"]
    sample(model(), positive, prompts()[1])
    copy = head.copy()
    assert copy.net is head.net
    assert copy.spec is head.spec
    assert copy.previous_controlnet is None
    assert copy._session is None
    assert copy.get_models() == head.get_models() == control.net.patchers()


def test_memory_is_estimated_for_the_chain(control: HostControl) -> None:
    (positive, _) = applied(control, image=picture(1, 512, 512))
    one = positive[0][1]["control"].inference_memory_requirements(torch.float32)
    (positive, _) = apply_item(Item(control, picture(1, 512, 512)), (positive, positive))
    two = positive[0][1]["control"].inference_memory_requirements(torch.float32)
    layout = control.net.module.config.residual_layout
    assert one > 2 * 64 * 64 * 4 * sum(channels / stride**2 for channels, stride in layout)
    assert two == 2 * one


def test_a_deep_clone_for_another_device_gives_the_same(control: HostControl) -> None:
    if not hasattr(comfy.controlnet.ControlBase, "deepclone_multigpu"):
        pytest.skip("this host has no multi-GPU")
    (positive, negative) = applied(control)
    head = positive[0][1]["control"]
    clone = head.deepclone_multigpu(torch.device("cpu"), autoregister=True)
    assert head.multigpu_clones == {torch.device("cpu"): clone}
    assert clone.get_models()[0] is not head.net.patchers()[0]
    assert clone.net.module is not head.net.module
    other = [[text, {**options, "control": clone}] for text, options in positive]
    head.multigpu_clones.clear()
    both = [[text, {**options, "control": clone}] for text, options in negative]
    assert torch.equal(sample(model(), other, both), sample(model(), positive, negative))


def test_timesteps_reach_the_net_in_float32(control: HostControl) -> None:
    seen: list[torch.dtype] = []
    net = control.net.module
    real = type(net).forward

    def spy(self: Any, x: Any, timesteps: torch.Tensor, *args: Any) -> Any:
        seen.append(timesteps.dtype)
        return real(self, x, timesteps, *args)

    type(net).forward = spy
    try:
        sample(model(), *applied(control), steps=1)
    finally:
        type(net).forward = real
    assert seen == [torch.float32]


class DeviceReads(TorchDispatchMode):
    """Counts reads of a tensor's value, each of which waits for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_step_reads_sigma_once_for_the_whole_chain(control: HostControl) -> None:
    conds = applied(control, start_percent=0.1, mask=torch.ones(1, 64, 64))
    for spec in (ControlSpec(schedule=Window(0.0, 0.9)), ControlSpec(strength=0.5)):
        conds = apply_item(Item(control, picture(), 0.5, spec=spec), conds)
    (positive, _), base = conds, model()
    head = positive[0][1]["control"]
    base.model.to(torch.float32)
    head.pre_run(base.model, base.model.model_sampling.percent_to_sigma)
    x, text = torch.zeros(2, 4, 8, 8), torch.zeros(2, 77, 768)
    first = torch.tensor([13.0])  # the masks are looked at once a run, where they lie
    head.get_control(x, first.repeat(2), {"c_crossattn": text}, 2, {"sigmas": first})
    for sigma in (9.0, 5.0):
        step = torch.tensor([sigma])
        for _ in ("cond and uncond in one call", "a second area of the same step"):
            with DeviceReads() as mode:
                control_dict = head.get_control(
                    x, torch.cat([step, step]), {"c_crossattn": text}, 2, {"sigmas": step}
                )
            assert control_dict["middle"][0].abs().max() > 0
            assert mode.reads == (1 if _.startswith("cond") else 0)


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), 1e30])
def test_a_strength_that_is_no_number_is_refused(strength: float, control: HostControl) -> None:
    with pytest.raises(ControlInputError, match="CN-S05"):
        applied(control, strength=strength)
    conds = nodes.ControlNetApplyAdvanced().apply_controlnet(
        *prompts(), control, picture(), strength, 0.0, 1.0
    )
    with pytest.raises(ControlInputError, match="CN-S05"):
        sample(model(), *conds)
