"""The README's table of preprocessors and the list of error codes say what the code says.

`python tests/test_readme.py --write` writes the table anew.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- preprocessors: made by tests/test_readme.py --write -->\n", "<!-- end -->"


def table() -> str:
    """One row for each preprocessor, from the registry."""
    from controlstack.preprocessors import PREPROCESSORS

    rows = [
        f"| `{each.name}` | {each.title} | {each.summary.rstrip('.')} | "
        + ", ".join(f"`{parameter.name}`" for parameter in each.parameters)
        + " |\n"
        for each in PREPROCESSORS.values()
    ]
    return "| preprocessor | node | hint | parameters |\n|---|---|---|---|\n" + "".join(rows)


def _with_table(text: str) -> str:
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END, 1)[1]


def test_readme_lists_the_preprocessors() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == _with_table(text), "run `python tests/test_readme.py --write`"


def test_links_lead_somewhere() -> None:
    for page in (README, *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_error_code_is_explained() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("controlnet_core", "preprocessors", "nodes")
        for path in (ROOT / folder).rglob("*.py")
    ]
    raised = set(re.findall(r'"(CN-[A-Z0-9]+)"', "".join(sources)))
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"\| (CN-[A-Z0-9]+) \|", page))
    assert raised == explained


@pytest.mark.parametrize("word", ["TODO", "FIXME", "NotImplementedError"])
def test_nothing_is_left_unfinished(word: str) -> None:
    for folder in ("controlnet_core", "preprocessors", "nodes"):
        for path in (ROOT / folder).rglob("*.py"):
            assert word not in path.read_text(encoding="utf-8"), path


if __name__ == "__main__" and "--write" in sys.argv:
    import conftest  # noqa: F401  # loads the pack

    README.write_text(_with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
