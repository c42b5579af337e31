"""Who imports whom, read from the source with `ast`: docs/architecture.md in a form that fails.

`controlnet_core` <- `preprocessors` <- `nodes` <- the host. Imports inside functions and under
`TYPE_CHECKING` count.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("controlnet_core", "preprocessors", "nodes")

# A unit is a file or folder of controlnet_core, or one of the other two folders.
FILE_PARTS = frozenset({"_disk", "_pickles", "_safetensors"})  # of files.py, and of nobody else
GROUND = frozenset({"errors", "tensors", "residuals", "files", "noise", "sheet"})
COMMANDS = frozenset({"training", "playground", "preprocessors"})  # named by nodes and commands
COMMAND_FOLDER = "controlnet_core/playground/train"  # a command of several files, as __main__.py is
MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "tensors": frozenset({"errors"}),
    "files": FILE_PARTS | {"errors", "tensors"},
    **dict.fromkeys(FILE_PARTS, FILE_PARTS | {"errors", "tensors"}),
    "residuals": frozenset({"errors", "tensors"}),
    "noise": frozenset(),
    "sheet": frozenset(),
    "nets": frozenset({"errors", "tensors", "residuals"}),
    "control": frozenset({"errors", "tensors", "residuals"}),
    "formats": GROUND | {"nets"},
    "training": GROUND | {"nets", "formats"},
    "playground": GROUND | {"nets", "control", "formats"},
    "controlnet_core": frozenset(),  # its __init__.py
    "preprocessors": frozenset({"errors", "tensors", "files"}),
    "nodes": GROUND | COMMANDS | {"controlnet_core", "nets", "control", "formats"},
}

# The host's top-level modules; `nodes` is one of them, and absolute, never ours.
HOST = re.compile(
    r"comfy.*|api_server|app|cuda_malloc|execution|folder_paths|hook_breaker_\w+|latent_preview"
    r"|main|middleware|new_updater|node_helpers|nodes|protocol|server|utils"
)
OWN = re.compile(r"controlstack|controlnet_core|preprocessors|" + "|".join(MAY_IMPORT))


def unit_of(parts: tuple[str, ...]) -> str:
    """The unit of a module, from its path below the root: ("nodes", "load") -> "nodes"."""
    return parts[1] if parts[0] == "controlnet_core" and len(parts) > 1 else parts[0]


def imported(tree: ast.AST) -> Iterator[tuple[int, int, str]]:
    """(line, level, dotted name) of everything imported by name; level 0 is absolute."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node.lineno, 0, alias.name) for alias in node.names)
            case ast.ImportFrom(level=0):
                yield node.lineno, 0, node.module or ""
            case ast.ImportFrom():
                for alias in node.names:
                    dotted = ".".join(part for part in (node.module, alias.name) if part)
                    yield node.lineno, node.level, dotted
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="__import__" | "import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                bare = name.lstrip(".")
                yield node.lineno, len(name) - len(bare), bare


def why_not(path: PurePosixPath, level: int, name: str) -> str | None:
    """What is wrong with one import in the file `path` (below the root), or None."""
    package = path.parts[:-1]
    unit = unit_of((*package, path.stem) if path.stem != "__init__" else package)
    if level == 0:
        top = name.split(".")[0]
        if HOST.fullmatch(top):
            return None if unit == "nodes" else f"{name} is the host's; only nodes/ may import it"
        return "our own modules are imported relatively" if OWN.fullmatch(top) else None
    if level > len(package) + 1:
        return "reaches above the pack"
    target = unit_of((*package[: len(package) - level + 1], *name.split(".")))
    if unit not in MAY_IMPORT:
        return f"{unit} is new: say in MAY_IMPORT what it may import"
    is_command = path.stem == "__main__" or path.parent.as_posix() == COMMAND_FOLDER
    allowed = MAY_IMPORT[unit] | {unit} | (COMMANDS if is_command else frozenset())
    return None if target in allowed else f"{unit} may not import {target}"


def refusals(path: str, source: str) -> list[str]:
    """One line for each import in `source` that the file `path` may not have."""
    reasons = (
        (line, why_not(PurePosixPath(path), level, name))
        for line, level, name in imported(ast.parse(source))
    )
    return [f"{path}:{line}: {reason}" for line, reason in reasons if reason]


