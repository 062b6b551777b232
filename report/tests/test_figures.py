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
from stats import STANDARD, scheme_name
from study import FULL, HALVED, METHODS, SPARSE, UPPER, WHOLE

from .conftest import ROOT
from .made import (CONFIRMING, EXPLORING, FACTORS, FULL_PARTS, HALF_PARTS, HALVES, INITS, accuracy, at, made,
                   over, plain, random_groups)

DRAWN = sorted(set(figures.FIGURES) - {"diagram", "examples"})


@pytest.fixture(autouse=True)
def closed():
    """No figure of any test shows a scheme's code name."""
    yield
    shown = {text.get_text() for number in plt.get_fignums() for text in plt.figure(number).findobj(Text)}
    plt.close("all")
    assert not [text for text in shown if "_" in text]


def of_groups(*names):
    """The runs of random numbers of these groups alone."""
    return {name: random_groups()[name] for name in names}


def mean(group, init, seeds, value, minus=None):
    """The plain mean of a scheme's values, or of their differences from another scheme's."""
    weights = {init: 1} if minus is None else {minus: -1, init: 1 - (init == minus)}
    return pytest.approx(statistics.mean(plain(group, weights, seeds, value)), abs=1e-9)


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_drawn_of_nothing_custom_schemes_alone_and_short_runs(name):
    runs = [made(init, seed, 90.0 + seed) for init in ("shape_sign", "truncated_glorot") for seed in (10, 11)]
    runs += [made(init, seed, 90.0, **{**HALVES, "levels": 3})
             for init in ("xavier_normal", "xavier_normal@2") for seed in (0, 1)]
    assert not figures.FIGURES[name]({}) and not figures.FIGURES[name](stats.groups(runs))


def test_the_tradeoff_has_the_plain_means_of_fresh_seeds():
    for axis in figures.tradeoff(of_groups(FULL)).axes:
        for line, init in itertools.zip_longest(axis.lines[:4], STANDARD):
            assert line.get_label() == scheme_name(init)
            for number in (0, 13, 28):
                assert line.get_xydata()[number].tolist() == [
                    mean(FULL, init, CONFIRMING, at(number, of))
                    for of in (lambda level: 100 * stats.density(level), accuracy)]


def test_a_band_is_the_t_interval():
    d = np.random.default_rng(0).normal(0, 1, (5, 3))
    axis = plt.figure().add_subplot()
    figures.line(axis, np.array([1, 0.5, 0.2]), d, color="red")
    band = axis.collections[0].get_paths()[0].vertices
    for column, x in zip(d.T, (100, 50, 20)):
        ends = inference.estimate(column)
        heights = band[np.isclose(band[:, 0], x), 1]
        assert (heights.min(), heights.max()) == pytest.approx((ends.low, ends.high))


def assert_intervals(axis, rows):
    """The intervals that are drawn, from below, are those of rows of differences, from the last on."""
    for place, d in enumerate(rows[::-1]):
        ends, seeds, mean = (line.get_xdata() for line in axis.lines[3 * place:3 * place + 3])
        assert (*mean, *ends) == pytest.approx(inference.estimate(np.array(d))[:3])
        assert seeds == pytest.approx(d)


CUSTOMS = ("shape_sign", "shape_t4", "xavier_uniform")


@pytest.mark.parametrize("draw, base, inits, contrasts", [
    (figures.differences, "xavier_normal", STANDARD[1:], {
        "Kaiming − Xavier": FACTORS["variance_scaling"], "uniform − normal": FACTORS["distribution"],
        "interaction": dict(zip(STANDARD, (1, -1, -1, 1)))}),
    (figures.customs, "kaiming_uniform", CUSTOMS, {
        init: {init: 1, "kaiming_uniform": -1} for init in CUSTOMS})])
def test_differences_are_drawn_within_seeds(draw, base, inits, contrasts):
    found, fashion = of_groups(FULL, HALVED), study.STUDIES["fashion"].group
    one = {fashion: {init: its[5:6] for init, its in random_groups()[fashion].items()}}    # a study of a seed
    assert not draw({HALVED: found[HALVED], **one})
    above, below = draw({**found, **one}).axes
    for container, init in zip(above.containers, inits, strict=True):
        assert container.get_label() == scheme_name(init)
        assert container.lines[0].get_ydata()[20] == mean(FULL, init, CONFIRMING, at(20), base)
    assert_intervals(below, [plain(FULL, weights, CONFIRMING, over(*part))
                             for part in FULL_PARTS.values() for weights in contrasts.values()])
    assert [label.get_text().replace("\n", " ") for label in below.get_yticklabels()][::-1] == [
        f"{scheme_name(what)}, {bounds}" for bounds in ("100 to 1.2%", "1.2 to 0.21%") for what in contrasts]


