"""Small random networks for poses, in the files that the catalogue names."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

SIDE, STRIDES, ANSWERS = 640, (8, 16, 32), 85
CROP, JOINTS = (384, 288), 133


def onnx_file(path: Path, nodes: list[Any], weights: dict[str, Any], ins: Any, outs: Any) -> None:
    """A file of those nodes and weights; `ins` and `outs` are shapes by name."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    def values(shapes: dict[str, Any]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in shapes.items()]

    constants = [numpy_helper.from_array(x, name) for name, x in weights.items()]
    graph = helper.make_graph(nodes, "tiny", values(ins), values(outs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))


def tiny_yolox(path: Path) -> None:
    """People as large as 12 of the coarsest cells, wherever it is bright; one picture at a time."""
    from onnx import helper

    random = np.random.default_rng(3)
    nodes, weights = [], {"flat": np.array([1, ANSWERS, -1])}
    for stride in STRIDES:
        kernel = random.normal(0, 1e-4, (ANSWERS, 3, 1, 1)).astype(np.float32)
        bias = np.full(ANSWERS, -9.0, np.float32)
        bias[:5], bias[5] = (0.5, 0.5, np.log(12), np.log(12), -9), 4
        if stride == STRIDES[-1]:
            kernel[4], bias[4] = 12 / 255 / 3, -12 * 0.6
        weights |= {f"kernel{stride}": kernel, f"bias{stride}": bias}
        nodes += [
            helper.make_node(
                "AveragePool", ["images"], [f"cells{stride}"],
                kernel_shape=[stride] * 2, strides=[stride] * 2,
            ),
            helper.make_node(
                "Conv", [f"cells{stride}", f"kernel{stride}", f"bias{stride}"], [f"map{stride}"]
            ),
            helper.make_node("Reshape", [f"map{stride}", "flat"], [f"row{stride}"]),
        ]
    weights["parts"] = np.array([4, ANSWERS - 4])
    nodes += [
        helper.make_node("Concat", [f"row{stride}" for stride in STRIDES], ["rows"], axis=2),
        helper.make_node("Split", ["rows", "parts"], ["boxes", "logits"], axis=1),
        helper.make_node("Sigmoid", ["logits"], ["chances"]),
        helper.make_node("Concat", ["boxes", "chances"], ["columns"], axis=1),
        helper.make_node("Transpose", ["columns"], ["output"], perm=[0, 2, 1]),
    ]
    count = sum((SIDE // stride) ** 2 for stride in STRIDES)
    onnx_file(path, nodes, weights, {"images": [1, 3, SIDE, SIDE]}, {"output": [1, count, ANSWERS]})


def tiny_simcc(path: Path) -> None:
    """Bins of 133 points at random places that move a little with the colour of the crop."""
    from onnx import helper

    random = np.random.default_rng(4)
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colour"]),
    ]
    weights = {}
    for name, side in (("simcc_x", CROP[1]), ("simcc_y", CROP[0])):
        bins = 2 * side
        weights[f"{name}_w"] = random.normal(0, 0.1, (3, JOINTS * bins)).astype(np.float32)
        weights[f"{name}_b"] = random.uniform(0, 1, JOINTS * bins).astype(np.float32)
        weights[f"{name}_shape"] = np.array([-1, JOINTS, bins])
        nodes += [
            helper.make_node("Gemm", ["colour", f"{name}_w", f"{name}_b"], [f"{name}_flat"]),
            helper.make_node("Reshape", [f"{name}_flat", f"{name}_shape"], [name]),
        ]
    onnx_file(
        path, nodes, weights, {"input": ["batch", 3, *CROP]},
        {"simcc_x": ["batch", JOINTS, 2 * CROP[1]], "simcc_y": ["batch", JOINTS, 2 * CROP[0]]},
    )


def tiny_rtdetr(folder: Path) -> None:
    """RT-DETR with few channels and 12 queries."""
    import transformers

    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[8, 8, 8],
        encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2, d_model=16,
        num_queries=12, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16,
        decoder_layers=2, decoder_attention_heads=2, num_denoising=0, num_labels=80,
        anchor_image_size=None, hidden_expansion=0.5,
    )
    model = transformers.RTDetrForObjectDetection(config)
    with torch.no_grad():
        for name, x in model.named_parameters():
            if "class_embed" in name or "bbox_embed" in name:
                x.copy_(torch.randn_like(x) * (1.0 if "class" in name else 0.2))
    model.save_pretrained(folder)


def tiny_vitpose(folder: Path) -> None:
    """ViTPose with few channels."""
    import transformers

    backbone = transformers.VitPoseBackboneConfig(
        image_size=[256, 192], patch_size=[16, 16], hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, mlp_ratio=2, out_features=["stage2"],
    )
    config = transformers.VitPoseConfig(
        backbone_config=backbone, num_labels=17, scale_factor=4, use_simple_decoder=True
    )
    model = transformers.VitPoseForPoseEstimation(config)
    with torch.no_grad():
        for name, x in model.named_parameters():
            if name.startswith("head"):
                x.copy_(torch.rand_like(x) * 0.2)
    model.save_pretrained(folder)


def as_other_form(write: Callable[[Path], None]) -> Callable[[Path], None]:
    """Writes beside the published name, of which the length is checked; nothing without onnx."""

    def written(path: Path) -> None:
        if importlib.util.find_spec("onnx") is not None:
            write(path.with_suffix(".safetensors"))

    return written


NETS: dict[str, Callable[[Path], None]] = {
    "dwpose_detector": as_other_form(tiny_yolox),
    "dwpose": as_other_form(tiny_simcc),
    "rtdetr": tiny_rtdetr,
    "vitpose": tiny_vitpose,
}
"""Writers by the catalogue's ids, to the path of the file or folder."""
