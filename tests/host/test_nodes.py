"""The nodes as a graph sees them: ids, tooltips, what they take and give."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import hosts
import pytest
import torch
from comfy_api.latest import io
from nets import CONFIGS, model, net_file, picture, prompts, random_net, sample

from controlstack.controlnet_core import formats
from controlstack.controlnet_core.control import ControlSpec, Window
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.nets import SDXL
from controlstack.nodes import NODES, ControlStackExtension, _has_schema
from controlstack.nodes.apply import Apply, Item, Stack, StackItem, apply_item
from controlstack.nodes.inspect import Inspect
from controlstack.nodes.load import load_control
from controlstack.nodes.union import UnionType
from controlstack.nodes.when import WindowSpec

SCHEMAS = {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in NODES}
SNAPSHOT = Path(__file__).with_name("schemas.json")


def _outline(schema: io.Schema) -> dict[str, Any]:
    """What saved workflows depend on: order and types of inputs and outputs."""
    return {
        "inputs": [[each.id, each.io_type] for each in schema.inputs],
        "outputs": [each.io_type for each in schema.outputs],
    }


def test_saved_workflows_still_fit() -> None:
    """Node ids never change and inputs are only appended: schemas.json holds what was released.

    After adding a node or appending an input, write the new outline into that file.
    """
    released = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    found = {node_id: _outline(schema) for node_id, schema in SCHEMAS.items()}
    assert found.keys() >= released.keys()
    for node_id, outline in released.items():
        count = len(outline["inputs"])
        assert found[node_id]["inputs"][:count] == outline["inputs"], node_id
        assert found[node_id]["outputs"] == outline["outputs"], node_id
    assert found == released, "new nodes or inputs: add them to schemas.json"


APPENDED = {
    ("ControlStackDepth", "normalise"), ("ControlStackDepthAnythingV2", "normalise"),
    ("ControlStackSoftWeights", "uncond_multiplier"),
}  # fmt: skip


@pytest.mark.parametrize(("node_id", "name"), sorted(APPENDED))
def test_saved_prompts_may_lack_what_was_appended(node_id: str, name: str) -> None:
    """A graph fills a new widget with its default; a prompt sent over HTTP would be refused."""
    inputs = {each.id: each for each in SCHEMAS[node_id].inputs}
    assert inputs[name].optional


@pytest.mark.parametrize("node_id", SCHEMAS)
def test_every_node_explains_itself(node_id: str) -> None:
    schema = SCHEMAS[node_id]
    assert node_id.startswith("ControlStack")
    assert schema.display_name.isascii()
    assert schema.category.startswith("ControlStack/")
    assert schema.description
    assert schema.search_aliases
    for each in (*schema.inputs, *schema.outputs):
        assert each.tooltip, f"{node_id}.{each.id} has no tooltip"
        assert each.tooltip.isascii()


def test_a_schema_that_raises_costs_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            raise TypeError("this host has no such input")

    monkeypatch.setattr("controlstack.nodes.NODES", (Broken, Apply))
    assert not _has_schema(Broken)
    assert asyncio.run(ControlStackExtension().get_node_list()) == [Apply]


def test_the_stack_equals_chained_applies_in_order(host: hosts.Host) -> None:
    names = [net_file(host.controlnets, seed=seed) for seed in (1, 2, 3)]
    settings = [(0.5, 0.0, 1.0), (0.8, 0.2, 0.9), (1.2, 0.0, 0.5)]
    items, conds = {}, tuple(prompts())
    for index, (name, values) in enumerate(zip(names, settings, strict=True)):
        control, image = load_control(name), picture(seed=index)
        items[f"item{index}"] = StackItem.execute(control, image, *values).args[0]
        conds = Apply.execute(*conds, control, image, *values).args
    items["item3"] = StackItem.execute(control, image, 1.0, 0.0, 1.0, enabled=False).args[0]
    stacked = Stack.execute(*prompts(), items).args
    assert torch.equal(sample(model(), *stacked), sample(model(), *conds))


def test_strength_range_and_mask_multiply_those_of_the_spec(host: hosts.Host) -> None:
    control = load_control(net_file(host.controlnets, seed=1))
    mask = torch.zeros(1, 64, 64)
    mask[..., :32] = 1.0
    spec = ControlSpec(0.5, Window(0.0, 0.6), mask=mask[:, None].flip(-1) + 0.5 * mask[:, None])
    both = Apply.execute(*prompts(), control, picture(), 0.8, 0.2, 1.0, mask=mask, spec=spec).args
    one = Apply.execute(
        *prompts(), control, picture(), 0.4, 0.2, 1.0, mask=0.5 * mask,
        spec=ControlSpec(schedule=Window(0.0, 0.6)),
    ).args  # fmt: skip
    torch.testing.assert_close(sample(model(), *both), sample(model(), *one), rtol=1e-4, atol=1e-3)


def test_windows_nest(host: hosts.Host) -> None:
    inner = WindowSpec.execute(0.5, 0.0, 0.8).args[0]
    spec = WindowSpec.execute(0.5, 0.5, 1.0, spec=inner).args[0]
    assert [spec.gain(t) for t in (0.0, 0.49, 0.5, 0.79, 0.8, 1.0)] == [0, 0, 0.25, 0.25, 0, 0]


BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "start after end": ("CN-S01", {"start_percent": 0.8, "end_percent": 0.2}),
    "start below 0": ("CN-S03", {"start_percent": -0.5}),
    "NaN start": ("CN-S03", {"start_percent": float("nan")}),
    "NaN strength": ("CN-S05", {"strength": float("nan")}),
    "infinite strength": ("CN-S05", {"strength": float("inf")}),
    "no image": ("CN-I02", {"image": torch.zeros(0, 64, 64, 3)}),
    "no pixels": ("CN-I02", {"image": torch.zeros(1, 0, 64, 3)}),
    "2 channels": ("CN-I06", {"image": torch.zeros(1, 64, 64, 2)}),
    "channels first": ("CN-I06", {"image": torch.zeros(1, 3, 64, 64)}),
    "a ribbon": ("CN-I18", {"image": torch.zeros(1, 1, 2048, 3)}),
    "NaN pixels": ("CN-I14", {"image": torch.full((1, 8, 8, 3), float("nan"))}),
    "0 to 255": ("CN-I11", {"image": torch.full((1, 8, 8, 3), 200.0)}),
    "five axes": ("CN-I08", {"image": torch.zeros(1, 2, 8, 8, 3)}),
    "no mask": ("CN-K03", {"mask": torch.zeros(0, 64, 64)}),
    "a mask of 0 to 255": ("CN-K07", {"mask": torch.full((1, 8, 8), 255.0)}),
    "NaN mask": ("CN-K06", {"mask": torch.full((1, 8, 8), float("nan"))}),
}


@pytest.mark.parametrize("node", ["Apply", "Stack"])
@pytest.mark.parametrize("row", BAD)
def test_bad_input_is_refused_when_the_node_runs(row: str, node: str, host: hosts.Host) -> None:
    code, changes = BAD[row]
    values = {"image": picture(), "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0}
    values |= {"control_net": load_control(net_file(host.controlnets, seed=1)), **changes}

    def run() -> None:
        if node == "Apply":
            Apply.execute(*prompts(), **values)
        else:
            Stack.execute(*prompts(), {"item0": StackItem.execute(**values).args[0]})

    with pytest.raises(ControlInputError) as error:
        run()
    assert error.value.code == code
    assert len(str(error.value)) <= 600


@pytest.mark.parametrize("image", [
    torch.rand(1, 1, 1, 3), torch.rand(1, 63, 65, 3), torch.rand(64, 64, 3),
    torch.rand(2, 64, 64, 1), torch.rand(1, 64, 64, 4),
    torch.rand(1, 64, 64, 3, dtype=torch.float64), torch.rand(1, 64, 64, 3) * 1.04,
    torch.rand(1, 64, 64, 3).half(),
], ids=lambda x: f"{tuple(x.shape)}-{x.dtype}")  # fmt: skip
@pytest.mark.parametrize(
    "mask", [None, torch.ones(1, 1, 1), torch.ones(3, 70, 50), torch.ones(9, 9)]
)
def test_unusual_input_is_accepted(
    mask: torch.Tensor | None, image: torch.Tensor, host: hosts.Host
) -> None:
    control, before = load_control(net_file(host.controlnets, seed=1)), image.clone()
    conds = apply_item(Item(control, image, mask=mask), tuple(prompts()))
    latents = sample(model(), *conds, steps=1, size=(7, 9))
    assert latents.isfinite().all()
    assert (latents - sample(model(), *prompts(), steps=1, size=(7, 9))).abs().max() > 1e-2
    assert torch.equal(image, before)


def test_what_is_rarely_meant_is_logged(
    host: hosts.Host, caplog: pytest.LogCaptureFixture
) -> None:
    control = load_control(net_file(host.controlnets, seed=1))
    apply_item(
        Item(control, torch.rand(1, 1, 1, 3), 1.0, 0.5, 0.5, torch.zeros(1, 64, 64)),
        tuple(prompts()),
    )
    assert [word for word in ("1 x 1 pixels", "are equal", "is black") if word in caplog.text] == [
        "1 x 1 pixels", "are equal", "is black",
    ]  # fmt: skip


def test_the_hosts_apply_refuses_bad_hints_for_our_nets_too(host: hosts.Host) -> None:
    import nodes

    control = load_control(net_file(host.controlnets, seed=1))
    conds = nodes.ControlNetApplyAdvanced().apply_controlnet(
        *prompts(), control, torch.zeros(1, 64, 64, 2), 1.0, 0.0, 1.0
    )
    with pytest.raises(ControlInputError, match="CN-I06"):
        sample(model(), *conds)


# Union nets.


@pytest.fixture(scope="module")
def union(host: hosts.Host) -> Any:
    config = CONFIGS["SDXL"].like(union_types=6)
    formats.save(random_net(config, seed=3), host.controlnets / "union.safetensors")
    return load_control("union.safetensors")


def typed(control: Any, *types: tuple[str, Any]) -> Any:
    for kind, image in types:
        control = UnionType.execute(control, kind, image).args[0]
    return control


def latents_of(control: Any, image: torch.Tensor, batch: int = 2) -> torch.Tensor:
    conds = apply_item(Item(control, image), tuple(prompts("SDXL")))
    return sample(model("SDXL"), *conds, batch=batch, steps=2)


def test_two_types_run_in_one_pass_each_with_its_hint(union: Any) -> None:
    from test_bridge import counted

    from controlstack.controlnet_core.nets import UnionControlNet

    depth, canny = picture(seed=1), picture(seed=2)
    both = typed(union, ("depth", depth), ("canny/lineart/anime_lineart/mlsd", canny))
    with counted(UnionControlNet, "forward") as calls:
        latents = latents_of(both, picture(seed=3))
    assert calls == [4, 4]
    one = typed(union, ("depth", None), ("canny/lineart/anime_lineart/mlsd", canny))
    assert torch.equal(latents, latents_of(one, depth))  # without an image: Apply's
    single = latents_of(typed(union, ("depth", depth)), picture(seed=3))
    assert (latents - single).abs().max() > 1e-2
    swapped = typed(union, ("depth", canny), ("canny/lineart/anime_lineart/mlsd", depth))
    assert (latents - latents_of(swapped, picture(seed=3))).abs().max() > 1e-2


def test_types_chain_replace_and_are_forgotten(union: Any) -> None:
    chained = typed(union, ("depth", picture(seed=1)), ("normal", None), ("depth", picture(seed=2)))
    assert chained.types == [4, 1]
    assert torch.equal(chained.type_hints[1], picture(seed=2).movedim(-1, 1))
    assert union.types == []
    forgotten = typed(chained, ("auto", None))
    assert (forgotten.types, forgotten.type_hints) == ([], {})


def test_types_of_several_hint_counts_and_frames(union: Any) -> None:
    both = typed(union, ("depth", picture(3)), ("normal", picture(1)))
    assert latents_of(both, picture(2), batch=4).isfinite().all()


def test_a_type_the_file_has_not_is_refused(union: Any, host: hosts.Host) -> None:
    with pytest.raises(ControlInputError, match=r"CN-W23.*union.safetensors.*type 6.*openpose"):
        typed(union, ("tile", None))
    through_host = union.copy()
    through_host.set_extra_arg("control_type", [6])  # as the host's own node does
    conds = apply_item(Item(through_host, picture()), tuple(prompts("SDXL")))
    with pytest.raises(ControlInputError, match=r"CN-W23.*type 6.*openpose"):
        sample(model("SDXL"), *conds)
    plain = load_control(net_file(host.controlnets, "SDXL", seed=1))
    with pytest.raises(ControlInputError, match=r"CN-W23.*ordinary"):
        UnionType.execute(plain, "depth")


def test_inspect_tells_what_a_net_is(union: Any, host: hosts.Host) -> None:
    text = Inspect.execute(load_control(net_file(host.controlnets, "SD15", seed=1))).args[0]
    assert "base model: SD1.5 (text width 768)" in text
    assert "residuals: 4 output (64@1/1 64@1/1 64@1/2 128@1/2), 1 middle (128@1/2)" in text
    assert "dtype: float32" in text
    assert "types: openpose, depth" in Inspect.execute(union).args[0]
    assert SDXL.residual_layout[-1] == (1280, 4)
    from test_bridge import t2i_adapter

    assert "run by: ComfyUI" in Inspect.execute(t2i_adapter()).args[0]
