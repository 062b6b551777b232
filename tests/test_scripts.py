"""The scripts as a person meets them: their order, their doors, the grid and the quick tour."""
import ast
import fcntl
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import pruners

import runs

import data
import inits
import prune
from conftest import REAL, ROOT

ABOVE = {"data": set(), "models": set(), "inits": set(), "diagnostics": set(), "runs": {"data"},
         "pruners": {"data", "models"}, "train": {"data", "models", "inits", "diagnostics", "runs"},
         "prune": {"data", "models", "runs", "train", "pruners"}, "stats": set(), "plot": {"stats"},
         "report/tables": {"stats"},
         "report/figures": {"stats", "plot", "tables"}, "report/build": {"stats", "tables", "data", "models",
                                                                         "inits", "train"}}


@pytest.mark.parametrize("name", ABOVE)
def test_a_file_imports_only_files_above_it(name):
    tree = ast.parse((ROOT / f"{name}.py").read_text())
    top = [node for node in tree.body if not isinstance(node, ast.If)]  # a script's own part may show more
    nodes = [node for part in top for node in ast.walk(part)]
    used = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    used |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert used & {path.split("/")[-1] for path in ABOVE} <= ABOVE[name]


def test_lines_fit_a_screen():
    scripts = [path for folder in (".", "report", "tests") for path in ROOT.glob(f"{folder}/*.py")]
    assert [] == [f"{path.name}:{number}" for path in (ROOT / "run_all.sh", *scripts)
                  for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 110]


