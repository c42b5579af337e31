"""What shapes do not tell: how the attention of a net is cut into heads."""

from __future__ import annotations

from ..nets import SD15, SD21, ControlNetConfig


def guess_heads(config: ControlNetConfig) -> ControlNetConfig:
    """`config` with the heads its family has: 8 at context 768 (SD1.5), else heads of 64.

    SD2.x, told by context 1024 without a label embedding, also asks for attention in float32.
    """
    sd2 = config.context_dim == SD21.context_dim and config.adm_in_channels is None
    if config.context_dim == SD15.context_dim:
        return config.like(num_heads=SD15.num_heads, num_head_channels=None)
    return config.like(num_heads=None, num_head_channels=64, upcast_attention=sd2)


def stated_heads(config: ControlNetConfig, metadata: dict[str, str] | None) -> ControlNetConfig:
    """`config` with the heads that one of our own files states in its metadata, if it does."""
    metadata = metadata or {}
    if number := metadata.get("controlstack.num_heads"):
        return config.like(num_heads=int(number), num_head_channels=None)
    if width := metadata.get("controlstack.num_head_channels"):
        return config.like(num_heads=None, num_head_channels=int(width))
    return config


def heads_metadata(config: ControlNetConfig) -> dict[str, str]:
    """What a file of ours says about its heads."""
    if config.num_heads is not None:
        return {"controlstack.num_heads": str(config.num_heads)}
    return {"controlstack.num_head_channels": str(config.num_head_channels)}
