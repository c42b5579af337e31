"""From a shell: `python -m controlstack.preprocessors canny photo.jpg -o edges.png`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..controlnet_core.errors import ControlInputError
from . import PREPROCESSORS
from ._pictures import read_picture, write_picture
from ._registry import Parameter, Preprocessor

TYPES = {"int": int, "float": float, "choice": str}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit code is 0, or 1 after an error told on stderr."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except ControlInputError as e:
        sys.stderr.write(f"{e}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controlstack.preprocessors")
    commands = parser.add_subparsers(required=True, metavar="preprocessor")
    commands.add_parser("list", help="name every preprocessor").set_defaults(run=_list)
    for each in PREPROCESSORS.values():
        command = commands.add_parser(each.name, help=each.title, description=each.description)
        command.set_defaults(run=_run, preprocessor=each)
        command.add_argument("pictures", nargs="+", help="files, folders or quoted globs")
        command.add_argument(
            "-o", "--output", type=Path, required=True, help="a file for one picture, else a folder"
        )
        if each.mask is not None:
            command.add_argument("--mask", type=Path, required=True, help=each.mask.help)
        for parameter in each.parameters:
            _add_flag(command, parameter)
    return parser


def _add_flag(command: argparse.ArgumentParser, parameter: Parameter) -> None:
    flag = f"--{parameter.name.replace('_', '-')}"
    text = f"{parameter.help}: {parameter.expected} (default {parameter.default})"
    if parameter.type == "flag":
        command.add_argument(
            flag, help=text, default=parameter.default, action=argparse.BooleanOptionalAction
        )
    else:
        command.add_argument(
            flag, help=text, default=parameter.default, type=TYPES[parameter.type],
            choices=parameter.choices or None,
        )


def _list(_options: argparse.Namespace) -> None:
    for each in PREPROCESSORS.values():
        flags = ", ".join(parameter.name for parameter in each.parameters)
        sys.stdout.write(f"{each.name}: {each.summary} [{flags}]\n")


def _run(options: argparse.Namespace) -> None:
    preprocessor: Preprocessor = options.preprocessor
    sources = _sources(options.pictures)
    targets = _targets(sources, options.output)
    settings = {each.name: getattr(options, each.name) for each in preprocessor.parameters}
    mask = _read_mask(options.mask) if preprocessor.needs_mask else None
    for source, target in tqdm(
        list(zip(sources, targets, strict=True)), unit="picture", disable=None
    ):
        picture = read_picture(source)
        try:
            hint = preprocessor(picture.image, mask, **settings)
        except ControlInputError as e:
            raise e.at(f"{source.name}, {e.where}") from e
        target.parent.mkdir(parents=True, exist_ok=True)
        write_picture(hint, target, bits=picture.bits)


def _read_mask(path: Path) -> Tensor:
    """(1 1 H W), the brightness of the file."""
    return read_picture(path).image[:, :3].mean(1, keepdim=True)


def _sources(names: Iterable[str]) -> list[Path]:
    """The files that the names mean, folders and globs opened, in order; raises where none is."""
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            matches = [each for each in path.iterdir() if each.suffix.lower() in _readable()]
        elif path.exists():
            matches = [path]
        else:
            matches = list(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
        if not matches:
            raise ControlInputError(
                "CN-FILE", path.name, found="no picture of that name", expected="a picture file",
                fix="check the path",
            )
        found += sorted(matches)
    return found


def _readable() -> set[str]:
    return set(Image.registered_extensions())


def _targets(sources: Sequence[Path], output: Path) -> list[Path]:
    """Where each hint goes: the named file for one picture, else `<stem>.png` in the folder."""
    if len(sources) == 1 and output.suffix and not output.is_dir():
        targets = [output]
    else:
        targets = [output / f"{source.stem}.png" for source in sources]
    taken = [each for each in targets if targets.count(each) > 1 or each in sources]
    if taken:
        raise ControlInputError(
            "CN-FILE", taken[0].name, found="two files under one name",
            expected="a name of its own for every hint", fix="choose another output folder",
        )
    return targets


if __name__ == "__main__":
    sys.exit(main())
