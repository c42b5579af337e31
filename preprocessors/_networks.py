"""Networks of learned preprocessors: opened from their weights, kept, and run.

Who keeps them, and on which device, is the host's matter: it hands in a `Keeper`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..controlnet_core.errors import ControlInputError
from ._catalogue import CATALOGUE, Checkpoint
from ._weights import locate

Net = Callable[[Tensor], Tensor]
"""What a preprocessor gets: pictures (b 3 H W), 0..1, to the network's answer for them.

It runs where the keeper put the network; the answer is float32 on the device of the pictures.
"""

CPU_BYTES = 2**30  # more pictures at once are no faster on a CPU


@dataclass(frozen=True, eq=False)
class Network:
    """A network by the id of its weights in the catalogue.

    `open` makes it from their path: on the CPU, in the dtype of the file, for inference.
    `floats_per_pixel` is the most that it holds at one time for one pixel of its input.
    """

    checkpoint_id: str
    open: Callable[[Path], nn.Module]
    floats_per_pixel: int

    @property
    def checkpoint(self) -> Checkpoint:
        """Its entry in the catalogue."""
        return CATALOGUE[self.checkpoint_id]


@dataclass(frozen=True, eq=False)
class OneOf:
    """Networks of which a parameter of the preprocessor, a choice, names one; None runs none."""

    parameter: str
    networks: Mapping[str, Network | None]


Networks = Mapping[str, Network | OneOf]
"""The networks of a preprocessor, by the name of the argument that takes each."""


class Key(NamedTuple):
    """What a network was opened from; another file under the same path is another key."""

    checkpoint_id: str
    path: Path
    changed: int
    size: int


class Keeper(Protocol):
    """Holds opened networks, each in one dtype and on one device of the keeper's choice."""

    def ready(self, key: Key, open: Callable[[], nn.Module]) -> nn.Module:
        """The network of `key`, ready to run; `open` is called where it is not held yet."""
        ...

    def free_bytes(self, device: torch.device) -> int:
        """How much a run on `device` may take beside the network."""
        ...


class InProcess:
    """Keeps every network in float32 for as long as the process lives."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._modules: dict[Key, nn.Module] = {}

    def ready(self, key: Key, open: Callable[[], nn.Module]) -> nn.Module:
        """The network of `key`; one from an older file of the same weights is dropped."""
        if key not in self._modules:
            opened = open().to(self._device, torch.float32)
            kept = self._modules.items()
            self._modules = {each: module for each, module in kept if each[:2] != key[:2]}
            self._modules[key] = opened
        return self._modules[key]

    def free_bytes(self, device: torch.device) -> int:
        """What CUDA has free, and a fixed amount elsewhere."""
        return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else CPU_BYTES


_keeper: Keeper = InProcess()


def use_keeper(keeper: Keeper) -> Keeper:
    """Lets `keeper` hold the networks from now on; gives back the one before."""
    global _keeper
    before, _keeper = _keeper, keeper
    return before


def ready(network: Network) -> nn.Module:
    """The module of `network`, opened where the keeper does not hold it, from where weights lie.

    Raises `ControlInputError` where they are missing or broken.
    """
    path = locate(network.checkpoint)
    return _keeper.ready(_key(network.checkpoint_id, path), partial(network.open, path))


def _key(checkpoint_id: str, path: Path) -> Key:
    files = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.is_file())
    stats = [each.stat() for each in files]
    changed = max(each.st_mtime_ns for each in stats)
    return Key(checkpoint_id, path, changed, sum(each.st_size for each in stats))


def run(module: nn.Module, *inputs: Tensor) -> Any:
    """The tensor or tensors that `module` makes, float32, on the device of the first input."""
    place = _place(module)
    with torch.inference_mode():
        return _returned(module(*(x.to(*place) for x in inputs)), inputs[0].device)


def _place(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of the first parameter that has a floating dtype; the CPU where none has."""
    for each in module.parameters():
        if each.is_floating_point():
            return each.device, each.dtype
    return torch.device("cpu"), torch.float32


def _returned(made: Tensor | tuple[Tensor, ...], device: torch.device) -> Any:
    if isinstance(made, Tensor):
        return made.to(device, torch.float32)
    return tuple(each.to(device, torch.float32) for each in made)


