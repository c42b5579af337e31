"""Advanced-ControlNet put beside: the same graph through its nodes and through ours."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hosts
import nodes
import pytest
import torch
from acn import HOW_TO_GET_IT, find_acn, import_acn
from nets import model, net_file, picture, prompts, sample

from controlstack.nodes._from_advanced import FROM_ADVANCED
from controlstack.nodes.apply import Apply
from controlstack.nodes.apply_single import ApplySingle
from controlstack.nodes.blocks import MiddleWeightSpec
from controlstack.nodes.depth import OWN_BASE, LayerWeightsSpec, SoftWeightsSpec
from controlstack.nodes.keyframes import KeyframeListSpec, KeyframeRampSpec, KeyframeSpec
from controlstack.nodes.load import load_control
from controlstack.nodes.pictures import (
    PictureGroupSpec,
    PictureListSpec,
    PictureRangeSpec,
    PictureSpec,
)

# Its interpolation hands torch tensors to numpy, which newer versions of both warn of.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def acn(host: hosts.Host) -> types.SimpleNamespace:
    """The old pack's node classes, by node id."""
    path = find_acn(host.path)
    if path is None:
        pytest.skip(HOW_TO_GET_IT)
    return import_acn(path)


Call = Callable[..., Any]
WEIGHTS = (0.1, 0.9, 0.3, 1.4)
"""Of the four blocks of the small net, shallow to deep; MIDDLE is that of the fifth."""
MIDDLE = 0.6
LEFT = torch.zeros(1, 64, 64)
LEFT[..., :24] = 1.0
SOFT_MASK = torch.linspace(0.0, 1.0, 64).expand(1, 64, 64).contiguous()


def first(output: Any) -> Any:
    return output.args[0]


def second(output: Any) -> Any:
    return output.args[1]


@dataclass(frozen=True)
class Case:
    """Settings of both Apply nodes: common ones, then a function each for what differs."""

    theirs: Callable[[Any], dict[str, Any]] = lambda acn: {}
    ours: Callable[[], dict[str, Any]] = dict
    apply: tuple[float, float, float] = (1.0, 0.0, 1.0)
    run: dict[str, Any] = field(default_factory=dict)


def _custom(acn: Any, uncond: float = 1.0, **more: Any) -> Any:
    values = {f"output_{index}": weight for index, weight in enumerate(WEIGHTS)}
    rest = {f"output_{index}": 1.0 for index in range(len(WEIGHTS), 12)}
    node = acn.ACN_CustomControlNetWeightsSD15
    return node.execute(
        **values, **rest, middle_0=MIDDLE, uncond_multiplier=uncond, **more
    )


def _own_custom(uncond: float = 1.0, spec: Any = None) -> Any:
    weights = ", ".join(map(str, WEIGHTS))
    soft = first(SoftWeightsSpec.execute("flat", 1.0, spec, uncond))
    return first(LayerWeightsSpec.execute(weights, MIDDLE, spec=soft))


def _chain(node: Call, previous: str, *frames: dict[str, Any]) -> Any:
    chain = None
    for frame in frames:
        chain = first(node(**frame, **{previous: chain}))
    return chain


def _their_keyframes(acn: Any, *frames: dict[str, Any]) -> Any:
    frames = tuple({"guarantee_steps": 0, **frame} for frame in frames)
    return _chain(acn.TimestepKeyframe.execute, "prev_timestep_kf", *frames)


def _own_keyframes(*frames: dict[str, Any]) -> Any:
    frames = tuple({"rest": 0.0, "inherit": True, **frame} for frame in frames)
    return _chain(KeyframeSpec.execute, "spec", *frames)


STEPS = ({"start_percent": 0.6, "strength": 0.2}, {"start_percent": 0.25, "strength": 0.6})
RANGE = {"start_percent": 0.1, "end_percent": 0.9}
EVERY = {"run": {"steps": 9}}
FOUR = {"run": {"batch": 4}}

