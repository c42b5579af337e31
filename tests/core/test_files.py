"""Reading and writing weight files: what is refused, what is accepted, what a failure leaves."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from torch import Tensor

from controlstack.controlnet_core import _pickles, _safetensors, files
from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import check_finite, read_header, read_tensors, save_tensors

_spec = spec_from_file_location("broken_files", Path(__file__).with_name("broken_files.py"))
assert _spec is not None
assert _spec.loader is not None
broken = module_from_spec(_spec)
sys.modules["broken_files"] = broken  # the canary is pickled by its module's name
_spec.loader.exec_module(broken)

READERS = (read_header, read_tensors)
DTYPES = sorted(files._DTYPES, key=str)


@pytest.fixture(autouse=True)
def _warned() -> None:
    """The warning about old versions of torch belongs to its own test."""
    _pickles._warn_of_old_torch()


def contents(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_size for path in folder.rglob("*")}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def check_contract(error: ControlInputError, path: Path, code: str) -> None:
    """What every message owes to its reader."""
    assert error.code == code
    assert error.where == path.name
    assert path.name in str(error)
    assert all((error.found, error.expected, error.fix))
    assert len(str(error)) <= 600
    assert str(path.parent) not in str(error)
    assert " /" not in str(error)
    assert "<class" not in str(error)
    # what a console prints counts too: torch's own text advises to switch safety off
    assert "weights_only" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("read", READERS, ids=lambda item: item.__name__)
@pytest.mark.parametrize("row", broken.ROWS, ids=lambda item: item.id)
def test_bad_file_is_refused(row, read, tmp_path: Path) -> None:
    path = row.make(tmp_path)
    before, fds, start = contents(tmp_path), open_files(), time.process_time()
    with pytest.raises(ControlInputError) as caught:
        read(path)
    assert time.process_time() - start < 1  # of our own work: the machine may be busy with others
    check_contract(caught.value, path, row.code)
    assert row.says in caught.value.found
    assert contents(tmp_path) == before
    assert not broken.marker(tmp_path).exists()
    del caught
    assert open_files() == fds


def test_the_canary_sings_when_it_is_let_out(tmp_path: Path) -> None:
    torch.load(broken.canary(broken.itself)(tmp_path), weights_only=False)
    assert broken.marker(tmp_path).exists()


def test_a_file_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = broken.safe(broken.container())(tmp_path)

    def deny(_path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))  # tests may run as root

    monkeypatch.setattr(files._disk, "FileIO", deny)
    with pytest.raises(ControlInputError, match="no permission") as caught:
        read_header(path)
    check_contract(caught.value, path, "CN-C28")


def test_message_calls_the_file_as_asked(tmp_path: Path) -> None:
    with pytest.raises(ControlInputError) as caught:
        read_header(tmp_path / "a.safetensors", name="sd15/a.safetensors")
    assert caught.value.where == "sd15/a.safetensors"


def test_message_stays_short_with_long_names(tmp_path: Path) -> None:
    header = {"n" * 500 + str(i): broken.GOOD["a"] for i in range(2)}
    path = broken.wrote(broken.container(header), "f" * 200 + ".safetensors", tmp_path)
    with pytest.raises(ControlInputError) as caught:
        read_header(path)
    assert len(str(caught.value)) <= 600


def test_a_claim_past_the_end_of_the_archive_reads_nothing(tmp_path: Path) -> None:
    """CVE-2026-24747: below torch 2.10 a storage takes the length that the pickle states."""
    with pytest.raises(ControlInputError, match="CN-C25"):
        read_tensors(broken.repacked(broken.short_storage)(tmp_path))


def test_a_file_that_shrinks_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = broken.safe(broken.container())(tmp_path)
    checked = files._checked

    def shrink(*arguments: object) -> object:
        os.truncate(path, path.stat().st_size - 6)
        return checked(*arguments)

    monkeypatch.setattr(files, "_checked", shrink)
    with pytest.raises(ControlInputError, match=r"CN-C04.*shrank"):
        read_tensors(path)


def sample() -> dict[str, Tensor]:
    """Tensors that a careless writer gets wrong."""
    x = torch.arange(24, dtype=torch.float32)
    return {
        "plain": x.view(2, 3, 4),
        "turned": x.view(4, 6).T,
        "strided": x[::3],
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "byte": torch.tensor([1], dtype=torch.uint8),
        "half": x.half(),
        "parameter": torch.nn.Parameter(x),
        "name with \u00e9": x.double(),
    }


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        x.dtype == b[k].dtype and x.shape == b[k].shape and bytes_of(x) == bytes_of(b[k])
        for k, x in a.items()
    )


def bytes_of(x: Tensor) -> bytes:
    return x.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_goes_round(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {"w": torch.randint(0, 100, (64,), dtype=torch.uint8).view(dtype)}
    save_tensors(tmp_path / "a.safetensors", tensors, {})
    assert equal(read_tensors(tmp_path / "a.safetensors"), tensors)
    torch.save(tensors, tmp_path / "a.pth")
    assert equal(read_tensors(tmp_path / "a.pth"), tensors)
    assert read_header(tmp_path / "a.pth").tensors["w"].dtype == dtype


def test_we_and_the_safetensors_library_read_each_other(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    tensors = {key: x.detach().clone().contiguous() for key, x in sample().items()}
    save_tensors(ours, sample(), {"format": "pt"})
    safetensors.torch.save_file(tensors, theirs, {"format": "pt"})
    assert equal(safetensors.torch.load_file(ours), tensors)
    assert equal(read_tensors(theirs), tensors)
    with safetensors.safe_open(ours, "pt") as file:
        assert file.metadata() == {"format": "pt"} == read_header(ours).metadata


def test_header_tells_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, sample(), {"author": "me"})
    header = read_header(str(path))
    assert (header.path, header.name, header.size) == (path, path.name, path.stat().st_size)
    assert header.metadata == {"author": "me"}
    assert {key: (x.shape, x.dtype) for key, x in header.tensors.items()} == {
        key: (tuple(x.shape), x.dtype) for key, x in sample().items()
    }
    assert equal(read_tensors(header), {key: sample()[key] for key in header.tensors})


def test_a_tensor_starts_at_a_multiple_of_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, sample(), {"a": "b"})
    with path.open("rb", buffering=0) as file:
        slots = _safetensors.read_layout(file, path.stat().st_size, path.name).slots.values()
        start = file.tell()
    assert all((start + slot.begin) % slot.dtype.itemsize == 0 for slot in slots)


def test_zero_sized_tensors_may_share_a_place(tmp_path: Path) -> None:  # C15
    zero = {"dtype": "F32", "shape": [0, 3], "data_offsets": [4, 4]}
    path = broken.safe(broken.container({**broken.GOOD, "c": zero, "d": zero}))(tmp_path)
    assert {key: tuple(x.shape) for key, x in read_tensors(path).items()} == {
        "a": (1,),
        "b": (1,),
        "c": (0, 3),
        "d": (0, 3),
    }


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])  # C25
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin", ".PTH"])
def test_pickles_of_weights_are_read(legacy: bool, suffix: str, tmp_path: Path) -> None:
    path = broken.saved(sample(), legacy=legacy)(tmp_path).rename(tmp_path / f"b{suffix}")
    header, tensors = read_header(path), read_tensors(path)
    assert equal(tensors, sample())
    assert {key: (x.shape, x.dtype) for key, x in header.tensors.items()} == {
        key: (tuple(x.shape), x.dtype) for key, x in sample().items()
    }
    assert not any(x.requires_grad for x in tensors.values())


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_tied_weights_become_two(legacy: bool, tmp_path: Path) -> None:
    x = torch.randn(64)
    tensors = read_tensors(broken.saved({"a": x, "b": x}, legacy=legacy)(tmp_path))
    assert equal(tensors, {"a": x, "b": x})
    assert tensors["a"].data_ptr() != tensors["b"].data_ptr()


def test_a_damaged_archive_is_refused_at_any_byte(tmp_path: Path) -> None:
    """No damage gets past our errors: zipfile, pickletools and torch fail in many ways."""
    good = broken.saved({"w": torch.ones(2)})(tmp_path).read_bytes()
    directory = good.index(b"PK\1\2")
    for at in (*range(0, 400, 3), *range(directory, len(good))):
        path = broken.pth(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])(tmp_path)
        with contextlib.suppress(ControlInputError):
            read_tensors(path)


W = torch.ones(2, 2)
NESTED = {
    "plain": {"w": W},
    "one": {"state_dict": {"w": W}},
    "three": {"model": {"module": {"ema": {"w": W}}}},
    "leavings": {"state_dict": {"w": W}, "epoch": 3, "optimizer": {"state": [W]}, "arch": "net"},
    "leavings beside the weights": {
        "w": W,
        "global_step": 7,
        "optimizer": {"lr": 0.1},
        "epoch": None,
    },
    "first of two": {"ema": {"w": -W}, "state_dict": {"w": W}},
    "adapter": {"adapter": {"w": W}},
}


@pytest.mark.parametrize("value", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize("read", READERS, ids=lambda item: item.__name__)
def test_nests_are_opened_and_leavings_left(read, value: dict[str, object], tmp_path: Path) -> None:
    found = read(broken.saved(value)(tmp_path))
    tensors = found if isinstance(found, dict) else found.tensors
    assert list(tensors) == ["w"]
    if isinstance(found, dict):
        assert torch.equal(found["w"], W)


def test_a_fourth_nest_stays_in_the_names(tmp_path: Path) -> None:
    value = {"model": {"module": {"ema": {"model": {"w": W}}}}}
    assert list(read_header(broken.saved(value)(tmp_path)).tensors) == ["model.w"]


def test_unknown_dicts_become_prefixes(tmp_path: Path) -> None:
    value = {"image_proj": {"w": W}, "ip_adapter": {"1.to_k_ip.weight": W}}
    assert list(read_header(broken.saved(value)(tmp_path)).tensors) == [
        "image_proj.w",
        "ip_adapter.1.to_k_ip.weight",
    ]


@pytest.mark.parametrize("version", ["2.9.1+cu128", "2.10.0", "2.13.0a0+git1"])
def test_old_torch_is_told_once(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = broken.saved({"w": W})(tmp_path)
    monkeypatch.setattr(torch, "__version__", version)
    _pickles._warn_of_old_torch.cache_clear()
    with caplog.at_level(logging.INFO, logger="controlstack"):
        for read in READERS * 2:
            read(path)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (version < "2.10" or version.startswith("2.9"))
    assert all(
        "python -m controlstack.controlnet_core.formats convert FILE" in text for text in told
    )


@pytest.mark.parametrize("legacy", [None, False, True], ids=["safetensors", "zip", "pickle"])
def test_nothing_of_the_file_stays_mapped(legacy: bool | None, tmp_path: Path) -> None:
    """A map of a file that is cut later ends the process with SIGBUS."""
    tensors = {"w": torch.randn(1 << 20)}
    path = tmp_path / "net.safetensors"
    if legacy is None:
        save_tensors(path, tensors, {})
    else:
        path = broken.saved(tensors, legacy=legacy)(tmp_path)
    read = read_tensors(path)
    assert str(path) not in Path("/proc/self/maps").read_text()
    os.truncate(path, 0)
    assert equal(read, tensors)


def test_header_reads_no_data(tmp_path: Path) -> None:
    """A gigabyte of holes: to read it would take longer, and to keep it would show."""
    size = 10**9
    head = broken.container({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}, b"")
    path = broken.safe(head)(tmp_path)
    os.truncate(path, len(head) + size)
    start = time.perf_counter()
    assert read_header(path).tensors["w"].shape == (size,)
    assert time.perf_counter() - start < 0.1


FLOATS = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_counted(
    dtype: torch.dtype, bad: float, tmp_path: Path
) -> None:
    path = broken.safe(broken.container())(tmp_path)
    x = torch.ones(3_000_000)
    x[[5, 2_999_999]] = bad
    tensors = {
        "good": torch.ones(4),
        "integer": torch.ones(4, dtype=torch.int64),
        "bad": x.to(dtype),
    }
    if bool(tensors["bad"].float().isfinite().all()):
        pytest.skip(f"{dtype} has no {bad}")  # e4m3fn may saturate at its largest value
    with pytest.raises(ControlInputError) as caught:
        check_finite(read_header(path), tensors)
    check_contract(caught.value, path, "CN-W15")
    assert "2 of 3,000,000 values" in caught.value.found
    assert caught.value.found.endswith("in bad")


@pytest.mark.parametrize(
    ("dtype", "value"), [(torch.float16, 6e4), (torch.float32, 3e38), (torch.float64, 1e308)]
)
def test_large_values_are_finite(dtype: torch.dtype, value: float, tmp_path: Path) -> None:
    header = read_header(broken.safe(broken.container())(tmp_path))
    check_finite(header, {"w": torch.full((1000,), value, dtype=dtype), "empty": torch.empty(0)})


# --- saving -------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_tensors(path, {"old": torch.arange(1000.0)}, {})
    return path


NEW = {"new": torch.randn(300_000), "more": torch.randn(10)}


@contextlib.contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Fails unless the folder of `path` is the same afterwards and no file of ours stays open."""
    before, data, fds = contents(path.parent), path.read_bytes(), open_files()
    yield
    assert path.read_bytes() == data
    assert contents(path.parent) == before
    assert open_files() == fds


