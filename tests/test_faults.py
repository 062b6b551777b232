"""Kills, full disks, flipped bytes, wrong inputs: a run ends as if nothing had been, or in one sentence.

    python tests/test_faults.py     writes tests/recorded.json anew, where the numbers change on purpose
"""
import builtins
import bz2
import contextlib
import errno
import fcntl
import functools
import hashlib
import io
import itertools
import json
import math
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tqdm import tqdm

from conftest import ROOT, draw_blobs
import runs
import data as datasets
import models
import plot
import prune
import train

TINY = {"fc": ((), (14, 12)), "conv2": ((2, 2, "pool"), (4, 4))}  # a run takes a twentieth of a second
SOAK = pytest.mark.soak
PROVENANCE = runs.provenance
CHILDREN = set()


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
    """Small networks, data read once, no git, but for tests of another CPU; all as it was afterwards."""
    if "capability" in request.fixturenames:
        monkeypatch.setattr(sys, "argv", sys.argv)
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for net, row in TINY.items():
        monkeypatch.setitem(models.NETS, net, row)
    monkeypatch.setattr(datasets, "VALIDATION", 300)
    monkeypatch.setattr(datasets, "load", functools.cache(datasets.load))
    monkeypatch.setattr(runs, "provenance", lambda *_: {"commit": "this one", "command": ""})
    yield
    for pid in CHILDREN:  # where a test failed on the way
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    CHILDREN.clear()
    torch.set_num_threads(1)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def go(blobs, tmp_path, monkeypatch):
    """go("--levels", 2, out="a"): prune.py at its door, in this process; the folder of its run."""
    def call(*words, out="runs", levels=("--levels", 1)):
        base = ["prune.py", "--steps", 6, "--looks", 40, *levels, "--data-dir", blobs, "--threads", 1]
        line = [*base, "--out", tmp_path / str(out), *words]
        monkeypatch.setattr(sys, "argv", [str(word) for word in line])
        runs.run_cli(prune.main)
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
            del metrics["crc32"]  # of the seconds too
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
        CHILDREN.add(pid)
        return pid, there
    code = 99
    try:
        tqdm.set_lock(threading.RLock())  # the parent's own is shared: a kill would hold it
        os.dup2(here, 1)
        os.dup2(here, 2)
        sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")  # as sys.stderr does
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
    CHILDREN.remove(pid)
    with open(pipe, errors="replace") as file:
        return code, file.read()


class Cut(BaseException):
    """What no script catches."""


def at_call(monkeypatch, owner, name, number, act):
    """Let act(real, *args) take the place of call `number`, from 0, of owner.name: a list of the calls."""
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


def test_a_process_killed_in_its_progress_bar_holds_up_no_other():
    """Not the parent, whose bar would share a lock with it across the fork."""
    def work():
        with tqdm.get_lock():
            print("held", flush=True)
            time.sleep(60)
    list(tqdm(range(1), file=io.StringIO()))  # now there is a lock to share
    child = fork(work)
    assert os.read(child[1], 5) == b"held\n"
    os.kill(child[0], signal.SIGKILL)
    end(child)
    free = tqdm.get_lock().locks[0].acquire(block=False)
    assert free
    tqdm.get_lock().locks[0].release()


@pytest.mark.parametrize("number", [25, pytest.param(200, marks=SOAK)])
def test_killed_at_any_moment_it_ends_the_same(go, dots, tmp_path, monkeypatch, number):
    """Every file after SIGKILLs, one in five of them just after a save of a level under way, and reruns."""
    go = functools.partial(go, "--data-dir", dots, "--looks", 1)
    monkeypatch.setitem(models.NETS, "fc", ((), (300, 100)))  # files of a size that a kill can hit
    monkeypatch.setattr(runs, "SAVE_INTERVAL", 0)
    go(out="warm")
    started = time.perf_counter()
    whole = digest(go(out="whole"))
    duration, r = time.perf_counter() - started, random.Random(0)
    hits, saved, out, outs = 0, 0, tmp_path / "cut0", 1
    while hits < number:
        before, child = inode(out), fork(lambda: go(out=out))
        if hits % 5 == 4:
            patience = time.monotonic() + 60
            while inode(out) in (None, before) and not os.waitid(
                    os.P_PID, child[0], os.WEXITED | os.WNOHANG | os.WNOWAIT):
                assert time.monotonic() < patience, "neither a save nor an end"
                time.sleep(0.001)
        time.sleep(r.uniform(0, duration / (5 if hits % 5 == 4 else 1)))
        os.kill(child[0], signal.SIGKILL)  # of one that has ended it does nothing
        code, says = end(child)
        assert code in (0, -signal.SIGKILL), says
        hits += code != 0
        saved += code != 0 and inode(out) is not None
        if code == 0:
            assert digest(next(out.iterdir())) == whole
            out, outs = tmp_path / f"cut{outs}", outs + 1
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


def then_cut(real, *args):
    real(*args)
    raise Cut


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FAULTS = {  # where: (owner, function, what happens at a call, how the script ends)
    "before a replacement": (os, "replace", cut, Cut),
    "after a replacement": (os, "replace", then_cut, Cut),
    "half of the bytes": (Path, "write_bytes", half_then(Cut()), Cut),
    "half, the disk full": (Path, "write_bytes", half_then(FULL), SystemExit),
    "within torch.save": (torch, "save", half_saved, Cut),
}


