"""What a control net is: configurations, layers, and the networks built from them."""

from .config import SD15, SD21, SDXL, ControlNetConfig
from .control_lora import LowRank, control_lora, merge
from .controlnet import ControlNet, from_encoder
from .encoder import Encoder
from .layers import Attention, Layers, Unset, fused_attention
from .paper_hint import PAPER_HINT_WIDTHS, PaperHintEncoder
from .unet import UNet
from .union import UNION_TYPES, UnionControlNet, check_types

__all__ = [
    "PAPER_HINT_WIDTHS", "SD15", "SD21", "SDXL", "UNION_TYPES", "Attention", "ControlNet",
    "ControlNetConfig", "Encoder", "Layers", "LowRank", "PaperHintEncoder", "UNet",
    "UnionControlNet", "Unset", "build", "check_types", "control_lora", "from_encoder",
    "fused_attention", "merge",
]  # fmt: skip


def build(config: ControlNetConfig, layers: Layers | None = None) -> ControlNet:
    """The net that `config` describes."""
    return (UnionControlNet if config.union_types else ControlNet)(config, layers)
