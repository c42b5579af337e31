"""Keyframes that change more than the strength, and what each takes over from those before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from .schedule import check_percent, check_strength
from .spec import ControlSpec


@dataclass(frozen=True, eq=False)
class Keyframe:
    """How a control acts from progress `start` on, up to the next keyframe."""

    start: float
    strength: float = 1.0
    weights: ControlSpec | None = None
    """Layer weights, and the strength on the negative prompt."""
    pictures: ControlSpec | None = None
    """Strengths of the pictures of the batch."""
    mask: Tensor | None = None
    """(B 1 H W) in 0..1, picture space."""
    rest: float | None = None
    """Strength of pictures that `pictures` does not name; None = what is said there."""
    inherit: bool = True
    """Whether weights, pictures and mask that it does not give stay those of the one before."""

    def __post_init__(self) -> None:
        check_percent(self.start, where="percent of a keyframe")
        check_strength(self.strength, where=f"strength of the keyframe at {self.start:g}")

    def after(self, before: Keyframe | None) -> Keyframe:
        """The keyframe with what it takes over from the one before it."""
        if before is None or not self.inherit:
            return self
        return replace(
            self,
            weights=before.weights if self.weights is None else self.weights,
            pictures=before.pictures if self.pictures is None else self.pictures,
            mask=before.mask if self.mask is None else self.mask,
        )

    @property
    def spec(self) -> ControlSpec:
        """What holds from it on."""
        spec = ControlSpec(self.strength, mask=self.mask)
        if self.weights is not None:
            spec = spec * self.weights
        if self.pictures is not None:
            spec = spec * _with_rest(self.pictures, self.rest)
        return spec


class KeyframeTimeline(tuple[tuple[float, ControlSpec], ...]):
    """A timeline of a `ControlSpec` that remembers its keyframes.

    One that is added later may stand before others, and change what those take over.
    """

    keyframes: tuple[Keyframe, ...]

    def __new__(cls, keyframes: Iterable[Keyframe]) -> KeyframeTimeline:
        ordered = tuple(sorted(keyframes, key=lambda keyframe: keyframe.start))
        timeline = super().__new__(cls, dict(_held(ordered)).items())  # of equals the last one
        timeline.keyframes = ordered
        return timeline

    def __getnewargs__(self) -> tuple[tuple[Keyframe, ...]]:
        """What copies are made from: a tuple would hand over its entries."""
        return (self.keyframes,)


def with_keyframes(spec: ControlSpec | None, *keyframes: Keyframe) -> ControlSpec:
    """`spec` with these keyframes added to its last timeline, if that one is made of keyframes.

    Else they begin a timeline; before its first keyframe the control acts fully.
    """
    spec = spec or ControlSpec()
    others, frames = spec.timelines, keyframes
    if others and isinstance(others[-1], KeyframeTimeline):
        others, frames = others[:-1], others[-1].keyframes + keyframes
    return replace(spec, timelines=(*others, KeyframeTimeline(frames)))


def _held(ordered: tuple[Keyframe, ...]) -> Iterator[tuple[float, ControlSpec]]:
    before = None
    for keyframe in ordered:
        before = keyframe.after(before)
        yield keyframe.start, before.spec


def _with_rest(pictures: ControlSpec, rest: float | None) -> ControlSpec:
    if rest is None or not pictures.items:
        return pictures
    *others, last = pictures.items
    return replace(pictures, items=(*others, replace(last, rest=rest)))