@pytest.mark.parametrize("where", FAULTS)
def test_a_fault_at_every_write_is_mended_by_a_rerun(go, dots, tmp_path, monkeypatch, capsys, where):
    """At each call in turn, those for underway.pt too; rerun; every file as of one run without a fault."""
    owner, name, act, ends = FAULTS[where]
    go = functools.partial(go, "--data-dir", dots, "--steps", 4, "--looks", 1)
    monkeypatch.setattr(runs, "SAVE_INTERVAL", 0)
    with monkeypatch.context() as patch:
        calls = at_call(patch, owner, name, -1, never)
        whole = digest(go(out="whole"))
    # metrics.json as the run begins, init.pt; by level underway, level, metrics
    assert len(calls) == 1 + (name != "save") + 2 * (3 + 1 + (name != "save"))
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
    monkeypatch.setattr(runs, "SAVE_INTERVAL", 0)
    folder = go(*words, out="whole")
    whole = digest(folder)
    levels = json.loads((folder / "metrics.json").read_text())["levels"]
    if "--rate-fc" in words:  # models.sparsify
        assert levels[1]["kept"]["fc1"] < 0.15 * levels[1]["size"]["fc1"]
    for number in range(steps):
        with monkeypatch.context() as patch:
            at_call(patch, train, "adam_step", number, cut)
            with pytest.raises(Cut):
                go(*words, out=number)
        with monkeypatch.context() as patch:
            calls = at_call(patch, train, "adam_step", -1, never)
            folder = go(*words, out=number)
        assert len(calls) == steps - number
        assert digest(folder) == whole and not (folder / "underway.pt").exists()


def test_a_level_is_saved_every_minute(go, monkeypatch):
    """On a clock that steps and looks move: after the steps that a plain count names, a minute and a step
    apart at the most."""
    clock, r, step_ends, saves = [0.0], random.Random(0), [], []
    real_adam, real_evaluate, real_save = train.adam_step, train.evaluate, runs.save_file

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
    monkeypatch.setattr(runs, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    for owner, name, spy in ((train, "adam_step", adam), (train, "evaluate", evaluate),
                             (runs, "save_file", save)):
        monkeypatch.setattr(owner, name, spy)
    go("--steps", 200, "--levels", 0, "--looks", 1)
    expected, last = [], 0.0
    for now in step_ends[1:]:  # a step ends where the next one starts
        if now > last + runs.SAVE_INTERVAL:
            expected.append(now)
            last = now
    assert runs.SAVE_INTERVAL == 60 and saves == expected and len(saves) > 40
    steps = dict(zip(step_ends[1:], step_ends))
    assert all(steps[b] <= a + 60 for a, b in zip([0.0, *saves], saves))


# Signals

def waiting(monkeypatch, owner, name, number, work):
    """(a process that does work() and has come to call `number` of owner.name, what lets it go on)."""
    (said, say), (heard, hear) = os.pipe(), os.pipe()

    def act(real, *args, **kwargs):
        os.close(hear)
        os.write(say, b".")
        os.read(heard, 1)
        return real(*args, **kwargs)
    with monkeypatch.context() as patch:
        at_call(patch, owner, name, number, act)
        child = fork(work)
    os.close(say)
    assert os.read(said, 1) == b".", end(child)
    return child, lambda: os.write(hear, b".")


def signalled(monkeypatch, owner, name, number, work, signals):
    """(exit code, what was said) of a process that does work() and gets `signals` in a call of owner.name."""
    child, go_on = waiting(monkeypatch, owner, name, number, work)
    for each in signals:
        os.kill(child[0], each)
    go_on()
    return end(child)


STOPPED = "stopped; the same command goes on from here\n"


@pytest.mark.parametrize("signals", [["SIGINT"], ["SIGTERM"], ["SIGTERM", "SIGINT"]])
def test_a_signal_in_a_level_loses_no_step(go, tmp_path, monkeypatch, signals):
    """The step under way is ended and saved; the rerun does the steps after it, and the files are equal."""
    whole = digest(go(out="whole"))
    numbers = [getattr(signal, each) for each in signals]
    code, says = signalled(monkeypatch, train, "adam_step", 6 + 2, go, numbers)
    *level_0, last = says.splitlines(keepends=True)
    assert code in {128 + number for number in numbers} and last == STOPPED and len(level_0) == 1
    assert list(tmp_path.glob("runs/*/underway.pt"))
    calls = at_call(monkeypatch, train, "adam_step", -1, never)
    assert digest(go()) == whole and len(calls) == 6 - 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_training_leaves_nothing(go, tmp_path, monkeypatch, number):
    """While the data are read: the exit code, the sentence, no folder."""
    code, says = signalled(monkeypatch, datasets, "load", 0, go, [number])
    assert (code, says) == (128 + number, STOPPED) and not (tmp_path / "runs").exists()


def test_a_signal_at_anothers_lock_leaves_that_run_alone(go, tmp_path, monkeypatch):
    """Every byte of the folder as before, the other process still its owner; it ends as if never met."""
    whole = digest(go(out="whole"))
    owner, go_on = waiting(monkeypatch, train, "adam_step", 6 + 2, go)
    folder, = tmp_path.glob("runs/*")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert signalled(monkeypatch, fcntl, "flock", 0, go, [signal.SIGTERM]) == (143, STOPPED)
    code, says = end(fork(go))
    assert code == runs.BUSY and one_sentence(says) and "another process" in says
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    go_on()
    assert end(owner)[0] == 0 and digest(folder) == whole


# Disks

@pytest.mark.parametrize("limit", [1, 3_000, 40_000, 55_000, 100_000])
def test_a_full_disk_is_one_sentence_and_costs_nothing_done(go, tmp_path, monkeypatch, limit):
    """No file above `limit` bytes: level 0 stays as it was, and the rerun without it equals an uncut run."""
    monkeypatch.setattr(runs, "SAVE_INTERVAL", 0)
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


@pytest.mark.parametrize("name", ["init.pt", "level_01.pt", "metrics.json"])
def test_a_file_that_cannot_be_read_is_not_damaged(go, monkeypatch, name):
    """Nothing of a run is given up for a disk that does not answer: one sentence, every file as it was."""
    folder, real = go(), Path.read_bytes
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: refuse(path) if path.name == name else real(path))
        with pytest.raises(SystemExit) as stopped:
            go("--levels", 2)
    assert one_sentence(stopped.value.code) and "Permission denied" in stopped.value.code
    assert name in stopped.value.code and "delete" not in stopped.value.code
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["init.pt", "underway.pt", "level_00.pt", "metrics.json"])
def test_a_folder_that_takes_no_file_is_one_sentence(go, tmp_path, monkeypatch, name):
    """Refused from the write of `name` on; the rerun where it may write equals an uncut run."""
    monkeypatch.setattr(runs, "SAVE_INTERVAL", 0)
    whole, real = digest(go(out="whole")), Path.write_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", lambda path, blob: (
            refuse(path) if path.name.startswith(f"{name}.") else real(path, blob)))
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


