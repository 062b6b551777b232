"""A run is a folder: its settings, metrics and states, its lock, and how it goes on after any interruption.

    python runs.py export runs results      keep the metrics of finished levels, a compressed file a group
    python runs.py restore results runs     the other way, so that a grid goes on with what is left

A level counts when its record is in metrics.json, which is written last. Every file is written beside its
place, synced and renamed, and carries a checksum: after a kill a file is as it was or as it should be.
"""
import argparse
import contextlib
import io
import json
import lzma
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import torch
from tqdm import tqdm

from data import atomic_write, path_arg

try:
    import fcntl
except ImportError:
    raise SystemExit("the scripts lock files as Linux and macOS do: on Windows, run them within WSL")

CURVES = ("step", "train_loss", "val_loss", "val_acc", "test_loss", "test_acc")  # an entry an evaluation
LONGEST_NAME = 230  # bytes; file systems allow 255, and the names of figures have a few more
SAVE_INTERVAL = 60  # seconds of training between two saves of a partial level
BUSY = 75  # exit code where all that is left to do is in other processes' hands: EX_TEMPFAIL of sysexits.h


class Damaged(Exception):
    """A file that cannot be what was written to it."""


class Busy(Exception):
    """Another process holds the lock of a run."""


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM, whose number is the argument."""


def say(text: str) -> None:
    """Tell on stderr how things go. A log that cannot be written, as on a full disk, stops no training."""
    with contextlib.suppress(OSError):
        if sys.stderr:
            print(text, file=sys.stderr, flush=True)


# Files

def checksum(metrics: dict) -> int:
    """The CRC-32 of a dict as JSON, which files of metrics have as a last key "crc32"."""
    return zlib.crc32(json.dumps(metrics).encode())


def save_file(path: Path, value: dict) -> None:
    """Write a dict as JSON with its checksum, or as a .pt file for torch.load(weights_only=True). Equal
    values give equal bytes."""
    if path.suffix == ".json":
        sealed = {**value, "crc32": checksum(value)}
        return atomic_write(path, json.dumps(sealed, allow_nan=False).encode())
    buffer = io.BytesIO()  # to a path, torch.save writes its name too, and a full disk is a RuntimeError
    torch.save(value, buffer)
    atomic_write(path, buffer.getvalue())


def same_structure(value, like) -> bool:
    """Whether nested dicts, lists and tensors have the same keys, lengths, shapes and types."""
    if isinstance(like, torch.Tensor):
        return isinstance(value, torch.Tensor) and (value.shape, value.dtype) == (like.shape, like.dtype)
    if type(value) is not type(like):
        return False
    if isinstance(like, dict):
        return value.keys() == like.keys() and all(same_structure(value[key], like[key]) for key in like)
    return not isinstance(like, list) or len(value) == len(like) and all(map(same_structure, value, like))


def load_file(path: Path, like: dict | None = None) -> dict:
    """What `save_file` wrote, refused where it has not the structure of `like`.

    Raises OSError (FileNotFoundError) where the file cannot be read, and Damaged where its checksum is wrong.
    The checksums of a .pt are those of its zip archive, which torch.load does not look at, nor does it read a
    member that is marked as a folder.
    """
    content = path.read_bytes()
    try:
        if path.suffix == ".json":
            value = json.loads(content)
            whole = value.pop("crc32", None) == checksum(value)
        else:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                whole = not archive.testzip() and not any(row.external_attr for row in archive.infolist())
            value = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu") if whole else None
    except Exception as error:  # arbitrary bytes can raise almost anything
        raise Damaged(f"{path} is damaged ({type(error).__name__})")
    if not whole or like is not None and not same_structure(value, like):
        raise Damaged(f"{path} is damaged ({'not what belongs there' if whole else 'checksum'})")
    return value


def is_intact(path: Path, like: dict) -> bool:
    """Whether the file can be read and has the structure of `like`. Says so where it is damaged."""
    try:
        return bool(load_file(path, like))
    except FileNotFoundError:
        return False
    except Damaged as damage:
        say(f"{damage}: it is made again")
        return False


def load_metrics(folder: Path, config: dict) -> dict:
    """The metrics of a run so far, {} for a new one. Refuses those of a run under other settings."""
    path = folder / "metrics.json"
    metrics = load_file(path) if path.exists() else {}
    there = metrics.get("config", config)
    differ = [f"{key} is {there.get(key)} there and {value} here" for key, value in config.items()
              if there.get(key) != value]
    if differ:
        raise SystemExit(f"{folder} has other settings ({', '.join(differ)}): choose another --out")
    return metrics


def pack_bits(correct: torch.Tensor) -> torch.Tensor:
    """correct (N,) bool as (ceil(N / 8),) uint8 in numpy.packbits's order: the first image is the highest bit
    of the first byte, zeros fill the last. Back: numpy.unpackbits(bits, count=N)."""
    return torch.from_numpy(np.packbits(correct.cpu().numpy()))


# Names

def label(key: str, value) -> str:
    """The part of a run's name that stands for one setting; for masks_from it is the donor's name without the
    placeholders of scheme and seed."""
    if key == "masks_from":
        return "from-" + value.replace("-s{seed}", "").replace("{init}-", "")
    return {"rewind": f"rewind{value}", "one_shot": "oneshot"}.get(
        key, value if isinstance(value, str) else f"{key.replace('_', '')}{value}")


def run_name(config: dict, defaults: dict, without: tuple[str, ...] = ()) -> str:
    """The name of a run: data, network, scheme and pruner, the settings that differ from `defaults` in their
    order (those of `without` left out), and the seed."""
    changed = [label(key, config[key]) for key, default in defaults.items()
               if config[key] not in (default, None) and key not in without]
    words = [config["data"], config["net"], config["init"], config["pruner"],
             *([config["preset"]] if config["preset"] != "study" else []), *changed, f"s{config['seed']}"]
    name = "-".join(words)
    if len(name.encode()) > LONGEST_NAME:
        raise SystemExit(f"the run's name would have {len(name.encode())} bytes, of at most {LONGEST_NAME}: "
                         f"give fewer flags, or shorter values: {name[:60]}...")
    return name


def group_name(name: str, config: dict) -> str:
    """A run's name without scheme and seed: what runs that differ in nothing else have in common."""
    middle, end = f"-{config['init']}-", f"-s{config['seed']}"
    if middle not in name or not name.endswith(end):
        raise SystemExit(f"The run {name} was made as *{middle}*{end}: name its folder so again.")
    return name.removesuffix(end).replace(middle, "-", 1)