def fail_with(error: BaseException) -> Callable[..., None]:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("place", "what", "code"),
    [
        ((os, "fsync"), OSError(28, "No space left on device"), "CN-Q27"),
        ((files, "_write"), OSError(28, "No space left on device"), "CN-Q27"),
        ((files, "_bytes_of"), OSError(5, "Input/output error"), "CN-Q26"),
        ((Path, "replace"), PermissionError(13, "Permission denied"), "CN-Q26"),
        ((shutil, "disk_usage"), FileNotFoundError(2, "No such file or directory"), "CN-Q26"),
    ],
    ids=["fsync", "write", "tensor", "rename", "room"],
)
def test_a_failed_save_leaves_the_old_file(
    place: tuple[object, str], what: OSError, code: str, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unchanged(old):
        monkeypatch.setattr(*place, fail_with(what))
        with pytest.raises(ControlInputError) as caught:
            save_tensors(old, NEW, {})
        monkeypatch.undo()
        check_contract(caught.value, old, code)
        assert what.strerror in caught.value.found
        del caught


def test_an_interrupted_save_leaves_the_old_file(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unchanged(old):
        monkeypatch.setattr(files, "_bytes_of", fail_with(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            save_tensors(old, NEW, {})
        monkeypatch.undo()


def test_a_full_disk_leaves_the_old_file(old: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with unchanged(old):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # Python ignores SIGXFSZ
        try:
            with pytest.raises(ControlInputError, match=r"CN-Q27.*1,200,"):
                save_tensors(old, NEW, {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_room_is_checked_before_writing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=5000))
    with (
        unchanged(old),
        pytest.raises(ControlInputError, match=r"CN-Q26.*1,200,.*5,000 bytes free"),
    ):
        save_tensors(old, NEW, {})


@pytest.mark.parametrize("folder", ["gone", "net.safetensors"])
def test_a_folder_that_is_none_is_named(folder: str, old: Path) -> None:
    with unchanged(old), pytest.raises(ControlInputError, match="CN-Q26"):
        save_tensors(old.parent / folder / "a.safetensors", NEW, {})


@pytest.mark.parametrize(
    ("tensors", "metadata", "code"),
    [
        ({}, {}, "CN-C19"),
        ({"a\nb": W}, {}, "CN-C09"),
        ({"a": W > 0}, {}, "CN-W19"),
        ({"a": W}, {"long": "x" * 9_000_000}, "CN-C10"),
        ({"a": W}, {"number": 1}, "CN-C09"),
    ],
    ids=["nothing", "name", "dtype", "metadata", "no text"],
)
def test_what_we_would_not_read_is_not_written(tensors, metadata, code: str, old: Path) -> None:
    with unchanged(old):
        with pytest.raises(ControlInputError) as caught:
            save_tensors(old, tensors, metadata)
        check_contract(caught.value, old, code)
        assert "download" not in caught.value.fix
        del caught


def test_data_reaches_the_disk_before_its_name(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(fd: int) -> None:
        target = Path(f"/proc/self/fd/{fd}").readlink()
        steps.append(
            "folder" if target == old.parent else f"data {target.stat().st_size == new_size}"
        )
        fsync(fd)

    def note_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    save_tensors(old, NEW, {})
    new_size = old.stat().st_size
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    save_tensors(old, NEW, {})
    assert steps == ["data True", "rename", "folder"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_the_mode(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        save_tensors(tmp_path / "a.safetensors", NEW, {})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode


def test_a_link_is_replaced_and_its_target_kept(old: Path) -> None:
    link = old.parent / "link.safetensors"
    link.symlink_to(old)
    data = old.read_bytes()
    save_tensors(link, NEW, {})
    assert not link.is_symlink()
    assert old.read_bytes() == data


@pytest.mark.parametrize("delay", [0.01, 0.03, 0.05, 0.08, 0.13])
def test_a_killed_save_leaves_a_whole_file(delay: float, old: Path) -> None:
    child = os.fork()
    if child == 0:
        while True:
            save_tensors(old, NEW, {})
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert list(read_tensors(old)) in (["old"], ["more", "new"])


def test_arguments_are_left_alone(tmp_path: Path) -> None:
    tensors, metadata = sample(), {"a": "b"}
    before = {key: bytes_of(x) for key, x in tensors.items()}
    save_tensors(tmp_path / "a.safetensors", tensors, metadata)
    assert {key: bytes_of(x) for key, x in tensors.items()} == before
    assert metadata == {"a": "b"}
