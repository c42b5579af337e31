"""Lint finds each fault where it is planted, and nothing in a dataset without one."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.training.data import (
    Dataset,
    Example,
    Finding,
    Record,
    lint,
    usable,
)

SIDE, COUNT = 128, 12


def scene(seed: int) -> Tensor:
    """A picture (3 H W): boxes of random places and colours on a ground."""
    numbers = np.random.default_rng(seed)
    picture = np.full((SIDE, SIDE, 3), numbers.random(3))
    for _ in range(4):
        top, left = numbers.integers(4, SIDE - 44, 2)
        height, width = numbers.integers(16, 40, 2)
        picture[top : top + height, left : left + width] = numbers.random(3)
    return torch.from_numpy(picture).movedim(-1, 0).float()


def outline(image: Tensor) -> Tensor:
    """The hint of a picture: its edges, white on black."""
    padded = F.pad(image[None], (0, 1, 0, 1), mode="replicate")[0]
    steps = (padded[:, 1:, :-1] - image).abs() + (padded[:, :-1, 1:] - image).abs()
    return (steps.amax(0, keepdim=True) > 0.02).float().expand(3, -1, -1)


def examples() -> list[Example]:
    images = [scene(seed) for seed in range(COUNT)]
    return [Example(f"{i}", x, outline(x), f"{i} boxes") for i, x in enumerate(images)]


def opener(x: Tensor) -> Callable[[], io.BytesIO]:
    file = io.BytesIO()
    Image.fromarray((x * 255).round().byte().movedim(0, -1).numpy()).save(file, "PNG")
    return partial(io.BytesIO, file.getvalue())


def dataset(of: list[Example]) -> Dataset:
    return Dataset("test", tuple(
        Record(e.name, e.caption, opener(e.image), None if e.hint is None else opener(e.hint))
        for e in of
    ))  # fmt: skip


def changed(rows: dict[int, Callable[[Example], Example]]) -> Dataset:
    return dataset([rows.get(i, lambda e: e)(e) for i, e in enumerate(examples())])


def with_hints(change: Callable[[Tensor], Tensor], rows: range = range(COUNT)) -> Dataset:
    return changed(dict.fromkeys(rows, lambda e: replace(e, hint=change(e.hint))))


def broken(at: int) -> Dataset:
    whole = dataset(examples())
    records = list(whole.records)
    records[at] = replace(records[at], image=partial(io.BytesIO, b"no picture"))
    return replace(whole, records=tuple(records))


def told(findings: tuple[Finding, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(f.severity, f.check, f.names) for f in findings]


ALL = tuple(str(i) for i in range(COUNT))


def test_nothing_is_wrong_with_a_good_dataset() -> None:
    assert lint(dataset(examples())) == ()
    assert lint(with_hints(lambda x: torch.ones_like(x) - 0.9 * x), sample=5) == ()


def noise(seed: int) -> Tensor:
    return torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def grey(seed: int, level: float = 1.0) -> Tensor:
    return (level * scene(seed).mean(0, keepdim=True)).expand(3, -1, -1)


FAULTS: dict[str, tuple[Dataset, list[tuple[str, str, tuple[str, ...]]]]] = {
    "no hint": (changed({3: lambda e: replace(e, hint=None)}), [("error", "hints", ("3",))]),
    "aspect": (with_hints(lambda x: x[:, 32:], range(2, 3)), [("error", "aspect", ("2",))]),
    "size": (with_hints(lambda x: x[:, ::2, ::2], range(2, 3)), [("warning", "size", ("2",))]),
    "some empty": (with_hints(torch.zeros_like, range(2)), [("warning", "empty", ("0", "1"))]),
    "all empty": (with_hints(torch.ones_like), [("error", "empty", ALL)]),
    "polarity": (with_hints(lambda x: 1.0 - x), [("warning", "polarity", ALL)]),
    "mirrored": (with_hints(lambda x: x.flip(-1)), [("warning", "mirrored", ())]),
    "shifted": (with_hints(lambda x: x.roll((8, -5), (1, 2))), [("warning", "shifted", ())]),
    "repeated": (
        changed({i: lambda e: replace(e, image=scene(0), hint=outline(scene(0))) for i in (4, 7)}),
        [("warning", "duplicates", ("4", "7"))],
    ),
    "grey twins": (
        changed({
            2: lambda e: replace(e, image=grey(2), hint=outline(scene(2))),
            5: lambda e: replace(e, image=grey(2, 0.97), hint=outline(scene(2))),
            6: lambda e: replace(e, image=grey(6)),
        }),
        [("warning", "grey", ("5",))],
    ),
    "no caption": (
        changed({1: lambda e: replace(e, caption="")}), [("warning", "captions", ("1",))],
    ),
    "one caption": (
        changed(dict.fromkeys(range(COUNT), lambda e: replace(e, caption="a"))),
        [("warning", "captions", ())],
    ),
    "one picture": (dataset(examples()[:1]), [("warning", "few", ())]),
    "broken": (broken(3), [("error", "broken", ("3",))]),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found_alone(name: str) -> None:
    bad, expected = FAULTS[name]
    assert told(lint(bad)) == expected


def test_shift_is_told_with_its_direction() -> None:
    (finding,) = lint(FAULTS["shifted"][0])
    assert str(finding) == (
        "warning: the hints lie off their pictures (down +6 %, right -4 % of their size)"
    )


@pytest.mark.parametrize("count", [1, 7, 12])
def test_hints_without_edges_of_their_picture_are_let_be(count: int) -> None:
    """Few pairs correlate somewhere by chance; nothing is said of them."""
    of = examples()
    others = [replace(e, hint=of[(i + 1) % COUNT].hint) for i, e in enumerate(of)]
    assert {f.check for f in lint(dataset(others[:count]))} <= {"few"}


@pytest.mark.parametrize("depth", [True, False])
def test_hints_without_black_and_white_may_be_bright(depth: bool) -> None:
    def bright(example: Example) -> Example:
        return replace(example, hint=0.5 + 0.5 * (grey(int(example.name)) if depth else noise(9)))

    assert lint(changed(dict.fromkeys(range(COUNT), bright))) == ()


def test_unknown_words() -> None:
    known = {"boxes", *ALL[:-1]}

    def strange(caption: str) -> list[str]:
        return [word for word in caption.split() if word not in known]

    (finding,) = lint(dataset(examples()), strange_words=strange)
    assert finding.names == ("11",)
    assert str(finding) == "warning: 1 captions with unknown words: 11 (11)"


def test_made_hints_are_looked_at_in_place_of_given_ones() -> None:
    bad = with_hints(torch.zeros_like)
    assert lint(bad, make_hint=lambda x: outline(x[0])[None]) == ()
    good = dataset(examples())
    assert told(lint(good, make_hint=torch.zeros_like)) == [("error", "empty", ALL)]
    bare = changed(dict.fromkeys(range(COUNT), lambda e: replace(e, hint=None)))
    assert lint(bare, make_hint=lambda x: outline(x[0])[None]) == ()


def test_what_was_odd_on_opening_comes_along_and_errors_come_first() -> None:
    odd = Finding("warning", "unpaired", "1 hints without a picture", ("x",))
    findings = lint(replace(broken(2), findings=(odd,)))
    assert [f.check for f in findings] == ["broken", "unpaired"]
    assert findings[1] is odd


def test_usable_refuses_errors_and_names_them() -> None:
    bad = broken(3)
    with pytest.raises(ControlInputError, match=r"CN-T16.*1 broken examples.*\(3\)"):
        usable(bad, lint(bad))


def test_usable_leaves_out_what_is_broken_only_when_asked() -> None:
    bad = broken(3)
    findings = lint(bad, skip_broken=True)
    assert told(findings) == [("warning", "broken", ("3",))]
    kept = usable(bad, findings)
    assert [record.name for record in kept.records] == [n for n in ALL if n != "3"]
    good = dataset(examples())
    assert len(usable(good, lint(good))) == COUNT


def test_usable_refuses_when_nothing_is_left() -> None:
    bad = broken(0).without(ALL[1:])
    with pytest.raises(ControlInputError, match="CN-T12"):
        usable(bad, lint(bad, skip_broken=True))


def test_long_lists_are_cut_in_messages_alone() -> None:
    finding = Finding("warning", "x", "9 things", tuple("abcdefghi"))
    assert str(finding) == "warning: 9 things (a, b, c, d, e and 4 more)"
