"""What the tests share: small data sets, the scripts in this process or another, and what a run left."""
import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

if not os.environ.get("CUDA_TESTS"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks: no test takes a GPU by accident

import torch  # noqa: E402
from tqdm import tqdm  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
REAL = Path(os.environ.get("DATA_DIR", ROOT / "data"))
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)  # sums in one order, on every machine

import data as datasets  # noqa: E402
import prune  # noqa: E402
import runs  # noqa: E402


def steps_of(level, start, end):
    """The last two arguments of train.train_from: some steps, which are saved nowhere, and a silent bar."""
    return runs.PartialLevel(None, level, start, end), tqdm(disable=True)


def npz(arrays, save=np.savez):
    """The bytes of an npz file."""
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def draw_blobs(root):
    """mnist.npz in a folder: 5,600 and 300 images 28x28 of ten classes, each a fixed pattern in noise."""
    r = np.random.default_rng(0)
    patterns = r.integers(0, 150, (10, 28, 28))
    arrays = {}
    for split, n in (("train", 5600), ("test", 300)):
        y = arrays[f"y_{split}"] = r.integers(0, 10, n).astype(np.uint8)
        arrays[f"x_{split}"] = (patterns[y] + r.integers(0, 106, (n, 28, 28))).astype(np.uint8)
    (Path(root) / "mnist.npz").write_bytes(npz(arrays))
    return root


@pytest.fixture(scope="session")
def blobs(tmp_path_factory):
    return draw_blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="session")
def dots(blobs, tmp_path_factory):
    """A folder with mnist.npz: every seventh pixel of 180 and of 60 blobs."""
    folder, parts = tmp_path_factory.mktemp("dots"), {}
    for key, array in np.load(blobs / "mnist.npz").items():
        parts[key] = (array[:, ::7, ::7] if array.ndim == 3 else array)[:180 if "train" in key else 60]
    (folder / "mnist.npz").write_bytes(npz(parts))
    return folder


@pytest.fixture
def script(blobs, tmp_path):
    """script("prune.py", "--levels", "2", ...) in an empty folder, on the blobs: the finished process."""
    def call(*words, check=True, **kwargs):
        env = {**os.environ, "DATA_DIR": str(blobs), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *map(str, [ROOT / words[0], *words[1:]])]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, **kwargs)
        assert not check or done.returncode == 0, done.stderr
        return done
    return call


@pytest.fixture
def run(blobs, tmp_path, monkeypatch):
    """run("--levels", "2", ...): prune.py's main in this process, small; the runs folder."""
    monkeypatch.setattr(datasets, "VALIDATION", 500)  # they take most of a short level's time

    def call(*words):
        base = ["--steps", 40, "--looks", 2, "--levels", 2, "--data-dir", blobs, "--out", tmp_path / "runs"]
        monkeypatch.setattr(sys, "argv", ["prune.py", *map(str, [*base, *words])])
        prune.main()
        return tmp_path / "runs"
    return call


@pytest.fixture
def go(run, dots, tmp_path, monkeypatch):
    """go("--levels", 2, out="a"): `run` as a command, smaller still, on the dots; the folder of its run."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(datasets, "VALIDATION", 60)

    def call(*words, out="runs"):
        base = ["--steps", 6, "--looks", 40, "--levels", 1, "--threads", 1, "--data-dir", dots]
        runs.run_cli(lambda: run(*base, "--out", tmp_path / str(out), *words))
        folder, = (tmp_path / str(out)).glob("*/")
        return folder
    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def outcome(work):
    """(exit code, all that is said) of a command in this process. The code is None where the command just
    ends, and the name of an exception that no command should end with."""
    with contextlib.redirect_stderr(io.StringIO()) as says, contextlib.redirect_stdout(says):
        code = None
        try:
            work()
        except SystemExit as stopped:
            code = stopped.code
            if isinstance(code, str):  # the interpreter prints it and exits with 1
                print(code)
                code = 1
        except Exception as error:
            code = type(error).__name__
            traceback.print_exc()
    return code, says.getvalue()


def one_sentence(code, says):
    """What a refused command says, which must be one sentence but for lines of levels and runs that are
    finished."""
    lines = [line for line in says.splitlines()
             if "  level " not in line and not line.endswith(" is finished")]
    assert code in (1, 2, runs.BUSY) and len(lines) == 1 and lines[0].strip(), (code, says)
    return lines[0]


def content(folder):
    """{path: bytes, or False for a folder} of all that is in a folder."""
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def digest(folder):
    """{file: digest} of a run, minus what may differ between two: the seconds, the provenance, the lock, and
    what a cut left for the next level to replace."""
    metrics = json.loads((folder / "metrics.json").read_text())
    levels = [{**level, "seconds": 0} for level in metrics["levels"]]
    return {"metrics.json": json.dumps([metrics["config"], metrics.get("init"), levels])} | {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())
        if path.name not in ("metrics.json", "lock", "underway.pt") and path.suffix != ".tmp"}


def copy_of_the_scripts(folder):
    """`folder`, made if it is not there, with the scripts in it."""
    folder.mkdir(exist_ok=True)
    for path in [*ROOT.glob("*.py"), ROOT / "run_all.sh"]:
        shutil.copy(path, folder)
    return folder


def bash(folder, *words, **env):
    """run_all.sh with these words in a folder: the finished process."""
    return subprocess.run(["bash", "run_all.sh", *words], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHON": sys.executable, **env})
