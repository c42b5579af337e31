"""What some preprocessors do once all chunks of a batch are through, since it needs all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_type_hints

from torch import Tensor

from ._parameters import Parameter, Settings, Value, parameter_of

Step = Callable[[Tensor], Tensor]
"""From what was made of one picture (1 3 h w) to its hint, (1 1 h w) or (1 3 h w)."""

WHOLE_BATCH = "the whole batch"
"""The choice of a parameter with which pictures of a batch depend on each other."""


@dataclass(frozen=True, eq=False)
class Finish:
    """A look at all that was made of a batch, which gives the step that each picture still takes.

    `reads` are the settings that `function` takes; `parameters` those of them that it declares
    itself, and the preprocessor's function does not get.
    """

    function: Callable[..., Step]
    reads: tuple[str, ...]
    parameters: tuple[Parameter, ...]

    def __call__(self, made: Tensor, settings: Settings) -> Tensor:
        """Hints (B 3 h w), in the place of what was `made` (B 3 h w), which is written over."""
        step = self.function(made, **{name: settings[name] for name in self.reads})
        for row in range(len(made)):  # one by one: a video has no room for a second copy
            made[row : row + 1] = step(made[row : row + 1])
        return made

    def others(self, settings: Mapping[str, Value]) -> dict[str, Value]:
        """Those of the preprocessor's own function."""
        own = {each.name for each in self.parameters}
        return {name: value for name, value in settings.items() if name not in own}


def finish_of(function: Callable[..., Step]) -> Finish:
    """What the signature says: after the batch, parameters with a default are its own."""
    hints = get_type_hints(function, include_extras=True)
    _, *settings = inspect.signature(function).parameters.values()
    own = [each for each in settings if each.default is not each.empty]
    return Finish(
        function, tuple(each.name for each in settings),
        tuple(parameter_of(each, hints[each.name]) for each in own),
    )