# Provenance

def processor(device: torch.device) -> str:
    """The model of the GPU, or of the CPU with its vector instructions. Another model rounds differently."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    path = Path("/proc/cpuinfo")  # of Linux: a paragraph a core
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    info = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = info.get("model name") or platform.processor() or platform.machine()
    numbers = f" family {info['cpu family']} model {info['model']}" if "cpu family" in info else ""
    return f"cpu, {name}{numbers}, {torch.backends.cpu.get_cpu_capability()}"


def provenance(device: torch.device, precision: str, data_file: str) -> dict:
    """Versions, hardware and command: what may change the numbers of a run though it is no setting. With
    another model of processor, torch or number of threads, a seed's numbers agree at first and later differ
    as two seeds do."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    known = shutil.which("git") and subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return {"commit": known or "unknown",
            "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "device": processor(device), "threads": torch.get_num_threads(), "precision": precision,
            "data_file": data_file, "command": " ".join(["python", *sys.argv])}


# Signals

@contextlib.contextmanager
def defer_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in the list that this yields; at the end of the block the first one acts."""
    came, numbers = [], (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: came.append(number)) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def stop(number: int, frame) -> None:
    """A signal handler that ends the script once: further signals are ignored."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise Stopped(number)


def run_cli(script: Callable[[], None]) -> None:
    """Run a script's main function: a refusal is one sentence, a signal is exit code 128 + its number, and so
    is a pipe that nobody reads any more."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        script()
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what the interpreter flushes as it ends
        sys.exit(128 + signal.SIGPIPE)
    except Damaged as damage:
        raise SystemExit(f"{damage}: delete its folder and run again")
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename} is gone: delete its folder and run again")
    except OSError as error:
        path = error.filename or "there"
        raise SystemExit(f"cannot read or write {path}: {error.strerror}; choose another --out")
    except Stopped as stopped:
        say("stopped; the same command goes on from here")
        sys.exit(128 + stopped.args[0])


@contextlib.contextmanager
def progress_bar(total: int, initial: int) -> Iterator[tqdm]:
    """A bar of training steps with the time left, redrawn twice a second, also while an evaluation keeps it
    waiting; disabled where stderr is no terminal. In a grid each process has a line of its own."""
    slot = os.environ.get("RUN_ALL_SLOT")
    with tqdm(desc="preparing", total=total, initial=initial, unit="step", smoothing=0, dynamic_ncols=True,
              position=int(slot or 0), leave=slot is None, disable=not (sys.stderr and sys.stderr.isatty()),
              bar_format="{desc} {percentage:3.0f}%|{bar}| {remaining} left, {rate_fmt}{postfix}") as bar:
        ended = threading.Event()

        def redraw():
            while not ended.wait(0.5):
                bar.refresh()
        thread = threading.Thread(target=redraw, daemon=True)
        if not bar.disable:
            thread.start()
        try:
            yield bar
        finally:
            ended.set()
            if not bar.disable:
                thread.join(1)  # at most: a signal can leave tqdm's lock taken


def skip(progress: tqdm, steps: int) -> None:
    """Count steps that an earlier process made, or with a minus that it lost: they cost no time now."""
    if not progress.disable:
        progress.initial += steps
    progress.update(steps)


class PartialLevel:
    """The steps [start, end) of one level while they are being trained. If an earlier process saved some of
    them in the run's folder, training goes on after those; without a folder nothing is saved.

    Its state is a dict: "part" is [level, start, end]; "step" and "last" are the last step and the step of
    the last evaluation; "curves" has an entry an evaluation for each of CURVES; "tensors" are those that
    training changes.
    """

    def __init__(self, folder: Path | None, level: int, start: int, end: int):
        self.path, self.signals = folder and folder / "underway.pt", []
        self.level, self.start, self.end = level, start, end
        self.state = {"part": [level, start, end], "step": start, "last": start,
                      "curves": {name: [] for name in CURVES}}

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Within this, a signal waits until the step under way is done and saved."""
        with defer_signals() as self.signals:
            yield

    def resume(self, tensors: dict[str, list[torch.Tensor]], evaluation_steps: set[int]) -> None:
        """Bring `tensors` in place to what the file holds, and `state` too. A damaged file is reported and
        ignored, that of another part of the run is ignored."""
        self.state["tensors"] = tensors
        if self.path is None:
            return
        try:
            there = load_file(self.path)
            part = there.get("part") if isinstance(there, dict) else None
            if same_structure(part, self.state["part"]) and part != self.state["part"]:
                return
            if not self.is_continued_by(there, evaluation_steps):
                raise Damaged(f"{self.path} does not fit (of another kind of device, or damaged)")
        except FileNotFoundError:
            return
        except Damaged as damage:
            say(f"{damage}: the level starts again")
            return
        for key, values in tensors.items():
            for own, saved in zip(values, there["tensors"][key]):
                own.copy_(saved)
        self.state.update({key: there[key] for key in ("step", "last", "curves")})

    def is_continued_by(self, there, evaluation_steps: set[int]) -> bool:
        """Whether `there` is a later state of the same steps."""
        if not isinstance(there, dict):
            return False
        if not same_structure(there, {**self.state, "curves": there.get("curves")}):
            return False
        curves = there["curves"]
        done = [step for step in sorted(evaluation_steps) if step <= there["step"]]
        numbers = isinstance(curves, dict) and list(curves) == list(CURVES) and all(
            isinstance(values, list) and len(values) == len(done)
            and {type(value) for value in values} <= {int, float, type(None)} for values in curves.values())
        return (numbers and curves["step"] == done and self.start <= there["step"] <= self.end
                and there["last"] == [self.start, *done][-1])

    def steps(self, batches: Iterator) -> Iterator:
        """(step, batch) for each of `batches`, from 1. Between steps the state is saved every SAVE_INTERVAL
        seconds; at a signal it is saved and no further step is given."""
        due = time.monotonic() + SAVE_INTERVAL
        for step, batch in enumerate(batches, self.state["step"] + 1):
            yield step, batch
            if self.path and step < self.end and (self.signals or time.monotonic() > due):
                save_file(self.path, {**self.state, "step": step})
                due = time.monotonic() + SAVE_INTERVAL
            if self.signals:
                return

    def add(self, step: int, *values: float) -> None:
        """Append an evaluation: the step and a value for each further name of CURVES, None if not finite."""
        for name, value in zip(CURVES, (step, *values)):
            self.state["curves"][name].append(value if math.isfinite(value) else None)
        self.state["last"] = step


