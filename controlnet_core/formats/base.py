"""What a checkpoint format is, and a file in which one was recognised."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from ..errors import ControlInputError
from ..files import Header, check_finite, read_tensors
from ..nets import ControlNet, ControlNetConfig, Layers, Unset, build
from .keymap import KeyMap

log = logging.getLogger("controlstack")

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


class UnknownFormatError(ControlInputError):
    """A weight file that none of our formats claims. The host may still know it."""


@dataclass(frozen=True)
class Format:
    """One layout of one family of nets, told from names and shapes alone."""

    id: str
    title: str
    signature: tuple[str, ...]
    """Any of these names says that a file is of this format ..."""
    foreign: tuple[str, ...]
    """... unless a name of it contains one of these."""
    required: tuple[str, ...]
    """Part of a name that must be there as well (the union nets' own weights)."""
    config: Callable[[Shapes], ControlNetConfig]
    """Hyperparameters from shapes; raises KeyError for a name that the file lacks."""
    keymap: Callable[[ControlNetConfig], KeyMap]
    source: str

    def claims(self, names: Iterable[str]) -> bool:
        names = tuple(names)
        return (
            any(name in names for name in self.signature)
            and all(any(part in name for name in names) for part in self.required)
            and not any(part in name for part in self.foreign for name in names)
        )

    def fits(self, config: ControlNetConfig) -> bool:
        """Whether a net of `config` can be written in this layout."""
        keymap, net = self.keymap(config), build(config, Layers(Unset, device="meta"))
        return self.claims(map(keymap.to_file, net.state_dict()))


@dataclass(frozen=True)
class ControlFile:
    """A weight file, recognised: its format, the prefix of its names and the net it holds."""

    header: Header
    format: Format
    prefix: str
    config: ControlNetConfig

    @property
    def is_difference(self) -> bool:
        """The weights are deltas to those of the base model, which must be added."""
        return "difference" in self.header.tensors

    @cached_property
    def expected(self) -> dict[str, Shape]:
        """Name and shape of every weight of the net, by its name in the file."""
        keymap = self.format.keymap(self.config)
        net = build(self.config, Layers(Unset, device="meta"))
        return {
            self.prefix + keymap.to_file(name): tuple(weight.shape)
            for name, weight in net.state_dict().items()
        }

    def check(self) -> None:
        """Raises unless the file holds every weight of the net, in its shape, and little else."""
        where, found = self.header.name, self.header.tensors
        if missing := [name for name in self.expected if name not in found]:
            raise ControlInputError(
                "CN-W08", where,
                found=f"{len(missing)} of {len(self.expected)} tensors missing: {_some(missing)}",
                expected=f"every weight of a {self.format.title}",
                fix="download the file again or ask its author for a whole one",
            )
        if wrong := [n for n, shape in self.expected.items() if found[n].shape != shape]:
            raise ControlInputError(
                "CN-W13", where,
                found=_some(f"{name} with shape {found[name].shape}" for name in wrong),
                expected=_some(f"{self.expected[name]}" for name in wrong),
                fix="download the file again; its tensors do not fit together",
            )
        if integers := [n for n in self.expected if not found[n].dtype.is_floating_point]:
            raise ControlInputError(
                "CN-W17", where, found=f"{len(integers)} integer weights: {_some(integers)}",
                expected="floating-point weights", fix="use a file that is not quantised",
            )
        known = {*self.expected, "difference"}
        extra = [name for name in found if name.startswith(self.prefix) and name not in known]
        if len(extra) > 0.05 * len(self.expected):
            raise ControlInputError(
                "CN-W14", where, found=f"{len(extra)} tensors too many: {_some(extra)}",
                expected=f"the {len(self.expected)} weights of a {self.format.title}",
                fix="this is another architecture; if ComfyUI loads it, report it to us",
            )
        own = {name.removeprefix(self.prefix).split(".")[0] for name in self.expected} | _LABELS
        torn = [name for name in extra if name.removeprefix(self.prefix).split(".")[0] in own]
        if torn:
            raise ControlInputError(
                "CN-W08", where,
                found=f"{len(torn)} tensors without the rest of their block: {_some(torn)}",
                expected=f"every weight of a {self.format.title}",
                fix="download the file again or ask its author for a whole one",
            )
        if extra:
            log.warning("%s: %d unknown tensors ignored: %s", where, len(extra), _some(extra))

    def weights(self) -> dict[str, Tensor]:
        """Every weight of the net by the module's names: whole, finite, in its own memory (CPU)."""
        self.check()
        keymap = self.format.keymap(self.config)
        tensors = read_tensors(self.header)
        check_finite(self.header, tensors)
        weights = {
            keymap.to_module(name.removeprefix(self.prefix)): tensors[name]
            for name in self.expected
        }
        if not any(w.any() for name, w in weights.items() if name.startswith(_ZERO_CONVS)):
            log.warning(
                "%s: an untrained ControlNet: its zero convolutions are all zero, so it has no "
                "effect", self.header.name,
            )  # fmt: skip
        return weights


def fill(
    config: ControlNetConfig, weights: Mapping[str, Tensor], layers: Layers | None = None
) -> ControlNet:
    """A net of `config` that holds `weights` (by our names) without copying them."""
    layers = layers or Layers(Unset)
    net = build(config, Layers(layers.classes, layers.attention, layers.dtype, device="meta"))
    net.load_state_dict(weights, strict=True, assign=True)
    return net.requires_grad_(False)


_ZERO_CONVS = ("zero_convs.", "middle_block_out.")
_LABELS = {"label_emb", "add_embedding", "class_embedding"}
"""Parts of a net that its configuration may do without: if torn, they would pass for unknown."""


def _some(names: Iterable[str], count: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
