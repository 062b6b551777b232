"""What the tests share: the repository on the path, a small made-up data set, the scripts on it."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
REAL = Path(os.environ.get("DATA_DIR", ROOT / "data"))
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)  # sums in one order, on every machine


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: a longer version, left out unless asked for by -m soak")


def pytest_collection_modifyitems(config, items):
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak and not config.option.markexpr:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in soak]


def steps_of(level, start, end):
    """The last two arguments of train.train_from: steps of a level, saved nowhere, and a silent bar."""
    import runs
    return runs.PartialLevel(None, level, start, end), tqdm(disable=True)


def draw_blobs(root):
    """mnist.npz in a folder: 5,600 and 300 images 28x28 of ten classes, each a fixed pattern in noise."""
    r = np.random.default_rng(0)
    patterns = r.integers(0, 150, (10, 28, 28))
    arrays = {}
    for split, n in (("train", 5600), ("test", 300)):
        arrays[f"y_{split}"] = r.integers(0, 10, n).astype(np.uint8)
        noise = r.integers(0, 106, (n, 28, 28))
        arrays[f"x_{split}"] = (patterns[arrays[f"y_{split}"]] + noise).astype(np.uint8)
    np.savez(Path(root, "mnist.npz"), **arrays)
    return root


@pytest.fixture(scope="session")
def blobs(tmp_path_factory):
    return draw_blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture
def script(blobs, tmp_path):
    """script("prune.py", "--levels", "2", ...) in an empty folder, on the blobs: the finished process."""
    def call(*words, check=True, **kwargs):
        env = {**os.environ, "DATA_DIR": str(blobs), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(ROOT / words[0]), *map(str, words[1:])]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, **kwargs)
        assert not check or done.returncode == 0, done.stderr
        return done
    return call


@pytest.fixture
def run(blobs, tmp_path, monkeypatch):
    """run("--levels", "2", ...): prune.py's main in this process, small; the runs folder."""
    import data
    import prune
    monkeypatch.setattr(data, "VALIDATION", 500)  # they take most of a short level's time

    def call(*words):
        base = ["prune.py", "--steps", 40, "--looks", 2, "--levels", 2, "--data-dir", blobs,
                "--out", tmp_path / "runs"]
        monkeypatch.setattr(sys, "argv", [str(word) for word in (*base, *words)])
        prune.main()
        return tmp_path / "runs"
    return call