# Flipped bytes

@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A .pt as of a level, below 4 kB: (its path, what it holds)."""
    g, path = torch.Generator().manual_seed(0), tmp_path_factory.mktemp("small") / "level_00.pt"
    value = {"state": {"out.weight": torch.randn(3, 4, generator=g)},
             "masks": {"out": torch.rand(3, 4, generator=g) < 0.5},
             "correct": torch.arange(5, dtype=torch.uint8)}
    runs.save_file(path, value)
    assert path.stat().st_size < 4096
    return path, value


def same(a, b):
    """Whether nested dicts of tensors are equal bit for bit."""
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def attributes(path):
    """The places of a zip file's external attributes, four bytes a member."""
    with zipfile.ZipFile(path) as archive:
        place, places = archive.start_dir, set()
        for info in archive.infolist():
            places |= set(range(place + 38, place + 42))
            place += 46 + len(info.filename) + len(info.extra)
    return places


def misread(small, folder, places, bits=(0xff,)):
    """[(place, bit)] where the file with that flipped loads as something else; how many are Damaged."""
    blob, path, wrong, damaged = small[0].read_bytes(), folder / "level_00.pt", [], 0
    for place in places:
        for bit in bits:
            path.write_bytes(blob[:place] + bytes([blob[place] ^ bit]) + blob[place + 1:])
            try:
                wrong += [(place, bit)] * (not same(small[1], runs.load_file(path)))
            except runs.Damaged:
                damaged += 1
    return wrong, damaged


@pytest.mark.parametrize("bits", [[0xff], pytest.param([1 << bit for bit in range(8)], marks=SOAK)])
def test_a_flipped_byte_is_damage_or_nothing(small, tmp_path, bits):
    """At every byte of a file: Damaged, or the tensors that were saved; never others."""
    places = [*range(small[0].stat().st_size)]
    wrong, damaged = misread(small, tmp_path, set(places) - attributes(small[0]), bits)
    assert not wrong
    assert damaged > len(places) * len(bits) / 4  # the rest is padding, dates and the like


def test_a_flipped_attribute_is_damage_or_nothing(small, tmp_path):
    wrong, _ = misread(small, tmp_path, attributes(small[0]), [1 << bit for bit in range(8)])
    assert not wrong


def test_a_file_cut_short_is_damage(small, tmp_path):
    blob, path = small[0].read_bytes(), tmp_path / "level_00.pt"
    for length in range(0, len(blob), 64):
        path.write_bytes(blob[:length])
        with pytest.raises(runs.Damaged):
            runs.load_file(path)


def test_a_flipped_byte_of_metrics_is_damage_or_nothing(go, dots, tmp_path):
    """At every byte: Damaged, or every value that was saved, the name of the checksum aside."""
    whole = (go("--data-dir", dots, "--levels", 0, "--looks", 1) / "metrics.json").read_bytes()
    path, saved, damaged = tmp_path / "metrics.json", json.loads(whole), 0
    saved.pop("crc32")
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        try:
            assert {key: value for key, value in runs.load_file(path).items() if key in saved} == saved, at
        except runs.Damaged:
            damaged += 1
    assert damaged > 0.9 * len(whole)  # the rest is spaces and the name


@pytest.fixture
def underway(go, dots, tmp_path, monkeypatch):
    """(a folder cut in mid-level 1, go for its data)."""
    go = functools.partial(go, "--data-dir", dots, "--steps", 4, "--looks", 1)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "SAVE_INTERVAL", 0)
        at_call(patch, train, "adam_step", 4 + 2, cut)
        with pytest.raises(Cut):
            go(out="base")
    folder, = (tmp_path / "base").iterdir()
    return folder, go


def place_in(folder, name, blob):
    """A copy of a run's folder, under damaged/, with `blob` in file `name`."""
    out = folder.parent.parent / "damaged"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(folder.parent, out)
    (out / folder.name / name).write_bytes(blob)
    return out / folder.name


def again(go, folder, name, blob):
    """(the folder, what is said) of a run to level 2 that goes on from place_in's."""
    place_in(folder, name, blob)
    with contextlib.redirect_stderr(io.StringIO()) as says:
        return go("--levels", 2, out="damaged"), says.getvalue()