class Run:
    """A folder of runs/ with the settings `config` that it was made under.

    metrics is what metrics.json holds: "config", "provenance", "init" and "levels", a record a level. While
    the run is open (`opened`) its folder is locked and `progress` is a bar of training steps.
    """

    def __init__(self, folder: Path, config: dict, tensorboard: bool = False):
        self.folder, self.config, self.tensorboard = folder, config, tensorboard
        self.progress = self.origin = self.steps = None  # until it is opened
        self.metrics = load_metrics(folder, config)

    @property
    def next_level(self) -> int:
        """The first level that has no record in the metrics yet."""
        return len(self.metrics.get("levels", []))

    @contextlib.contextmanager
    def opened(self, origin: dict, steps: int, levels: int) -> Iterator[None]:
        """Lock the folder, read the metrics again and add the provenance `origin`; `steps` is the number of
        training steps a level. Raises Busy where another process has the lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel frees it at any kind of end
            except BlockingIOError:
                raise Busy(f"{self.folder}: another process is on this run; it was left alone")
            except OSError as error:
                raise SystemExit(f"{self.folder}: no lock to be had there ({error.strerror}); "
                                 "choose another --out")
            for stale in self.folder.glob("*.tmp"):  # of a process that was killed as it wrote
                stale.unlink()
            self.metrics = (load_metrics(self.folder, self.config)
                            or {"config": self.config, "provenance": [], "levels": []})
            self.origin, self.steps = origin, steps
            self.add_provenance()
            for record in self.without_scalars():
                write_scalars(self.folder, record)
            with progress_bar(steps * (levels + 1), steps * self.next_level) as self.progress:
                yield

    def add_provenance(self) -> None:
        """Append `origin` with the level it starts at, unless only the command differs from the last one."""
        rows = self.metrics["provenance"]
        aside = {"level": self.next_level, "command": self.origin["command"]}
        if not rows or {**rows[-1], **aside} != {**self.origin, **aside}:
            rows.append({**self.origin, **aside})

    def write_header(self) -> None:
        """Save the settings before the first level, so that a later command with other ones is refused."""
        if not self.next_level:
            save_file(self.folder / "metrics.json", self.metrics)

    def level_path(self, level: int) -> Path:
        return self.folder / f"level_{level:02d}.pt"

    def drop_unreadable_levels(self, like: dict) -> None:
        """Forget the last levels whose checkpoint is lost or damaged, so that they are trained again."""
        finished = self.next_level
        while self.next_level and not is_intact(self.level_path(self.next_level - 1), like):
            self.metrics["levels"].pop()
        if self.next_level < finished:
            self.metrics["provenance"] = [row for row in self.metrics["provenance"]
                                          if row["level"] < self.next_level]
            self.add_provenance()
            skip(self.progress, -self.steps * (finished - self.next_level))
            say(f"{self.folder} lacks a checkpoint: it goes on from level {self.next_level} of "
                f"{finished - 1}")

    def without_scalars(self) -> list[dict]:
        """The finished levels that TensorBoard is to show and has no file of."""
        return [record for record in self.metrics.get("levels", []) if self.tensorboard
                and not list(self.folder.glob(f"tensorboard/*.level_{record['level']:02d}"))]

    def require_same_start(self, initial: dict, description: dict, in_init_pt: bool) -> None:
        """End with a sentence if the run began from other initial weights than its scheme gives now: its
        levels would be a mixture. Compared are the `description` in metrics.json and, if init.pt has
        them (`in_init_pt`), the weights `initial`, to within another processor's rounding."""
        there, path = self.metrics.get("init", description), self.folder / "init.pt"
        same = there.keys() == description.keys() and all(
            math.isclose(there[layer][key], row[key], rel_tol=1e-3, abs_tol=1e-6)
            for layer, row in description.items() for key in ("fan_in", "fan_out", "std", "min", "max"))
        with contextlib.suppress(Damaged, FileNotFoundError):
            saved = load_file(path) if in_init_pt else initial
            same &= same_structure(saved, initial) and all(
                (saved[name] - tensor).norm() <= 1e-3 * tensor.norm() for name, tensor in initial.items())
        if not same:
            raise SystemExit(f"{self.folder} began from other initial weights than its scheme, network and "
                             "data give now: undo the edit, choose another --out, or remove the folder")

    def append(self, record: dict, tensors: dict, percent: str) -> None:
        """Add a level: its checkpoint first, its record last. Once metrics.json has it, the level counts."""
        save_file(self.level_path(self.next_level), tensors)
        if self.tensorboard:
            write_scalars(self.folder, record)
        self.metrics["levels"].append(record)
        save_file(self.folder / "metrics.json", self.metrics)
        (self.folder / "underway.pt").unlink(missing_ok=True)
        if self.progress.disable:
            say(f"{self.folder.name}  level {record['level']}  {percent}  val {record['val_acc'][-1]:.2%}"
                f"  test {record['test_acc'][-1]:.2%}  {record['seconds']:.1f} s")