def sources() -> list[str]:
    files = (file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


@pytest.mark.parametrize("path", sources())
def test_file_imports_what_its_folder_may(path: str) -> None:
    assert refusals(path, (ROOT / path).read_text(encoding="utf-8")) == []


CORE = "controlnet_core"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (f"{CORE}/errors.py", "from .tensors import check_shape"),
        (f"{CORE}/tensors.py", "from .residuals import Residuals"),
        (f"{CORE}/residuals.py", "from .nets import ControlNet"),
        (f"{CORE}/files.py", "from . import nets"),
        (f"{CORE}/formats/ldm.py", "from .._pickles import load"),
        (f"{CORE}/nets/unet.py", "from ..control import ControlSpec"),
        (f"{CORE}/nets/unet.py", "from ..files import read"),
        (f"{CORE}/nets/unet.py", "from .. import formats"),
        (f"{CORE}/control/session.py", "from ..nets.controlnet import ControlNet"),
        (f"{CORE}/control/session.py", "from .. import nets as n"),
        (f"{CORE}/control/session.py", "def f():\n    from ..nets import unet"),
        (f"{CORE}/control/session.py", "if TYPE_CHECKING:\n    from .. import nets"),
        (f"{CORE}/control/session.py", "from ... import nodes"),
        (f"{CORE}/control/session.py", "from ...nodes import load"),
        (f"{CORE}/control/session.py", "from .... import comfy"),
        (f"{CORE}/control/session.py", "import comfy.utils"),
        (f"{CORE}/control/session.py", "from comfy_api.latest import io"),
        (f"{CORE}/control/session.py", "import folder_paths"),
        (f"{CORE}/control/session.py", "import nodes"),
        (f"{CORE}/control/session.py", "def f():\n    import server"),
        (f"{CORE}/control/session.py", "importlib.import_module('comfy.sd')"),
        (f"{CORE}/control/session.py", "import_module('..nets', __package__)"),
        (f"{CORE}/control/session.py", "__import__('execution')"),
        (f"{CORE}/control/session.py", "from controlnet_core.tensors import check_shape"),
        (f"{CORE}/control/session.py", "from controlstack.controlnet_core import tensors"),
        (f"{CORE}/control/session.py", "from ... import preprocessors"),
        (f"{CORE}/control/session.py", "from .. import *"),
        (f"{CORE}/formats/ldm.py", "from ..control.spec import ControlSpec"),
        (f"{CORE}/formats/ldm.py", "from ..training import loop"),
        (f"{CORE}/training/loop.py", "from ..control import schedule"),
        (f"{CORE}/training/loop.py", "from ..playground import data"),
        (f"{CORE}/training/loop.py", "from ...preprocessors import PREPROCESSORS"),
        (f"{CORE}/training/__main__.py", "from ...nodes import load"),
        (f"{CORE}/training/__main__.py", "import comfy.sd"),
        (f"{CORE}/playground/data.py", "from ..training import dataset"),
        (f"{CORE}/playground/data.py", "from ... import preprocessors"),
        (f"{CORE}/__init__.py", "from . import nets"),
        (f"{CORE}/novelty.py", "from .tensors import check_shape"),
        ("preprocessors/canny.py", "from ..controlnet_core.residuals import Residuals"),
        ("preprocessors/canny.py", "from ..controlnet_core.nets import layers"),
        ("preprocessors/canny.py", "from .. import controlnet_core"),
        ("preprocessors/_nets/hed.py", "from ...controlnet_core import control"),
        ("preprocessors/_nets/hed.py", "from ... import nodes"),
        ("preprocessors/canny.py", "from preprocessors._filters import nms"),
        ("preprocessors/canny.py", "import comfy"),
        ("nodes/load.py", "from controlstack.controlnet_core import formats"),
        ("nodes/load.py", "import controlnet_core"),
        ("nodes/load.py", "from .. import WEB_DIRECTORY"),
    ],
)
def test_forbidden_import_is_refused(path: str, source: str) -> None:
    assert refusals(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (f"{CORE}/errors.py", "import enum"),
        (f"{CORE}/tensors.py", "import torch\nfrom .errors import ControlInputError"),
        (f"{CORE}/residuals.py", "from . import errors, tensors"),
        (f"{CORE}/files.py", "from . import _disk\nfrom .errors import ControlInputError"),
        (f"{CORE}/nets/unet.py", "from .. import residuals\nfrom .blocks import ResBlock"),
        (f"{CORE}/nets/unet.py", "from . import blocks\nimport torch.utils.checkpoint"),
        (f"{CORE}/control/session.py", "from ..residuals import Residuals\nfrom .spec import X"),
        (f"{CORE}/formats/ldm.py", "from ..nets.config import SD15\nfrom ..files import read"),
        (f"{CORE}/training/loop.py", "from ..formats import save\nfrom ..nets import ControlNet"),
        (f"{CORE}/training/__main__.py", "from ...preprocessors import PREPROCESSORS"),
        (f"{CORE}/playground/__main__.py", "from .. import training, control, formats, nets"),
        (f"{CORE}/playground/data.py", "from ..control.session import ControlSession"),
        (f"{CORE}/playground/train/base.py", "from ...training.loop import Recipe"),
        ("preprocessors/canny.py", "from ..controlnet_core.tensors import check_shape"),
        ("preprocessors/canny.py", "from ._filters import nms\ndef f():\n    import cv2"),
        ("preprocessors/_nets/hed.py", "from ...controlnet_core.files import read"),
        ("nodes/load.py", "import comfy.sd, folder_paths, nodes\nfrom comfy_api.latest import io"),
        ("nodes/load.py", "from ..controlnet_core import formats\nfrom . import _bridge"),
        ("nodes/preprocess.py", "from ..preprocessors import PREPROCESSORS"),
        ("nodes/train.py", "from ..controlnet_core.training.loop import train"),
    ],
)
def test_permitted_import_passes(path: str, source: str) -> None:
    assert refusals(path, source) == []


def test_root_holds_the_entry_point_and_nothing_else() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    names = [
        node.name if isinstance(node, ast.AsyncFunctionDef) else ast.unparse(node)
        for node in tree.body[1:]
    ]
    assert names == [
        "from __future__ import annotations",
        "WEB_DIRECTORY = './web'",
        "comfy_entrypoint",
    ]


def test_every_package_is_installed() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r'^ +"controlstack\.(.+)",$', pyproject, flags=re.MULTILINE))
    inits = (file for folder in FOLDERS for file in (ROOT / folder).rglob("__init__.py"))
    assert {file.parent.relative_to(ROOT).as_posix().replace("/", ".") for file in inits} == listed