def test_a_shorter_run_leaves_a_longer_ones_level_under_way(underway, monkeypatch):
    """Cut in level 1; then the same run to level 0, which is finished; then only the rest is trained."""
    _, go = underway
    go("--levels", 0, out="base")
    calls = at_call(monkeypatch, train, "adam_step", -1, never)
    go(out="base")
    assert len(calls) == 4 - 2


@pytest.mark.parametrize("name", ["init.pt", "level_00.pt", "underway.pt"])
def test_damage_is_named_and_made_again(underway, tmp_path, name):
    """A byte flipped or the end cut off: every file of the longer run is equal, and stderr names this one."""
    folder, go = underway
    whole, blob = digest(go("--levels", 2, out="whole")), (folder / name).read_bytes()
    r, said = random.Random(name), 0
    for case in range(8):
        at = r.randrange(len(blob))
        new = blob[:at] + bytes([blob[at] ^ r.randrange(1, 256)]) + blob[at + 1:] if case % 2 else blob[:at]
        (tmp_path / name).write_bytes(new)
        try:
            bad = not runs.load_file(tmp_path / name)
        except runs.Damaged:
            bad = True
        ended, says = again(go, folder, name, new)
        if (ended / name).exists() and (ended / name).read_bytes() == new:
            (ended / name).write_bytes(blob)  # the byte was one of those that nothing reads
        assert digest(ended) == whole and not (ended / "underway.pt").exists()
        assert sum(f"{name} is damaged" in line for line in says.splitlines()) == bad
        said += bad
    assert said >= 6


def test_cut_metrics_are_refused_and_left(go):
    folder = go()
    blob, path = (folder / "metrics.json").read_bytes(), folder / "metrics.json"
    for length in range(0, len(blob), len(blob) // 12):
        path.write_bytes(blob[:length])
        before = {file: file.read_bytes() for file in folder.iterdir()}
        code, says = refusal(lambda: go("--levels", 2))
        assert code == 1 and one_sentence(says) and str(path) in says
        assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_memory_stays_flat_over_40_levels(go, monkeypatch):
    """VmRSS of a process when level 40 is written, less that at level 10: 8 MiB at the most.

    About 2 MiB are the records of metrics.json, as lists and as text, and some are the allocator's noise.
    One copy of the weights kept at each level would be another 9 MiB."""
    monkeypatch.setitem(models.NETS, "fc", ((), (100, 30)))

    def measured():
        resident, real = [], runs.save_file

        def save(path, value):
            real(path, value)
            if path.name == "metrics.json":
                resident.append(int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]))
        runs.save_file = save
        with contextlib.redirect_stderr(io.StringIO()):
            go("--levels", 40, "--steps", 1, "--rate-fc", 0.05, "--rate-out", 0.02)
        print(*resident)
    code, says = end(fork(measured))
    resident = [int(word) for word in says.split()]  # KiB, a level each
    assert code == 0 and len(resident) == 42 and resident[41] - resident[11] <= 8 * 1024


# Malformed inputs

COUNTS = {"command lines": 400, "data files": 200, "broken metrics": 60, "other metrics": 60,
          "broken metrics to plot": 60, "other metrics to plot": 60, "damaged checkpoints": 90,
          "other checkpoints": 90}
SMALL = ("--steps", 2, "--looks", 1)
TIMES = pytest.mark.parametrize("times", [1, pytest.param(10, marks=SOAK)])


def test_a_thousand_inputs_are_counted():
    assert sum(COUNTS.values()) >= 1000


def refusal(work):
    """(exit code, all that was said) of a script's work in this process; the code is None if it just ends."""
    with contextlib.redirect_stderr(io.StringIO()) as says, contextlib.redirect_stdout(says):
        try:
            work()
        except SystemExit as stopped:
            if not isinstance(stopped.code, str):
                return stopped.code, says.getvalue()
            print(stopped.code)
            return 1, says.getvalue()
    return None, says.getvalue()


