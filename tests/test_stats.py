"""stats.py against slower, plainer counts, and fake runs to draw: python -m pytest tests/test_stats.py"""
import csv
import json
import math
import statistics

import numpy as np
import pytest

import stats
from inits import INITS
from runs import save_file

SIZES = {"fc": {"fc1": 235200, "fc2": 30000, "out": 1000},
         "conv2": {"conv1": 1728, "conv2": 36864, "fc1": 4194304, "fc2": 65536, "out": 2560}}
LOOKS = 15


def fake_level(net, scope, number, noise, stop=LOOKS):
    """A level like LeNet's on MNIST, better at 13% than dense and falling below 5%; the global scope thins
    the largest layer most; ends after `stop` evaluations, without a finite loss at the last."""
    size = SIZES[net]
    kept = {k: round(n * (0.8 if k[:2] == "fc" else 0.9) ** number) for k, n in size.items()}
    if scope == "global":
        kept = {k: round(n * (0.84 if n < 200000 else 0.79) ** number) for k, n in size.items()}
    density = sum(kept.values()) / sum(size.values())
    fall = 0.012 * max(0, math.log(0.05 / density)) ** 2.7
    top = 0.978 + 0.004 * math.exp(-(math.log(density / 0.13) / 1.3) ** 2) - fall
    wobble = noise.normal(0, 0.0006, LOOKS)
    acc = np.round(np.clip(top - 0.06 * np.exp(-np.arange(LOOKS) / 2) + wobble, 0, 1), 4)
    loss = 1.05 - acc + 4 * np.abs(wobble)
    lists = {"step": (305 * np.arange(1, LOOKS + 1)).tolist(), "train_loss": (loss / 3).tolist(),
             "val_loss": loss.tolist(), "val_acc": (acc + 0.0008).clip(0, 1).tolist(),
             "test_loss": (loss * 1.02).tolist(), "test_acc": acc.tolist()}
    if stop < LOOKS:
        lists = {key: values[:stop] for key, values in lists.items()}
        lists.update(val_loss=[*lists["val_loss"][:-1], None], test_acc=[*lists["test_acc"][:-1], 0.098])
    inputs = noise.poisson(kept[next(iter(kept))] / 784, 784 if net == "fc" else 27).tolist()
    return {"level": number, "kept": kept, "size": size, **lists, "diverged": stop < LOOKS, "inputs": inputs,
            "diagnostics": {}, "seconds": 41.2}


def fake(root, data="mnist", net="fc", init="xavier_normal", pruner="magnitude", seed=0, levels=21,
         scope="layer", extras="", diverge=()):
    """Writes a plausible run, its loss infinite in the levels `diverge`; returns what was written."""
    noise = np.random.default_rng([seed, *init.encode()])
    run = {"config": {"data": data, "net": net, "init": init, "pruner": pruner, "scope": scope, "rewind": "0",
                      "seed": seed, "epochs": 5, "steps": None, "batch": 60, "lr": 0.0012, "looks": LOOKS},
           "provenance": [{"level": 0, "commit": "1a2b3c4", "torch": "2.13.0", "device": "cpu", "threads": 1,
                           "data_file": None if data == "glyphs" else f"{data}.npz"}],
           "init": {layer: {"fan_in": 784, "fan_out": 300, "std": 0.05, "min": -0.2, "max": 0.2,
                            "hist": noise.poisson(99, 64).tolist()} for layer in SIZES[net]},
           "levels": [fake_level(net, scope, number, noise, 4 if number in diverge else LOOKS)
                      for number in range(levels)]}
    folder = root / f"{data}-{net}-{init}-{pruner}{extras}-s{seed}"
    folder.mkdir(parents=True)
    save_file(folder / "metrics.json", run)
    return run


