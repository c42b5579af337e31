"""Spec nodes with a widget for each block of one family, and one for the middle block."""

from __future__ import annotations

from collections.abc import Iterable

from comfy_api.latest import io

from ..controlnet_core.control import (
    ControlSpec,
    LayerWeights,
    Levels,
    PerLayer,
    Uniform,
    check_strength,
)
from ..controlnet_core.control.weights import AtSite
from ._spec import changed, spec_schema, strength_input, uncond_input

_SD15 = tuple(f"output_{index}" for index in range(12))
_FLUX = tuple(f"input_{index}" for index in range(19))
_T2I = tuple(f"input_{index}" for index in range(4))
_ORDER = "Blocks count from shallow (details) to deep (structure), in the order in which they run."


def _weight_inputs(names: Iterable[str], what: str) -> list[io.Input]:
    return [
        strength_input(
            name, f"Weight of {what} {name.rpartition('_')[2]}; 0 is the shallowest.", step=0.001
        )
        for name in names
    ]


class BlockWeightsSD15(io.ComfyNode):
    """A weight for each of the 12 blocks of an SD1.5 or SD2.x net, and for its middle."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackBlockWeightsSD15",
            "Control Block Weights (SD1.5)",
            *_weight_inputs(_SD15, "block"),
            strength_input("middle_0", "Weight of the middle block.", step=0.001),
            uncond_input(),
            about=f"A weight for each block of an SD1.5 or SD2.x ControlNet. {_ORDER}",
            aliases=["ControlNet Custom Weights [SD1.5]", "ControlNet Soft Weights [SD1.5]"],
        )

    @classmethod
    def execute(
        cls,
        middle_0: float,
        uncond_multiplier: float,
        spec: ControlSpec | None = None,
        **blocks: float,
    ) -> io.NodeOutput:
        weights = PerLayer(tuple(blocks[name] for name in _SD15), middle_0)
        return _weighted(spec, weights, uncond_multiplier)


class BlockWeightsFlux(io.ComfyNode):
    """A weight for each of the 19 double blocks of Flux."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackBlockWeightsFlux",
            "Control Block Weights (Flux)",
            *_weight_inputs(_FLUX, "double block"),
            uncond_input(),
            about=f"A weight for each double block of Flux; single blocks keep theirs. {_ORDER}",
            aliases=["ControlNet Custom Weights [Flux]", "flux block weights"],
        )

    @classmethod
    def execute(
        cls, uncond_multiplier: float, spec: ControlSpec | None = None, **blocks: float
    ) -> io.NodeOutput:
        weights = AtSite("input", PerLayer(tuple(blocks[name] for name in _FLUX)))
        return _weighted(spec, weights, uncond_multiplier)


class BlockWeightsT2I(io.ComfyNode):
    """A weight for each feature level of a T2I-Adapter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackBlockWeightsT2I",
            "Control Block Weights (T2I)",
            *_weight_inputs(_T2I, "level"),
            uncond_input(),
            about=f"A weight for each of the four levels of a T2I-Adapter. {_ORDER}",
            aliases=["T2IAdapter Custom Weights", "T2IAdapter Soft Weights"],
        )

    @classmethod
    def execute(
        cls, uncond_multiplier: float, spec: ControlSpec | None = None, **blocks: float
    ) -> io.NodeOutput:
        weights = Levels(tuple(blocks[name] for name in _T2I))
        return _weighted(spec, weights, uncond_multiplier)


class MiddleWeightSpec(io.ComfyNode):
    """A factor on the middle block alone."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return spec_schema(
            "ControlStackMiddleWeight",
            "Control Middle Weight",
            strength_input(
                "middle_mult", "Multiplies the middle block, which holds composition.", step=0.001
            ),
            about="Multiplies the weight of the middle block and leaves the others alone.",
            aliases=["Middle Weight Extras", "middle_mult", "middle block"],
        )

    @classmethod
    def execute(cls, middle_mult: float, spec: ControlSpec | None = None) -> io.NodeOutput:
        check_strength(middle_mult, where="Control Middle Weight")
        return changed(spec, ControlSpec(weights=AtSite("middle", Uniform(middle_mult))))


def _weighted(
    spec: ControlSpec | None, weights: LayerWeights, uncond_strength: float
) -> io.NodeOutput:
    check_strength(uncond_strength, where="uncond_multiplier")
    return changed(spec, ControlSpec(weights=weights, uncond_strength=uncond_strength))
