"""Datasets of every layout: the same examples come out of each."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.training import data
from controlstack.controlnet_core.training.data import (
    FORMATS,
    Dataset,
    Example,
    open_dataset,
    write_fill50k,
    write_jsonl,
)


def picture(seed: int, height: int = 24, width: int = 32) -> Tensor:
    """A picture (3 H W) of 8-bit levels, none of which repeats in another."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator) / 255.0


EXAMPLES = [
    Example(f"{i:04}", picture(i, 24 + i), picture(100 + i, 24 + i), f"a bäll, number {i}")
    for i in range(3)
]


def png(x: Tensor) -> bytes:
    file = io.BytesIO()
    Image.fromarray((x * 255).round().to(torch.uint8).movedim(0, -1).numpy()).save(file, "PNG")
    return file.getvalue()


def put(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def folders(path: Path, image: str = "image", hint: str = "conditioning") -> Path:
    for e in EXAMPLES:
        put(path / image / f"{e.name}.png", png(e.image))
        put(path / image / f"{e.name}.txt", e.caption + "\n")
        put(path / hint / f"{e.name}.png", png(e.hint))
    return path


def jsonl(path: Path, words: tuple[str, str, str]) -> Path:
    lines = []
    for e in EXAMPLES:
        put(path / f"p/{e.name}.png", png(e.image))
        put(path / f"h/{e.name}.png", png(e.hint))
        values = (f"p/{e.name}.png", f"h/{e.name}.png", e.caption)
        lines.append(json.dumps(dict(zip(words, values, strict=True))))
    put(path / "list.jsonl", "\n".join(lines) + "\n\n")
    return path / "list.jsonl"


def rows() -> dict[str, list[object]]:
    return {
        "image": [{"bytes": png(e.image), "path": None} for e in EXAMPLES],
        "conditioning_image": [{"bytes": png(e.hint), "path": None} for e in EXAMPLES],
        "text": [e.caption for e in EXAMPLES],
    }


def table(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", path / "cache")
    features = datasets.Features(
        image=datasets.Image(), conditioning_image=datasets.Image(), text=datasets.Value("string")
    )
    return datasets.Dataset.from_dict(rows(), features=features)


def shard(path: Path, image: str = "image.png", hint: str = "conditioning.png") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for e in EXAMPLES:
            parts = {image: png(e.image), hint: png(e.hint), "txt": e.caption.encode()}
            for ending, content in parts.items():
                member = tarfile.TarInfo(f"{e.name}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def check_same(dataset: Dataset, *, hints: bool = True) -> None:
    assert len(dataset) == len(EXAMPLES)
    assert dataset.findings == ()
    for i, expected in enumerate(EXAMPLES):
        found = dataset[i]
        assert torch.equal(found.image, expected.image)
        assert torch.equal(found.hint, expected.hint) if hints else found.hint is None
        assert found.caption == expected.caption
        assert dataset.size(i) == tuple(expected.image.shape[1:])


@pytest.mark.parametrize(
    "words", [("image", "conditioning"), ("images", "conditioning_images"), ("Target", "source")]
)
def test_folders_of_equal_names(tmp_path: Path, words: tuple[str, str]) -> None:
    check_same(open_dataset(folders(tmp_path, *words)))


def test_flat_folder_has_no_hints(tmp_path: Path) -> None:
    folders(tmp_path)
    check_same(open_dataset(tmp_path / "image"), hints=False)


def test_hints_are_never_taken_for_pictures(tmp_path: Path) -> None:
    folders(tmp_path / "train")
    with pytest.raises(ControlInputError, match="CN-T11"):
        open_dataset(tmp_path)


def test_flat_folder_reaches_into_its_folders(tmp_path: Path) -> None:
    folders(tmp_path / "train")
    shutil.rmtree(tmp_path / "train/conditioning")
    dataset = open_dataset(tmp_path)
    assert [r.name for r in dataset.records] == [f"train/image/{e.name}" for e in EXAMPLES]


@pytest.mark.parametrize("as_folder", [True, False])
@pytest.mark.parametrize(
    "words",
    [("image", "conditioning_image", "text"), ("image_path", "control_path", "caption"),
     ("file_name", "hint", "prompt")],
)  # fmt: skip
def test_jsonl(tmp_path: Path, words: tuple[str, str, str], as_folder: bool) -> None:
    path = jsonl(tmp_path, words)
    check_same(open_dataset(path.parent if as_folder else path))


@pytest.mark.parametrize("write", [write_jsonl, write_fill50k])
def test_what_is_written_is_read(
    tmp_path: Path, write: Callable[[Path, list[Example]], Path]
) -> None:
    path = write(tmp_path / "new", EXAMPLES)
    check_same(open_dataset(path))
    check_same(open_dataset(path.parent))
    with pytest.raises(ControlInputError, match="CN-T22"):
        write(tmp_path / "new", EXAMPLES)


def test_fill50k_has_the_layout_of_its_inventors(tmp_path: Path) -> None:
    path = write_fill50k(tmp_path, EXAMPLES[:1])
    entry = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == "prompt.json"
    assert entry == {
        "source": "source/000000.png", "target": "target/000000.png",
        "prompt": EXAMPLES[0].caption,
    }  # fmt: skip


def test_examples_without_hints_are_written_without(tmp_path: Path) -> None:
    example = Example("a", picture(1), None, "")
    found = open_dataset(write_jsonl(tmp_path, [example]))[0]
    assert found.hint is None
    assert torch.equal(found.image, example.image)


def test_saved_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path, monkeypatch).save_to_disk(tmp_path / "saved")
    check_same(open_dataset(tmp_path / "saved"))


def test_saved_table_of_several_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    rows = table(tmp_path, monkeypatch)
    datasets.DatasetDict(train=rows, test=rows.select([0])).save_to_disk(tmp_path / "saved")
    check_same(open_dataset(tmp_path / "saved"))
    assert len(open_dataset(tmp_path / "saved" / "test")) == 1
    datasets.DatasetDict(one=rows, two=rows).save_to_disk(tmp_path / "unclear")
    with pytest.raises(ControlInputError, match=r"CN-T18.*2 splits \(one, two\)"):
        open_dataset(tmp_path / "unclear")


@pytest.mark.parametrize("name", ["rows.parquet", "data/train-00000-of-00001.parquet"])
def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / "set" / name
    path.parent.mkdir(parents=True)
    table(tmp_path, monkeypatch).to_parquet(path)
    check_same(open_dataset(tmp_path / "set"))
    check_same(open_dataset(path))


def test_parquet_that_datasets_did_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    table(tmp_path, monkeypatch)
    parquet.write_table(arrow.table(rows()), tmp_path / "rows.parquet")
    check_same(open_dataset(tmp_path))


def test_table_without_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path, monkeypatch).select_columns(["text"]).save_to_disk(tmp_path / "saved")
    with pytest.raises(ControlInputError, match=r"CN-T17.*columns text"):
        open_dataset(tmp_path / "saved")


def test_hub_is_asked_for_by_its_own_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, asked = table(tmp_path, monkeypatch), []
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or rows)
    with pytest.raises(ControlInputError, match=r"CN-T10.*open_hub"):
        open_dataset("owner/name")
    assert asked == []
    check_same(data.open_hub("owner/name", split="test"))
    assert asked == [(("owner/name",), {"split": "test"})]


