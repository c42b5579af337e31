"""Poses: as values, as JSON, edited, and drawn as hints."""

from __future__ import annotations

from .drawing import render
from .edit import mirror, move, resize, scale, select
from .keypoints import Person, Pose
from .openpose_json import parse, read, write

__all__ = [
    "Person", "Pose", "mirror", "move", "parse", "read", "render", "resize", "scale", "select",
    "write",
]  # fmt: skip
