"""Control modes by the names that people know them, each with its published formula."""

from __future__ import annotations

from .spec import ControlSpec
from .weights import LogSoft, ResolutionWeighted, Soft

CONTROL_MODES: dict[str, ControlSpec] = {
    "balanced": ControlSpec(),
    "my prompt is more important": ControlSpec(weights=Soft()),
    "ControlNet is more important": ControlSpec(weights=Soft(), uncond_strength=0.0),
    "guess mode": ControlSpec(weights=Soft(), uncond_strength=0.0),
    "guess mode (diffusers)": ControlSpec(weights=LogSoft(), uncond_strength=0.0),
    "cond only": ControlSpec(uncond_strength=0.0),
    "paper": ControlSpec(weights=ResolutionWeighted(), uncond_strength=0.0),
}
"""balanced, my prompt, ControlNet: sd-webui-controlnet; guess mode: lllyasviel/ControlNet, where
A1111's third mode comes from; (diffusers): its `guess_mode`; cond only: InvokeAI's "unbalanced";
paper: arXiv 2302.05543, section 3.3. On SDXL the soft weights run over its own 9 blocks with the
middle at 1; A1111 cuts SD1.5's list instead and leaves the middle at 0.56."""
