"""From one decorated function to a preprocessor.

Its signature is the one source of the node's widgets and tooltips, the flags of the command line,
the table in the README and the contract tests.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor

from ..controlnet_core.errors import ControlInputError
from ._catalogue import Checkpoint
from ._checks import IMAGE, MAX_PIXELS, check_image, check_mask, check_size, check_values
from ._finish import Finish, Step, finish_of
from ._frame import (
    Floats,
    Frame,
    Pictures,
    channels_last,
    fitted_size,
    padded,
    to_levels,
)
from ._networks import Networks, checkpoints_of, networks_of, team
from ._parameters import (
    RESOLUTION,
    Choice,
    Flag,
    Float,
    Int,
    Mask,
    Parameter,
    Settings,
    Value,
    parameter_of,
)
from ._run import Progress, run_chunks, run_frames, silent

__all__ = [
    "RESOLUTION", "Choice", "Flag", "Float", "Int", "Mask", "Parameter", "Preprocessor",
    "preprocessor",
]


AsFrame = Callable[[Tensor], Frame | Floats]
_FRAMES: dict[object, AsFrame] = {Frame: to_levels, Floats: channels_last}


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """An annotator: image (B 3 H W) in 0..1 and parameters -> hint (B 3 h w), float32.

    `parameters` are the function's own in order, then `resolution`, then those of `finish`.
    `as_frame` makes of one picture (3 H W) what the function takes; None where it takes chunks of
    tensors. `multiple`: sides are padded to it by edge repetition, and cropped back. `networks` are
    those that it runs, by argument; their weights must be on the machine. `finish` is what is left
    to do once all chunks are made.
    """

    name: str
    title: str
    group: str
    source: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    mask: Mask | None
    output_range: tuple[float, float]
    multiple: int
    as_frame: AsFrame | None
    networks: Networks
    function: Callable[..., Any]
    finish: Finish | None

    @property
    def per_frame(self) -> bool:
        """Whether it takes one picture after the other, not chunks of tensors."""
        return self.as_frame is not None

    @property
    def learned(self) -> bool:
        """Whether it runs a network."""
        return bool(self.networks)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Every set of weights that some setting of it needs."""
        return tuple(checkpoints_of(self.networks))

    @property
    def licences(self) -> str:
        """The terms of its weights, a line for each set; empty without weights."""
        return "\n".join(f"{each.name}: {each.terms}" for each in self.checkpoints)

    @property
    def needs_mask(self) -> bool:
        """Whether it takes a mask beside the image."""
        return self.mask is not None

    def __call__(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        *,
        progress: Progress | None = None,
        max_pixels: int = MAX_PIXELS,
        **values: Value,
    ) -> Tensor:
        """Hints (B 3 h w) of `image` (B C H W): grey, RGB, or RGBA, which is laid on white.

        The device is the image's, and nothing is written into it. One picture with several masks
        gives a hint for each. Raises `ControlInputError` for what no hint can be made of.
        """
        settings = self._settings(values)
        where = f"{self.name}, image"
        image = check_image(image, where=where)
        size = fitted_size(image, int(settings.pop(RESOLUTION.name)))
        check_size(size, max_pixels, where=where)
        mask = self._mask(mask)
        if self.as_frame is not None:
            return self._frames(image, size, self.as_frame, settings, progress or silent)
        clamp = check_values(image, IMAGE, where=where)
        if mask is not None and len(image) == 1:
            image = image.expand(len(mask), -1, -1, -1)
        return self._chunks(Pictures(image, size, clamp), mask, settings, progress or silent)

    def _frames(
        self,
        image: Tensor,
        size: tuple[int, int],
        as_frame: AsFrame,
        settings: Settings,
        progress: Progress,
    ) -> Tensor:
        """Values are checked as each picture is read: a pass of its own costs a tenth of Canny."""

        def made(index: int) -> Frame | Floats:
            row = image[index : index + 1]
            clamp = check_values(row, IMAGE, where=f"{self.name}, image", first=index)
            frame = Pictures(row, size, clamp)[:][0].detach().cpu()
            return self.function(as_frame(frame), **settings)

        return run_frames(made, len(image), progress=progress).to(image.device)

    def _chunks(
        self, pictures: Pictures, mask: Tensor | None, settings: Settings, progress: Progress
    ) -> Tensor:
        height, width = pictures.size
        nets = team(self.networks, settings)
        own = settings if self.finish is None else self.finish.others(settings)

        def hint(start: int, stop: int) -> Tensor:
            image = padded(pictures[start:stop], self.multiple)
            masks = {} if mask is None else {"mask": _cycled(mask, start, stop).to(image.device)}
            made = self.function(image, **masks, **nets.nets, **own)
            return made if self.multiple == 1 else made[..., :height, :width]

        grown = (height + -height % self.multiple) * (width + -width % self.multiple)
        chunk = min(pictures.at_once, nets.at_once(grown))
        made = run_chunks(hint, len(pictures.image), chunk=chunk, progress=progress)
        return made if self.finish is None else self.finish(made, settings)

    def _settings(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Every parameter with its checked value, or its default."""
        known = {each.name: each for each in self.parameters}
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise ControlInputError(
                    "CN-PARAM", self.name, found=f"the parameter {name[:40]}",
                    expected=f"one of {', '.join(known)}",
                    fix=f"write {near[0]}" if near else "remove it",
                )
        return {
            name: each.check(values.get(name, each.default), where=self.name)
            for name, each in known.items()
        }

    def _mask(self, mask: Tensor | None) -> Tensor | None:
        if mask is not None and self.needs_mask:
            return check_mask(mask, where=f"{self.name}, mask")
        if mask is None and not self.needs_mask:
            return None
        found, expected, fix = (
            ("no mask", "one", "connect a mask") if self.needs_mask
            else ("a mask", "none", "disconnect the mask")
        )
        raise ControlInputError(
            "CN-MASK", f"{self.name}, mask", found=found, expected=expected, fix=fix
        )


def preprocessor(
    *,
    title: str,
    group: str,
    source: str,
    output_range: tuple[float, float] = (0.0, 1.0),
    multiple: int = 1,
    finish: Callable[..., Step] | None = None,
) -> Callable[[Callable[..., Any]], Preprocessor]:
    """Makes the decorated function a `Preprocessor` of its own name.

    It takes `image: Tensor` (b 3 H W) and gives (b 1|3 h w); or takes `rgb: Frame` and gives one;
    or `rgb: Floats`, in which it must not write, and gives (h w) of them. Then come `mask:
    Annotated[Tensor, Mask(...)]` where it needs one, each network that it runs, `net:
    Annotated[Net, NETWORK]`, and keyword parameters, each annotated by `Float`, `Int`, `Choice` or
    `Flag`, each with a default. Pictures must not depend on each other, nor on the chunk that they
    are in: what looks at the whole batch is `finish`. It takes all that was made (B 3 h w) and
    gives the `Step` from there to the hint of each picture. Its keyword parameters without a
    default are the function's of the same name; the others are its own, noted alike.
    """

    def register(function: Callable[..., Any]) -> Preprocessor:
        hints = get_type_hints(function, include_extras=True)
        first, *others = inspect.signature(function).parameters.values()
        notes = {each.name: get_args(hints[each.name])[1:] for each in others}
        every = [note for those in notes.values() for note in those]
        mask = next((note for note in every if isinstance(note, Mask)), None)
        settings = [each for each in others if each.kind is each.KEYWORD_ONLY]
        last = None if finish is None else finish_of(finish)
        parameters = (
            *(parameter_of(each, hints[each.name]) for each in settings), RESOLUTION,
            *(() if last is None else last.parameters),
        )  # fmt: skip
        networks = networks_of(notes, {each.name: each.choices for each in parameters})
        as_frame = _FRAMES.get(hints[first.name])
        if as_frame and (mask is not None or networks or last is not None):
            raise TypeError(
                f"{function.__name__}: masks, networks and a finish go with tensors, not frames"
            )
        doc = inspect.getdoc(function) or ""
        return Preprocessor(
            name=function.__name__, title=title, group=group, source=source,
            summary=doc.partition("\n")[0], description=doc, parameters=parameters, mask=mask,
            output_range=output_range, multiple=multiple, as_frame=as_frame, networks=networks,
            function=function, finish=last,
        )

    return register


def _cycled(x: Tensor, start: int, stop: int) -> Tensor:
    """Rows `start` to `stop` of `x` repeated without end."""
    return x[torch.arange(start, stop, device=x.device) % len(x)]