def write_scalars(folder: Path, record: dict) -> None:
    """Write a level's curves for TensorBoard to a file of its own in <folder>/tensorboard, in the place of
    an earlier one."""
    from torch.utils.tensorboard import SummaryWriter
    level = f"level_{record['level']:02d}"
    for earlier in (folder / "tensorboard").glob(f"*.{level}"):
        earlier.unlink()
    with SummaryWriter(folder / "tensorboard", filename_suffix=f".{level}") as writer:
        for name in CURVES[1:]:
            for step, value in zip(record["step"], record[name]):
                value = math.nan if value is None else value
                writer.add_scalar(f"{name}/{level}", value, step)


def for_each_run(pending: list[Run], origin: dict, steps: int, levels: int,
                 work: Callable[[Run], None]) -> None:
    """Open each run that still lacks a level up to `levels` and do work(run); leave the busy ones, say so,
    and exit with BUSY at the end."""
    code = 0
    for run in pending:
        try:
            with run.opened(origin, steps, levels):
                if run.next_level <= levels:
                    work(run)
        except Busy as busy:
            say(str(busy))
            code = BUSY
    if code:
        sys.exit(code)


# What is kept of runs: <group>.jsonl.xz, a run a line, {"name": ..., what metrics.json holds}

def read_group(path: Path) -> dict[str, dict]:
    """{run name: metrics} of a <group>.jsonl.xz; a damaged file is a SystemExit."""
    found = {}
    try:
        for line in lzma.decompress(path.read_bytes()).splitlines():
            metrics = json.loads(line)
            name, crc32 = metrics.pop("name"), metrics.pop("crc32")
            if crc32 != checksum(metrics):
                raise ValueError("checksum")
            found[name] = metrics
    except Exception as error:  # arbitrary bytes can raise almost anything
        raise SystemExit(f"{path} is damaged ({type(error).__name__}: {error}): put a good copy there")
    return found


