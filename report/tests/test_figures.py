"""What the report's figures draw against plain means of the runs."""
import itertools
import json
import os
import statistics
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text

import figures
import inference
import mechanism
import stats
import study
import tables
from stats import STANDARD, scheme_name
from study import METHODS, SPARSE, UPPER

from .conftest import ROOT
from .made import HALVES, final, influencing, made, of_seeds, standards

DRAWN = sorted(set(figures.FIGURES) - {"diagram", "examples"})


@pytest.fixture(autouse=True)
def closed():
    """No figure of any test shows a scheme's code name."""
    yield
    shown = {text.get_text() for number in plt.get_fignums() for text in plt.figure(number).findobj(Text)}
    plt.close("all")
    assert not [text for text in shown if "_" in text]


def shapes_of(name, first=0, fall=1.0):
    """Five seeds of every shape and gain under a way of pruning, by scheme and seed; {scheme: [accuracy]}."""
    inits = [*study.SHAPES, "xavier_normal@0.5", "xavier_normal@2", "kaiming_normal", "kaiming_uniform"]
    values = {init: [90 - fall * place + 0.1 * ((seed * (place + 2)) % 5) for seed in range(5)]
              for place, init in enumerate(inits)}
    how = {**HALVES, "group": METHODS[name]}
    return [made(init, first + seed, value, **how)
            for init, row in values.items() for seed, value in enumerate(row)], values


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_drawn_of_nothing_custom_schemes_alone_and_short_runs(name):
    runs = [made(init, seed, 90.0 + seed) for init in ("shape_sign", "truncated_glorot") for seed in (10, 11)]
    runs += [made(init, seed, 90.0, **{**HALVES, "levels": 3})
             for init in ("xavier_normal", "xavier_normal@2") for seed in (0, 1)]
    assert not figures.FIGURES[name]({}) and not figures.FIGURES[name](stats.groups(runs))


def test_the_tradeoff_has_the_plain_means_of_fresh_seeds():
    runs = standards(4)
    for axis in figures.tradeoff(stats.groups(runs)).axes:
        for line, (init, fresh) in zip(axis.lines, of_seeds(runs).items()):
            assert len(fresh) == 4 and line.get_label() == scheme_name(init)
            for level, place in ((fresh[0]["levels"][number], number) for number in (0, 13, 28)):
                own = [100 * run["levels"][place]["test_acc"][1] for run in fresh]
                assert line.get_xydata()[place] == pytest.approx(
                    (100 * stats.density(level), statistics.mean(own)))


def test_a_band_is_the_t_interval():
    d = np.random.default_rng(0).normal(0, 1, (5, 3))
    axis = plt.figure().add_subplot()
    figures.line(axis, np.array([1, 0.5, 0.2]), d, color="red")
    band = axis.collections[0].get_paths()[0].vertices
    for column, x in zip(d.T, (100, 50, 20)):
        ends = inference.estimate(column)
        heights = band[np.isclose(band[:, 0], x), 1]
        assert (heights.min(), heights.max()) == pytest.approx((ends.low, ends.high))


def same_as_in_the_table(axis, records):
    """The intervals that are drawn, from below, are these records' from the last on."""
    for place, row in enumerate(records[::-1]):
        ends, seeds, mean = (line.get_xdata() for line in axis.lines[3 * place:3 * place + 3])
        assert (*mean, *ends) == pytest.approx(row["difference"][:3]) and len(seeds) == row["n"]


CUSTOMS = {"xavier_normal@0.5": 0.4, "orthogonal": 0.1}


@pytest.mark.parametrize("draw, table, runs, inits, base, labels", [
    (figures.differences, tables.contrasts, standards(8), STANDARD[1:], "xavier_normal",
     ("scale", "shape", "interaction")),
    (figures.customs, tables.confirmed, final(CUSTOMS, "xavier_uniform"), list(CUSTOMS), "xavier_uniform",
     [scheme_name(init) for init in CUSTOMS])])
