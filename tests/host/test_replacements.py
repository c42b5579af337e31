"""Graphs made with Advanced-ControlNet: its nodes are swapped for ours, widget by widget."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import comfy_api.latest
import execution
import hosts
import nodes as host_nodes
import pytest
import torch
from comfy_api.latest import io
from nets import net_file

from controlstack.controlnet_core.control import ControlSpec, Soft
from controlstack.nodes import NODES, _replacements
from controlstack.nodes._from_advanced import FROM_ADVANCED
from controlstack.nodes._replacement import Replacement
from controlstack.nodes._replacements import REPLACEMENTS, register_replacements, swapped

SCHEMAS = {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in NODES}
CLASSES = {node.GET_SCHEMA().node_id: node for node in NODES}


def _numbered(name: str, count: int, digits: int = 1) -> list[str]:
    return [f"{name}_{index:0{digits}}" for index in range(count)]


SD15 = [*_numbered("output", 12), "middle_0", "uncond_multiplier"]
FLUX = [*_numbered("input", 19), "uncond_multiplier"]
T2I = [*_numbered("input", 4), "uncond_multiplier"]
OLD_SD15 = [*_numbered("weight", 13, 2), "flip_weights", "uncond_multiplier"]
OLD_T2I = [*_numbered("weight", 4, 2), "flip_weights", "uncond_multiplier"]
APPLY = ["strength", "start_percent", "end_percent"]
KEYFRAME_END = ["null_latent_kf_strength", "inherit_missing"]
WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS = ["cn_extras"], ["CN_WEIGHTS", "TK_SHORTCUT"]
KEYFRAME_SOCKETS = ["prev_timestep_kf", "cn_weights", "latent_keyframe", "mask_optional"]
APPLY_SOCKETS = [
    "control_net", "image", "mask_optional", "timestep_kf", "latent_kf_override",
    "weights_override", "vae_optional",
]  # fmt: skip

OLD_NODES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "TimestepKeyframe": (
        ["start_percent", "strength", *KEYFRAME_END, "guarantee_steps"],
        KEYFRAME_SOCKETS, ["TIMESTEP_KF"],
    ),
    "ACN_TimestepKeyframeInterpolation": (
        ["start_percent", "end_percent", "strength_start", "strength_end", "interpolation",
         "intervals", *KEYFRAME_END, "print_keyframes"],
        KEYFRAME_SOCKETS, ["TIMESTEP_KF"],
    ),
    "ACN_TimestepKeyframeFromStrengthList": (
        ["start_percent", "end_percent", *KEYFRAME_END, "print_keyframes"],
        ["float_strengths", *KEYFRAME_SOCKETS], ["TIMESTEP_KF"],
    ),
    "LatentKeyframe": (["batch_index", "strength"], ["prev_latent_kf"], ["LATENT_KF"]),
    "LatentKeyframeTiming": (
        ["batch_index_from", "batch_index_to_excl", "strength_from", "strength_to",
         "interpolation", "print_keyframes"],
        ["prev_latent_kf"], ["LATENT_KF"],
    ),
    "LatentKeyframeBatchedGroup": (
        ["print_keyframes"], ["float_strengths", "prev_latent_kf"], ["LATENT_KF"]
    ),
    "LatentKeyframeGroup": (
        ["index_strengths", "print_keyframes"], ["prev_latent_kf", "latent_optional"],
        ["LATENT_KF"],
    ),
    "ACN_AdvancedControlNetApply_v2": (
        APPLY, ["positive", "negative", *APPLY_SOCKETS], ["positive", "negative"]
    ),
    "ACN_AdvancedControlNetApply": (
        APPLY, ["positive", "negative", *APPLY_SOCKETS, "model_optional"],
        ["positive", "negative", "model_opt"],
    ),
    "ACN_AdvancedControlNetApplySingle_v2": (
        APPLY, ["conditioning", *APPLY_SOCKETS], ["CONDITIONING", "model_opt"]
    ),
    "ACN_AdvancedControlNetApplySingle": (
        APPLY, ["conditioning", *APPLY_SOCKETS, "model_optional"], ["CONDITIONING", "model_opt"]
    ),
    "ACN_ControlNetLoaderAdvanced": (["cnet"], ["_tk_opt"], ["CONTROL_NET"]),
    "ACN_DiffControlNetLoaderAdvanced": (["cnet"], ["model", "_tk_opt"], ["CONTROL_NET"]),
    "ControlNetLoaderAdvanced": (["control_net_name"], ["tk_optional"], ["CONTROL_NET"]),
    "DiffControlNetLoaderAdvanced": (
        ["control_net_name"], ["model", "tk_optional"], ["CONTROL_NET"]
    ),
    "ACN_ScaledSoftControlNetWeights": (
        ["base_multiplier", "uncond_multiplier"], WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS
    ),
    "ScaledSoftControlNetWeights": (
        ["base_multiplier", "flip_weights", "uncond_multiplier"], WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS
    ),
    "ACN_SoftControlNetWeightsSD15": (SD15, WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS),
    "ACN_CustomControlNetWeightsSD15": (SD15, WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS),
    "SoftControlNetWeights": (OLD_SD15, WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS),
    "CustomControlNetWeights": (OLD_SD15, WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS),
    "ACN_CustomControlNetWeightsFlux": (FLUX, WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS),
    "ACN_SoftT2IAdapterWeights": (T2I, WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS),
    "ACN_CustomT2IAdapterWeights": (T2I, WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS),
    "SoftT2IAdapterWeights": (OLD_T2I, WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS),
    "CustomT2IAdapterWeights": (OLD_T2I, WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS),
    "ACN_DefaultUniversalWeights": ([], WEIGHTS_SOCKETS, WEIGHTS_OUTPUTS),
    "ACN_ExtrasMiddleMult": (["middle_mult"], WEIGHTS_SOCKETS, ["cn_extras"]),
}  # fmt: skip
"""Widgets in saved order, sockets and outputs of the old nodes, as Advanced-ControlNet 1.5.8 shows
them in object_info."""

_UNUSED_WIDGETS = {"guarantee_steps", "print_keyframes", "flip_weights"}
_UNUSED_SOCKETS = {"latent_optional", "model_optional", "_tk_opt", "tk_optional"}
ROWS = pytest.mark.parametrize("row", FROM_ADVANCED, ids=lambda row: row.old)


def test_each_old_node_stands_once_in_the_table() -> None:
    assert sorted(row.old for row in FROM_ADVANCED) == sorted(OLD_NODES)
    assert len({row.old for row in REPLACEMENTS}) == len(REPLACEMENTS)


@ROWS
def test_a_row_names_what_both_nodes_have(row: Replacement) -> None:
    widgets, sockets, outputs = OLD_NODES[row.old]
    told, schema = row.for_host().as_dict(), SCHEMAS[row.new]
    assert told["old_widget_ids"] == widgets
    ours = {each.id: each for each in schema.inputs}
    mapped = {each["new_id"]: each for each in told["input_mapping"]}
    assert len(mapped) == len(told["input_mapping"])
    assert mapped.keys() <= ours.keys()
    assert {name for name, each in ours.items() if not each.optional} <= mapped.keys()
    used = [each["old_id"] for each in told["input_mapping"] if "old_id" in each]
    assert len(set(used)) == len(used), "the front end moves a link once"
    assert {*widgets, *sockets} - set(used) <= _UNUSED_WIDGETS | _UNUSED_SOCKETS
    assert set(used) <= {*widgets, *sockets}
    for each in told["output_mapping"]:
        assert each["old_idx"] < len(outputs)
        assert each["new_idx"] < len(schema.outputs)


@ROWS
def test_values_that_are_set_are_values_of_their_widgets(row: Replacement) -> None:
    ours = {each.id: each for each in SCHEMAS[row.new].inputs}
    for name, value in row.values.items():
        widget = ours[name]
        if isinstance(widget, io.Combo.Input):
            assert value in widget.options
        else:
            assert widget.min <= value <= widget.max


def test_interpolations_have_the_old_names() -> None:
    for node in ("ControlStackKeyframeRamp", "ControlStackPictureRange"):
        options = next(each for each in SCHEMAS[node].inputs if each.id == "interpolation").options
        assert options == ["linear", "ease-in", "ease-out", "ease-in-out"]


# In the host.


@pytest.fixture
def prompt_server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("_prompt_server")


def test_the_host_lists_them(prompt_server: Any) -> None:
    listed = prompt_server.node_replace_manager.as_dict()
    for row in REPLACEMENTS:
        assert row.for_host().as_dict() in listed[row.old]
    json.dumps(listed)
    assert swapped in prompt_server.on_prompt_handlers


def test_a_host_without_swaps_or_server_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        pass

    monkeypatch.setattr(_replacements, "ComfyAPI", Old)
    asyncio.run(register_replacements())
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "server", None)
    asyncio.run(register_replacements())
    assert hasattr(comfy_api.latest.ComfyAPI(), "node_replacement")


Prompt = dict[str, dict[str, Any]]


def old_prompt(file: str, *, whole: bool) -> Prompt:
    """Every old node in one prompt; `whole` with each optional socket connected and `_meta`."""
    defaults: dict[str, Any] = {
        "interpolation": "ease-in", "intervals": 5, "inherit_missing": True, "end_percent": 1.0,
        "index_strengths": "0, 1:2=0.5", "batch_index_to_excl": 1, "batch_index": 0,
        "batch_index_from": 0, "guarantee_steps": 1, "print_keyframes": False,
        "flip_weights": False, "start_percent": 0.0, "null_latent_kf_strength": 0.25,
        "cnet": file, "control_net_name": file,
    }  # fmt: skip
    links = {
        "positive": ["clip", 0], "negative": ["clip", 0], "conditioning": ["clip", 0],
        "model": ["base", 0], "image": ["image", 0], "float_strengths": ["float", 0],
        "control_net": ["ACN_ControlNetLoaderAdvanced", 0], "mask_optional": ["mask", 0],
        "cn_weights": ["ACN_SoftControlNetWeightsSD15", 0], "vae_optional": ["base", 2],
        "prev_timestep_kf": ["ACN_ScaledSoftControlNetWeights", 1],
        "latent_keyframe": ["LatentKeyframeGroup", 0], "timestep_kf": ["TimestepKeyframe", 0],
        "latent_kf_override": ["LatentKeyframeGroup", 0],
        "weights_override": ["ACN_ScaledSoftControlNetWeights", 0],
        "model_optional": ["base", 0], "latent_optional": ["latent", 0],
        "cn_extras": ["extras", 0], "prev_latent_kf": ["before", 0],
    }  # fmt: skip
    required = {
        "positive", "negative", "conditioning", "model", "image", "float_strengths", "control_net",
    }  # fmt: skip
    prompt: Prompt = {
        "base": {"class_type": "TinyCheckpoint", "inputs": {}},
        "clip": {
            "class_type": "CLIPTextEncode", "inputs": {"text": "a house", "clip": ["base", 1]},
        },
        "image": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0x8899AA},
        },
        "mask": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 64, "height": 64}},
        "latent": {
            "class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64,
                                                         "batch_size": 2},
        },
        "float": {"class_type": "PrimitiveFloat", "inputs": {"value": 0.5}},
        "extras": {"class_type": "ACN_ExtrasMiddleMult", "inputs": {"middle_mult": 0.5}},
        "before": {"class_type": "LatentKeyframe", "inputs": {"batch_index": -1, "strength": 0.5}},
    }  # fmt: skip
    for name, (widgets, sockets, _) in OLD_NODES.items():
        inputs = {widget: defaults.get(widget, 0.75) for widget in widgets}
        inputs |= {
            socket: links[socket] for socket in sockets
            if socket in links and (whole or socket in required)
        }  # fmt: skip
        prompt[name] = {"class_type": name, "inputs": inputs}
        if whole:
            prompt[name]["_meta"] = {"title": name}
    return prompt


def in_pairs(prompt: Prompt) -> None:
    """Adds a sampler behind every Apply, so that the prompt has something to validate."""
    for seed, name in enumerate([name for name in prompt if "Apply" in name]):
        second = 0 if "Single" in name else 1
        prompt[f"sample {name}"] = {
            "class_type": "KSampler",
            "inputs": {
                "model": ["base", 0], "positive": [name, 0], "negative": [name, second],
                "latent_image": ["latent", 0], "seed": seed, "steps": 2, "cfg": 3.0,
                "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
            },
        }  # fmt: skip
        prompt[f"show {name}"] = {
            "class_type": "VAEDecode",
            "inputs": {"samples": [f"sample {name}", 0], "vae": ["base", 2]},
        }
        prompt[f"save {name}"] = {
            "class_type": "PreviewImage", "inputs": {"images": [f"show {name}", 0]}
        }


BY_OLD = {row.old: row for row in REPLACEMENTS}


@pytest.mark.parametrize("whole", [True, False], ids=["all sockets", "required sockets"])
def test_prompts_for_the_api_are_swapped_and_run(
    whole: bool, host: hosts.Host, run_graph: Callable[..., Any], prompt_server: Any
) -> None:
    posted = old_prompt(net_file(host.controlnets, seed=1), whole=whole)
    in_pairs(posted)
    before = json.dumps(posted)
    prompt = prompt_server.trigger_on_prompt({"prompt": posted, "client_id": "x"})["prompt"]
    assert json.dumps(posted) == before
    prompt_server.node_replace_manager.apply_replacements(prompt)  # as the server does next
    for name in OLD_NODES:
        assert prompt[name]["class_type"] == BY_OLD[name].new
        checked = asyncio.run(execution.validate_inputs("check", prompt, name, {}))
        assert checked[0], (name, checked)
    # The weights fit SD1.5; this small net has four blocks.
    for node in prompt.values():
        if node["class_type"] == "ControlStackBlockWeightsSD15":
            node |= {"class_type": "ControlStackUncond", "inputs": {"uncond_strength": 0.5}}
    assert len(run_graph(prompt)) == 4


@ROWS
def test_the_host_swaps_each_node_alone(row: Replacement, host: hosts.Host) -> None:
    """Through its own manager, as it does for a node with all sockets connected to other nodes."""
    from app.node_replace_manager import NodeReplaceManager

    manager = NodeReplaceManager()
    manager.register(row.for_host())
    file = net_file(host.controlnets, seed=1)
    posted = old_prompt(file, whole=True)
    prompt = _with_others_swapped(posted, row.old)
    manager.apply_replacements(prompt)
    assert prompt[row.old]["class_type"] == row.new
    assert {**prompt[row.old], "_meta": None} == {
        **swapped({"prompt": posted})["prompt"][row.old], "_meta": None,
    }  # fmt: skip
    checked = asyncio.run(execution.validate_inputs("check", prompt, row.old, {}))
    assert checked[0], checked


def _with_others_swapped(prompt: Prompt, old: str) -> Prompt:
    """`prompt` with ours for all but one, which is nobody's input."""
    ours = swapped({"prompt": prompt})["prompt"]
    return {**ours, old: {**json.loads(json.dumps(prompt[old])), "inputs": {
        name: [value[0], 0] if isinstance(value, list) and value[0] != "base" else value
        for name, value in prompt[old]["inputs"].items()
    }}}  # fmt: skip