@dataclass(frozen=True, eq=False)
class Team:
    """The networks that one call of a preprocessor runs, opened, by argument."""

    nets: Mapping[str, Callable[..., Any] | None]
    floats_per_pixel: int
    free_floats: int

    def at_once(self, pixels: int) -> int:
        """How many pictures of so many pixels fit the memory: at least one, any without nets."""
        if not self.floats_per_pixel:
            return sys.maxsize
        return max(1, self.free_floats // (pixels * self.floats_per_pixel))


def team(networks: Networks, settings: Mapping[str, object]) -> Team:
    """The networks that `settings` choose, opened one after the other."""
    chosen = {
        name: each if isinstance(each, Network) else each.networks[str(settings[each.parameter])]
        for name, each in networks.items()
    }
    modules = {name: ready(network) for name, network in chosen.items() if network is not None}
    places = [_place(module) for module in modules.values()]
    return Team(
        {name: partial(run, modules[name]) if name in modules else None for name in chosen},
        max((each.floats_per_pixel for each in chosen.values() if each is not None), default=0),
        min((_keeper.free_bytes(at) // dtype.itemsize for at, dtype in places), default=0),
    )


def networks_of(
    notes: Mapping[str, Sequence[object]], choices: Mapping[str, Sequence[str]]
) -> Networks:
    """Those of a function's `notes` that are networks; `choices` are those of its parameters."""
    found: dict[str, Network | OneOf] = {}
    for name, those in notes.items():
        for note in those:
            if isinstance(note, OneOf) and set(note.networks) != set(choices[note.parameter]):
                raise TypeError(f"{name}: a network for each choice of {note.parameter}, no other")
            if isinstance(note, Network | OneOf):
                found[name] = note
    return found


def checkpoints_of(networks: Networks) -> Iterator[Checkpoint]:
    """Every set of weights that they may need."""
    for each in networks.values():
        for network in each.networks.values() if isinstance(each, OneOf) else (each,):
            if network is not None:
                yield network.checkpoint


def side(tensors: Mapping[str, Tensor], name: str, axis: int, default: int) -> int:
    """How long `axis` of the weight `name` is; `default` where there is no such weight or axis."""
    x = tensors.get(name)
    return default if x is None or x.ndim <= axis else x.shape[axis]


def filled(
    build: Callable[[], nn.Module], tensors: Mapping[str, Tensor], *, name: str
) -> nn.Module:
    """The module that `build` makes, with exactly `tensors` as its weights, for inference.

    Built on "meta", so that nothing is drawn at random and no weight is copied. A prefix
    `module.` of all names, left by a training on several devices, is taken off, and the counters
    of batch norms, which older files lack, are 0: nothing at inference looks at them. Raises
    CN-W08, CN-W13 or CN-W14 where names or shapes differ; `name` is what the message calls the
    file.
    """
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): x for key, x in tensors.items()}
    with torch.device("meta"):
        module = build()
    wanted = module.state_dict()
    counters = {key: torch.tensor(0) for key in wanted if key.endswith("num_batches_tracked")}
    tensors = {**counters, **tensors}
    _check_names(wanted, tensors, name)
    module.load_state_dict(tensors, assign=True)
    return module.eval().requires_grad_(False)


def _check_names(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], name: str) -> None:
    differences = (
        ("CN-W08", "missing", [key for key in wanted if key not in tensors]),
        ("CN-W14", "too many", [key for key in tensors if key not in wanted]),
        ("CN-W13", "of other shapes", [key for key in wanted if _differ(wanted, tensors, key)]),
    )
    for code, what, keys in differences:
        if keys:
            raise ControlInputError(
                code, name, found=f"{len(keys)} weights {what}, such as {keys[0][:80]}",
                expected=f"the {len(wanted)} weights of the network",
                fix="download the file that the catalogue names",
            )


def _differ(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], key: str) -> bool:
    """Whether `key` stands for another shape, or for whole numbers in place of floats."""
    if key not in tensors:
        return False
    one, other = wanted[key], tensors[key]
    return one.shape != other.shape or one.is_floating_point() != other.is_floating_point()
