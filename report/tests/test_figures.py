"""What the report's figures draw against plain means of the runs."""
import itertools
import json
import statistics

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text

import figures
import inference
import slide_figures
import stats
import study
from stats import STANDARD, scheme_name
from study import FULL, HALVED, METHODS, SPARSE, STUDIES, WHOLE

from .conftest import ROOT
from .made import (CONFIRMING, EXPLORING, FACTORS, FULL_PARTS, HALF_PARTS, HALVES, INITS, accuracy, across,
                   at, made, over, plain, random_groups, swapped)

ALL = {**figures.FIGURES, **{f"slide_{name}": draw for name, draw in slide_figures.FIGURES.items()}}
DRAWN = sorted(set(ALL) - {"diagram", "slide_diagram", "examples"})


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
    assert not ALL[name]({}) and not ALL[name](stats.groups(runs))


def test_the_tradeoff_has_the_plain_means_of_fresh_seeds():
    axis, = figures.tradeoff(of_groups(FULL)).axes
    *lines, dotted = axis.lines
    for line, init in zip(lines, STANDARD, strict=True):
        assert line.get_label() == scheme_name(init)
        for number in (0, 13, 28):
            assert line.get_xydata()[number].tolist() == [
                mean(FULL, init, CONFIRMING, at(number, of))
                for of in (lambda level: 100 * stats.density(level), accuracy)]
    assert dotted.get_ydata()[0] == pytest.approx(statistics.mean(
        statistics.mean(plain(FULL, {init: 1}, CONFIRMING, at(0))) for init in STANDARD))


@pytest.mark.parametrize("least, columns, ticks", [
    (0.0021, 3, "100 10 1 0.2"), (0.0021, 1, "100 50 20 10 5 2 1 0.5 0.2"), (0.03, 3, "100 50 20 10 5 3"),
    (0.036, 1, "100 50 20 10 5 3"), (0.0144, 2, "100 50 20 10 5 1.5")])
def test_the_densities_have_a_tick_near_both_ends(least, columns, ticks):
    axis = plt.figure().subplots(1, columns, squeeze=False)[0, 0]
    figures.density_axis(axis, np.array([1, least]), "")
    assert " ".join(label.get_text() for label in axis.get_xticklabels()) == ticks


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
    """The intervals that are drawn, from above, are those of rows of differences."""
    for place, d in enumerate(rows):
        ends, seeds, mean = (line.get_xdata() for line in axis.lines[3 * place:3 * place + 3])
        assert (*mean, *ends) == pytest.approx(inference.estimate(np.array(d))[:3])
        assert seeds == pytest.approx(d)


def assert_differences(axis, group, inits, base, seeds=CONFIRMING):
    for container, init in zip(axis.containers, inits, strict=True):
        assert container.get_label() == scheme_name(init)
        assert container.lines[0].get_ydata()[8] == mean(group, init, seeds, at(8), base)


CONV2, FIRST, FASHION = (STUDIES[name].group for name in ("conv2", "conv2-first", "fashion"))
ONE_SEED = {FASHION: {init: its[5:6] for init, its in random_groups()[FASHION].items()}}


def test_differences_are_drawn_within_seeds():
    contrasts = {"Kaiming − Xavier": FACTORS["variance_scaling"],
                 "uniform − normal": FACTORS["distribution"],
                 "interaction": dict(zip(STANDARD, (1, -1, -1, 1)))}
    few = {**ONE_SEED, **of_groups(FIRST)}       # one seed and three: too few for a test
    assert not figures.differences(few)
    above, below = figures.differences({**of_groups(FULL), **few}).axes
    assert_differences(above, FULL, STANDARD[1:], "xavier_normal")
    assert_intervals(below, [plain(FULL, weights, CONFIRMING, over(*part))
                             for part in FULL_PARTS.values() for weights in contrasts.values()])
    assert [label.get_text() for label in below.get_yticklabels()] == [*contrasts] * 2
    assert [text.get_text() for text in below.texts] == ["100 to 1.2%", "1.2 to 0.21%"]


@pytest.mark.parametrize("group, seeds, parts", [
    (CONV2, range(31, 39), [(0, 8), (8, 10)]), (FIRST, range(10, 13), [(0, 8)])])
