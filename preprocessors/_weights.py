"""Where the weights of preprocessors are looked for, and what is said where they are missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ..controlnet_core.errors import ControlInputError
from ._catalogue import CATALOGUE, OTHER_NAME, Checkpoint
from ._download import Progress, download, is_whole
from ._run import silent

COMMAND = "python -m controlstack.preprocessors download"


@dataclass(frozen=True)
class Shelves:
    """Folders in which weights are looked for, best first; the first one takes downloads.

    Each may be laid out as `repository/file` (as here and in comfyui_controlnet_aux), flat, or as
    annotator/downloads of sd-webui-controlnet.
    """

    folders: tuple[Path, ...]
    downloads: bool = False
    progress: Progress = silent


_chosen: Shelves | None = None


def shelves() -> Shelves:
    """Where weights are looked for now."""
    return _chosen or Shelves((_home(),))


def use_shelves(chosen: Shelves | None) -> Shelves | None:
    """Looks there from now on, None for the default; gives back what was chosen before."""
    global _chosen
    before, _chosen = _chosen, chosen
    return before


def use_folders(*folders: Path) -> None:
    """Looks in `folders` from now on, in this order; in the default folder where none is named."""
    use_shelves(replace(shelves(), folders=folders or (_home(),)))


def use_downloads(allowed: bool, *, progress: Progress = silent) -> None:
    """Whether missing weights are fetched when a preprocessor needs them; at first they are not."""
    use_shelves(replace(shelves(), downloads=allowed, progress=progress))


def _home() -> Path:
    """Without a host: $CONTROLSTACK_WEIGHTS, or a folder in the user's cache."""
    named = os.environ.get("CONTROLSTACK_WEIGHTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else cache / "controlstack" / "weights"


def locate(checkpoint: Checkpoint) -> Path:
    """The file of `checkpoint`, or its folder; fetched where it is missing and that is allowed.

    Raises CN-WEIGHTS, which says what to put where, and what `find` and `download` raise.
    """
    found = find(checkpoint)
    if found is None and shelves().downloads:
        return download(checkpoint, shelves().folders[0], progress=shelves().progress)
    if found is None:
        raise _missing(checkpoint)
    return found


def find(checkpoint: Checkpoint) -> Path | None:
    """Where `checkpoint` lies on this machine, or the entry that may stand in for it, or None.

    Order: every folder of the shelves, then $AUX_ANNOTATOR_CKPTS_PATH, then the hub's cache; in
    each the name as published, then the same name as `.safetensors`. A file that is shorter than
    the published one raises CN-SIZE: truncated, it is not passed over in silence.
    """
    there = next(_places(checkpoint), None)
    if there is None and checkpoint.instead is not None:
        return find(CATALOGUE[checkpoint.instead])
    return there


def _places(checkpoint: Checkpoint) -> Iterator[Path]:
    look = _folders_in if checkpoint.is_folder else _files_in
    aux = os.environ.get("AUX_ANNOTATOR_CKPTS_PATH")
    for folder in (*shelves().folders, *((Path(aux),) if aux else ())):
        yield from look(checkpoint, folder)
    yield from _cached(checkpoint)


def _files_in(checkpoint: Checkpoint, folder: Path) -> Iterator[Path]:
    file = PurePosixPath(checkpoint.files[0])
    inside = (checkpoint.repo / file, file.name, file, checkpoint.a1111)
    for path in (folder / each for each in inside if each is not None):
        if path.is_file():
            yield _checked(checkpoint, path)
        converted = path.with_suffix(".safetensors")
        if converted != path and converted.is_file():
            yield converted


def _folders_in(checkpoint: Checkpoint, folder: Path) -> Iterator[Path]:
    for path in (folder / checkpoint.repo, folder / checkpoint.repo.rpartition("/")[2]):
        if all(_is_there(path, name) for name in checkpoint.files):
            yield path


def _is_there(folder: Path, name: str) -> bool:
    return (folder / name).is_file() or (folder / OTHER_NAME.get(name, name)).is_file()


def _cached(checkpoint: Checkpoint) -> Iterator[Path]:
    """In the hub's own cache (HF_HOME, HF_HUB_CACHE), where its library is installed."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return
    found = try_to_load_from_cache(checkpoint.repo, checkpoint.files[0])
    if not isinstance(found, str):
        return
    if not checkpoint.is_folder:
        yield _checked(checkpoint, Path(found))
    elif all(_is_there(Path(found).parent, name) for name in checkpoint.files):
        yield Path(found).parent


def _checked(checkpoint: Checkpoint, path: Path) -> Path:
    if is_whole(checkpoint, path):
        return path
    raise ControlInputError(
        "CN-SIZE", checkpoint.name,
        found=f"a truncated file, {path.stat().st_size:,} bytes at {path}",
        expected=checkpoint.weight, fix="delete it and download it again",
    )


def _missing(checkpoint: Checkpoint) -> ControlInputError:
    folder = shelves().folders[0]
    files = ", ".join(PurePosixPath(name).as_posix() for name in checkpoint.files)
    facts = [checkpoint.weight, *([f"sha256 {checkpoint.sha256}"] if checkpoint.sha256 else [])]
    return ControlInputError(
        "CN-WEIGHTS", checkpoint.name,
        found="no such weights on this machine",
        expected=f"{files} in {folder / checkpoint.repo} ({', '.join(facts)}, {checkpoint.terms})",
        fix=f'run `{COMMAND} {checkpoint.id} --to "{folder}"`, or get them from the hub '
        f"repository {checkpoint.repo}",
    )