WRONG = {  # flags: (exit code, what the one sentence says)
    "--init glorot": (2, "invalid choice: 'glorot'"),
    "--epochs -1": (2, "-1 is not in [1, inf]"),
    "--epochs few": (2, "invalid int value: 'few'"),
    "--epochs 1 --steps 5": (2, "not allowed with"),
    "--rate-fc 1.5": (2, "1.5 is not in [0, 1]"),
    "--lr nan": (2, "nan is not in"),
    "--rewind soon": (2, "neither a step nor one of none, signs, rescaled"),
    "--rewind 9000 --steps 50": (1, "--rewind 9000"),
    "--levels 60": (1, "--levels"),
    "--device cuda:77": (2, "no device cuda:77"),
    "--device toaster": (2, "--device"),
    "--net lenet": (2, "invalid choice: 'lenet'"),
    "--control reinit --rewind none": (2, "leave them out"),
    "--masks-from a --one-shot": (2, "leave them out"),
    "--masks-from a --pruner snip": (2, "leave them out"),
    "--masks-from a --scope global": (2, "leave them out"),
    "--masks-from a-s{seed}/": (2, "without a folder or a slash"),
    "--pruner synflow --one-shot": (2, "leave out --one-shot"),
    "--rate-conv 0.1": (2, "leave out --rate-conv"),
    "--batch 100000": (1, "--batch"),
    "--seed -3": (2, "-3 is not in"),
    f"--seed 1{400 * '0'}": (1, "File name too long"),
    "--data-dir nowhere --data cifar10": (1, "cifar10"),
    "--out file": (1, "file"),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_input_gives_one_sentence_and_leaves_nothing(blobs, tmp_path, monkeypatch, capsys, words):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prune.py", "--data-dir", str(blobs), *words.split()])
    with pytest.raises(SystemExit) as end:
        runs.run_cli(prune.main)
    code, says = end.value.code, capsys.readouterr().err
    if isinstance(code, str):  # the interpreter prints it and exits with 1
        code, says = 1, code + "\n"
    assert code == WRONG[words][0] and WRONG[words][1] in says and says.count("\n") == 1, says
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["file"]


def test_help_has_a_line_for_every_choice(script):
    said = script("prune.py", "--help").stdout.splitlines()
    for name in (*inits.INITS, *pruners.PRUNERS, *pruners.REWINDS, *list(prune.CONTROLS)[1:]):
        assert sum(line.startswith(f"  {name} ") for line in said) == 1, name
    assert max(map(len, said)) <= 120


def test_the_readme_names_every_choice_with_its_reference(script):
    lines = (ROOT / "README.md").read_text().splitlines()
    for row in script("inits.py").stdout.split("\n\n")[0].splitlines():
        assert lines.count(row) == 1, row
    texts = {name: row.text for table in (pruners.PRUNERS, prune.CONTROLS) for name, row in table.items()}
    texts |= {name: row.__doc__.splitlines()[0] for name, row in pruners.REWINDS.items()}
    for name, text in texts.items():  # `none` is a rewind here, and the absence of a control
        row = f"| `{name}` | " + text.replace("|", "\\|") + " |"
        assert lines.count(row) == 1, row


def test_a_wrong_input_as_a_person_sees_it(script, tmp_path):
    for words in ("--rate-fc 1.5", "--levels 60"):
        done = script("prune.py", *words.split(), check=False)
        assert done.returncode == WRONG[words][0] and WRONG[words][1] in done.stderr
        assert done.stderr.count("\n") == 1 and not done.stdout and not list(tmp_path.iterdir())


def test_a_damaged_run_is_named(script, tmp_path):
    words = ("prune.py", "--steps", 5, "--looks", 1)
    script(*words, "--levels", 1)
    folder = next((tmp_path / "runs").iterdir())
    (folder / "metrics.json").write_text('{"config": ')
    done = script(*words, "--levels", 2, check=False)
    assert done.returncode == 1 and "metrics.json is damaged" in done.stderr and done.stderr.count("\n") == 1


def test_the_second_process_says_so_and_leaves(script, tmp_path):
    words = ("prune.py", "--steps", 5, "--looks", 1, "--levels", 1)
    folder = tmp_path / "runs" / "mnist-fc-xavier_normal-magnitude-steps5-looks1-s0"
    folder.mkdir(parents=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = script(*words, check=False)
        assert done.returncode == runs.BUSY and "another process is on this run" in done.stderr
        assert sorted(path.name for path in folder.iterdir()) == ["lock"]
    script(*words)


def copy_of_the_scripts(folder):
    for path in [*ROOT.glob("*.py"), ROOT / "run_all.sh"]:
        shutil.copy(path, folder)


def bash(folder, *words, **env):
    return subprocess.run(["bash", "run_all.sh", *words], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHON": sys.executable, **env})


def test_the_quick_tour(tmp_path):
    copy_of_the_scripts(tmp_path)
    first = bash(tmp_path, "quick")
    assert first.returncode == 0, first.stderr
    lines = bash(tmp_path, "list", "quick").stdout.splitlines()
    assert f"0 of {len(lines)} runs are finished, {len(lines)} to do" in first.stdout
    metrics = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/metrics.json")]
    assert len(metrics) == len(lines) == len(set(lines))
    assert {m["config"]["data"] for m in metrics} == {"glyphs"}
    for net, last in (("fc", 5), ("conv2", 1)):
        assert all(m["levels"][-1]["level"] == last for m in metrics if m["config"]["net"] == net)
        assert list((tmp_path / "figures").glob(f"glyphs-{net}-*accuracy.png"))
    no_figures = tmp_path / "no_figures.sh"
    no_figures.write_text(f'#!/bin/sh\n[ "$1" = plot.py ] || exec {sys.executable} "$@"\n')
    no_figures.chmod(0o755)
    again = bash(tmp_path, "quick", PYTHON=str(no_figures))
    assert again.returncode == 0
    assert f"{len(lines)} of {len(lines)} runs are finished, 0 to do" in again.stdout


def test_the_grid_as_lines(tmp_path):
    copy_of_the_scripts(tmp_path)
    lines = bash(tmp_path, "list", "fc").stdout.splitlines()
    assert len(lines) == len(set(lines)) == 80
    assert lines[0].endswith("prune.py --net fc --levels 28 --init xavier_normal --seed 10")
    everything = bash(tmp_path, "list", "all").stdout.splitlines()
    assert everything[:80] == lines and len(everything) == len(set(everything))
    done = bash(tmp_path, "list", "fcc")
    assert done.returncode != 0 and "no grid fcc" in done.stderr
    for words in (("fc", "conv"), ("list", "fc", "conv"), ("report", "fc")):
        done = bash(tmp_path, *words)
        assert done.returncode == 2 and "one grid at a time" in done.stderr and not done.stdout


@pytest.mark.parametrize("python", ["false", "no-such-python"])
def test_an_interpreter_without_torch_is_named(tmp_path, python):
    copy_of_the_scripts(tmp_path)
    done = bash(tmp_path, "quick", PYTHON=python)
    assert done.returncode == 2 and done.stderr.startswith(f"run_all.sh: {python} has no torch: activate")
    assert done.stderr.count("\n") == 1 and not done.stdout and not (tmp_path / "runs").exists()


def test_a_slurm_array_runs_its_own_line(tmp_path):
    """sbatch runs a copy of the script from its spool, in the folder it was submitted from."""
    home, spool = tmp_path / "home", tmp_path / "spool"
    home.mkdir()
    spool.mkdir()
    copy_of_the_scripts(home)
    shutil.move(home / "run_all.sh", spool)
    echo = tmp_path / "echo.sh"
    echo.write_text('#!/bin/sh\necho "$PWD: $*"\n')
    echo.chmod(0o755)
    env = {"SLURM_SUBMIT_DIR": str(home), "PYTHON": str(echo), "SLURM_ARRAY_TASK_ID": "6"}
    its = f"{home}: prune.py --net fc --levels 28 --init xavier_uniform --seed 11\n"
    assert bash(spool, "fc", **env).stdout == its
    done = bash(spool, "fc", **{**env, "SLURM_ARRAY_TASK_ID": "81"})
    assert done.returncode == 2 and "no line 81" in done.stderr


def test_a_script_that_lies_beside_the_others_runs_there(tmp_path):
    """An interactive Slurm job has the variable too, of the folder that it was asked for in."""
    copy_of_the_scripts(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    echo = tmp_path / "echo.sh"
    echo.write_text('#!/bin/sh\necho "$PWD: $*"\n')
    echo.chmod(0o755)
    env = {"SLURM_SUBMIT_DIR": str(tmp_path / "elsewhere"), "PYTHON": str(echo), "SLURM_ARRAY_TASK_ID": "1"}
    assert bash(tmp_path, "fc", **env).stdout.startswith(f"{tmp_path}: prune.py --net fc")


@pytest.mark.skipif(not (REAL / "mnist.npz").exists(), reason="the real MNIST is not at hand")
def test_one_epoch_of_real_mnist(tmp_path, script):
    """The accuracy on record, against numpy's own pass over the raw file with the saved weights."""
    script("train.py", "--net", "fc", "--epochs", 1, "--looks", 3, "--data-dir", REAL)
    folder = next((tmp_path / "runs").iterdir())
    level, = json.loads((folder / "metrics.json").read_text())["levels"]
    saved = torch.load(folder / "level_00.pt", weights_only=True)["state"]
    state = {name: tensor.double().numpy() for name, tensor in saved.items()}
    raw = np.load(REAL / "mnist.npz")
    order = torch.randperm(60000, generator=data.rng("validation", "mnist"))
    train = raw["x_train"][order[5000:].numpy()].astype(float)
    h = ((raw["x_test"] - train.mean()) / train.std()).reshape(10000, 784)
    for name in ("fc1", "fc2", "out"):
        h = h @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        h = np.maximum(h, 0) if name != "out" else h
    hits = int((h.argmax(1) == raw["y_test"]).sum())
    assert abs(level["test_acc"][-1] * 10000 - hits) <= 1  # a tie may fall either way in float32