def test_custom_schemes_are_compared_with_a_standard_one(group, seeds, parts):
    """On Conv-2 with Xavier uniform, on its eight seeds if they are there, else on its first three."""
    assert not figures.customs(of_groups(FULL, HALVED))     # without Conv-2
    chosen, best = study.candidates(of_groups(HALVED))
    left, *right = figures.customs({**of_groups(FULL, HALVED, FIRST, group), **ONE_SEED}).axes
    assert_differences(left, group, [*chosen, best], "xavier_uniform", seeds)
    for axis, (its, own, ranges, base, other) in zip(right, (
            (FULL, CONFIRMING, FULL_PARTS.values(), best, "xavier_uniform"),
            (group, seeds, parts, "xavier_uniform", best)), strict=True):
        inits = [*chosen, other]
        assert_intervals(axis, [plain(its, {init: 1, base: -1}, own, over(*part))
                                for part in ranges for init in inits])
        labels = [label.get_text() for label in axis.get_yticklabels()]
        assert labels == [*map(scheme_name, inits)] * len(ranges)


def test_methods_have_the_plain_means_of_the_exploring_seeds():
    found = random_groups()
    names = ("magnitude, layer by layer", *study.AT_INITIALIZATION)
    for axis, name in zip(figures.methods(found).axes, names, strict=True):
        assert axis.get_title() == f"{name}, n = " + ("5" if METHODS[name] == HALVED else "5/4/5/5")
        for line, init in zip(axis.lines, [*STANDARD, *study.candidates(found)[0]], strict=True):
            assert line.get_ydata()[3] == mean(METHODS[name], init, EXPLORING, at(3))


def test_the_gain_is_drawn_by_magnitude_and_by_movement():
    axis, = figures.doses(random_groups()).axes
    for container, name in zip(axis.containers, ("magnitude, layer by layer", "movement"), strict=True):
        assert container.get_label() == f"{name}, n = 5"
        assert container.lines[0].get_ydata().tolist() == [
            mean(METHODS[name], init, EXPLORING, over(*HALF_PARTS[SPARSE]))
            for init in ("xavier_normal@0.5", "xavier_normal", "xavier_normal@4")]


def test_distributions_have_the_plain_means_of_exploring_and_of_tested_seeds():
    left, right = figures.shapes(random_groups()).axes

    def drawn(container, name, inits, seeds):
        assert container.lines[0].get_ydata().tolist() == [
            mean(METHODS[name], init, seeds, over(*HALF_PARTS[WHOLE]), "xavier_normal") for init in inits]
    for container, name in zip(left.containers, ("magnitude, layer by layer", "movement"), strict=True):
        drawn(container, name, study.BY_KURTOSIS, EXPLORING)
    for place, name in enumerate(study.AT_INITIALIZATION):
        explored, tested = right.containers[2 * place:2 * place + 2]
        drawn(explored, name, study.BY_KURTOSIS, EXPLORING)
        drawn(tested, name, ("xavier_uniform", "shape_t4"), CONFIRMING)
        assert explored.get_label() == f"{name}, n = 4"     # one seed lacks Xavier uniform
        assert tested.get_label() == f"{name}: test, n = 7"


def test_slides_have_the_plain_means_of_one_study():
    def assert_lines(axis, group, seeds):
        for line, init in zip(axis.lines, STANDARD):
            assert line.get_ydata()[8] == mean(group, init, seeds, at(8))

    def assert_factors(axis, group, seeds, parts):
        assert_intervals(axis, [plain(group, weights, seeds, over(*part))
                                for part in parts for weights in FACTORS.values()])
    found = random_groups()
    axis, = slide_figures.FIGURES["mnist"](found).axes
    assert_lines(axis, FULL, CONFIRMING)
    axis, = slide_figures.FIGURES["forest"](found).axes
    assert_factors(axis, FULL, CONFIRMING, FULL_PARTS.values())
    left, right = slide_figures.FIGURES["fashion"](found).axes
    assert_lines(left, FASHION, CONFIRMING)
    assert_factors(right, FASHION, CONFIRMING, [HALF_PARTS[part] for part in STUDIES["fashion"].ranges])
    left, right = slide_figures.FIGURES["conv2"](found).axes
    assert_lines(left, CONV2, range(31, 39))
    for container, weights in zip(right.containers, FACTORS.values(), strict=True):
        assert container.lines[0].get_ydata().tolist() == [pytest.approx(statistics.mean(
            plain(CONV2, weights, range(31, 39), at(number)))) for number in range(11)]


