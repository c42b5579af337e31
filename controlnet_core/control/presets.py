"""Recommended strength and range by kind of hint, as people published them."""

from __future__ import annotations

from dataclasses import dataclass

from .schedule import Constant, Window
from .spec import ControlSpec

LEVELS = ("normal", "low", "strong")


@dataclass(frozen=True)
class Preset:
    """A strength from `start` to `end` of the sampling, and who recommends it."""

    strength: float
    end: float = 1.0
    start: float = 0.0
    uncond_strength: float = 1.0
    source: str = ""

    @property
    def spec(self) -> ControlSpec:
        """The spec that acts so."""
        whole = (self.start, self.end) == (0.0, 1.0)
        return ControlSpec(
            self.strength,
            Constant() if whole else Window(self.start, self.end),
            uncond_strength=self.uncond_strength,
        )


_KRITA = "Krita AI Diffusion 1.53, presets"
_SHAKKER = "Shakker Labs, model card of FLUX.1-dev-ControlNet-Union-Pro-2.0"
_WHOLE = "Krita AI Diffusion 1.53, presets; to the end because such nets need it (diffusers #9555)"
_V11 = "ControlNet 1.1: shuffle was trained with pooled residuals, on the prompt's side alone"
_NOBODY = "nobody published a recommendation: acts fully"


def _levels(
    source: str, low: tuple[float, float], normal: tuple[float, float], strong: tuple[float, float]
) -> dict[str, Preset]:
    """The three levels of one kind, each a strength and an end."""
    pairs = {"low": low, "normal": normal, "strong": strong}
    return {level: Preset(*pair, source=source) for level, pair in pairs.items()}


_USUAL = _levels(_KRITA, (0.7, 0.5), (1.0, 0.8), (1.0, 1.0))
_TO_THE_END = _levels(_WHOLE, (0.7, 1.0), (1.0, 1.0), (1.0, 1.0))
_Z_IMAGE = _levels(_KRITA, (0.65, 1.0), (0.8, 1.0), (1.0, 1.0))

ANY = "any"
BASES = (ANY, "SDXL", "Flux", "Z-Image", "Qwen-Image", "Anima")

PRESETS: dict[tuple[str, str], dict[str, Preset]] = {
    **{
        (kind, ANY): _USUAL
        for kind in ("canny", "depth", "normal", "pose", "softedge", "lineart", "scribble", "seg")
    },
    ("scribble", "SDXL"): _levels(_KRITA, (0.4, 0.5), (0.7, 0.7), (1.0, 0.8)),
    ("lineart", "SDXL"): _levels(_KRITA, (0.5, 0.5), (0.7, 0.8), (1.0, 1.0)),
    ("seg", "Anima"): _levels(_KRITA, (0.75, 0.45), (1.0, 0.45), (1.5, 0.45)),
    **{(kind, "Z-Image"): _Z_IMAGE for kind in ("canny", "depth", "pose", "softedge")},
    **{
        (kind, "Qwen-Image"): {"normal": Preset(0.8, source="Qwen-Image-2512 Fun, model card")}
        for kind in ("canny", "depth", "pose", "softedge")
    },
    ("canny", "Flux"): {"normal": Preset(0.7, 0.8, source=_SHAKKER)},
    ("softedge", "Flux"): {"normal": Preset(0.7, 0.8, source=_SHAKKER)},
    ("depth", "Flux"): {"normal": Preset(0.8, 0.8, source=_SHAKKER)},
    ("pose", "Flux"): {"normal": Preset(0.9, 0.65, source=_SHAKKER)},
    ("gray", "Flux"): {"normal": Preset(0.9, 0.8, source=_SHAKKER)},
    ("tile", ANY): _TO_THE_END,
    ("inpaint", ANY): _TO_THE_END,
    ("shuffle", ANY): {"normal": Preset(1.0, uncond_strength=0.0, source=_V11)},
    ("ip2p", ANY): {"normal": Preset(1.0, source=_NOBODY)},
    ("gray", ANY): {"normal": Preset(1.0, source=_NOBODY)},
}
"""(kind, base) -> level -> preset. What a base does not have, it takes from any."""

KINDS = tuple(dict.fromkeys(kind for kind, _ in PRESETS))


def preset(kind: str, base: str = ANY, level: str = "normal") -> Preset:
    """The recommendation for a kind of hint on a base model.

    A level that nobody published for that base is taken from any base, then from normal.
    """
    places = [(base, level), (ANY, level), (base, "normal"), (ANY, "normal")]
    found = (PRESETS.get((kind, where), {}).get(which) for where, which in places)
    return next(each for each in found if each is not None)
