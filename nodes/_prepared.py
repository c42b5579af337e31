"""What the host's controls make of a hint (resized, encoded, features), kept for a rerun."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from comfy.controlnet import ControlBase

_FIELDS = ("cond_hint", "control_input")
"""Where ControlBase keeps the prepared hint, and T2I-Adapters their features."""
_KEPT = 4
Key = tuple[object, ...]


class Prepared:
    """The last few prepared hints of one net. Only those are kept, never a control or its VAE."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, dict[str, Any]] = OrderedDict()

    def lend(self, control: ControlBase, key: Key) -> None:
        """Gives a fresh copy what an earlier one made of the same hint."""
        for name, value in self._kept.get(key, {}).items():
            setattr(control, name, value)

    def keep(self, control: ControlBase, key: Key) -> None:
        """Remembers what a copy has made, which it does at its first call of a size."""
        self._kept[key] = {n: getattr(control, n) for n in _FIELDS if hasattr(control, n)}
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
