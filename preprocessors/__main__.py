"""From a shell: `python -m controlstack.preprocessors canny photo.jpg -o edges.png`.

`download` and `weights` get and list what the learned ones need.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..controlnet_core.errors import ControlInputError
from . import PREPROCESSORS
from ._catalogue import CATALOGUE, Checkpoint
from ._download import download
from ._networks import InProcess, use_keeper
from ._pictures import read_picture, write_picture
from ._registry import Parameter, Preprocessor
from ._weights import find, shelves

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
    _add_download(commands.add_parser("download", help="fetch weights of learned preprocessors"))
    commands.add_parser("weights", help="say which weights are here").set_defaults(run=_weights)
    for each in PREPROCESSORS.values():
        about = f"{each.description}\n\n{each.licences}".rstrip()
        command = commands.add_parser(each.name, help=each.title, description=about)
        command.set_defaults(run=_run, preprocessor=each)
        command.add_argument("pictures", nargs="+", help="files, folders or quoted globs")
        command.add_argument(
            "-o", "--output", type=Path, required=True, help="a file for one picture, else a folder"
        )
        if each.mask is not None:
            command.add_argument("--mask", type=Path, required=True, help=each.mask.help)
        if each.learned:
            command.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps, ...")
        for parameter in each.parameters:
            _add_flag(command, parameter)
    return parser


def _add_download(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_download)
    command.add_argument("ids", nargs="*", metavar="id", help="as --list names them, or all")
    command.add_argument("--to", type=Path, help="a folder other than the first that is looked in")
    command.add_argument("--list", action="store_true", help="name what there is")


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


def _weights(_options: argparse.Namespace) -> None:
    for each in CATALOGUE.values():
        try:
            there = find(each) or "missing"
        except ControlInputError as e:
            there = e.found
        sys.stdout.write(f"{each.id}: {there} [{each.weight}; {each.terms}]\n")


def _download(options: argparse.Namespace) -> None:
    if options.list or not options.ids:
        for each in CATALOGUE.values():
            sys.stdout.write(f"{each.id}: {each.repo} [{each.weight}; {each.terms}]\n")
        return
    folder: Path = options.to or shelves().folders[0]
    for each in _asked(options.ids):
        path = download(each, folder)
        sys.stdout.write(f"{each.id}: {path} [{each.terms}]\n")


def _asked(ids: Sequence[str]) -> list[Checkpoint]:
    """The entries of those ids; of weights in two forms, `all` means the first."""
    if unknown := [each for each in ids if each not in ("all", *CATALOGUE)]:
        near = difflib.get_close_matches(unknown[0], CATALOGUE, n=1)
        raise ControlInputError(
            "CN-PARAM", "download", found=f"the id {unknown[0][:40]}",
            expected="one that --list names", fix=f"write {near[0]}" if near else "look at --list",
        )
    if "all" not in ids:
        return [CATALOGUE[each] for each in ids]
    second = {each.instead for each in CATALOGUE.values()}
    return [each for each in CATALOGUE.values() if each.id not in second]


def _run(options: argparse.Namespace) -> None:
    preprocessor: Preprocessor = options.preprocessor
    if preprocessor.learned:
        use_keeper(InProcess(options.device))
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
