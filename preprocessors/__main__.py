"""From a shell: `python -m controlstack.preprocessors canny photo.jpg -o edges.png`.

`download` and `weights` get and list what the learned ones need.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..controlnet_core.errors import ControlInputError
from . import PREPROCESSORS
from ._catalogue import CATALOGUE, Checkpoint
from ._download import download
from ._finish import WHOLE_BATCH
from ._networks import InProcess, use_keeper
from ._pictures import read_picture, write_picture
from ._registry import Parameter, Preprocessor
from ._videos import SUFFIXES, open_video, write_video
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
        command.add_argument("pictures", nargs="+", help="pictures, videos, folders or globs")
        command.add_argument(
            "-o", "--output", type=Path, required=True, help="a file for one source, else a folder"
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
    make = partial(preprocessor, mask=mask, **settings)
    for source, target in tqdm(
        list(zip(sources, targets, strict=True)), unit="file", disable=None
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if _is_video(source):
                _make_video(make, source, target, whole=WHOLE_BATCH in settings.values())
            else:
                _make_picture(make, source, target)
        except ControlInputError as e:
            raise e if source.name in e.where else e.at(f"{source.name}, {e.where}") from e


def _make_picture(make: Callable[[Tensor], Tensor], source: Path, target: Path) -> None:
    picture = read_picture(source)
    write_picture(make(picture.image), target, bits=picture.bits)


def _make_video(
    make: Callable[[Tensor], Tensor], source: Path, target: Path, *, whole: bool
) -> None:
    """`whole` takes all frames for one batch, for which there must be room in memory."""
    video = open_video(source)

    def hints() -> Iterator[Tensor]:
        with tqdm(total=video.count or None, unit="frame", leave=False, disable=None) as bar:
            for frames in [torch.cat(list(video.chunks()))] if whole else video.chunks():
                for hint in torch.split(make(frames), 1):
                    yield hint
                    bar.update()

    write_video(target, hints(), rate=video.rate)


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
    return {*Image.registered_extensions(), *SUFFIXES}


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _targets(sources: Sequence[Path], output: Path) -> list[Path]:
    """Where each hint goes: the named file for one source, else one of its name in the folder.

    A picture becomes a `.png`, a video a `.mp4`.
    """
    if len(sources) == 1 and output.suffix and not output.is_dir():
        targets = [output]
    else:
        kinds = (".mp4" if _is_video(source) else ".png" for source in sources)
        targets = [output / (s.stem + kind) for s, kind in zip(sources, kinds, strict=True)]
    for source, target in zip(sources, targets, strict=True):
        if _is_video(source) != _is_video(target):
            raise ControlInputError(
                "CN-FILE", target.name, found=f"a file of another kind than {source.name}",
                expected="a video for a video, a picture for a picture",
                fix="choose another output file, or a folder",
            )
    taken = [each for each in targets if targets.count(each) > 1 or each in sources]
    if taken:
        raise ControlInputError(
            "CN-FILE", taken[0].name, found="two files under one name",
            expected="a name of its own for every hint", fix="choose another output folder",
        )
    return targets


if __name__ == "__main__":
    sys.exit(main())
