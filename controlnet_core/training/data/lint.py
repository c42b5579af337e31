"""Looks at a dataset before the first step, so that no training starts on a bad one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ...errors import ControlInputError
from .batches import MakeHint
from .checks import CHECKS
from .dataset import Dataset
from .findings import Finding, listed
from .sights import StrangeWords, look, spread

STRICT = ("unpaired", "size", "words")
"""Checks whose warnings stop a training that was not told to go on in spite of them."""


def lint(
    dataset: Dataset,
    *,
    sample: int | None = None,
    skip_broken: bool = False,
    make_hint: MakeHint | None = None,
    strange_words: StrangeWords | None = None,
) -> tuple[Finding, ...]:
    """What is wrong with a dataset, errors first.

    Every picture is read once, or `sample` of them, evenly spread; each costs about its decoding.
    Broken ones are errors unless they are to be skipped. With `make_hint` a few hints are made
    and looked at, and given ones are not. `strange_words` names the words of a caption that the
    text encoder does not know.
    """
    survey = look(
        dataset, spread(range(len(dataset)), sample),
        make_hint=make_hint, skip_broken=skip_broken, strange_words=strange_words,
    )  # fmt: skip
    found = [*dataset.findings, *(finding for check in CHECKS for finding in check(survey))]
    return tuple(sorted(found, key=lambda finding: finding.severity != "error"))


def strict(
    findings: Sequence[Finding], *, allow: Collection[str] = ()
) -> tuple[Finding, ...]:
    """The findings, those of STRICT checks as errors, unless they are to be allowed."""
    return tuple(
        replace(finding, severity="error")
        if finding.check in STRICT and finding.check not in allow
        else finding
        for finding in findings
    )


def usable(dataset: Dataset, findings: Sequence[Finding]) -> Dataset:
    """The dataset without its broken examples; raises `ControlInputError` if there are errors.

    `findings` are those of `lint`. CN-T16 lists the errors, CN-T12 says that nothing is left.
    """
    errors = [str(finding) for finding in findings if finding.severity == "error"]
    if errors:
        raise ControlInputError(
            "CN-T16", dataset.title, found="; ".join(errors), expected="a dataset without errors",
            fix="mend or remove these files; broken ones can also be skipped",
        )
    names = {name for finding in findings if finding.check == "broken" for name in finding.names}
    kept = dataset.without(names)
    if len(kept):
        return kept
    raise ControlInputError(
        "CN-T12", dataset.title, found=f"not one whole example ({listed(tuple(sorted(names)))})",
        expected="pictures, each with its hint", fix="replace the broken files",
    )