def place(error):
    """script.function of ours in which an exception came up."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if Path(frame.filename).parent == ROOT and not frame.name.startswith("<")]
    return f"{Path(frames[-1].filename).stem}.{frames[-1].name}"


def tried(work, root):
    """"refused" if work() ends in one sentence, with code 1 or 2 and no new file under `root`; "done" if it
    succeeds; else what is wrong: the exception and where, or what was said."""
    before = sorted(root.rglob("*"))
    try:
        code, says = refusal(work)
    except Exception as error:
        return f"{type(error).__name__} in {place(error)}"
    if code is None:
        return "done"
    if code not in (1, 2):
        return f"exit code {code}"
    if not says.strip() or says.count("\n") != 1:
        return f"not a line: {says[-300:]!r}"
    return "refused" if sorted(root.rglob("*")) == before else "left files"


INTS = {"--seed": 0, "--epochs": 1, "--steps": 1, "--looks": 1, "--batch": 1, "--threads": 1, "--levels": 0,
        "--rewind": 0}
REALS = {"--lr": np.inf, "--rate-fc": 1, "--rate-conv": 1, "--rate-out": 1}
NAMES = ["--net", "--init", "--preset", "--data", "--input", "--precision", "--device", "--pruner", "--scope",
         "--control"]
OWN = ["--levels", "--rate-fc", "--rate-conv", "--rate-out", "--pruner", "--scope", "--control", "--rewind"]
JUNK = ["", " ", "nan", "-nan", "-inf", "-1", "-0.5", "1.5", "1e3", "0x10", "1_0", "--", "-", "@", "[]", "{}",
        "9" * 5000, "-" + "9" * 400, "None", "true", "{seed}", "%s", "%(prog)s", "%", "\u00e9", "\ufb01",
        "\u202e", "\uff11", "\x1b[31m", "\x07", "\t", "\x7f", "\udcff", "\U0001f600", "a" * 300, "../..", "/",
        "~", "*", "'", '"', ";", "$(x)", "xavier_normal@", "xavier_normal@nan", "xavier_normal@1e999",
        "xavier_normal@-1", "xavier_normal@0", "@2", "fc ", "FC", "cuda:77", "toaster", "cpu:-1", "mean,"]
GOOD = [["--seed", "3"], ["--init", "kaiming_uniform"], ["--lr", "0.01"], ["--looks", "2"], ["--batch", "7"],
        ["--seed", "1", "2", "2"], ["--net", "fc", "--net", "fc"], ["--input", "unit"], ["--steps", "2"]]
STRAY = [[head + text] for head in ("--zz", "--n3t=fc", "-z", "stray ", "--ra=1") for text in JUNK]
STRAY += [[flag] for flag in (*INTS, *REALS, *NAMES)]
STRAY += [["--epochs", "1", "--steps", "1"], ["--rate", "1"], ["--device="]]


def wrong(flag, text):
    """Whether a value is one that its flag can't have, by Python's own int and float."""
    try:
        if flag in INTS:
            return not INTS[flag] <= int(text) <= (99 if flag == "--levels" else np.inf)
        if flag in REALS:
            return not 0 <= float(text) <= REALS[flag]
    except ValueError:
        pass
    return True


def command_lines(number):
    """[words]: in each something wrong at a random place among flags that are right."""
    r, flags = random.Random(0), [*INTS, *REALS, *NAMES]
    pairs = [pair for pair in itertools.product(flags, JUNK) if wrong(*pair)]
    r.shuffle(pairs)
    bad = [*pairs[:number * 5 // 8], *r.choices(STRAY, k=number // 8)]
    while len(bad) < number:
        pair = [r.choice(flags), "".join(r.choices("aé\x02\ud800\U0001f600%@=.,- 7", k=r.randint(1, 9)))]
        bad += [pair] * wrong(*pair)
    for words in bad:
        parts = [[*words], *r.sample(GOOD, r.randint(0, 3))]
        if len(words) > 1:
            r.shuffle(parts)
        else:
            parts.reverse()  # nothing after a flag that lacks its value
        yield sum(parts, [])


@TIMES
def test_wrong_command_lines_are_refused_in_one_sentence(go, tmp_path, monkeypatch, times):
    """Each by prune.py, or one in four by train.py where it has the flag."""
    number, found, pruning = times * COUNTS["command lines"], Counter(), prune.main
    for words in command_lines(number):
        baseline = sum(found.values()) % 4 == 0 and words[0] not in OWN
        monkeypatch.setattr(prune, "main", train.main if baseline else pruning)
        levels = () if baseline else ("--levels", 1)
        found[tried(lambda: go(*words, levels=levels), tmp_path)] += 1
    assert found == {"refused": number}


def npz(arrays, save=np.savez):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


@pytest.fixture(scope="session")
def dots(blobs, tmp_path_factory):
    """A folder with mnist.npz: every seventh pixel of 420 and of 60 blobs."""
    with np.load(blobs / "mnist.npz") as arrays:
        parts = {key: arrays[key][:420 if "train" in key else 60] for key in datasets.ARRAYS}
    folder = tmp_path_factory.mktemp("dots")
    (folder / "mnist.npz").write_bytes(npz(
        {key: part[:, ::7, ::7] if part.ndim == 3 else part for key, part in parts.items()}))
    return folder


CHANGES = [  # of one array of a data file
    lambda a: a.astype(np.float32),
    lambda a: np.full(a.shape, np.nan),
    lambda a: a.astype(np.int8) - 100,
    lambda a: a.astype(complex),
    lambda a: a > 3,
    lambda a: a.astype(str),
    lambda a: a.astype("datetime64[s]"),
    lambda a: a.view([("a", np.uint8)]),
    lambda a: a.view("V1"),
    lambda a: a.astype(object),  # a pickle
    lambda a: np.array(None),
    lambda a: np.uint8(3),
    lambda a: a[:0],
    lambda a: a[..., :0],
    lambda a: a[1:],
    lambda a: np.concatenate([a, a[:1]]),
    lambda a: a[:len(a) // 2],
    lambda a: a.ravel()[:, None, None, None],
    lambda a: np.stack([a, a], -1),
    lambda a: np.stack([a] * 4, -1),
    lambda a: np.where(a == 3, 10, a).astype(np.uint8) if a.ndim == 1 else a[:, :-1],
    lambda a: np.where(a == 3, -1, a.astype(int)),
    lambda a: np.where(a == 3, np.uint64(2 ** 63), a.astype(np.uint64)),
]


def data_files(whole, number):
    """[bytes]: each change of each array, arrays left out, other kinds of file, then what chance did."""
    r = random.Random(0)
    with np.load(io.BytesIO(whole)) as file:
        arrays = dict(file)
    files = [npz(arrays | {key: change(arrays[key])}) for key in arrays for change in CHANGES]
    files += [npz({other: arrays[other] for other in arrays if other != key}) for key in arrays]
    array = io.BytesIO()
    np.save(array, arrays["x_train"])
    huge = whole.replace(b"(420, 4, 4), }", b"(420, 1<<50)}").replace(b"(420,), }", b"(10**15)}")
    files += [b"", b"PK", b"\n" * 999, b"{}", array.getvalue(), pickle.dumps(arrays), huge, whole + b"tail",
              b"head" + whole, whole[::-1], npz(arrays, np.savez_compressed)]
    return files + [damaged(whole, r) for _ in range(number - len(files))]


def damaged(blob, r):
    """Bytes cut off, one or some of them others, or all of them."""
    at, n, flipped = r.randrange(len(blob)), r.randrange(1, 60), r.randrange(1, 256)
    return r.choice([blob[:at], blob[at:], blob[:at] + bytes([blob[at] ^ flipped]) + blob[at + 1:],
                     blob[:at] + r.randbytes(n) + blob[at + n:], r.randbytes(at)])


@TIMES
def test_malformed_data_files_are_refused_in_one_sentence(go, dots, tmp_path, monkeypatch, times):
    """Or, where no byte that counts was touched, give the files of the right one."""
    words, number, found = (*SMALL, "--levels", 0), times * COUNTS["data files"], Counter()
    whole = digest(go(*words, "--data-dir", dots, out="whole"))
    monkeypatch.setattr(datasets, "load", datasets.load.__wrapped__)
    for blob in data_files((dots / "mnist.npz").read_bytes(), number):
        out = tmp_path / "runs"
        shutil.rmtree(out, ignore_errors=True)
        (tmp_path / "mnist.npz").write_bytes(blob)
        result = tried(lambda: go(*words, "--data-dir", tmp_path), tmp_path)
        if result == "done":
            result = "equal" if digest(next(out.iterdir())) == whole else "another end"
        found[result] += 1
    assert set(found) == {"refused", "equal"} and sum(found.values()) == number, found
    assert found["equal"] < number / 10


VALUES = [None, True, -1, 0, 1, 2, 10 ** 400, 0.5, -1e308, math.nan, math.inf, "", "x", "0", [], [[]], {},
          {"a": []}, [0, None], "a\nb"]


def broken_json(text, r):
    """No JSON any more."""
    at = r.randrange(1, len(text))
    return r.choice([text[:at], text[:at] + b"\xff" + text[at:], text[:at] + text[:at], text[at:] + b"}",
                     r.randbytes(1 + at % 99)])


def other_json(text, r):
    """JSON, but with a value at a random place gone or another."""
    metrics = json.loads(text)
    if r.random() < 0.1:
        return json.dumps(r.choice(VALUES)).encode()
    spot, depth = metrics, r.randint(0, 5)
    while True:
        key = r.choice([*spot] if isinstance(spot, dict) else range(len(spot)))
        if not depth or not isinstance(spot[key], (dict, list)) or not spot[key]:
            break
        spot, depth = spot[key], depth - 1
    if r.random() < 0.3:
        del spot[key]
    else:
        spot[key] = r.choice(VALUES)
    return json.dumps(metrics).encode()


JSONS = pytest.mark.parametrize("kind, change", [("broken metrics", broken_json),
                                                 ("other metrics", other_json)])


@TIMES
@JSONS
def test_malformed_metrics_are_refused_in_one_sentence(go, dots, tmp_path, times, kind, change):
    """Or, JSON of something else, lead to a level whose file is equal in every byte."""
    r, found, number, words = random.Random(0), Counter(), times * COUNTS[kind], (*SMALL, "--data-dir", dots)
    expected = (go("--levels", 2, *words, out="whole") / "level_02.pt").read_bytes()
    folder = go(*words, out="base")
    for _ in range(number):
        blob = change((folder / "metrics.json").read_bytes(), r)
        out = place_in(folder, "metrics.json", blob)
        result = tried(lambda: go("--levels", 2, *words, out="damaged"), tmp_path)
        if result == "done":
            made = out / "level_02.pt"
            result = "equal" if made.exists() and made.read_bytes() == expected else "another end"
        found[result] += 1
    assert set(found) <= {"refused", *["equal"] * (change is other_json)}, found
    assert sum(found.values()) == number


@TIMES
@JSONS
def test_malformed_metrics_are_not_plotted(go, dots, tmp_path, monkeypatch, times, kind, change):
    """Refused in one sentence; values of the right kind can't be told from right ones, and are drawn."""
    r, found, number = random.Random(1), Counter(), times * COUNTS[f"{kind} to plot"]
    folder = go(*SMALL, "--data-dir", dots, out="base")
    whole, runs = (folder / "metrics.json").read_bytes(), tmp_path / "runs"
    monkeypatch.setattr(plot, "FIGURES", {})  # the tables alone
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["plot.py"])
    for index in range(number):
        shutil.rmtree(runs, ignore_errors=True)
        shutil.rmtree(tmp_path / "figures", ignore_errors=True)
        blob = change(whole, r)
        (runs / folder.name).mkdir(parents=True)
        if index % 4:
            (runs / folder.name / "metrics.json").write_bytes(blob)
        else:
            packed = bz2.compress(blob)
            cut_off = packed[:r.randrange(len(packed))]
            (runs / f"{folder.name}.json.bz2").write_bytes(cut_off if change is broken_json else packed)
        found[tried(plot.main, tmp_path)] += 1
    assert set(found) <= {"refused", *["done"] * (change is other_json)}, found
    assert sum(found.values()) == number


