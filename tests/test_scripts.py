"""The scripts as a person meets them: their order, their doors, the grid and the quick tour."""
import ast
import json
import shutil
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import data
import inits
import models
import prune
import pruners
import train
from conftest import REAL, ROOT, bash, copy_of_the_scripts, one_sentence, outcome

# what a script may import of ours; report/tests have the same of report/
ABOVE = {"data": set(), "models": set(), "inits": set(), "diagnostics": set(), "pruners": {"data", "models"},
         "runs": {"data"}, "train": {"data", "models", "inits", "diagnostics", "runs"},
         "prune": {"data", "models", "pruners", "runs", "train"}, "stats": {"runs"},
         "plot": {"data", "runs", "stats"}}
PACKAGES = {"torch", "torchvision", "numpy", "matplotlib", "tqdm", "PIL"}  # PIL comes with matplotlib


@pytest.mark.parametrize("name", ABOVE)
def test_a_script_imports_only_what_stands_above_it_and_the_packages(name):
    nodes = [node for part in ast.parse((ROOT / f"{name}.py").read_text()).body for node in ast.walk(part)
             if not isinstance(part, ast.If)]  # a script's own part may show more
    used = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    used |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    used = {module.partition(".")[0] for module in used} - sys.stdlib_module_names
    assert used & ABOVE.keys() <= ABOVE[name] and used - ABOVE.keys() <= PACKAGES


def test_lines_fit_a_screen():
    patterns = ("run_all.sh", "*.py", "tests/*.py", "report/*.py", "report/tests/*.py")
    assert [] == [f"{path.name}:{number}" for pattern in patterns for path in ROOT.glob(pattern)
                  for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 110]


WRONG = {  # flags that are right one by one, or nearly: what the one sentence says of them
    "--rewind 9000 --steps 50": "--rewind 9000", "--levels 60": "--levels", "--batch 100000": "--batch",
    "--control reinit --rewind none": "leave them out", "--masks-from a --one-shot": "leave them out",
    "--masks-from a --pruner snip": "leave them out", "--masks-from a --scope global": "leave them out",
    "--masks-from a-s{seed}/": "without a folder or a slash", "--masks-from ": "--masks-from",
    "--pruner synflow --one-shot": "leave out --one-shot",
    "--pruner synflow --rewind none": "before training", "--rate-conv 0.1": "leave out --rate-conv",
    "--net conv6 --data mnist": "too small",
    f"--seed 1{400 * '0'}": "the run's name would have 4", "--out file": "file", "--out=~no-one/x": "no user",
    "--lr inf": "--lr",
    "--init xavier_normal@1e300": "1e300", f"--threads {10 ** 30}": "--threads",
    "--pruner filters --rate-out 0.2": "leave out --rate-out", "--device meta": "device meta",
    "--device privateuseone": "device privateuseone",
    "--seed -1\n": "--seed", "--zz\nz": "--zz", "--device a\nb": "a b"}


@pytest.mark.parametrize("words", WRONG)
def test_flags_that_make_no_run_are_refused_and_leave_nothing(go, tmp_path, monkeypatch, words):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.chdir(tmp_path)
    assert WRONG[words] in one_sentence(*outcome(lambda: go(*words.split(" "))))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["file"]


FAULTY = {  # rows of a network: what is said of them
    "no hidden layer": (((), ()), "fc"), "begins with a pool": ((("pool", 4), (4,)), "conv2"),
    "must be two tuples": (((), (8)), "fc"), "a row of PAPER": (((), (8,)), None)}


@pytest.mark.parametrize("words", FAULTY)
def test_a_network_that_cannot_be_is_refused_at_the_door(go, tmp_path, monkeypatch, words):
    row, paper = FAULTY[words]
    monkeypatch.setitem(models.NETS, "new", row)
    if paper:
        monkeypatch.setitem(models.PAPER, "new", models.PAPER[paper])
    code, says = outcome(lambda: go("--net", "new", "--data", "mnist"))
    assert words in one_sentence(code, says) and code == 2 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("row", [((3, "pool", "pool"), (5,)), ((3, "pool"), ())])
def test_a_network_is_what_its_row_says(go, monkeypatch, row):
    """Two pools are one of their size, and hidden layers may be convolutions alone."""
    monkeypatch.setitem(models.NETS, "new", row)
    monkeypatch.setitem(models.PAPER, "new", models.PAPER["conv2"] | {"data": "mnist", "shape": (1, 4, 4)})
    state = torch.load(go("--net", "new", "--pruner", "filters") / "level_01.pt", weights_only=True)["state"]
    x = torch.randn(9, 1, 4, 4, generator=data.rng("x"))
    model, h = models.build("new", (1, 4, 4)), x
    model.load_state_dict(state)
    if row[0]:
        h = F.relu(F.conv2d(h, state["conv1.weight"], state["conv1.bias"], padding=1))
        h = F.max_pool2d(h, 2 ** row[0].count("pool"))
    h = h.flatten(1)
    if row[1]:
        h = F.relu(F.linear(h, state["fc1.weight"], state["fc1.bias"]))
    torch.testing.assert_close(model(x), F.linear(h, state["out.weight"], state["out.bias"]))