def test_shortcuts_lead_to_the_one_output() -> None:
    prompt = {
        "1": {"class_type": "ACN_DefaultUniversalWeights", "inputs": {}},
        "2": {
            "class_type": "TimestepKeyframe",
            "inputs": {"prev_timestep_kf": ["1", 1], "cn_weights": ["1", 0], "strength": 0.5},
        },
        "3": {"class_type": "Foreign", "inputs": {"any": ["1", 1], "pair": [1, 2]}},
    }
    found = swapped({"prompt": prompt})["prompt"]
    assert found["1"]["inputs"] == {"rule": "flat", "base": 1.0}
    assert found["2"]["inputs"] == {"strength": 0.5, "spec": ["1", 0], "weights": ["1", 0]}
    assert found["3"] == {"class_type": "Foreign", "inputs": {"any": ["1", 0], "pair": [1, 2]}}


def test_installed_old_nodes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"class_type": "LatentKeyframe", "inputs": {"batch_index": 0, "strength": 1.0}}
    data = {"prompt": {"1": node}}
    assert swapped(data)["prompt"]["1"]["class_type"] == "ControlStackPicture"
    monkeypatch.setitem(host_nodes.NODE_CLASS_MAPPINGS, "LatentKeyframe", object)
    assert swapped(data) is data