OBJECTS = [[], {}, 5, -1, "x", None, True, {"a": 1}, torch.zeros(3), torch.zeros(()), [torch.zeros(2)]]
TENSORS = [torch.Tensor.double, torch.Tensor.int, torch.Tensor.flatten, lambda t: t[None], lambda t: t.mT,
           lambda t: t[..., :-1], lambda t: torch.cat([t, t]), lambda t: t.to(torch.uint8)]


def saved(value, **how):
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


def other_checkpoint(blob, r):
    """A whole file of something else, or of what it was with one value gone or of another kind."""
    value = torch.load(io.BytesIO(blob), weights_only=True)
    spots, todo = [], [value]
    for part in todo:
        for key in part if isinstance(part, dict) else range(len(part)):
            spots.append((part, key))
            todo += [part[key]] * isinstance(part[key], (dict, list))
    (part, key), kind = r.choice(spots), r.randrange(4)
    others = [item for item in OBJECTS if not {type(item), type(part[key])} <= {int, float, type(None)}]
    if kind == 0:
        value = r.choice(OBJECTS)
    elif kind == 1:
        del part[key]
    elif kind == 2 or not isinstance(part[key], torch.Tensor) or part[key].dim() < 2:
        part[key] = r.choice(others)
    else:
        part[key] = r.choice(TENSORS)(part[key])
    return saved(value)


