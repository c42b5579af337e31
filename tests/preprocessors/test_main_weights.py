"""The commands that list weights and choose which to get; `test_download` has the getting."""

from __future__ import annotations

from controlstack.preprocessors.__main__ import main
from controlstack.preprocessors._catalogue import CATALOGUE
from controlstack.preprocessors._weights import use_folders


def test_weights_are_listed_with_where_they_are(tmp_path, capsys):
    use_folders(tmp_path)
    (tmp_path / "erika.pth").write_bytes(b"short")
    (tmp_path / "scannet.pt").write_bytes(b"of unknown size")
    assert main(["weights"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == list(CATALOGUE)
    assert lines["hed"].startswith("missing [29,444,406 bytes; Apache-2.0; commercial use allowed")
    assert lines["lineart_manga"].startswith("a truncated file, 5 bytes at ")
    assert lines["normal_bae"].startswith(f"{tmp_path / 'scannet.pt'} [about 291 MB; MIT")


def test_the_list_names_what_there_is(capsys):
    assert main(["download", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(CATALOGUE)


def test_all_means_each_set_of_weights_once(monkeypatch, tmp_path, capsys):
    fetched = []

    def download(checkpoint, folder):
        fetched.append(checkpoint.id)
        return folder

    monkeypatch.setattr("controlstack.preprocessors.__main__.download", download)
    assert main(["download", "all", "--to", str(tmp_path)]) == 0
    assert "depth_anything_v2_small" in fetched
    assert "depth_anything_v2_small_pth" not in fetched
    assert len(capsys.readouterr().out.splitlines()) == len(fetched) == len(set(fetched))


def test_a_misspelt_id_is_answered_with_the_right_one(capsys):
    assert main(["download", "sam_bas"]) == 1
    assert "write sam_base" in capsys.readouterr().err