def test_summary_equals_the_statistics_module():
    values = np.array([[1.0, 2.0, np.nan, 5.0], [2.0, np.nan, np.nan, 5.5], [4.0, 3.0, np.nan, np.nan],
                       [9.0, np.nan, np.nan, np.nan]])
    found = stats.summary(values)
    for index, column in enumerate([[1, 2, 4, 9], [2, 3], [], [5, 5.5]]):
        assert found.n[index] == len(column)
        for name, plain in (("mean", statistics.mean), ("median", statistics.median),
                            ("sd", statistics.stdev), ("min", min), ("max", max)):
            expected = plain(column) if column else math.nan
            assert getattr(found, name)[index] == pytest.approx(expected, nan_ok=True)
    single = stats.summary(values[:1, :1])
    assert np.isnan(single.sd).all() and single.mean == single.min == single.max == 1


def test_matrix_of_runs_of_unequal_length():
    size = {"a": 7, "b": 3}
    dense, half = ({"level": k, "kept": {"a": a, "b": 1}, "size": size} for k, a in enumerate((7, 4)))
    runs = [{"levels": [dense | {"test_acc": [0.1, 0.5]}, half | {"test_acc": [0.6]}]},
            {"levels": [dense | {"test_acc": [0.7]}]}, {"levels": []}]
    densities, values = stats.matrix(runs, stats.final_test_acc)
    assert densities.tolist() == [0.8, 0.5]
    assert np.array_equal(values, [[0.5, 0.6], [0.7, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert [array.shape for array in stats.matrix(runs[2:], stats.final_test_acc)] == [(0,), (1, 0)]


@pytest.mark.parametrize("losses", [[3, 2, 1], [3, 1, 1, 2], [None, 5, None, 4, 6], [2], [None], [],
                                    [None, 0.5, 0.5]])
def test_early_stop_equals_a_plain_loop(losses):
    best = None
    for index, loss in enumerate(losses):
        if loss is not None and (best is None or loss < losses[best]):
            best = index
    record = {"val_loss": losses, "step": [10 * (i + 1) for i in range(len(losses))], "test_acc": [0.25, 0.5]}
    assert stats.early_stop(record) == best
    step, acc = (math.nan, 0.5) if best is None else (10 * best + 10, [0.25, 0.5, *[math.nan] * 3][best])
    assert stats.early_step(record) == pytest.approx(step, nan_ok=True)
    assert stats.early_test_acc(record) == pytest.approx(acc, nan_ok=True)  # of one that diverged, the last


def test_curve_of_evaluations_at_different_steps():
    levels = [{"step": [1, 3], "x": [0.1, None]}, {"step": [2, 3, 4], "x": [0.2, 0.3]}]
    steps, values = stats.curve(levels, "x")
    assert steps.tolist() == [1, 2, 3, 4]
    assert np.array_equal(values, [[0.1, np.nan, np.nan, np.nan], [np.nan, 0.2, 0.3, np.nan]], equal_nan=True)


def test_picked_levels_are_the_nearest_of_the_longest_run():
    levels = [{"level": k, "kept": {"a": round(1000 * 0.8 ** k)}, "size": {"a": 1000}} for k in range(5)]
    runs = [{"levels": levels[:length]} for length in (1, 5, 3)]
    assert stats.picked(runs, (1, 0.21, 0.07, 0.6)) == [(0, 1.0), (2, 0.64), (4, 0.41)]
    assert stats.picked(runs[:1], (1, 0.21)) == [(0, 1.0)]


def test_histogram_of_several_seeds_is_the_mean_density():
    layers = [{"min": -1, "max": 1, "hist": [1, 3]}, {"min": 0, "max": 2, "hist": [6, 2]}]
    edges, found = stats.histogram(layers, bins=6)
    assert edges.tolist() == [-1, -0.5, 0, 0.5, 1, 1.5, 2]
    assert found == pytest.approx([0.125, 0.125, 0.75, 0.75, 0.125, 0.125])
    constant = stats.histogram([{"min": 0.5, "max": 0.5, "hist": [9]}])[1]
    assert np.isfinite(constant).all()


def test_groups_differ_in_more_than_scheme_and_seed_and_a_renamed_folder_is_named(tmp_path):
    for init in ("zeta", "alpha", "kaiming_normal", "xavier_uniform"):
        fake(tmp_path, init=init, levels=1, seed=10)
    for settings in ({"seed": 2}, {"seed": 10}, {"extras": "-global"}, {"pruner": "none"}, {"net": "conv2"}):
        fake(tmp_path, levels=1, **settings)
    found = stats.groups(stats.read(tmp_path))
    assert list(found) == ["mnist-conv2-magnitude", "mnist-fc-magnitude", "mnist-fc-magnitude-global",
                           "mnist-fc-none"]
    assert [stats.settings_text(its).partition(":")[0] for its in found.values()] == list(found)
    assert list(found["mnist-fc-magnitude"]) == ["xavier_normal", "xavier_uniform", "kaiming_normal", "alpha",
                                                 "zeta"]
    assert [run["config"]["seed"] for run in found["mnist-fc-magnitude"]["xavier_normal"]] == [2, 10]
    (tmp_path / "mnist-fc-zeta-magnitude-s10").rename(tmp_path / "copy")
    with pytest.raises(SystemExit, match="copy was made as"):
        stats.groups(stats.read(tmp_path))


def test_a_scheme_is_called_as_people_write_it_no_two_alike_and_none_that_is_gone():
    assert [*map(stats.scheme_name, (
        "kaiming_uniform", "xavier_normal@0.5", "xavier_normal_lit@2", "my_own@1e-06"))] == [
        "Kaiming uniform", "Xavier normal × 0.5", "Xavier normal, active pixels only × 2", "my own × 1e-06"]
    assert len({stats.scheme_name(init) for init in INITS}) == len(INITS)
    assert stats.SCHEME_NAMES.keys() <= INITS.keys()


def test_table_and_layer_densities_equal_a_plain_count(tmp_path):
    written = [fake(tmp_path, seed=seed, levels=3 + seed, diverge=[1] * (seed == 0)) for seed in range(3)]
    schemes = stats.groups(stats.read(tmp_path))["mnist-fc-magnitude"]
    rows = stats.accuracy_rows(schemes)
    assert [row["n"] for row in rows] == [3, 3, 3, 2, 1]
    assert [row["diverged"] for row in rows] == [0, 1, 0, 0, 0]
    for number, row in enumerate(rows):
        levels = [run["levels"][number] for run in written if number < len(run["levels"])]
        reached = [100 * level["test_acc"][-1] for level in levels]
        kept = written[2]["levels"][number]["kept"]
        assert row["mean"] == pytest.approx(statistics.mean(reached))
        assert row["median"] == pytest.approx(statistics.median(reached))
        assert row["remaining"] == pytest.approx(100 * sum(kept.values()) / 266200)
        assert stats.layer_densities(schemes["xavier_normal"])["out"][number] == kept["out"] / 1000


@pytest.mark.parametrize("text, says", [
    *((text, "bad/metrics.json.*run it again.$") for text in (
        "", "{", "[1]", "{}", "\x00", "[" * 100_000, '{"config": 1, "provenance": 1, "init": 1, "levels": 1}',
        '{"config": {}, "provenance": {}, "init": {}, "levels": []}')),
    ('{"config": %s, "provenance": {}, "init": {}, "levels": [{"level": 0}]}' % json.dumps(
        dict.fromkeys(stats.NEEDED["config"])), "lacks diverged, inputs, kept"), (None, "No runs.*prune.py")])
def test_a_bad_file_and_no_runs_are_named_in_one_sentence(tmp_path, text, says):
    if text is not None:
        (tmp_path / "bad").mkdir()
        path = tmp_path / "bad" / "metrics.json"
        save_file(path, json.loads(text)) if '"config"' in text else path.write_text(text)
    with pytest.raises(SystemExit, match=says):
        stats.read(tmp_path)


def test_written_tables_hold_the_rows(tmp_path):
    for seed in range(2):
        fake(tmp_path, data="glyphs", init="nano", seed=seed, levels=3 - seed)
        fake(tmp_path, data="glyphs", seed=seed, levels=2)
    name, schemes = next(iter(stats.groups(stats.read(tmp_path)).items()))
    rows, page = stats.accuracy_rows(schemes), stats.accuracy_markdown(name, schemes)
    assert "stand-in" in page and "n = 2 a scheme" in page and "differ in length" in page
    assert "None" not in page
    lines = [line.strip("| ").split("|") for line in page.splitlines() if line.startswith("|")]
    sheet = csv.reader(stats.to_csv(rows, 4).splitlines())
    for read, digits in ((sheet, 4), (lines[:1] + lines[2:], 2)):
        head, *body = [[cell.strip() for cell in line] for line in read]
        assert head == list(rows[0]) and len(body) == len(rows) == 5
        for line, row in zip(body, rows):
            for cell, value in zip(line, row.values()):
                same = cell == value or (cell == "" and math.isnan(value))
                assert same or float(cell) == pytest.approx(value, abs=0.51 * 10 ** -digits)


def test_the_curves_hold_every_number_of_two_evaluations_of_each_level(tmp_path):
    """As they are in metrics.json, to the last digit; a level without a finite loss has no checkpoint, and
    an end whose loss is not finite."""
    for init in ("xavier_normal", "nano@0.5"):
        fake(tmp_path, init=init, levels=3, diverge=[1])
        fake(tmp_path, init=init, seed=3, levels=1)
    schemes, = stats.groups(stats.read(tmp_path)).values()
    schemes["nano@0.5"][0]["levels"][2]["val_loss"] = [None] * LOOKS
    head, *body = csv.reader(stats.to_csv(stats.curve_rows(schemes)).splitlines())
    keys = ("step", "test_acc", "test_loss", "val_acc", "val_loss")
    assert head == ["scheme", "seed", "level", "density", *(f"early_{key}" for key in keys),
                    *(f"final_{key}" for key in keys)]
    expected = []
    for init, runs in schemes.items():
        for run, level in ((run, level) for run in runs for level in run["levels"]):
            losses = [math.inf if loss is None else loss for loss in level["val_loss"]]
            early = [level[key][losses.index(min(losses))] for key in keys]
            final = [level[key][-1] for key in keys]
            expected.append([init, run["config"]["seed"], level["level"],
                             sum(level["kept"].values()) / 266200,
                             *([None] * 5 if min(losses) == math.inf else early), *final])
    assert body == [["" if value is None else str(value) for value in row] for row in expected]
    assert len(body) == 8 and body[1][-1] == "" != body[1][8] and body[6][4:9] == [""] * 5


def test_a_table_for_the_screen_has_the_plain_means_at_levels_even_on_a_log_scale(tmp_path):
    names = {"xavier_normal": "Xavier normal", "long_" * 20: "long " * 8 + "long"}
    written = {init: [fake(tmp_path, init=init, seed=seed, levels=26 - 10 * seed) for seed in range(2)]
               for init in names}
    name, schemes = next(iter(stats.groups(stats.read(tmp_path)).items()))
    title, head, *lines = stats.accuracy_text(name, schemes).splitlines()
    assert title.startswith(f"{name}: ") and max(map(len, (title, head, *lines))) == 100
    levels, runs = (0, 5, 10, 15, 20, 25), written["xavier_normal"]
    densities = [stats.density(runs[0]["levels"][level]) for level in levels]
    assert head.split() == [*(f"{100 * density:.3g}" for density in densities), "n"]
    for line, (init, its) in zip(lines, written.items(), strict=True):
        means = [statistics.mean(run["levels"][level]["test_acc"][-1] for run in its[:2 - (level > 15)])
                 for level in levels]
        assert line[:44].strip() == names[init]
        assert line[44:].split() == [*(f"{100 * mean:.2f}" for mean in means), "1-2"]


def test_mixed_counts_what_differs():
    runs = [{"provenance": [{"commit": "a"}], "config": {}} for _ in range(4)]
    assert stats.mixed(runs) == {} == stats.mixed([])
    runs[1]["provenance"] = [{"commit": "a"}, {"commit": "b"}, {"commit": "a"}]
    runs[2]["provenance"] = [{"commit": "b"}]
    runs[3]["config"] = {"data_crc32": 7}
    assert stats.mixed(runs) == {"commits": {"a": 2, "a+b": 1, "b": 1}, "data files": {None: 3, 7: 1}}