@TIMES
@pytest.mark.parametrize("kind, change", [("damaged checkpoints", damaged),
                                          ("other checkpoints", other_checkpoint)])
def test_malformed_checkpoints_are_made_again(underway, tmp_path, times, kind, change):
    """Or refused in one sentence; the run ends equal to one that was never damaged."""
    folder, go = underway
    r, found, number, whole = random.Random(2), Counter(), times * COUNTS[kind], digest(go(out="whole"))
    for index in range(number):
        name = ("init.pt", "level_00.pt", "underway.pt")[index % 3]
        blob = change((folder / name).read_bytes(), r)
        out = place_in(folder, name, blob)
        result = tried(lambda: go(out="damaged"), tmp_path)
        if result == "done":
            made = digest(out)
            if name in made and (out / name).read_bytes() == blob:
                made[name] = whole[name]  # it was read as it is, and the level after it tells how
            result = "equal" if made == whole else "another end"
        found[result] += 1
    assert set(found) <= {"refused", "equal"}, found
    assert sum(found.values()) == number


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


PICKLES = {"a .pt": lambda evil: saved({"state": evil, "part": [1, 0, 4]}), "a plain pickle": pickle.dumps,
           "an old .pt": lambda evil: saved({"state": evil}, _use_new_zipfile_serialization=False)}


@pytest.mark.parametrize("kind", PICKLES)
@pytest.mark.parametrize("name", ["init.pt", "level_00.pt", "underway.pt"])
def test_a_pickle_is_not_obeyed_but_made_again(underway, tmp_path, name, kind):
    """The file that unpickling would make is absent; the run's own are those of one without a pickle."""
    folder, go = underway
    ended, says = again(go, folder, name, PICKLES[kind](Evil(tmp_path / "pwned")))
    assert f"{name} is damaged" in says and digest(ended) == digest(go("--levels", 2, out="whole"))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", [*datasets.ARRAYS, "all"])
def test_a_pickle_in_a_data_file_is_refused(go, dots, tmp_path, name):
    evil = np.array([Evil(tmp_path / "pwned")], object)
    with np.load(dots / "mnist.npz") as arrays:
        blob = pickle.dumps(evil) if name == "all" else npz({**arrays, name: evil})
    (tmp_path / "mnist.npz").write_bytes(blob)
    assert tried(lambda: go("--data-dir", tmp_path), tmp_path) == "refused"
    assert not (tmp_path / "pwned").exists()


def test_a_pickle_in_a_donor_or_metrics_is_refused(go, dots, tmp_path):
    words = ("--data-dir", dots, *SMALL)
    folder = go(*words)
    for name in ("level_01.pt", "metrics.json"):
        (folder / name).write_bytes(saved({"masks": Evil(tmp_path / "pwned")}))
        code, says = refusal(lambda: go(*words, "--control", "reinit"))
        assert code == 1 and name in says and "Traceback" not in says
        assert not (tmp_path / "pwned").exists()


LINES = ["--lr inf", "--init xavier_normal@1e300", f"--threads {10 ** 30}", "--device meta",
         "--device privateuseone", "--seed -1\n", "--zz\nz", "--device a\nb", "--masks-from "]


@pytest.mark.parametrize("words", LINES)
def test_a_line_that_means_nothing_is_refused(go, dots, tmp_path, words):
    assert tried(lambda: go("--data-dir", dots, *words.split(" ")), tmp_path) == "refused"


def test_metrics_without_a_checksum_are_refused(go, dots, tmp_path):
    folder, found = go("--data-dir", dots, *SMALL), Counter()
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics.pop("crc32")
    for key, kind in (("config", dict), ("provenance", list), ("levels", list)):
        for value in (value for value in VALUES if not isinstance(value, kind)):
            (folder / "metrics.json").write_text(json.dumps({**metrics, key: value}))
            found[tried(lambda: go("--data-dir", dots, *SMALL, "--levels", 2), tmp_path)] += 1
    assert set(found) == {"refused"}, found


@pytest.mark.parametrize("script", ["prune", "plot"])
def test_brackets_without_end_are_damage(go, dots, tmp_path, monkeypatch, script):
    folder = go("--data-dir", dots, *SMALL)
    (folder / "metrics.json").write_bytes(b"[" * 100_000)
    monkeypatch.chdir(tmp_path)
    if script == "plot":
        monkeypatch.setattr(sys, "argv", ["plot.py"])
    work = plot.main if script == "plot" else functools.partial(go, "--data-dir", dots, *SMALL)
    assert tried(work, tmp_path) == "refused"


def test_more_looks_than_steps_cost_nothing(go, dots):
    def limited():
        resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
        go("--data-dir", dots, "--levels", 0, "--looks", 10 ** 12)
    code, says = end(fork(limited))
    assert code == 0, says


def test_without_git_the_commit_is_unknown(go, dots, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "provenance", PROVENANCE)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tried(lambda: go("--data-dir", dots, *SMALL), tmp_path) == "done"