def test_missing_library_names_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a.parquet", b"")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ControlInputError, match=r"CN-T14.*pip install datasets"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "words", [("image.png", "conditioning.png"), ("png", "hint.png"), ("target.PNG", "source.png")]
)
def test_shards(tmp_path: Path, words: tuple[str, str]) -> None:
    check_same(open_dataset(shard(tmp_path / "a.tar", *words)))


def test_names_of_several_shards_are_apart(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar")
    shard(tmp_path / "b.tar")
    names = [record.name for record in open_dataset(tmp_path).records]
    assert names == [f"{s}/{e.name}" for s in "ab" for e in EXAMPLES]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves a file
def test_shards_are_read_as_webdataset_reads_them(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    with wds.TarWriter(str(tmp_path / "a.tar")) as writer:
        for e in EXAMPLES:
            writer.write({
                "__key__": f"sub/{e.name}", "jpg": png(e.image), "conditioning.png": png(e.hint),
                "txt": e.caption, "json": {"width": 3},
            })  # fmt: skip
    dataset = open_dataset(tmp_path)
    check_same(dataset)
    oracle = list(wds.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
    assert [record.name for record in dataset.records] == [s["__key__"] for s in oracle]
    for record, sample in zip(dataset.records, oracle, strict=True):
        with record.image() as image, record.hint() as hint:
            assert (image.read(), hint.read()) == (sample["jpg"], sample["conditioning.png"])


@pytest.mark.parametrize("mode", ["w:gz", None])
def test_shard_that_cannot_be_read(tmp_path: Path, mode: str | None) -> None:
    if mode:
        with tarfile.open(tmp_path / "a.tar", mode) as archive:
            archive.addfile(tarfile.TarInfo("a.txt"))
    else:
        put(tmp_path / "a.tar", b"no archive" * 100)
    with pytest.raises(ControlInputError, match=r"CN-T19.*a\.tar"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("cut", [1, 700, 3000])
def test_shard_cut_short(tmp_path: Path, cut: int) -> None:
    """Cut between members it is a shorter archive; cut within one it is refused or names it."""
    path = shard(tmp_path / "a.tar")
    end = EXAMPLES[-1]
    with tarfile.open(path) as archive:
        last = archive.getmember(f"{end.name}.conditioning.png")
    path.write_bytes(path.read_bytes()[: last.offset_data + 1 + cut % last.size])
    with pytest.raises(ControlInputError, match=r"CN-T1[59]"):
        open_dataset(path)[2]


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        ('{"image": "a.png"}\n{"image"', "CN-T13", "line 2, which is no JSON"),
        ("[1]", "CN-T13", "line 1, which is no JSON object"),
        ('{"file": "a.png"}', "CN-T13", "line 1 with the fields file"),
        ('{"image": "a\xe4"}'.encode("latin-1"), "CN-T13", "no UTF-8"),
        ("", "CN-T12", "an empty list"),
    ],
)
def test_bad_list(tmp_path: Path, content: str | bytes, code: str, told: str) -> None:
    put(tmp_path / "a.jsonl", content)
    with pytest.raises(ControlInputError, match=f"{code}.*{told}"):
        open_dataset(tmp_path)


def test_several_lists(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", "")
    put(tmp_path / "b.jsonl", "")
    with pytest.raises(ControlInputError, match=r"CN-T18.*a\.jsonl, b\.jsonl"):
        open_dataset(tmp_path)


def test_unknown_layout_lists_the_known_ones(tmp_path: Path) -> None:
    put(tmp_path / "notes.md", "")
    with pytest.raises(ControlInputError, match="CN-T11") as told:
        open_dataset(tmp_path)
    assert all(format.title in str(told.value) for format in FORMATS)


def test_files_without_partners_are_named(tmp_path: Path) -> None:
    folders(tmp_path)
    for name in ("image/lone.png", "conditioning/only.png", "image/0000.webp", "image/._0000.png"):
        put(tmp_path / name, png(picture(7)))
    put(tmp_path / "image/odd.txt", "")
    put(tmp_path / "image/0001.txt", b"\xff\xfe\xff")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == len(EXAMPLES)
    told = {finding.message[2:]: (finding.severity, finding.names) for finding in dataset.findings}
    assert told == {
        "captions that are no UTF-8": ("error", ("0001.txt",)),
        "without a hint, left out": ("warning", ("lone",)),
        "hints without a picture": ("warning", ("only",)),
        "several pictures of one name, the first one is used": ("warning", ("0000",)),
        "captions without a picture": ("warning", ("odd",)),
    }


def test_no_pairs_at_all(tmp_path: Path) -> None:
    put(tmp_path / "image/a.png", png(picture(1)))
    put(tmp_path / "hints/b.png", png(picture(2)))
    with pytest.raises(ControlInputError, match=r"CN-T12.*without a hint.*\(a\)"):
        open_dataset(tmp_path)


def test_loop_of_links_ends(tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / "image/again").symlink_to(tmp_path / "image", target_is_directory=True)
    (tmp_path / "image/self.png").symlink_to(tmp_path / "image/self.png")
    check_same(open_dataset(tmp_path))


def test_a_picture_is_read_anew_each_time(tmp_path: Path) -> None:
    dataset = open_dataset(folders(tmp_path))
    first = dataset[0].image
    first.zero_()
    assert torch.equal(dataset[0].image, EXAMPLES[0].image)
    with pytest.raises(IndexError):
        dataset[len(EXAMPLES)]
    assert [example.name for example in dataset] == [example.name for example in EXAMPLES]


def _kinds() -> dict[str, Image.Image]:
    levels = np.array([[0, 128], [255, 64], [9, 200]], np.uint8)
    turned = Image.new("RGB", (6, 4), "red")
    turned.getexif()[0x0112] = 6
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 51))
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    return {
        "grey": Image.fromarray(levels),
        "deep": Image.fromarray(levels.astype(np.uint16) * 257 + 1),
        "turned": turned,
        "alpha": half,
        "palette": palette,
        "bits": Image.fromarray(levels > 100),
        "grey-alpha": Image.new("LA", (2, 2), (0, 0)),
    }


@pytest.fixture
def kinds(tmp_path: Path) -> dict[str, tuple[Tensor, tuple[int, int]]]:
    """Every kind of picture through a file: its tensor, and its size from the header."""
    for name, file in _kinds().items():
        file.save(tmp_path / f"{name}.png", exif=file.getexif())
    dataset = open_dataset(tmp_path)
    return {e.name: (e.image, dataset.size(i)) for i, e in enumerate(dataset)}


def test_kinds_of_pictures(kinds: dict[str, tuple[Tensor, tuple[int, int]]]) -> None:
    for name, (x, size) in kinds.items():
        assert x.dtype == torch.float32, name
        assert tuple(x.shape) == (3, *size), name
    levels = torch.tensor([[0, 128], [255, 64], [9, 200]])
    assert torch.equal(kinds["grey"][0], (levels / 255.0).expand(3, -1, -1))
    deep = ((levels * 257 + 1).clamp(max=65535) / 65535.0).expand(3, -1, -1)
    assert kinds["turned"][1] == (6, 4)
    assert torch.allclose(kinds["alpha"][0], torch.full((3, 2, 2), 204 / 255))
    assert torch.equal(kinds["palette"][0][:, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
    assert torch.equal(kinds["bits"][0], (levels > 100).float().expand(3, -1, -1))
    assert torch.equal(kinds["grey-alpha"][0], torch.ones(3, 2, 2))
    whole = levels != 255  # 255 * 257 + 1 does not fit into 16 bits
    assert torch.allclose(kinds["deep"][0][:, whole], deep[:, whole], atol=1e-7)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF"])
def test_sizes_of_turned_pictures(tmp_path: Path, format: str) -> None:
    file = Image.new("RGB", (6, 4), "red")
    file.getexif()[0x0112] = 8
    file.save(tmp_path / f"a.{format.lower()}", format, exif=file.getexif())
    dataset = open_dataset(tmp_path)
    assert dataset.size(0) == tuple(dataset[0].image.shape[1:]) == (6, 4)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_every_cut_is_told_by_name(tmp_path: Path, format: str) -> None:
    whole = io.BytesIO()
    Image.fromarray((picture(3) * 255).byte().movedim(0, -1).numpy()).save(whole, format)
    content, path = whole.getvalue(), tmp_path / f"a.{format.lower()}"
    for share in range(9):
        put(path, content[: len(content) * share // 10])
        with pytest.raises(ControlInputError, match=r"CN-T15.*: a: found a picture that cannot"):
            open_dataset(tmp_path)[0]