@pytest.mark.parametrize(
    "data", [{}, {"prompt": None}, {"prompt": {"1": None, "2": {}, "3": {"class_type": "X"}}}]
)
def test_what_is_no_prompt_is_left_to_the_host(data: dict[str, Any]) -> None:
    assert swapped(data) is data


def test_values_arrive_in_the_right_widgets() -> None:
    """An old row of soft weights with values of its own, through the table, as a spec."""
    row = next(row for row in REPLACEMENTS if row.old == "ScaledSoftControlNetWeights")
    saved = dict(zip(row.widgets, (0.5, True, 0.25), strict=True))
    values = {new: saved[old] for new, old in row.inputs.items() if old in saved}
    spec: ControlSpec = CLASSES[row.new].execute(**values, **row.values).args[0]
    assert isinstance(spec.weights, Soft)
    assert (spec.weights.base, spec.uncond_strength) == (0.5, 0.25)
    row = next(row for row in REPLACEMENTS if row.old == "CustomControlNetWeights")
    saved = {name: index / 100 for index, name in enumerate(row.widgets)}
    values = {new: saved[old] for new, old in row.inputs.items() if old in saved}
    spec = CLASSES[row.new].execute(**values).args[0]
    found = [spec.weights("output", index, 12, 1.0) for index in range(12)]
    assert found == [index / 100 for index in range(12)]
    assert spec.weights("middle", 0, 1, 1.0) == 0.12
    assert spec.uncond_strength == 0.14
    assert torch.tensor(found).sum() > 0