def test_a_closed_stderr_is_no_hindrance(go, dots, monkeypatch):
    folder = go("--data-dir", dots, *SMALL, out="whole")
    monkeypatch.setattr(sys, "stderr", None)
    assert digest(go("--data-dir", dots, *SMALL)) == digest(folder)


def test_a_file_system_without_locks_is_one_sentence(go, dots, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks")))
    code, says = refusal(lambda: go("--data-dir", dots, *SMALL))
    assert code == 1 and one_sentence(says) and "None" not in says


def test_a_second_signal_changes_nothing(go, dots, monkeypatch):
    """The first comes while the data are read; the second, as it is answered."""
    def twice(real, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        real(*args, **kwargs)

    def work():
        at_call(monkeypatch, datasets, "load", 0, lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
        at_call(monkeypatch, builtins, "print", 0, twice)
        go("--data-dir", dots, *SMALL)
    assert end(fork(work)) == (130, STOPPED)


@pytest.mark.parametrize("rewind", [0, 2])
def test_other_data_are_refused_from_level_0_on(go, dots, tmp_path, monkeypatch, rewind):
    """Cut in level 0, another data file put there."""
    words = ("--data-dir", tmp_path, *SMALL, "--steps", 6, "--rewind", rewind, "--levels", 0)
    monkeypatch.setattr(runs, "SAVE_INTERVAL", 0)
    monkeypatch.setattr(datasets, "load", datasets.load.__wrapped__)
    shutil.copy(dots / "mnist.npz", tmp_path)
    with monkeypatch.context() as patch:
        at_call(patch, train, "adam_step", 4, cut)
        with pytest.raises(Cut):
            go(*words)
    with np.load(dots / "mnist.npz") as arrays:
        (tmp_path / "mnist.npz").write_bytes(npz({**arrays, "x_train": 255 - arrays["x_train"]}))
    with pytest.raises(SystemExit, match="data_crc32 is"):
        go(*words)


def test_fewer_images_than_a_batch_are_refused(go, dots, tmp_path):
    with np.load(dots / "mnist.npz") as arrays:
        few = {**arrays, "x_train": arrays["x_train"][:359], "y_train": arrays["y_train"][:359]}
    (tmp_path / "mnist.npz").write_bytes(npz(few))
    assert tried(lambda: go("--data-dir", tmp_path, *SMALL), tmp_path) == "refused"


def test_images_too_small_for_the_net_are_refused(go, dots, tmp_path):
    words = ("--data-dir", dots, *SMALL, "--net", "conv6", "--data", "mnist")
    assert tried(lambda: go(*words), tmp_path) == "refused"


# The same numbers tomorrow

RECORDED = Path(__file__).with_name("recorded.json")


def numbers(data_dir, capability=None):
    """Curves, counts and the data's checksum of a small run on blobs, 3 levels of 4 steps; given a
    `capability`, those of another process whose CPU seems to have no more than that.

    After as few and as short steps, sums in another order move a loss by 3e-7 at the most; at the paper's
    rate by 2e-6."""
    with tempfile.TemporaryDirectory() as out:
        words = [str(ROOT / "prune.py"), "--steps", "4", "--lr", "1e-4", "--looks", "125",
                 "--levels", "2", "--precision", "fp32", "--threads", "1", "--data-dir", str(data_dir),
                 "--out", out]
        if capability:
            subprocess.run([sys.executable, *words], check=True, capture_output=True,
                           env={**os.environ, "ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "1"})
        else:
            sys.argv = words
            prune.main()
        metrics = json.loads(next(Path(out).glob("*/metrics.json")).read_text())
    return {"data_crc32": metrics["config"]["data_crc32"],
            "levels": [{key: level[key] for key in ("kept", *runs.CURVES)} for level in metrics["levels"]]}


@pytest.fixture(scope="session")
def glyphs(tmp_path_factory):
    """A folder with glyphs.npz, drawn here."""
    folder = tmp_path_factory.mktemp("glyphs")
    datasets.write_npz(folder / "glyphs.npz", datasets.SOURCES["glyphs"])
    return folder


@pytest.mark.parametrize("capability", [None, "avx2", "default"])
def test_the_numbers_are_those_on_record(blobs, capability):
    """To 1e-6, on this CPU and on lesser ones, of images that are integers alone, since another release of
    matplotlib draws other glyphs; `python tests/test_faults.py` alone changes the record, on purpose."""
    found, recorded = numbers(blobs, capability), json.loads(RECORDED.read_text())
    assert found["data_crc32"] == recorded["data_crc32"]
    assert [level["kept"] for level in found["levels"]] == [level["kept"] for level in recorded["levels"]]
    for level, its in zip(found["levels"], recorded["levels"]):
        for name in runs.CURVES:
            assert level[name] == pytest.approx(its[name], rel=0, abs=1e-6), name


@SOAK
@pytest.mark.parametrize("capability", ["avx2", pytest.param("default", marks=pytest.mark.xfail(
    strict=True, reason="sums in another order round some pixels to the next of 256 values"))])
def test_a_lesser_cpu_draws_the_same_glyphs(glyphs, tmp_path, capability):
    subprocess.run([sys.executable, ROOT / "data.py", "--data", "glyphs", "--data-dir", tmp_path], check=True,
                   env={**os.environ, "ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "1"})
    assert datasets.read_npz(tmp_path / "glyphs.npz")[1] == datasets.read_npz(glyphs / "glyphs.npz")[1]


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as drawn:
        RECORDED.write_text(json.dumps(numbers(draw_blobs(drawn)), indent=1) + "\n")
