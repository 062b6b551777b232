"""What is kept of runs: a compressed file a group, a run a line, exported and restored."""
import errno
import json
import lzma
import os
import sys

import pytest

import runs
import stats
from test_stats import fake

GROUP = "mnist-fc-magnitude.jsonl.xz"


def one_run(folder, seed=0, levels=2):
    """What stats.read should give of a small run, which is made in `folder`."""
    run = fake(folder, init="xavier_normal@0.5", seed=seed, levels=levels, diverge=[1])
    return {**run, "name": f"mnist-fc-xavier_normal@0.5-magnitude-s{seed}"}


def keep(folder):
    runs.export_runs(folder / "runs", folder / "results")


@pytest.fixture
def kept(tmp_path):
    """A small run, made in tmp_path/runs and kept in tmp_path/results."""
    run = one_run(tmp_path / "runs")
    keep(tmp_path)
    return run


def test_exported_runs_are_read_as_they_were_and_come_back_byte_by_byte(tmp_path):
    """Whenever they are exported, in one go or one after another; no run that is there is overwritten."""
    made = sorted((one_run(tmp_path / "runs", seed) for seed in (0, 11, 2)), key=lambda run: run["name"])
    paths = [tmp_path / "runs" / run["name"] / "metrics.json" for run in made]
    before = [path.read_bytes() for path in paths]
    keep(tmp_path)
    assert [path.name for path in (tmp_path / "results").iterdir()] == [GROUP]
    assert stats.read(tmp_path / "results") == stats.read(tmp_path / "runs") == made
    lines = lzma.decompress((tmp_path / "results" / GROUP).read_bytes()).decode().splitlines()
    assert [list(json.loads(line))[0] for line in lines] == ["name"] * 3
    for path in paths:
        one = tmp_path / "one" / path.parent.name
        one.mkdir(parents=True)
        (one / "metrics.json").write_bytes(path.read_bytes())
        runs.export_runs(tmp_path / "one", tmp_path / "again")
    assert (tmp_path / "again" / GROUP).read_bytes() == (tmp_path / "results" / GROUP).read_bytes()
    paths[0].unlink()
    paths[1].write_bytes(b"its own")
    runs.restore_runs(tmp_path / "results", tmp_path / "runs")
    assert [path.read_bytes() for path in paths] == [before[0], b"its own", before[2]]


def test_a_full_disk_or_a_damaged_run_leaves_what_was_there(kept, tmp_path, monkeypatch):
    def full(*paths):
        raise OSError(errno.ENOSPC, "full")
    whole = (tmp_path / "results" / GROUP).read_bytes()
    one_run(tmp_path / "runs", seed=1)
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(os, "replace", full)
        keep(tmp_path)
    (tmp_path / "runs" / kept["name"] / "metrics.json").write_text("{")
    with pytest.raises(runs.Damaged, match="metrics.json is damaged"):
        keep(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()} == {GROUP: whole}


def test_a_damaged_group_is_named_in_one_sentence_and_not_added_to(kept, tmp_path):
    """Cut at many lengths, many bytes flipped, another number in it: one sentence, or (in codes that nothing
    uses) the same run."""
    path, same = tmp_path / "results" / GROUP, 0
    whole = path.read_bytes()
    places = [*range(40), *range(40, len(whole), 97), len(whole) - 1]
    other = lzma.compress(lzma.decompress(whole).replace(b'"batch": 60', b'"batch": 61'))
    damaged = [other, *(whole[:length] for length in places)]
    damaged += [whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1:] for i in places]
    for blob in damaged:
        path.write_bytes(blob)
        try:
            assert stats.read(tmp_path / "results") == [kept]
            same += 1
        except SystemExit as end:
            assert path.name in end.code and "\n" not in end.code
            assert blob is not other or "checksum" in end.code
            with pytest.raises(SystemExit, match=path.name):
                keep(tmp_path)
            assert path.read_bytes() == blob
    assert same < len(damaged) / 50


def test_a_shorter_run_replaces_no_longer_one_and_an_empty_one_is_not_exported(kept, tmp_path):
    assert not one_run(tmp_path / "runs", seed=3, levels=0)["levels"]
    metrics = {key: value for key, value in kept.items() if key != "name"}
    path = tmp_path / "runs" / kept["name"] / "metrics.json"
    runs.save_file(path, {**metrics, "levels": metrics["levels"][:1]})
    keep(tmp_path)
    assert stats.read(tmp_path / "results") == [kept]


@pytest.mark.parametrize("words", ["restore {0}/none {0}/new", "export {0}/none {0}/new",
                                   "restore {0}/results {0}/file", "export {0}/runs {0}/file"])
def test_what_cannot_be_read_or_written_is_one_sentence(kept, tmp_path, monkeypatch, words):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(sys, "argv", ["runs.py", *words.format(tmp_path).split()])
    with pytest.raises(SystemExit, match="^(No |cannot read or write )[^\n]*$"):
        runs.run_cli(runs.main)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "results", "runs"]