def export_runs(source: Path, target: Path) -> None:
    """Put the metrics of every run with a finished level under `source` into the groups of `target`, except
    where more levels of a run are there. All of `source` is read before anything is written, and a file is
    written whole or not at all; equal metrics give equal bytes."""
    groups = {}
    for path in sorted(source.glob("*/metrics.json")):
        metrics = load_file(path)
        if metrics["levels"]:
            name = path.parent.name
            groups.setdefault(group_name(name, metrics["config"]), {})[name] = metrics
    if not groups:
        raise SystemExit(f"No finished level under {source}: name a folder of runs.")
    kept = {group: read_group(path) if path.exists() else {}
            for group in groups for path in [target / f"{group}.jsonl.xz"]}
    target.mkdir(parents=True, exist_ok=True)
    for group, fresh in groups.items():
        merged = {**kept[group], **{
            name: metrics for name, metrics in fresh.items()
            if len(metrics["levels"]) >= len(kept[group].get(name, {"levels": []})["levels"])}}
        if merged != kept[group]:
            lines = [json.dumps({"name": name, **merged[name], "crc32": checksum(merged[name])}) + "\n"
                     for name in sorted(merged)]
            atomic_write(target / f"{group}.jsonl.xz", lzma.compress("".join(lines).encode(), preset=9))


def restore_runs(source: Path, target: Path) -> None:
    """Write the metrics kept in `source` to run folders under `target`, except where a run is already."""
    paths = sorted(source.glob("*.jsonl.xz"))
    if not paths:
        raise SystemExit(f"No groups of runs in {source}: name a folder of <group>.jsonl.xz.")
    for name, metrics in [run for path in paths for run in read_group(path).items()]:
        path = target / name / "metrics.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(path, metrics)


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep the metrics of runs, or bring them back.")
    parser.add_argument("what", choices=["export", "restore"])
    parser.add_argument("source", type=path_arg)
    parser.add_argument("target", type=path_arg)
    args = parser.parse_args()
    try:
        {"export": export_runs, "restore": restore_runs}[args.what](args.source, args.target)
    except OSError as error:
        raise SystemExit(f"cannot read or write {error.filename}: {error.strerror}; name another folder")


if __name__ == "__main__":
    run_cli(main)