def test_differences_are_drawn_within_seeds_and_their_means_as_in_their_table(draw, table, runs, inits, base,
                                                                             labels):
    found = stats.groups(runs)
    above, below = draw(found).axes
    values = {(run["config"]["init"], run["config"]["seed"]): 100 * run["levels"][0]["test_acc"][1]
              for run in runs}
    for container, init in zip(above.containers, inits, strict=True):
        gaps = [values[init, seed] - values[base, seed] for seed in range(10, 18)]
        assert container.get_label() == scheme_name(init)
        assert container.lines[0].get_ydata()[0] == pytest.approx(statistics.mean(gaps))
    same_as_in_the_table(below, sorted(table(found), key=lambda row: -row["range"][0]))
    assert [label.get_text().replace("\n", " ") for label in below.get_yticklabels()][::-1] == [
        f"{what}, {bounds}" for bounds in ("100 to 1.2%", "1.2 to 0.21%") for what in labels]
    one = standards(1, **{**HALVES, "group": study.STUDIES["fashion"].group})     # a study of one seed
    assert not draw(stats.groups(one + [run for run in runs if run["config"]["seed"] < 10]))
    assert len(draw(stats.groups(one + runs)).axes) == 2


def test_means_and_differences_by_method_are_the_plain_ones_of_the_exploring_seeds():
    made_by = {name: shapes_of(name, fall=fall) for name, fall in (
        ("magnitude, layer by layer", 3), ("movement", 1), ("SNIP, global", 2))}
    late = shapes_of("movement", first=10, fall=7)[0]
    found = stats.groups([run for runs, _ in made_by.values() for run in runs] + late)
    means = [{init: statistics.mean(row) for init, row in values.items()} for _, values in made_by.values()]
    inits = [*STANDARD, *study.candidates(found)[0]]
    heat = figures.heat(found).axes[0]
    assert [label.get_text() for label in heat.get_yticklabels()] == list(made_by)
    assert len(inits) == 6 == len(heat.get_xticklabels())
    assert [cell.get_text() for cell in heat.texts] == [
        f"{own[init]:.2f}\n{own[init] - statistics.mean(own[each] for each in STANDARD):+.2f}"
        for own in means for init in inits]
    for axis, name, own in zip(figures.methods(found).axes, made_by, means, strict=True):
        assert axis.get_title() == f"{name}, n = 5"
        for line, init in zip(axis.lines, inits, strict=True):
            assert line.get_ydata() == pytest.approx([own[init]] * 10)
    gain, kurtosis = figures.doses(found).axes[:2]
    for way, own in enumerate(means[:2]):
        doses, tails, gaps = (axis.containers[way].lines[0].get_ydata()
                              for axis in (gain, kurtosis, figures.shapes(found).axes[0]))
        assert doses == pytest.approx([own[f"xavier_normal{end}"] for end in ("@0.5", "", "@2")])
        assert tails == pytest.approx([own[init] for init in study.SHAPES])
        assert gaps == pytest.approx([own[init] - own["xavier_normal"] for init in study.SHAPES])


def test_doses_are_means_over_the_schemes_of_a_dose_by_seed():
    values = {"a": {0: 1.0, 1: 2.0, 2: 9.0}, "b": {0: 3.0, 1: 6.0}, "c": {1: 7.0}, "none": {}}
    found = figures.dosed(values, {"c": 4, "a": 0.5, "b": 0.5, "none": 1, "absent": 2, "d": 0.5})
    assert {dose: seeds.tolist() for dose, seeds in found.items()} == {0.5: [2.0, 4.0], 4: [7.0]}


def test_the_influence_has_the_plain_means_of_measure_and_accuracy():
    runs = influencing()
    found = stats.groups(runs)
    named = [*STANDARD, *study.candidates(found)[0]]
    own = [stats.density(level) for level in runs[0]["levels"]]
    for axis, bounds in zip(figures.influence(found).axes, (UPPER, SPARSE), strict=True):
        x, means = {}, {}
        for run in runs:
            init, accuracy = run["config"]["init"], [100 * level["test_acc"][1] for level in run["levels"]]
            x.setdefault(init, []).append(run["levels"][4]["diagnostics"]["layers"]["fc1"]["rho"])
            means.setdefault(init, []).append(inference.mean_over_range(own, accuracy, bounds))
        assert [drawn.get_label() for drawn in axis.containers] == [*map(scheme_name, named)]
        assert set(named) == set(x)
        for init, drawn in zip(named, axis.containers):
            gap = statistics.mean(means[init]) - statistics.mean(means["xavier_normal"])
            assert drawn.lines[0].get_xdata() == pytest.approx([statistics.mean(x[init])])
            assert drawn.lines[0].get_ydata() == pytest.approx([gap], abs=1e-9)
    for run, number in itertools.product(runs, range(10)):
        del run["levels"][number]["diagnostics"]
    assert not figures.influence(stats.groups(runs))