# The page for people who come from there.

PAGE = (hosts.PACK / "docs" / "from-advanced-controlnet.md").read_text(encoding="utf-8")
NOT_SWAPPED = {
    "ACN_AnimaLLLiteLoaderAdvanced", "ScaledSoftMaskedUniversalWeights",
    "ACN_CustomControlNetWeightsAnima", "ACN_AnimaLLLiteExtras", "ACN_SparseCtrlRGBPreprocessor",
    "ACN_SparseCtrlLoaderAdvanced", "ACN_SparseCtrlMergedLoaderAdvanced",
    "ACN_SparseCtrlIndexMethodNode", "ACN_SparseCtrlSpreadMethodNode",
    "ACN_SparseCtrlWeightExtras", "ACN_ControlNet++LoaderSingle",
    "ACN_ControlNet++LoaderAdvanced", "ACN_ControlNet++InputNode", "ACN_CtrLoRALoader",
    "ACN_ReferencePreprocessor", "ACN_ReferenceControlNet", "ACN_ReferenceControlNetFinetune",
    "LoadImagesFromDirectory",
}  # fmt: skip


def test_the_page_names_every_old_node_and_our_swap_for_it() -> None:
    lines = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("|")]
    rows = {
        cells[-3].strip("`"): cells[-2:]
        for cells in lines
        if len(cells) >= 3 and re.fullmatch(r"`[^`]+`", cells[-3])
    }
    assert rows.keys() == OLD_NODES.keys() | NOT_SWAPPED
    assert len(rows) == 46
    for old, (ours, how) in rows.items():
        assert how.startswith("swap") == (old in BY_OLD), old
        if old in BY_OLD:
            assert ours.startswith(SCHEMAS[BY_OLD[old].new].display_name), old


def test_the_page_names_tests_that_there_are() -> None:
    file = ""
    for path, name in re.findall(r"`([\w/]*\.py)?::(\w+)`", PAGE):
        file = path or file
        tests = (hosts.PACK / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"(def|class) {name}\b", tests), name
    assert file
