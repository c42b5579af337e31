"""A node of another pack and ours for it, in the words of the host's table of replacements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from comfy_api.latest import io


@dataclass(frozen=True)
class Replacement:
    """A node of another pack and ours for it."""

    old: str
    new: str
    widgets: tuple[str, ...] = ()
    """Every widget of the old node in the order in which workflows save their values."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Our input -> the old one it takes link or value from."""
    values: Mapping[str, object] = field(default_factory=dict)
    """Our widget -> what to set it to."""
    outputs: tuple[int, ...] = (0,)
    """Our output for each old one, as far as they have one."""

    def for_host(self) -> io.NodeReplace:
        """The same as the host wants it."""
        moved = [{"new_id": new, "old_id": old} for new, old in self.inputs.items()]
        fixed = [{"new_id": new, "set_value": value} for new, value in self.values.items()]
        outputs = [{"old_idx": old, "new_idx": new} for old, new in enumerate(self.outputs)]
        return io.NodeReplace(
            new_node_id=self.new,
            old_node_id=self.old,
            old_widget_ids=list(self.widgets),
            input_mapping=[*moved, *fixed],  # type: ignore[arg-type]
            output_mapping=outputs,  # type: ignore[arg-type]
        )


def same(*names: str) -> dict[str, str]:
    return {name: name for name in names}