def test_the_slide_of_the_screen_has_the_plain_means_of_validation_from_the_highest_down():
    left, right = slide_figures.screen(random_groups()).axes
    names, found = {scheme_name(init): init for init in INITS}, []
    for axis in (left, right):
        for label, bar, ends in zip(axis.get_yticklabels(), axis.patches, axis.lines):
            init = names.pop(label.get_text())
            d = plain(HALVED, {init: 1, "xavier_normal": -1}, EXPLORING,
                      over(0, 9, lambda level: 100 * level["val_acc"][1]))
            found.append(bar.get_width())
            assert found[-1] == pytest.approx(statistics.mean(d), abs=1e-9)
            assert ends.get_xdata() == pytest.approx(inference.estimate(np.array(d))[1:3])
    assert list(names) == ["Xavier normal"] and found == sorted(found, reverse=True)
    axis = plt.figure().add_subplot()
    slide_figures.draw_bar(axis, 0, np.array([-5.5, -5.9]), "custom scheme")
    assert "−5.7" in axis.texts[0].get_text()       # cut, and said


def test_the_slide_of_custom_schemes_has_the_plain_differences():
    found = random_groups()
    chosen, base = study.candidates(found)
    left, right = slide_figures.customs(found).axes
    assert_intervals(left, [plain(FULL, {init: 1, base: -1}, CONFIRMING, over(*part))
                            for part in FULL_PARTS.values() for init in chosen])
    assert_differences(right, CONV2, ["shape_sign"], "xavier_uniform", range(31, 39))


def test_the_slide_of_shapes_is_the_reports_panel_without_random_signs():
    right, = slide_figures.shapes(random_groups()).axes
    whole = figures.shapes(random_groups()).axes[1]
    assert [text.get_text().replace("\n", ", ") for text in right.get_xticklabels()] == [
        text.get_text() for text in whole.get_xticklabels()][1:]
    for place, (own, other) in enumerate(zip(right.containers, whole.containers, strict=True)):
        values = other.lines[0].get_ydata().tolist()
        assert own.get_label() == other.get_label()
        assert own.lines[0].get_ydata().tolist() == (values[1:] if place in (0, 2) else values)


def test_the_slide_of_reasons_has_the_plain_means_of_masks_values_and_restarts():
    axis, = slide_figures.reasons(random_groups()).axes
    way, plainly = "magnitude, layer by layer", (HALVED, "xavier_normal")
    cases = [{(swapped("xavier_normal@4", way), "xavier_normal"): 1, plainly: -1},
             {(swapped("xavier_normal", way), "xavier_normal@4"): 1, plainly: -1},
             *({(group, init): sign / 4 for group, sign in ((study.VARIANTS[name], 1), (HALVED, -1))
                for init in STANDARD} for name in ("signs of w0 alone", "w0 rescaled to each unit's norm"))]
    assert len(axis.patches) == len(cases)
    for bar, ends, weights in zip(axis.patches, axis.lines, cases):
        d = inference.estimate(np.array(across(weights, EXPLORING, over(*HALF_PARTS[SPARSE]))))
        assert (bar.get_width(), *ends.get_xdata()) == pytest.approx(d[:3])


def test_the_controls_have_the_plain_means_of_the_exploring_seeds():
    noise = np.random.default_rng(0)
    runs = [made("xavier_normal", seed, noise.uniform(90, 98, 29).tolist(), group=group)
            for group in study.CONTROL_GROUPS.values() for seed in (*EXPLORING, 10)]
    axis, = figures.controls(stats.groups(runs)).axes
    assert len(axis.lines) == len(study.CONTROL_GROUPS)
    for place, line in enumerate(axis.lines):
        values = [accuracy(run["levels"][4]) for run in runs[6 * place:6 * place + 5]]
        assert line.get_ydata()[4] == pytest.approx(statistics.mean(values))
    assert axis.lines[0].get_label() == "ticket (n = 5)"


def test_the_influence_has_the_plain_means_of_measure_and_accuracy():
    found = of_groups(HALVED)
    axis, = figures.influence(found).axes
    named = (*STANDARD, *study.candidates(found)[0])
    for init, drawn in zip(named, axis.containers[:len(named)], strict=True):
        assert drawn.get_label() == scheme_name(init)
        assert drawn.lines[0].get_xdata().tolist() == [mean(HALVED, init, range(4), at(
            4, lambda level: level["diagnostics"]["layers"]["fc1"]["rho"]))]
        assert drawn.lines[0].get_ydata().tolist() == [
            mean(HALVED, init, EXPLORING, over(*HALF_PARTS[SPARSE]), "xavier_normal")]
    runs = [made(init, seed, 90.0, **HALVES) for init in INITS for seed in EXPLORING]
    assert not figures.influence(stats.groups(runs))    # without diagnostics


