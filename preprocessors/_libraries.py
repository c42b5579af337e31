"""Python packages that only some preprocessors need, imported when one of them runs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ..controlnet_core.errors import ControlInputError


def library(name: str, *, pip: str | None = None) -> ModuleType:
    """The module `name`; raises CN-LIBRARY, with the line that installs it, where it fails.

    `pip` is the package's name on PyPI where that is another one. A package that is there and
    cannot be imported (for another torch, another numpy) is told with its own words.
    """
    try:
        return import_module(name)
    except (ImportError, OSError) as e:  # OSError: a compiled part for another system
        package = pip or name.partition(".")[0]
        raise ControlInputError(
            "CN-LIBRARY", package, found=f"no usable Python package {package} ({e})",
            expected="it beside torch, in the Python that runs this",
            fix=f"python -m pip install {package}",
        ) from e