@pytest.mark.parametrize("classes, channels", [(3, 1), (26, 3)])
@pytest.mark.parametrize("words", ["--net conv2 --pruner snip --scope global", "--net fc --rewind 2"])
def test_a_data_set_of_other_classes_is_trained_and_pruned(go, tmp_path, classes, channels, words):
    """Few small images; the output layer has a unit a class, in every file of a run that goes on."""
    r, arrays = np.random.default_rng(0), {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = r.integers(0, 256, (200, 4, 4, channels), np.uint8).squeeze()
        arrays[f"y_{part}"] = np.arange(200) % classes
    np.savez(tmp_path / "mnist.npz", **arrays)
    words = ["--data", "mnist", "--data-dir", tmp_path, *words.split()]
    go(*words)
    folder = go(*words, "--levels", 2)
    tensors = {path.name: torch.load(path, weights_only=True) for path in folder.glob("*.pt")}
    assert {name: len(found.get("state", found)["out.bias"]) for name, found in tensors.items()} == {
        name: classes for name in ("init.pt", "level_00.pt", "level_01.pt", "level_02.pt")}


@pytest.mark.parametrize("given", ["flag", "environment"])
def test_a_tilde_is_the_home_where_no_shell_fills_it_in(blobs, tmp_path, monkeypatch, given):
    """In --out and --data-dir with an equals sign, and in DATA_DIR; pytest's folders are in one, the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(blobs.parent))
    monkeypatch.setenv("DATA_DIR", f"~/{blobs.name}" if given == "environment" else "nowhere")
    words = [f"--data-dir=~/{blobs.name}"] if given == "flag" else []
    monkeypatch.setattr(sys, "argv", ["data.py", *words])
    data.main()
    monkeypatch.setattr(sys, "argv", ["train.py", "--steps", "1", f"--out=~/{tmp_path.name}", *words])
    train.main()
    assert len(list(tmp_path.glob("*/metrics.json"))) == 1


def test_help_has_a_line_for_every_choice_and_readmes_lines_are_theirs(script):
    """README.md may lack a row of one's own, but has no other line in the tables of choices."""
    said = script("prune.py", "--help").stdout.splitlines()
    names = [*inits.INITS, *pruners.PRUNERS, *pruners.REWINDS, *list(prune.CONTROLS)[1:]]
    for name in names:
        assert sum(line.startswith(f"  {name} ") for line in said) == names.count(name), name
    assert max(map(len, said)) <= 120
    rows = script("inits.py").stdout.split("\n\n")[0].splitlines()
    texts = {name: row.text for table in (pruners.PRUNERS, prune.CONTROLS, pruners.REWINDS)
             for name, row in table.items()} | {"0": "the initial values", "K": "the values of step K"}
    rows += [f"| `{name}` | " + text.replace("|", "\\|") + " |" for name, text in texts.items()]
    tables = [part.splitlines() for part in (ROOT / "README.md").read_text().split("\n\n")
              if part.startswith(("| scheme |", "| `--pruner` |", "| `--rewind` |", "| `--control` |"))]
    shown = [line for table in tables for line in table[2:]]
    assert len(tables) == 4 and set(shown) <= {*rows} and len(set(shown)) == len(shown) >= 44


def test_a_refusal_as_a_person_sees_it(script, tmp_path):
    done = script("train.py", "--epochs", 0, check=False)
    assert done.returncode == 2 and "--epochs" in one_sentence(2, done.stderr)
    assert not done.stdout and not list(tmp_path.iterdir())


def executable(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("drawn", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_the_quick_tour(blobs, tmp_path, drawn):
    """Every run and figure of it, of glyphs that it draws, or of a few blobs in their place. Once they are
    finished their checkpoints are not missed."""
    script = copy_of_the_scripts(tmp_path) / "data.py"
    if not drawn:
        grid = tmp_path / "run_all.sh"
        grid.write_text(grid.read_text().replace("--steps 300", "--steps 20"))
        script.write_text(script.read_text().replace("VALIDATION = 5000", "VALIDATION = 60"))
        (tmp_path / "data").mkdir()
        few = {key: array[:660] for key, array in np.load(blobs / "mnist.npz").items()}
        small = {key: array[:, ::4, ::4, None].repeat(3, 3) for key, array in few.items() if array.ndim == 3}
        np.savez(tmp_path / "data" / "glyphs.npz", **few)
        np.savez(tmp_path / "data" / "glyphs_colour.npz", **(few | small))
    first = bash(tmp_path, "quick", DATA_DIR="data")
    assert first.returncode == 0, first.stderr
    lines = bash(tmp_path, "list", "quick").stdout.splitlines()
    assert f"0 of {len(lines)} runs are finished, {len(lines)} to do" in first.stdout
    metrics = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/metrics.json")]
    assert len(metrics) == len(lines) == len(set(lines))
    assert {m["config"]["data"] for m in metrics} == {"glyphs"}
    for net, last in (("fc", 6), ("conv2", 2)):
        assert all(m["levels"][-1]["level"] == last for m in metrics if m["config"]["net"] == net)
        assert list((tmp_path / "figures").glob(f"glyphs-{net}-*accuracy.png"))
    for path in tmp_path.glob("runs/*/*.pt"):
        path.unlink()
    no_figures = executable(tmp_path / "no_figures.sh", f'[ "$1" = plot.py ] || exec {sys.executable} "$@"')
    again = bash(tmp_path, "quick", PYTHON=no_figures)
    assert again.returncode == 0
    assert f"{len(lines)} of {len(lines)} runs are finished, 0 to do" in again.stdout


def test_the_grid_as_lines(tmp_path):
    copy_of_the_scripts(tmp_path)
    lines = bash(tmp_path, "list", "fc").stdout.splitlines()
    assert len(lines) == len(set(lines)) == 80
    assert lines[0].endswith("prune.py --net fc --levels 28 --init xavier_normal --seed 10")
    everything = bash(tmp_path, "list", "study").stdout.splitlines()
    assert everything[:80] == lines and len(everything) == len(set(everything))


@pytest.mark.parametrize("words, env, says", [
    *(("quick", {"PYTHON": name}, f"{name} has no torch: activate") for name in ("false", "no-such-python")),
    *(("quick", {"JOBS": jobs}, f"and not {jobs}") for jobs in ("0", "abc", "-1", "1.5")),
    *((words, {}, "one grid at a time") for words in ("fc conv", "list fc conv", "report fc")),
    ("list fcc", {}, "no grid fcc")])
def test_what_run_all_cannot_do_is_one_sentence(tmp_path, words, env, says):
    done = bash(copy_of_the_scripts(tmp_path), *words.split(), **env)
    assert says in one_sentence(done.returncode, done.stderr) and done.stderr.startswith("run_all.sh: ")
    assert done.returncode == 2 and not done.stdout and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("spooled", [True, False])
def test_a_slurm_array_runs_its_own_line(tmp_path, spooled):
    """sbatch runs a copy of the script from its spool, in the folder it was submitted from. An interactive
    job has the variable too, of the folder that it was asked for in: the script runs beside the others."""
    home, spool = copy_of_the_scripts(tmp_path / "home"), tmp_path / "spool"
    spool.mkdir()
    if spooled:
        shutil.move(home / "run_all.sh", spool)
    env = {"SLURM_SUBMIT_DIR": str(home if spooled else spool),
           "PYTHON": executable(tmp_path / "echo.sh", 'echo "$PWD: $*"')}
    its = f"{home}: prune.py --net fc --levels 28 --init xavier_uniform --seed 11\n"
    assert bash(spool if spooled else home, "fc", SLURM_ARRAY_TASK_ID="6", **env).stdout == its
    done = bash(spool if spooled else home, "fc", SLURM_ARRAY_TASK_ID="81", **env)
    assert done.returncode == 2 and "no line 81" in done.stderr


@pytest.mark.skipif(not (REAL / "mnist.npz").exists(), reason="the real MNIST is not at hand")
def test_accuracy_on_real_mnist_is_that_of_a_plain_pass(tmp_path, script):
    """The accuracy on record, against numpy's own pass over the raw file with the saved weights."""
    script("train.py", "--net", "fc", "--steps", 300, "--looks", 1, "--data-dir", REAL)
    folder, = (tmp_path / "runs").iterdir()
    level, = json.loads((folder / "metrics.json").read_text())["levels"]
    state, raw = torch.load(folder / "level_00.pt", weights_only=True)["state"], np.load(REAL / "mnist.npz")
    order = torch.randperm(60000, generator=data.rng("validation", "mnist"))
    pixels = raw["x_train"][order[5000:].numpy()]
    h = ((raw["x_test"] - pixels.mean()) / pixels.std()).reshape(10000, 784)
    for name in ("fc1", "fc2", "out"):
        h = h @ state[f"{name}.weight"].double().numpy().T + state[f"{name}.bias"].double().numpy()
        h = h if name == "out" else np.maximum(h, 0)
    hits = int((h.argmax(1) == raw["y_test"]).sum())
    assert abs(level["test_acc"][-1] * 10000 - hits) <= 1  # a tie may fall either way in float32
