"""The checks of lint, each from a survey to what it finds. A new check is one line in `CHECKS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .alignment import ENOUGH, alignment
from .findings import Finding, listed
from .sights import HintSight, Sight, Survey

_ASPECT = 0.02
"""Share by which the aspects of a hint and its picture may differ: rounding to 8 pixels at 512."""
_BRIGHT = 0.5
_TWIN = 0.998
"""Correlation of two small grey pictures from which on they are the same one, stored again."""


def broken(survey: Survey) -> Iterator[Finding]:
    """Pictures and hints that cannot be read."""
    if survey.broken:
        names, reasons = zip(*survey.broken, strict=True)
        severity = "warning" if survey.skip_broken else "error"
        told = f"{len(names)} broken examples{', left out' if survey.skip_broken else ''}"
        yield Finding(severity, "broken", f"{told}; the first has {reasons[0]}", names)


def without_hint(survey: Survey) -> Iterator[Finding]:
    """Pictures that have no hint, where none are made."""
    names = tuple(record.name for record in survey.dataset.records if record.hint is None)
    if names and not survey.makes_hints:
        yield Finding("error", "hints", f"{len(names)} pictures without a hint", names)


def sizes(survey: Survey) -> Iterator[Finding]:
    """Hints of another aspect or size than their pictures."""
    if survey.makes_hints:
        return
    pairs = [(s.name, s.size, s.hint.size) for s in survey.sights if s.hint is not None]
    odd = {
        name for name, (h, w), (hint_h, hint_w) in pairs
        if abs(h * hint_w - w * hint_h) > _ASPECT * h * hint_w
    }  # fmt: skip
    other = [name for name, size, hint_size in pairs if size != hint_size and name not in odd]
    if odd:
        message = f"{len(odd)} hints of another aspect than their pictures"
        yield Finding("error", "aspect", message, tuple(sorted(odd)))
    if other:
        message = f"{len(other)} hints of another size than their pictures, they are resized"
        yield Finding("warning", "size", message, tuple(other))


def empty_hints(survey: Survey) -> Iterator[Finding]:
    """Hints of one single level, from which nothing can be learnt."""
    hints = _hints(survey)
    names = tuple(name for name, hint in hints if hint.flat)
    if names:
        severity = "error" if len(names) == len(hints) else "warning"
        yield Finding(severity, "empty", f"{len(names)} empty hints", names)


def polarity(survey: Survey) -> Iterator[Finding]:
    """Drawings in black and white of which more than half is white: black lines on white."""
    drawings = [(name, hint) for name, hint in _hints(survey) if hint.drawing and not hint.flat]
    names = tuple(name for name, hint in drawings if hint.bright > _BRIGHT)
    if 2 * len(names) > len(drawings):
        message = f"{len(names)} hints are mostly white; line hints are white lines on black"
        yield Finding("warning", "polarity", message, names)


def misaligned(survey: Survey) -> Iterator[Finding]:
    """Hints that fit their pictures better when they are mirrored or shifted."""
    pairs = [sight.edges for sight in survey.sights if sight.edges is not None]
    if len(pairs) < ENOUGH:
        return
    seen = alignment(pairs)
    if seen.is_mirrored:
        yield Finding("warning", "mirrored", "the hints fit their pictures better mirrored")
    elif seen.is_shifted:
        down, right = (f"{100 * share:+.0f} %" for share in seen.shift)
        message = f"the hints lie off their pictures (down {down}, right {right} of their size)"
        yield Finding("warning", "shifted", message)


def duplicates(survey: Survey) -> Iterator[Finding]:
    """Pictures that stand in the dataset more than once, pixel by pixel."""
    repeated = _repeated(survey)
    if repeated:
        message = f"{len(repeated)} pictures repeat an earlier one"
        names = tuple(sight.name for sight in repeated)
        yield Finding("warning", "duplicates", message, names)


def grey_twins(survey: Survey) -> Iterator[Finding]:
    """Grey pictures that are nearly the same as an earlier one.

    Source: ControlNet 1.1's notes: thousands of repeated grey portraits made 1.0 draw in grey.
    """
    repeated = {sight.name for sight in _repeated(survey)}
    grey = [s for s in survey.sights if s.grey and s.name not in repeated and s.small.any()]
    names = tuple(grey[row].name for row in _twins([sight.small for sight in grey]))
    if names:
        message = f"{len(names)} grey pictures are nearly the same as an earlier one"
        yield Finding("warning", "grey", message, names)


def captions(survey: Survey) -> Iterator[Finding]:
    """Captions that are empty, or one for all."""
    records = survey.dataset.records
    names = tuple(record.name for record in records if not record.caption)
    if names:
        yield Finding("warning", "captions", f"{len(names)} pictures without a caption", names)
    told = {record.caption for record in records}
    if len(records) > 1 and len(told) == 1 and "" not in told:
        yield Finding("warning", "captions", f"one caption for all pictures: {min(told)!r}")


def words(survey: Survey) -> Iterator[Finding]:
    """Captions with words that the text encoder does not know."""
    if survey.strange_words is None:
        return
    strange = {r.name: survey.strange_words(r.caption) for r in survey.dataset.records}
    names = tuple(name for name, found in strange.items() if found)
    if names:
        found = tuple(sorted({word for found in strange.values() for word in found}))
        message = f"{len(names)} captions with unknown words: {listed(found)}"
        yield Finding("warning", "words", message, names)


def few(survey: Survey) -> Iterator[Finding]:
    """A dataset of one picture."""
    if len(survey.dataset) == 1:
        yield Finding("warning", "few", "there is one picture alone, which will be learnt by heart")


CHECKS: tuple[Callable[[Survey], Iterator[Finding]], ...] = (
    broken, without_hint, sizes, empty_hints, polarity, misaligned, duplicates, grey_twins,
    captions, words, few,
)  # fmt: skip
"""In the order in which a user reads them."""


def _hints(survey: Survey) -> list[tuple[str, HintSight]]:
    return [(sight.name, sight.hint) for sight in survey.sights if sight.hint is not None]


def _repeated(survey: Survey) -> list[Sight]:
    """Every sight whose pixels an earlier one has."""
    seen: set[bytes] = set()
    repeated: list[Sight] = []
    for sight in survey.sights:
        if sight.digest in seen:
            repeated.append(sight)
        seen.add(sight.digest)
    return repeated


def _twins(small: list[Tensor], block: int = 1024) -> Iterator[int]:
    """The numbers of the rows (256, of length 1) to which an earlier row is all but equal."""
    rows = torch.stack(small) if small else torch.zeros(0, 1)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        earlier = (part @ rows[: start + block].T).tril(start - 1)
        yield from (start + int(i) for i in (earlier > _TWIN).any(1).nonzero())
