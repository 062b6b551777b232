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
    """A small run's folder; what stats.read should give of it."""
    run = fake(folder, init="xavier_normal@0.5", seed=seed, levels=levels, diverge=[1])
    return {**run, "name": f"mnist-fc-xavier_normal@0.5-magnitude-s{seed}"}


def test_exported_runs_are_read_as_they_were_and_come_back_byte_by_byte(tmp_path):
    """Whenever they are exported, in one go or one after another; no run that is there is overwritten."""
    made = sorted((one_run(tmp_path / "runs", seed) for seed in (0, 11, 2)), key=lambda run: run["name"])
    paths = [tmp_path / "runs" / run["name"] / "metrics.json" for run in made]
    before = [path.read_bytes() for path in paths]
    runs.export_runs(tmp_path / "runs", tmp_path / "results")
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


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    def full(*paths):
        raise OSError(errno.ENOSPC, "full")
    one_run(tmp_path / "runs")
    runs.export_runs(tmp_path / "runs", tmp_path / "results")
    whole = (tmp_path / "results" / GROUP).read_bytes()
    one_run(tmp_path / "runs", seed=1)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError):
        runs.export_runs(tmp_path / "runs", tmp_path / "results")
    assert {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()} == {GROUP: whole}


def test_a_damaged_group_is_named_in_one_sentence_and_not_added_to(tmp_path):
    """Cut at many lengths, many bytes flipped: one sentence, or (in codes that nothing uses) the same run."""
    run = one_run(tmp_path / "runs")
    runs.export_runs(tmp_path / "runs", tmp_path / "results")
    path, = (tmp_path / "results").iterdir()
    whole, same = path.read_bytes(), 0
    places = [*range(40), *range(40, len(whole), 97), len(whole) - 1]
    damaged = [whole[:length] for length in places]
    damaged += [whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1:] for i in places]
    for content in damaged:
        path.write_bytes(content)
        try:
            assert stats.read(tmp_path / "results") == [run]
            same += 1
        except SystemExit as end:
            assert path.name in end.code and "\n" not in end.code
            with pytest.raises(SystemExit, match=path.name):
                runs.export_runs(tmp_path / "runs", tmp_path / "results")
            assert path.read_bytes() == content
    assert same < len(damaged) / 50


def test_a_wrong_checksum_within_a_group_is_damage(tmp_path):
    one_run(tmp_path / "runs")
    runs.export_runs(tmp_path / "runs", tmp_path / "results")
    path, = (tmp_path / "results").iterdir()
    text = lzma.decompress(path.read_bytes()).decode()
    path.write_bytes(lzma.compress(text.replace('"batch": 60', '"batch": 61').encode()))
    with pytest.raises(SystemExit, match="checksum"):
        stats.read(tmp_path / "results")


def test_of_a_damaged_run_nothing_is_exported(tmp_path):
    run = one_run(tmp_path / "runs")
    runs.export_runs(tmp_path / "runs", tmp_path / "results")
    one_run(tmp_path / "runs", seed=1)
    path = tmp_path / "runs" / run["name"] / "metrics.json"
    whole = path.read_text()
    for text in (whole[:-9], whole.replace('"crc32"', '"crc33"')):
        path.write_text(text)
        with pytest.raises(runs.Damaged, match="metrics.json is damaged"):
            runs.export_runs(tmp_path / "runs", tmp_path / "results")
    assert stats.read(tmp_path / "results") == [run]


def test_a_shorter_run_replaces_no_longer_one_and_an_empty_one_is_not_exported(tmp_path):
    run, begun = one_run(tmp_path / "runs"), one_run(tmp_path / "runs", seed=3, levels=0)
    runs.export_runs(tmp_path / "runs", tmp_path / "results")
    assert not begun["levels"] and stats.read(tmp_path / "results") == [run]
    metrics = {key: value for key, value in run.items() if key != "name"}
    path = tmp_path / "runs" / run["name"] / "metrics.json"
    runs.save_file(path, {**metrics, "levels": metrics["levels"][:1]})
    runs.export_runs(tmp_path / "runs", tmp_path / "results")
    assert stats.read(tmp_path / "results") == [run]


@pytest.mark.parametrize("words", ["restore {0}/none {0}/new", "export {0}/none {0}/new",
                                   "restore {0}/kept {0}/file", "export {0}/runs {0}/file"])
def test_where_there_is_nothing_to_read_or_no_place_to_write_one_sentence_says_so(
        tmp_path, monkeypatch, words):
    one_run(tmp_path / "runs")
    runs.export_runs(tmp_path / "runs", tmp_path / "kept")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(sys, "argv", ["runs.py", *words.format(tmp_path).split()])
    with pytest.raises(SystemExit, match="^(No |cannot read or write )[^\n]*$"):
        runs.run_cli(runs.main)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "kept", "runs"]
