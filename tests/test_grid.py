"""The grid in several hands at once: run_all.sh twice side by side, GNU parallel, a Slurm array."""
import contextlib
import fcntl
import getpass
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import plot
import prune
import runs
import stats
from conftest import bash, content, copy_of_the_scripts, one_sentence

FIRST, SECOND = "xavier_normal", "kaiming_normal"
LEVELS = 2
JOBS = str(max(8, os.cpu_count()))  # more than one a core would give a run more threads
OTHERS = "another process is on this run; it was left alone"
PATH = os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin"  # a user's own may lack the daemons' folder
GNU = b"GNU parallel" in subprocess.run("parallel --version", shell=True, capture_output=True).stdout
SLURM = ("munged", "slurmctld", "slurmd", "sinfo", "sbatch", "squeue", "scontrol", "scancel")
SLURM_CONF = """
ClusterName=test SlurmctldHost={host}(127.0.0.1) SlurmctldPort={ports[0]} SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny SlurmUser={user} SlurmdUser={user}
AuthType=auth/munge AuthInfo=socket={folder}/munge.socket StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool SlurmctldPidFile={folder}/slurmctld.pid SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides SchedulerParameters=sched_interval=1,bf_interval=1
ProctrackType=proctrack/pgid TaskPlugin=task/none MpiDefault=none SelectType=select/cons_tres
SelectTypeParameters=CR_CPU JobRequeue=1 ReturnToService=2
""".replace(" ", "\n") + """
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=ALL Default=YES
"""


