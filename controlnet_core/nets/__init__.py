"""What a control net is: configurations, layers, and the networks built from them."""

from .config import SD15, SD21, SDXL, ControlNetConfig
from .controlnet import ControlNet, from_encoder
from .layers import Attention, Layers, Unset, fused_attention
from .unet import UNet
from .union import UNION_TYPES, UnionControlNet, check_types

__all__ = [
    "SD15", "SD21", "SDXL", "UNION_TYPES", "Attention", "ControlNet", "ControlNetConfig", "Layers",
    "UNet", "UnionControlNet", "Unset", "build", "check_types", "from_encoder", "fused_attention",
]  # fmt: skip


def build(config: ControlNetConfig, layers: Layers | None = None) -> ControlNet:
    """The net that `config` describes."""
    return (UnionControlNet if config.union_types else ControlNet)(config, layers)
