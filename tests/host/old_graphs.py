"""Graphs made with other packs as the front end saves them, and the prompts that they become."""

from __future__ import annotations

from typing import Any

SOFT = [0.825 ** (12 - block) for block in range(13)]
OldNode = tuple[str, dict[str, tuple[int, int]], list[Any]]
"""Type, links into it {input: (node, output)}, values of its widgets as saved."""
OLD_NODES: dict[str, dict[int, OldNode]] = {
    "Advanced-ControlNet": {
        1: ("EmptyImage", {}, [64, 64, 1, 0]),
        2: ("CLIPTextEncode", {}, ["a house"]),
        3: ("CLIPTextEncode", {}, [""]),
        4: ("ACN_ControlNetLoaderAdvanced", {}, ["tiny.safetensors"]),
        5: ("ACN_ScaledSoftControlNetWeights", {}, [0.7, 0.5]),
        6: ("LatentKeyframeGroup", {}, ["0, 1=0.5", False]),
        7: ("TimestepKeyframe", {"cn_weights": (12, 0), "latent_keyframe": (6, 0)},
            [0.3, 0.8, 0.25, True, 1]),
        8: ("ACN_TimestepKeyframeInterpolation", {"prev_timestep_kf": (7, 0)},
            [0.5, 0.9, 1.0, 0.2, "ease-in", 7, 0.0, False, False]),
        9: ("ACN_AdvancedControlNetApply_v2",
            {"positive": (2, 0), "negative": (3, 0), "control_net": (4, 0), "image": (1, 0),
             "timestep_kf": (8, 0), "weights_override": (5, 0)}, [0.9, 0.1, 0.8]),
        10: ("ConditioningZeroOut", {"conditioning": (9, 0)}, []),
        11: ("ConditioningZeroOut", {"conditioning": (9, 1)}, []),
        12: ("ACN_SoftControlNetWeightsSD15", {}, [*SOFT, 1.0]),
    },
    "comfyui_controlnet_aux": {
        1: ("EmptyImage", {}, [64, 64, 1, 0]),
        2: ("CannyEdgePreprocessor", {"image": (1, 0)}, [90, 180, 512]),
        3: ("LineartStandardPreprocessor", {"image": (2, 0)}, [5.0, 9, 448]),
        4: ("HEDPreprocessor", {"image": (3, 0)}, ["enable", 384]),
        5: ("PreviewImage", {"images": (4, 0)}, []),
    },
}  # fmt: skip
SWAPPED: dict[str, dict[int, tuple[str, dict[str, Any]]]] = {
    "Advanced-ControlNet": {
        4: ("ControlStackLoad", {"control_net_name": "tiny.safetensors"}),
        5: ("ControlStackSoftWeights",
            {"rule": "base ^ blocks from the middle", "base": 0.7, "uncond_multiplier": 0.5}),
        6: ("ControlStackPictureGroup", {"index_strengths": "0, 1=0.5", "rest": 0}),
        7: ("ControlStackKeyframe",
            {"start_percent": 0.3, "strength": 0.8, "rest": 0.25, "inherit": True,
             "weights": ["12", 0], "pictures": ["6", 0]}),
        8: ("ControlStackKeyframeRamp",
            {"start_percent": 0.5, "end_percent": 0.9, "strength_start": 1, "strength_end": 0.2,
             "interpolation": "ease-in", "intervals": 7, "rest": 0, "inherit": False,
             "spec": ["7", 0]}),
        9: ("ControlStackApply",
            {"strength": 0.9, "start_percent": 0.1, "end_percent": 0.8, "positive": ["2", 0],
             "negative": ["3", 0], "control_net": ["4", 0], "image": ["1", 0], "spec": ["8", 0],
             "layer_weights": ["5", 0]}),
        10: ("ConditioningZeroOut", {"conditioning": ["9", 0]}),
        11: ("ConditioningZeroOut", {"conditioning": ["9", 1]}),
        12: ("ControlStackBlockWeightsSD15",  # the front end rounds to the step of a widget
             {f"output_{block}": round(SOFT[block], 3) for block in range(12)}
             | {"middle_0": 1, "uncond_multiplier": 1}),
    },
    "comfyui_controlnet_aux": {
        2: ("ControlStackCanny",
            {"low_threshold": 90, "high_threshold": 180, "resolution": 512, "image": ["1", 0]}),
        3: ("ControlStackLineartStandard",
            {"gaussian_sigma": 5, "intensity_threshold": 9, "resolution": 448, "image": ["2", 0]}),
        4: ("ControlStackSoftedgeHed", {"safe": True, "resolution": 384, "image": ["3", 0]}),
        5: ("PreviewImage", {"images": ["4", 0]}),
    },
}  # fmt: skip


def old_graph(nodes: dict[int, OldNode]) -> dict[str, Any]:
    """A workflow as the front end saves it; sockets have the one type of a missing node, "*"."""
    links = [
        [number, start, out, end, into, "*"]
        for number, (start, out, end, into) in enumerate(
            ((*source, end, into) for end, (_, inputs, _) in nodes.items()
             for into, source in enumerate(inputs.values())), start=1,
        )
    ]  # fmt: skip
    return {
        "version": 0.4, "last_node_id": max(nodes), "last_link_id": len(links), "links": links,
        "groups": [], "config": {}, "extra": {},
        "nodes": [{
            "id": id, "type": kind, "pos": [350 * id, 0], "size": [300, 200], "mode": 0,
            "order": id, "flags": {}, "properties": {}, "widgets_values": values,
            "inputs": [
                {"name": name, "type": "*",
                 "link": next(n for n, *_, end, at, _ in links if (end, at) == (id, into))}
                for into, name in enumerate(inputs)
            ],
            "outputs": [
                {"name": f"out {out}", "type": "*",
                 "links": [n for n, start, at, *_ in links if (start, at) == (id, out)]}
                for out in range(2)
            ],
        } for id, (kind, inputs, values) in nodes.items()],
    }  # fmt: skip
