"""Kills, full disks, flipped bytes, wrong inputs: a run ends as if nothing had been, or in one sentence.

    python tests/test_faults.py     writes tests/recorded.json anew, where the numbers change on purpose
"""
import errno
import fcntl
import functools
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import data as datasets
import models
import prune
import train
from conftest import ROOT

TINY = {"fc": ((), (16, 12)), "conv2": ((2, 2, "pool"), (4, 4))}  # a run of these takes a twentieth of a second
SOAK = pytest.mark.soak


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Small networks, data read once, no git; handlers of signals and threads as they were afterwards."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for net, row in TINY.items():
        monkeypatch.setitem(models.NETS, net, row)
    monkeypatch.setattr(datasets, "VALIDATION", 300)
    monkeypatch.setattr(datasets, "load", functools.cache(datasets.load))
    monkeypatch.setattr(train, "provenance", lambda args, data: {"commit": "this one", "command": ""})
    yield
    torch.set_num_threads(1)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def go(blobs, tmp_path, monkeypatch):
    """go("--levels", 2, out="a"): prune.py at its door, in this process; the folder of its run."""
    def call(*words, out="runs"):
        base = ["prune.py", "--steps", 6, "--looks", 40, "--levels", 1, "--data-dir", blobs, "--threads", 1]
        monkeypatch.setattr(sys, "argv", [str(word) for word in (*base, "--out", tmp_path / str(out), *words)])
        train.at_the_door(prune.main)
        folder, = (tmp_path / str(out)).glob("*/")
        return folder
    return call


def digest(folder):
    """{file: digest}; aside are the seconds, the lock and what a cut left for the next level to replace."""
    found = {}
    for path in sorted(folder.iterdir()):
        blob = path.read_bytes()
        if path.name == "metrics.json":
            metrics = json.loads(blob)
            for level in metrics["levels"]:
                level.pop("seconds")
            blob = json.dumps(metrics).encode()
        found[path.name] = hashlib.sha256(blob).hexdigest()
    return {name: value for name, value in found.items()
            if name not in ("lock", "underway.pt") and not name.endswith(".tmp")}


def fork(work):
    """(number, pipe of what it says) of a process that does work() and exits as a script would."""
    there, here = os.pipe()
    pid = os.fork()
    if pid:
        os.close(here)
        return pid, there
    code = 99
    try:
        os.dup2(here, 1)
        os.dup2(here, 2)
        sys.stdout = sys.stderr = open(2, "w", buffering=1)
        work()
        code = 0
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code)
            code = 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def end(child):
    """(exit code, or less the number of the signal; what it said) of a forked process."""
    pid, pipe = child
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with open(pipe, errors="replace") as file:
        return code, file.read()


class Cut(BaseException):
    """What no script catches."""


def at_call(monkeypatch, owner, name, number, act):
    """Let act(real, *args) take the place of the call `number`, from 0, of owner.name: a list of the calls."""
    real, calls = getattr(owner, name), []

    def spy(*args, **kwargs):
        calls.append(args)
        return (functools.partial(act, real) if len(calls) == number + 1 else real)(*args, **kwargs)
    monkeypatch.setattr(owner, name, spy)
    return calls


def cut(real, *args, **kwargs):
    raise Cut


def never(real, *args, **kwargs):
    raise AssertionError


# Kills and faults

def inode(folder):
    """Of underway.pt, None without one: it changes with every save."""
    return next((path.stat().st_ino for path in folder.glob("*/underway.pt")), None)


@pytest.mark.parametrize("number", [25, pytest.param(200, marks=SOAK)])
def test_killed_at_any_moment_it_ends_the_same(go, tmp_path, monkeypatch, number):
    """Every file after SIGKILLs, one in five of them just after a save of a level under way, and reruns."""
    monkeypatch.setitem(models.NETS, "fc", ((), (100, 30)))  # files of a size that a kill can hit
    monkeypatch.setattr(train, "SAVE", 0)
    started = time.perf_counter()
    whole = digest(go(out="whole"))
    duration, r = time.perf_counter() - started, random.Random(0)
    hits, saved, out, runs = 0, 0, tmp_path / "cut0", 1
    while hits < number:
        before, child = inode(out), fork(lambda: go(out=out))
        if hits % 5 == 4:
            while inode(out) in (None, before) and not os.waitid(
                    os.P_PID, child[0], os.WEXITED | os.WNOHANG | os.WNOWAIT):
                time.sleep(0.001)
        time.sleep(r.uniform(0, duration / (5 if hits % 5 == 4 else 1)))
        os.kill(child[0], signal.SIGKILL)  # of one that has ended it does nothing
        code, says = end(child)
        assert code in (0, -signal.SIGKILL), says
        hits += code != 0
        saved += code != 0 and inode(out) is not None
        if code == 0:
            assert digest(next(out.iterdir())) == whole
            out, runs = tmp_path / f"cut{runs}", runs + 1
    assert digest(go(out=out)) == whole
    assert hits == number and saved >= number // 5