CASES: dict[str, Case] = {
    "plain": Case(),
    "a window": Case(apply=(0.8, 0.2, 0.7), **EVERY),
    "keyframes": Case(
        lambda acn: {"timestep_kf": _their_keyframes(acn, *STEPS)},
        lambda: {"spec": _own_keyframes(*STEPS)}, **EVERY,
    ),
    "keyframes of a second-order sampler": Case(
        lambda acn: {"timestep_kf": _their_keyframes(acn, *STEPS)},
        lambda: {"spec": _own_keyframes(*STEPS)}, run={"steps": 5, "sampler": "heun"},
    ),
    "keyframes that are guaranteed a step, and get one": Case(
        lambda acn: {"timestep_kf": _their_keyframes(
            acn, *({**each, "guarantee_steps": 1} for each in STEPS)
        )},
        lambda: {"spec": _own_keyframes(*STEPS)}, **EVERY,
    ),
    "keyframes in a window of Apply": Case(
        lambda acn: {"timestep_kf": _their_keyframes(acn, *STEPS)},
        lambda: {"spec": _own_keyframes(*STEPS)}, apply=(0.9, 0.1, 0.8), **EVERY,
    ),
    "keyframe of strength 0": Case(
        lambda acn: {
            "timestep_kf": _their_keyframes(acn, {"start_percent": 0.4, "strength": 0.0})
        },
        lambda: {"spec": _own_keyframes({"start_percent": 0.4, "strength": 0.0})}, **EVERY,
    ),
    **{
        f"interpolated keyframes, {easing}": Case(
            lambda acn, easing=easing: {"timestep_kf": first(
                acn.ACN_TimestepKeyframeInterpolation.execute(
                    **RANGE, strength_start=1.0, strength_end=0.1, interpolation=easing,
                    intervals=12,
                )
            )},
            lambda easing=easing: {"spec": first(
                KeyframeRampSpec.execute(
                    **RANGE, strength_start=1.0, strength_end=0.1, interpolation=easing,
                    intervals=12, rest=0.0, inherit=True,
                )
            )},
            **EVERY,
        )
        for easing in ("linear", "ease-in", "ease-out", "ease-in-out")
    },
    "keyframes from a list": Case(
        lambda acn: {"timestep_kf": first(
            acn.ACN_TimestepKeyframeFromStrengthList.execute(
                **RANGE, float_strengths=[1.0, 0.2, 0.7]
            )
        )},
        lambda: {"spec": first(
            KeyframeListSpec.execute([1.0, 0.2, 0.7], **RANGE, rest=0.0, inherit=True)
        )},
        **EVERY,
    ),
    "latent keyframes": Case(
        lambda acn: {"latent_kf_override": _chain(
            acn.LatentKeyframe.execute, "prev_latent_kf",
            {"batch_index": 0, "strength": 0.8}, {"batch_index": -1, "strength": 0.4},
        )},
        lambda: {"batch_strengths": _chain(
            PictureSpec.execute, "spec",
            {"batch_index": 0, "strength": 0.8, "rest": 0.0},
            {"batch_index": -1, "strength": 0.4, "rest": 0.0},
        )},
        **FOUR,
    ),
    "latent keyframes over a range": Case(
        lambda acn: {"latent_kf_override": first(acn.LatentKeyframeTiming.execute(
            batch_index_from=1, batch_index_to_excl=4, strength_from=0.2, strength_to=1.0,
            interpolation="ease-out",
        ))},
        lambda: {"batch_strengths": first(
            PictureRangeSpec.execute(1, 4, 0.2, 1.0, "ease-out", 0.0)
        )},
        **FOUR,
    ),
    "latent keyframes from a list": Case(
        lambda acn: {"latent_kf_override": first(
            acn.LatentKeyframeBatchedGroup.execute(float_strengths=[0.3, 0.0, 0.9])
        )},
        lambda: {"batch_strengths": first(PictureListSpec.execute([0.3, 0.0, 0.9], 0.0))},
        **FOUR,
    ),
    "latent keyframes from text, at a keyframe with a null strength": Case(
        lambda acn: {"timestep_kf": _their_keyframes(acn, {
            "start_percent": 0.3, "strength": 0.9, "null_latent_kf_strength": 0.25,
            "latent_keyframe": first(acn.LatentKeyframeGroup.execute("0, 1:3=0.5")),
        })},
        lambda: {"spec": _own_keyframes({
            "start_percent": 0.3, "strength": 0.9, "rest": 0.25,
            "pictures": first(PictureGroupSpec.execute("0, 1:3=0.5", 0.0)),
        })},
        run={"batch": 4, "steps": 6},
    ),
    "effect mask": Case(lambda acn: {"mask_optional": LEFT}, lambda: {"mask": LEFT}),
    "soft effect mask for each picture": Case(
        lambda acn: {"mask_optional": torch.cat([LEFT, SOFT_MASK])},
        lambda: {"mask": torch.cat([LEFT, SOFT_MASK])}, run={"batch": 2},
    ),
    "masks of keyframes, inherited": Case(
        lambda acn: {
            "mask_optional": SOFT_MASK,
            "timestep_kf": _their_keyframes(
                acn, {"start_percent": 0.0, "mask_optional": LEFT},
                {"start_percent": 0.4, "strength": 0.5},
            ),
        },
        lambda: {
            "mask": SOFT_MASK,
            "spec": _own_keyframes(
                {"start_percent": 0.0, "strength": 1.0, "mask": LEFT},
                {"start_percent": 0.4, "strength": 0.5},
            ),
        },
        **EVERY,
    ),
    **{
        f"soft weights {base:g}, negative prompt {uncond:g}, middle {middle:g}": Case(
            lambda acn, base=base, uncond=uncond, middle=middle: {"timestep_kf": second(
                acn.ACN_ScaledSoftControlNetWeights.execute(
                    base, uncond, first(acn.ACN_ExtrasMiddleMult.execute(middle))
                )
            )},
            lambda base=base, uncond=uncond, middle=middle: {"spec": first(
                SoftWeightsSpec.execute(
                    OWN_BASE, base, first(MiddleWeightSpec.execute(middle)), uncond
                )
            )},
        )
        for base, uncond, middle in ((0.825, 1.0, 1.0), (0.5, 0.3, 0.7), (1.0, 0.0, 1.0))
    },
    "custom weights as an override": Case(
        lambda acn: {"weights_override": first(_custom(acn, 0.5))},
        lambda: {"layer_weights": _own_custom(0.5)},
    ),
    "weights of keyframes, inherited and ended": Case(
        lambda acn: {"timestep_kf": _their_keyframes(
            acn,
            {"start_percent": 0.0, "cn_weights": first(_custom(acn, 0.5))},
            {"start_percent": 0.3, "strength": 0.8},
            {"start_percent": 0.6, "strength": 0.9, "inherit_missing": False},
        )},
        lambda: {"spec": _own_keyframes(
            {"start_percent": 0.0, "strength": 1.0, "weights": _own_custom(0.5)},
            {"start_percent": 0.3, "strength": 0.8},
            {"start_percent": 0.6, "strength": 0.9, "inherit": False},
        )},
        **EVERY,
    ),
    "all at once": Case(
        lambda acn: {
            "mask_optional": SOFT_MASK,
            "timestep_kf": _their_keyframes(
                acn,
                {
                    "start_percent": 0.0, "cn_weights": first(_custom(acn, 0.25)),
                    "latent_keyframe": first(acn.LatentKeyframeGroup.execute("1=0.5, 2")),
                },
                {"start_percent": 0.5, "strength": 1.3, "mask_optional": LEFT,
                 "null_latent_kf_strength": 0.5},
            ),
        },
        lambda: {
            "mask": SOFT_MASK,
            "spec": _own_keyframes(
                {
                    "start_percent": 0.0, "strength": 1.0, "weights": _own_custom(0.25),
                    "pictures": first(PictureGroupSpec.execute("1=0.5, 2", 0.0)),
                },
                {"start_percent": 0.5, "strength": 1.3, "mask": LEFT, "rest": 0.5},
            ),
        },
        apply=(0.7, 0.0, 0.9), run={"batch": 3, "steps": 6},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_same_latents(name: str, acn: Any, host: hosts.Host) -> None:
    case, image = CASES[name], picture()
    file = net_file(host.controlnets, seed=1)
    (control,) = nodes.ControlNetLoader().load_controlnet(file)
    expected = acn.ACN_AdvancedControlNetApply_v2.execute(
        *prompts(), control, image, *case.apply, **case.theirs(acn)
    ).args
    ours = Apply.execute(*prompts(), load_control(file), image, *case.apply, **case.ours()).args
    found, latents = sample(model(), *ours, **case.run), sample(model(), *expected, **case.run)
    assert (found - latents).abs().max() <= 1e-5 * latents.abs().max()
    # ... and what the case is about acts at all.
    (control,) = nodes.ControlNetLoader().load_controlnet(file)
    full = nodes.ControlNetApplyAdvanced().apply_controlnet(
        *prompts(), control, image, 1.0, 0.0, 1.0
    )
    assert (name == "plain") == torch.equal(sample(model(), *full, **case.run), latents)


def test_the_same_latents_with_one_prompt(acn: Any, host: hosts.Host) -> None:
    """The control reaches the negative prompt, too, through the host."""
    file, (positive, negative) = net_file(host.controlnets, seed=1), prompts()
    (control,) = nodes.ControlNetLoader().load_controlnet(file)
    theirs = first(acn.ACN_AdvancedControlNetApplySingle_v2.execute(
        positive, control, picture(), 0.8, 0.0, 1.0
    ))  # fmt: skip
    ours = first(ApplySingle.execute(positive, load_control(file), picture(), 0.8, 0.0, 1.0))
    expected = sample(model(), theirs, negative)
    found = sample(model(), ours, negative)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    both = Apply.execute(positive, negative, load_control(file), picture(), 0.8, 0.0, 1.0).args
    assert torch.equal(found, sample(model(), *both))


@pytest.mark.parametrize("row", FROM_ADVANCED, ids=lambda row: row.old)
def test_the_table_knows_the_old_nodes(row: Any, acn: Any) -> None:
    """Widgets as saved (required before optional), every input and output, of the old classes."""
    schema = vars(acn)[row.old].define_schema()
    order = sorted(schema.inputs, key=lambda each: bool(each.optional))
    simple = ("FLOAT", "INT", "STRING", "BOOLEAN", "COMBO")
    widgets = [
        each.id for each in order
        if each.io_type in simple and not getattr(each, "force_input", None)
    ]  # fmt: skip
    assert list(row.widgets) == widgets
    assert set(row.inputs.values()) <= {each.id for each in schema.inputs}
    assert len(row.outputs) <= len(schema.outputs)
