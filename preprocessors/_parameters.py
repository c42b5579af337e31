"""What a preprocessor can be set to: declared by notes on its arguments, checked when it runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from ..controlnet_core.errors import ControlInputError

Value = float | int | str | bool
Settings = Mapping[str, Value]


@dataclass(frozen=True)
class Float:
    """Annotates a float parameter: help with its unit, and its range."""

    help: str
    min: float
    max: float
    step: float = 0.01


@dataclass(frozen=True)
class Int:
    """Annotates an int parameter: help with its unit, and its range."""

    help: str
    min: int
    max: int
    step: int = 1


@dataclass(frozen=True)
class Choice:
    """Annotates a `Literal` of strings."""

    help: str


@dataclass(frozen=True)
class Flag:
    """Annotates a bool."""

    help: str


@dataclass(frozen=True)
class Mask:
    """Annotates the input `mask` (B 1 H W), 0..1, of any size; a batch of masks is cycled."""

    help: str


@dataclass(frozen=True)
class Parameter:
    """One setting of a preprocessor. `min`, `max` and `step` are set for numbers, else None."""

    name: str
    type: Literal["float", "int", "choice", "flag"]
    default: Value
    help: str
    min: float | None = None
    max: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What it takes, in words."""
        match self.type:
            case "flag":
                return "true or false"
            case "choice":
                return f"one of {', '.join(self.choices)}"
            case "int":
                return f"a whole number from {self.min} to {self.max}"
            case "float":
                return f"a number from {self.min:g} to {self.max:g}"

    def check(self, value: object, *, where: str) -> Value:
        """`value` in the parameter's own type; raises where type or range do not fit."""
        match self.type, value:
            case "flag", bool():
                return value
            case "choice", str() if value in self.choices:
                return value
            case ("int" | "float"), bool():
                pass
            case "int", Integral() if self._spans(float(value)):
                return int(value)
            case "float", Real() if self._spans(float(value)):
                return float(value)
            case _:
                pass
        raise ControlInputError(
            "CN-PARAM", f"{where}, {self.name}",
            found=f"{str(value)[:40]} ({type(value).__name__})", expected=self.expected,
            fix=f"set it within that, the default is {self.default}",
        )

    def _spans(self, value: float) -> bool:
        """Whether the range holds `value`; NaN is in no range."""
        return self.min is not None and self.max is not None and self.min <= value <= self.max


RESOLUTION = Parameter(
    "resolution", "int", 0,
    "shortest side of the hint in pixels, aspect kept; 0 leaves the size as it is",
    min=0, max=16384, step=64,
)


def parameter_of(declared: inspect.Parameter, hint: Any) -> Parameter:
    """What `name: Annotated[type, note] = default` says; a wrong default raises at import."""
    notes: tuple[Any, ...] = (*get_args(hint), None, None)
    kind, note = notes[:2]
    name, default = declared.name, declared.default
    match note:
        case Float():
            made = Parameter(name, "float", default, note.help, note.min, note.max, note.step)
        case Int():
            made = Parameter(name, "int", default, note.help, note.min, note.max, note.step)
        case Choice():
            made = Parameter(name, "choice", default, note.help, choices=get_args(kind))
        case Flag():
            made = Parameter(name, "flag", default, note.help)
        case _:
            raise TypeError(f"{name}: annotate it with Float, Int, Choice or Flag")
    made.check(default, where="the declared default")
    return made