def test_a_value_below_the_axis_stands_at_its_edge():
    runs = [made(init, seed, 90 - 11.24 * (init == "xavier_normal@4"), **HALVES)
            for init in INITS for seed in EXPLORING]
    for level, run in ((level, run) for run in runs for level in run["levels"]):
        level["diagnostics"] = {"layers": {"fc1": {"rho": 1 + INITS.index(run["config"]["init"])}}}
    axis, = figures.influence(stats.groups(runs)).axes
    marks = [line.get_xydata().tolist() for line in axis.lines if line.get_marker() == figures.CARETDOWN]
    assert marks == [[[1 + INITS.index("xavier_normal@4"), figures.FLOOR]]]
    assert axis.get_ylim()[0] == figures.FLOOR
    assert [text.get_text() for text in axis.texts] == ["−11.2"]


def test_rare_inputs_have_the_plain_shares(nine_pixels):
    def share(level):
        return 100 * sum(level["inputs"][place] for place in (0, 1, 6, 7)) / sum(level["inputs"])
    axis, = figures.rare_inputs(of_groups(FULL)).axes
    for line, init in zip(axis.lines, STANDARD, strict=True):
        assert line.get_ydata()[[0, 28]].tolist() == [
            mean(FULL, init, CONFIRMING, at(number, share)) for number in (0, 28)]
    assert axis.get_ylim()[0] == 0


def test_inputs_have_the_plain_means_at_the_density_nearest_2_percent():
    found = stats.groups([made(init, seed, 90.0) for init in STANDARD for seed in CONFIRMING])
    noise = np.random.default_rng(0)
    for run in itertools.chain(*found[FULL].values()):
        run["levels"][18]["inputs"] = noise.integers(9, size=784).tolist()     # 1.9%
        run["levels"][0]["inputs"] = [0] * 784
    left, right, _ = figures.inputs(found).axes
    for axis, init in ((left, "xavier_normal"), (right, "xavier_uniform")):
        assert axis.get_title().startswith(f"{scheme_name(init)}, 1.9%")
        assert axis.images[0].get_array().ravel().tolist() == pytest.approx([
            statistics.mean(own) for own in zip(*(run["levels"][18]["inputs"] for run in found[FULL][init]))])
    assert left.images[0].get_clim() == right.images[0].get_clim()


def test_the_earlier_study_is_drawn_from_its_test_accuracies():
    left, right = figures.earlier(of_groups(FULL)).axes
    there = json.loads((ROOT / "report" / "earlier-study.json").read_text())["table"]
    for line, init in zip(left.lines, STANDARD, strict=True):
        row = there[f"lenet {init.replace('_', '-')}"]
        assert line.get_ydata().tolist() == row["mean"] and line.get_label() == scheme_name(init)
        assert left.get_title() == f"earlier study, n = {row['n']}"
    assert len(right.lines) == 4


def test_the_examples_are_images_of_their_class(tmp_path, capsys):
    """Of each data set the first six of a class: an image of class k has 10 k + its number among them."""
    for name, shape in (("mnist", (4, 4)), ("fashion_mnist", (4, 4)), ("cifar10", (6, 6, 3))):
        assert figures.examples({}, tmp_path) is None
        assert "cannot be read" in capsys.readouterr().err
        labels = np.tile(np.arange(10, dtype=np.uint8), 9)
        pixels = (10 * labels + np.arange(90) // 10).astype(np.uint8)
        images = np.ones((90, *shape), np.uint8) * pixels.reshape(-1, *[1] * len(shape))
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=labels)
    for axis, side in zip(figures.examples({}, tmp_path).axes, (4, 4, 6), strict=True):
        sheet = axis.images[0].get_array()
        tiles = np.add.outer(10 * np.arange(10), np.arange(6)).repeat(side, 0).repeat(side, 1)
        assert sheet.shape[:2] == tiles.shape and (sheet.T == tiles.T).all()


def test_a_place_that_takes_no_figures_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(stats, "read", lambda root: [])
    monkeypatch.setattr("sys.argv", ["figures.py", "--figures", str(tmp_path / "file")])
    with pytest.raises(SystemExit, match="^Cannot write to .*: name another folder with --figures.$"):
        figures.main({"diagram": figures.diagram})