def test_rare_inputs_have_the_plain_shares_and_the_contrasts_of_their_table(monkeypatch, tmp_path):
    (tmp_path / "pixels.json").write_text('{"mnist": {"images": 10000, "lit": [0, 9, 100, 5000]}}')
    monkeypatch.setattr(mechanism, "PIXELS", tmp_path / "pixels.json")
    runs = standards(3)
    for run, number in itertools.product(runs, range(29)):
        level = run["levels"][number]
        level["inputs"] = [share * level["kept"]["fc1"] for share in (0.1, 0.2, 0.3, 0.4)]
    left, right = figures.rare_inputs(stats.groups(runs)).axes
    assert all(line.get_ydata() == pytest.approx([30] * 29) for line in left.lines) and len(left.lines) == 4
    same_as_in_the_table(right, mechanism.without_rare_inputs(stats.groups(runs)))


def test_the_earlier_study_is_drawn_from_its_test_accuracies():
    left, right = figures.earlier(stats.groups(standards(3))).axes
    there = json.loads((ROOT / "report" / "earlier-study.json").read_text())["table"]
    for line, init in zip(left.lines, STANDARD, strict=True):
        row = there[f"lenet {init.replace('_', '-')}"]
        assert line.get_ydata().tolist() == row["mean"] and line.get_label() == scheme_name(init)
        assert left.get_title().startswith(f"earlier, n = {row['n']}")
    assert len(right.lines) == 4


def test_the_examples_are_images_of_their_class(tmp_path, capsys):
    """Of each data set the first eight of a class: an image of class k has 10 k + its number among them."""
    for name, shape in (("mnist", (4, 4)), ("fashion_mnist", (4, 4)), ("cifar10", (6, 6, 3))):
        assert figures.examples({}, tmp_path) is None
        assert "cannot be read" in capsys.readouterr().err
        labels = np.tile(np.arange(10, dtype=np.uint8), 9)
        pixels = (10 * labels + np.arange(90) // 10).astype(np.uint8)
        images = np.ones((90, *shape), np.uint8) * pixels.reshape(-1, *[1] * len(shape))
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=labels)
    for axis, side in zip(figures.examples({}, tmp_path).axes, (4, 4, 6), strict=True):
        sheet = axis.images[0].get_array()
        tiles = np.add.outer(10 * np.arange(10), np.arange(8)).repeat(side, 0).repeat(side, 1)
        assert sheet.shape[:2] == tiles.shape and (sheet.T == tiles.T).all()


def test_a_figure_is_the_same_under_a_persons_and_a_notebooks_settings(tmp_path, monkeypatch):
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 60\nfont.family: serif\nfigure.facecolor: black\n")
    cut = ("import figures; figures.FIGURES = {'diagram': figures.diagram}; "
           "figures.stats.read = lambda root: []; figures.main()")
    subprocess.run([sys.executable, "-c", cut, "--figures", tmp_path], check=True, env={
        **os.environ, "PYTHONPATH": str(ROOT / "report"), "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        "MPLBACKEND": "not_installed"})
    path = tmp_path / "study-diagram.png"
    theirs = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(figures, "FIGURES", {"diagram": figures.diagram})
    monkeypatch.setattr(stats, "read", lambda root: [])
    monkeypatch.setattr("sys.argv", ["figures.py", "--figures", str(tmp_path)])
    figures.main()
    assert path.read_bytes() == theirs


def test_a_place_that_takes_no_figures_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", {"diagram": figures.diagram})
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(stats, "read", lambda root: standards(1))
    monkeypatch.setattr("sys.argv", ["figures.py", "--figures", str(tmp_path / "file")])
    with pytest.raises(SystemExit, match="^Cannot write to .*: name another folder with --figures.$"):
        figures.main()


def test_a_pipe_that_is_closed_is_no_fault_of_the_folder(tmp_path, monkeypatch):
    def closed(groups, folder):
        raise BrokenPipeError
    monkeypatch.setattr(figures, "draw", closed)
    monkeypatch.setattr(stats, "read", lambda root: [])
    monkeypatch.setattr("sys.argv", ["figures.py", "--figures", str(tmp_path)])
    with pytest.raises(BrokenPipeError):
        figures.main()