def test_means_and_differences_by_method_are_the_plain_ones_of_the_exploring_seeds():
    found, area = random_groups(), over(*HALF_PARTS[WHOLE])
    inits = [*STANDARD, *study.candidates(found)[0]]
    heat, names = figures.heat(found).axes[0], [name for name in METHODS if name != "filters"]
    assert [label.get_text() for label in heat.get_yticklabels()] == names     # filters end at other levels
    assert len(inits) == 6 == len(heat.get_xticklabels())
    means = {name: {init: statistics.mean(plain(METHODS[name], {init: 1}, EXPLORING, area)) for init in inits}
             for name in names}
    assert [cell.get_text() for cell in heat.texts] == [
        f"{own[init]:.2f}\n{own[init] - statistics.mean(own[each] for each in STANDARD):+.2f}"
        for own in means.values() for init in inits]
    for axis, name in zip(figures.methods(found).axes, METHODS, strict=True):
        assert axis.get_title() == f"{name}, n = " + ("5" if METHODS[name] == HALVED else "5/4/5/5")
        for line, init in zip(axis.lines, inits, strict=True):
            assert line.get_ydata()[3] == mean(METHODS[name], init, EXPLORING, at(3))
    gain, kurtosis, _, sparse = figures.doses(found).axes
    for axis, inits, part in ((gain, ("xavier_normal@0.5", "xavier_normal", "xavier_normal@4"), UPPER),
                              (kurtosis, study.BY_KURTOSIS, UPPER), (sparse, study.BY_KURTOSIS, SPARSE)):
        for container, group in zip(axis.containers, (HALVED, METHODS["movement"]), strict=True):
            assert container.lines[0].get_ydata().tolist() == [
                mean(group, init, EXPLORING, over(*HALF_PARTS[part])) for init in inits]
    drawn = figures.shapes(found).axes[0].containers
    for container, name in zip(drawn, ("magnitude, layer by layer", "movement", *study.AT_INITIALIZATION)):
        assert container.lines[0].get_ydata().tolist() == [
            mean(METHODS[name], init, EXPLORING, area, "xavier_normal") for init in study.BY_KURTOSIS]


def test_doses_are_means_over_the_schemes_of_a_dose_by_seed():
    values = {"a": {0: 1.0, 1: 2.0, 2: 9.0}, "b": {0: 3.0, 1: 6.0}, "c": {1: 7.0}, "none": {}}
    found = figures.dosed(values, {"c": 4, "a": 0.5, "b": 0.5, "none": 1, "absent": 2, "d": 0.5})
    assert {dose: seeds.tolist() for dose, seeds in found.items()} == {0.5: [2.0, 4.0], 4: [7.0]}


def test_the_influence_has_the_plain_means_of_measure_and_accuracy():
    found = of_groups(HALVED)
    for axis, part in zip(figures.accuracy_by_ratio(found).axes, (UPPER, SPARSE), strict=True):
        for init, drawn in zip((*STANDARD, *study.candidates(found)[0]), axis.containers):
            assert drawn.get_label() == scheme_name(init)
            assert drawn.lines[0].get_xdata().tolist() == [mean(HALVED, init, range(4), at(
                4, lambda level: level["diagnostics"]["layers"]["fc1"]["rho"]))]
            assert drawn.lines[0].get_ydata().tolist() == [
                mean(HALVED, init, EXPLORING, over(*HALF_PARTS[part]), "xavier_normal")]
    runs = [made(init, seed, 90.0, **HALVES) for init in INITS for seed in EXPLORING]
    assert not figures.accuracy_by_ratio(stats.groups(runs))    # without diagnostics


def test_rare_inputs_have_the_plain_shares_and_the_contrasts_of_their_table(nine_pixels):
    def share(level):
        return 100 * sum(level["inputs"][place] for place in (0, 1, 6, 7)) / sum(level["inputs"])
    left, right = figures.rare_inputs(of_groups(FULL)).axes
    for line, init in zip(left.lines, STANDARD, strict=True):
        assert line.get_ydata()[[0, 28]].tolist() == [
            mean(FULL, init, CONFIRMING, at(number, share)) for number in (0, 28)]
    records = mechanism.without_rare_inputs(of_groups(FULL))
    assert_intervals(right, [row["differences"] for row in records])


def test_the_earlier_study_is_drawn_from_its_test_accuracies():
    left, right = figures.earlier(of_groups(FULL)).axes
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
    monkeypatch.setattr(stats, "read", lambda root: [])
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