@pytest.fixture(scope="module")
def env(blobs):
    """What the commands are given: nothing in it says how many threads, nor that this is a Slurm job."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "OMP"))}
    return {**plain, "PATH": PATH, "PYTHON": sys.executable, "DATA_DIR": str(blobs)}


def small_grid(folder, *groups, steps=20):
    """The scripts in `folder`, where the grid `quick` is a few short levels of mnist: groups of schemes."""
    script = copy_of_the_scripts(folder) / "run_all.sh"
    words = f"prune.py --net fc --data mnist --steps {steps} --looks 1 --levels {LEVELS}"
    lines = "; ".join(f'echo "{schemes}|0|{words}"' for schemes in groups)
    text, found = re.subn(r"quick\) tour=.*?;;", f"quick) {lines} ;;", script.read_text(), flags=re.DOTALL)
    assert found == 1
    script.write_text(text)
    return folder


def first_run(grid, steps=20):
    """The folder of the first run of a small grid."""
    return grid / "runs" / f"mnist-fc-{FIRST}-magnitude-steps{steps}-looks1-s0"


def numbers(out):
    """{run: its metrics minus what may differ}; nothing else than whole files is in the folder `out`."""
    assert not list(out.rglob("*.tmp")) and not list(out.rglob("underway.pt"))
    found = {path.parent.name: runs.load_file(path) for path in out.glob("*/metrics.json")}
    for metrics in found.values():
        assert {entry["threads"] for entry in metrics.pop("provenance")} == {1}
        for level in metrics["levels"]:
            del level["seconds"]
    return found


@pytest.fixture
def alone(blobs, tmp_path, monkeypatch):
    """alone(grid): the numbers of its lines, run one after another in this process."""
    def call(grid):
        out, lines = tmp_path / "alone", bash(grid, "list", "quick").stdout.splitlines()
        for line in lines:
            words = [*line[line.index("prune.py"):].split(), "--data-dir", str(blobs), "--out", str(out)]
            monkeypatch.setattr(sys, "argv", words)
            prune.main()
        assert len(numbers(out)) == len(lines) > 0
        return numbers(out)
    return call


def assert_done_once(grid, expected, *texts):
    """The runs have the expected numbers, and by the lines printed each level of each was finished once."""
    levels = Counter(re.findall(r"^(\S+)  level (\d+)  ", "".join(texts), re.MULTILINE))
    assert numbers(grid / "runs") == expected
    assert levels == Counter((name, str(level)) for name in expected for level in range(LEVELS + 1))


def until(happens, seconds=300):
    """Wait for happens() to be true."""
    last = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > last:
            raise TimeoutError(f"waited {seconds} s in vain")
        time.sleep(0.05)


def test_two_grids_side_by_side_do_every_run_once_and_plot_reads_meanwhile(tmp_path, env, alone, monkeypatch):
    """Only a folder without any finished level may be refused."""
    grid = small_grid(tmp_path / "grid", f"{FIRST} {SECOND}", steps=60)
    logs, both, out = [tmp_path / "one", tmp_path / "two"], [], grid / "runs"
    monkeypatch.setattr(sys, "argv", ["plot.py", "--runs", str(out), "--figures", str(grid / "mine")])
    monkeypatch.setattr(plot, "FIGURES", {name: plot.FIGURES[name] for name in [*plot.FIGURES][:1]})
    for log in logs:
        with open(log, "w") as file:
            both.append(subprocess.Popen(["bash", "run_all.sh", "quick"], cwd=grid, env={**env, "JOBS": JOBS},
                                         stdout=file, stderr=file))
    while None in [process.poll() for process in both]:
        for read in (*[lambda: stats.read(out)] * 50, plot.main):
            there = [path for path in out.glob("*/metrics.json") if json.loads(path.read_text())["levels"]]
            try:
                read()
            except SystemExit as refusal:
                assert not there, refusal
            time.sleep(0.01)
    texts = [log.read_text() for log in logs]
    assert [process.returncode for process in both] == [0, 0], texts
    assert_done_once(grid, alone(grid), *texts)
    drawn = [path.name for path in (grid / "figures").iterdir()]
    assert any("accuracy" in name for name in drawn) and not any(name.endswith(".tmp") for name in drawn)


@contextlib.contextmanager
def in_other_hands(folder):
    """Hold the lock of a run, in whose folder nothing is written meanwhile."""
    folder.mkdir(parents=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    assert content(folder) == {folder / "lock": b""}


def test_a_grid_whose_runs_are_all_in_other_hands_says_so_and_ends_well(tmp_path, env):
    grid = small_grid(tmp_path / "grid", FIRST)
    with in_other_hands(first_run(grid)):
        done = bash(grid, "quick", **env)
    assert done.returncode == 0 and OTHERS in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_grid_with_a_damaged_run_names_it_before_anything_starts(tmp_path, env):
    """Though a group without damage comes after that of the run."""
    grid = small_grid(tmp_path / "grid", FIRST, SECOND)
    first_run(grid).mkdir(parents=True)
    (first_run(grid) / "metrics.json").write_text("{")
    done = bash(grid, "quick", **env)
    assert "metrics.json is damaged" in one_sentence(done.returncode, done.stderr)
    assert len(done.stdout.splitlines()) == 1  # that it looks
    assert [path.name for path in grid.glob("runs/*")] == [first_run(grid).name]


def test_a_signal_to_the_grid_stops_its_runs_and_it_goes_on_where_they_were(tmp_path, env, alone):
    """After a finished level of each: one is interrupted, then one terminated; the same command does the rest
    and says how far it is. What draws the figures does nothing here."""
    grid = small_grid(tmp_path / "grid", f"{FIRST} {SECOND}", steps=400)
    (grid / "plot.py").write_text("")
    for kind, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        log = tmp_path / str(code)
        with open(log, "w") as file:
            process = subprocess.Popen(["bash", "run_all.sh", "quick"], cwd=grid, env=env,
                                       stdout=file, stderr=file)
            until(lambda: "  level " in log.read_text())
            os.kill(process.pid, kind)
            assert process.wait(60) == code
        there = [os.path.realpath(path) for path in Path("/proc").glob("[0-9]*/cwd")]
        assert str(grid) not in there
    done = bash(grid, "quick", **env)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^grid quick: (\d) of \d runs are done, about .* left$", done.stderr, re.MULTILINE)
    assert said and said == [str(number + 1) for number in range(len(said))] and "\r" not in done.stderr
    assert numbers(grid / "runs") == alone(grid)


@pytest.mark.parametrize("grid, visible, used", [
    ("half", None, {"0", "1"}), ("half", "5,7", {"5", "7"}), ("half", "", {None}), ("rates", None, {None})])
def test_runs_go_round_the_gpus_four_on_each(tmp_path, monkeypatch, grid, visible, used):
    """Of a machine with two and 16 cores; a grid without conv nets leaves them alone."""
    copy_of_the_scripts(tmp_path)
    for name, text in {"nproc": "echo 16", "python": """case "$*" in
            *--todo) for i in 1 2 3 4 5 6 7 8 9; do echo "10 --seed $i"; done ;;
            *device_count*) if [ "${CUDA_VISIBLE_DEVICES-all}" ]; then echo 2; else echo 0; fi ;;
            *--seed*) echo "${CUDA_VISIBLE_DEVICES-none}" >> seen; sleep 0.3; esac"""}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{PATH}", "PYTHON": "python"} | (
        {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    done = bash(tmp_path, grid, **env)
    seen = {None if line in ("none", "") else line for line in (tmp_path / "seen").read_text().splitlines()}
    assert seen == used and f"{8 if used != {None} else 16} at a time" in done.stdout, done


@pytest.mark.parametrize("hands", ["xargs -d '\\n' -P 2 -I{} sh -c '{}'", *(
    pytest.param(words, marks=pytest.mark.skipif(not GNU, reason="GNU parallel is not installed"))
    for words in ("parallel -j 2", "parallel --sshlogin 2/: --workdir GRID"))])
def test_the_list_is_run_by_other_hands(tmp_path, env, alone, hands):
    """`2/:` is this machine as a host with two runs at a time; the list is made in another folder."""
    grid, elsewhere = small_grid(tmp_path / "grid", f"{FIRST} {SECOND}"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = f"bash {grid}/run_all.sh list quick | {hands.replace('GRID', str(grid))}"
    done = subprocess.run(["bash", "-c", command], cwd=elsewhere if "workdir" in hands else grid,
                          env={**env, "HOME": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_done_once(grid, alone(grid), done.stderr)
    assert not list(elsewhere.iterdir())


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()


@pytest.fixture(scope="module")
def slurm(env, tmp_path_factory):
    """slurm("sbatch", ...): what the command says on a cluster of this machine alone, made for the tests."""
    absent = [name for name in SLURM if not shutil.which(name, path=PATH)]
    if absent:
        pytest.skip(f"Slurm is not installed: no {', '.join(absent)}")
    folder, user = tmp_path_factory.mktemp("slurm"), getpass.getuser()
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    (folder / "slurm.conf").write_text(SLURM_CONF.format(
        host=socket.gethostname().split(".")[0], user=user, ports=free_ports(2), folder=folder))
    its_env = {**env, "SLURM_CONF": str(folder / "slurm.conf")}

    def call(*words, cwd=folder, check=True):
        done = subprocess.run(words, cwd=cwd, env=its_env, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(folder / "log", "w"))

        def start(*words):
            stack.callback(end, subprocess.Popen(words, cwd=folder, env=its_env, stdout=log, stderr=log))
        try:  # forced, munged takes a socket in a folder that is closed to other users
            start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket",
                  *[f"--{what}-file={folder}/munge.{what}" for what in ("key", "pid", "seed")])
            until((folder / "munge.socket").exists, 20)
            start("slurmctld", "-D")
            start("slurmd", "-D")
            until(lambda: call("sinfo", "-h", "-o", "%T", check=False) == "idle\n", 20)
        except TimeoutError:
            pytest.skip("no Slurm cluster in 20 s: " + (folder / "log").read_text()[-300:])
        yield call
        call("scancel", f"--user={user}", check=False)
        with contextlib.suppress(TimeoutError):
            until(lambda: not call("squeue", "-h", check=False), 20)


def submit(slurm, grid):
    """The README's command: the number of the array."""
    count = bash(grid, "list", "quick").stdout.count("\n")
    return slurm("sbatch", "--parsable", "--open-mode=append", f"--array=1-{count}", "run_all.sh", "quick",
                 cwd=grid).strip()