def half_then(error):
    def act(real, path, blob):
        real(path, blob[:len(blob) // 2])
        raise error
    return act


def half_saved(real, value, file):
    whole = io.BytesIO()
    real(value, whole)
    file.write(whole.getvalue()[:whole.tell() // 2])
    raise Cut


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FAULTS = {  # where: (owner, function, what happens at a call, how the script ends)
    "before a replacement": (os, "replace", cut, Cut),
    "half of the bytes": (Path, "write_bytes", half_then(Cut()), Cut),
    "half, the disk full": (Path, "write_bytes", half_then(FULL), SystemExit),
    "within torch.save": (torch, "save", half_saved, Cut),
}


@pytest.mark.parametrize("where", FAULTS)
def test_a_fault_at_every_write_leaves_what_a_rerun_completes(go, tmp_path, monkeypatch, capsys, where):
    """At each call in turn, those for underway.pt too; rerun; every file as of one run without a fault."""
    owner, name, act, ends = FAULTS[where]
    monkeypatch.setattr(train, "SAVE", 0)
    with monkeypatch.context() as patch:
        calls = at_call(patch, owner, name, -1, never)
        whole = digest(go(out="whole"))
    assert len(calls) == 1 + 2 * (5 + 1 + (name != "save"))  # init.pt; by level underway, level, metrics
    for number in range(len(calls)):
        with monkeypatch.context() as patch:
            at_call(patch, owner, name, number, act)
            with pytest.raises(ends) as stopped:
                go(out=number)
        if ends is SystemExit:
            assert one_sentence(stopped.value.code) and "No space left" in stopped.value.code
            assert not list((tmp_path / str(number)).glob("*/*.tmp"))
        assert digest(go(out=number)) == whole, number
    assert "Traceback" not in capsys.readouterr().err


def one_sentence(text):
    return isinstance(text, str) and text.strip() and "\n" not in text.strip() and "Traceback" not in text


# A level under way

PARTS = {  # flags of runs of two levels: steps of training in all
    "dense, sparse": (["--rate-fc", 0.95], 12),
    "walk to K": (["--rewind", 4], 4 + 2 * 2),
    "conv2": (["--net", "conv2", "--data", "mnist", "--steps", 3], 6),
    "bf16": (["--precision", "bf16", "--steps", 3], 6),
}


@pytest.mark.parametrize("part", PARTS)
def test_cut_at_every_step_only_the_rest_is_trained(go, monkeypatch, part):
    """Saved after each step: steps before the cut and after it make up one run's; so do the files."""
    words, steps = PARTS[part]
    monkeypatch.setattr(train, "SAVE", 0)
    folder = go(*words, out="whole")
    whole = digest(folder)
    levels = json.loads((folder / "metrics.json").read_text())["levels"]
    if "--rate-fc" in words:  # models.sparsify
        assert levels[1]["kept"]["fc1"] < 0.15 * levels[1]["size"]["fc1"]
    for number in range(steps):
        with monkeypatch.context() as patch:
            at_call(patch, train, "adam", number, cut)
            with pytest.raises(Cut):
                go(*words, out=number)
        with monkeypatch.context() as patch:
            calls = at_call(patch, train, "adam", -1, never)
            folder = go(*words, out=number)
        assert len(calls) == steps - number
        assert digest(folder) == whole and not (folder / "underway.pt").exists()


def test_a_level_is_saved_every_minute(go, monkeypatch):
    """On a clock that steps and looks move: after the steps that a plain count names, a minute and a step
    apart at the most."""
    clock, r, step_ends, saves = [0.0], random.Random(0), [], []
    real_adam, real_evaluate, real_save = train.adam, train.evaluate, train.save

    def adam(*args, **kwargs):
        step_ends.append(clock[0])
        clock[0] += r.uniform(0, 45)
        return real_adam(*args, **kwargs)

    def evaluate(*args, **kwargs):
        clock[0] += 50
        return real_evaluate(*args, **kwargs)

    def save(path, value):
        if path.name == "underway.pt":
            saves.append(clock[0])
        real_save(path, value)
    monkeypatch.setattr(train, "time", types.SimpleNamespace(
        monotonic=lambda: clock[0], perf_counter=time.perf_counter))
    for name, spy in (("adam", adam), ("evaluate", evaluate), ("save", save)):
        monkeypatch.setattr(train, name, spy)
    go("--steps", 200, "--levels", 0, "--looks", 1)
    expected, last = [], 0.0
    for now in step_ends[1:]:  # a step ends where the next one starts
        if now > last + train.SAVE:
            expected.append(now)
            last = now
    assert train.SAVE == 60 and saves == expected and len(saves) > 40
    steps = dict(zip(step_ends[1:], step_ends))
    assert all(steps[b] <= a + 60 for a, b in zip([0.0, *saves], saves))


# Signals

def hold(patch, owner, name, number):
    """Let a process wait in a call: (what it waits for, where it says so)."""
    (said, say), (heard, hear) = os.pipe(), os.pipe()

    def act(real, *args, **kwargs):
        os.write(say, b".")
        os.read(heard, 1)
        return real(*args, **kwargs)
    at_call(patch, owner, name, number, act)
    return hear, said


def signalled(go, monkeypatch, owner, name, number, signals, *words):
    """(exit code, what was said) of a run that gets `signals` in a call of owner.name."""
    with monkeypatch.context() as patch:
        hear, said = hold(patch, owner, name, number)
        child = fork(lambda: go(*words))
        os.read(said, 1)
        for each in signals:
            os.kill(child[0], each)
        os.write(hear, b".")
        return end(child)


STOPPED = "stopped; the same command goes on from here\n"


@pytest.mark.parametrize("signals", [["SIGINT"], ["SIGTERM"], ["SIGTERM", "SIGINT"]])
def test_a_signal_in_a_level_loses_no_step(go, tmp_path, monkeypatch, signals):
    """The step under way is ended and saved; the rerun does the steps after it, and the files are equal."""
    whole = digest(go(out="whole"))
    numbers = [getattr(signal, each) for each in signals]
    code, says = signalled(go, monkeypatch, train, "adam", 6 + 2, numbers)
    *level_0, last = says.splitlines(keepends=True)
    assert code in {128 + number for number in numbers} and last == STOPPED and len(level_0) == 1
    assert list(tmp_path.glob("runs/*/underway.pt"))
    calls = at_call(monkeypatch, train, "adam", -1, never)
    assert digest(go()) == whole and len(calls) == 6 - 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_training_leaves_nothing(go, tmp_path, monkeypatch, number):
    """While the data are read: the exit code, the sentence, no folder."""
    code, says = signalled(go, monkeypatch, datasets, "load", 0, [number])
    assert (code, says) == (128 + number, STOPPED) and not (tmp_path / "runs").exists()


def test_a_signal_at_anothers_lock_leaves_that_run_alone(go, tmp_path, monkeypatch):
    """Every byte of the folder as before, the lock still the other's; then the run ends as if never met."""
    whole = digest(go(out="whole"))
    signalled(go, monkeypatch, train, "adam", 2, [signal.SIGINT])
    folder, = tmp_path.glob("runs/*")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert signalled(go, monkeypatch, fcntl, "flock", 0, [signal.SIGTERM]) == (143, STOPPED)
        code, says = end(fork(go))
        assert code == train.BUSY and one_sentence(says) and "another process" in says
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert digest(go()) == whole


# Disks

@pytest.mark.parametrize("limit", [1, 3_000, 50_000, 60_000, 100_000])
def test_a_full_disk_is_one_sentence_and_costs_nothing_done(go, tmp_path, monkeypatch, limit):
    """No file above `limit` bytes: level 0 stays as it was, and the rerun without it equals an uncut run."""
    monkeypatch.setattr(train, "SAVE", 0)
    folder, whole = go("--levels", 0), digest(go(out="whole"))
    before = {path: path.read_bytes() for path in folder.iterdir()}

    def limited(*words, **kwargs):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        go(*words, **kwargs)
    code, says = end(fork(limited))
    assert code == 1 and one_sentence(says) and "File too large" in says and str(folder) in says
    assert {path: path.read_bytes() for path in folder.iterdir() if path.name != "underway.pt"} == before
    assert digest(go()) == whole
    code, says = end(fork(lambda: limited(out="fresh")))
    assert code == 1 and one_sentence(says) and "File too large" in says
    assert digest(go(out="fresh")) == whole


def refuse(path):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@pytest.mark.parametrize("name", ["init.pt", "underway.pt", "level_00.pt", "metrics.json"])
def test_a_folder_that_takes_no_file_is_one_sentence(go, tmp_path, monkeypatch, name):
    """Refused from the write of `name` on; the rerun where it may write equals an uncut run."""
    monkeypatch.setattr(train, "SAVE", 0)
    whole, real = digest(go(out="whole")), Path.write_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", lambda path, blob: (
            refuse(path) if path.name == f"{name}.tmp" else real(path, blob)))
        with pytest.raises(SystemExit) as stopped:
            go()
    assert one_sentence(stopped.value.code) and name in stopped.value.code
    assert "Permission denied" in stopped.value.code
    assert digest(go()) == whole


@pytest.mark.parametrize("name", ["", "lock", "metrics.json", "init.pt", "level_00.pt"])
def test_something_else_in_a_files_place_is_one_sentence(go, tmp_path, name):
    """A file for the folder, a folder for a file: refused, and a run once it is gone equals any other."""
    whole = go(out="whole")
    place = tmp_path / "runs" / whole.name / name
    place.parent.mkdir(parents=True)
    place.mkdir() if name else place.write_text("in the way")
    with pytest.raises(SystemExit) as stopped:
        go()
    assert one_sentence(stopped.value.code) and (name or whole.name) in stopped.value.code
    place.rmdir() if name else place.unlink()
    assert digest(go()) == digest(whole)