def task(slurm, job):
    """What Slurm has on record of a task, by its words: JobState, ExitCode, Restarts, ..."""
    return dict(re.findall(r"(\w+)=(\S*)", slurm("scontrol", "--oneliner", "show", "job", job)))


def ended(slurm, job):
    """Wait for an array's end: its tasks' states."""
    until(lambda: not slurm("squeue", "-h", "-j", job))
    return re.findall(r"JobState=(\w+)", slurm("scontrol", "--oneliner", "show", "job", job))


@pytest.mark.soak  # nearly a minute, which Slurm waits through
def test_a_requeued_slurm_task_goes_on_from_its_last_finished_level(tmp_path, slurm, alone):
    grid = small_grid(tmp_path / "grid", f"{FIRST} {SECOND}", steps=1000)
    job = submit(slurm, grid)
    out = grid / f"slurm-{job}_1.out"
    until(lambda: out.exists() and "  level 0  " in out.read_text())
    slurm("scontrol", "requeue", f"{job}_1")
    until(lambda: "the same command goes on from here" in out.read_text())
    assert 1 <= len(runs.load_file(first_run(grid, 1000) / "metrics.json")["levels"]) <= LEVELS

    def restarted():  # at once: Slurm by itself waits for two minutes
        slurm("scontrol", "update", f"jobid={job}_1", "starttime=now", check=False)
        now = task(slurm, f"{job}_1")
        return now["Restarts"] == "1" and now["JobState"] in ("RUNNING", "COMPLETED")
    until(restarted)
    assert ended(slurm, job) == ["COMPLETED"] * 2
    assert_done_once(grid, alone(grid), *[path.read_text() for path in grid.glob("slurm-*.out")])


def test_a_slurm_task_whose_run_is_in_other_hands_fails_and_is_made_up_for(tmp_path, slurm, alone):
    grid = small_grid(tmp_path / "grid", FIRST)
    with in_other_hands(first_run(grid)):
        job = submit(slurm, grid)
        assert ended(slurm, job) == ["FAILED"]
    assert task(slurm, f"{job}_1")["ExitCode"] == f"{runs.BUSY}:0"
    assert OTHERS in (grid / f"slurm-{job}_1.out").read_text()
    assert ended(slurm, submit(slurm, grid)) == ["COMPLETED"]
    assert numbers(grid / "runs") == alone(grid)
