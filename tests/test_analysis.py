"""The study's numbers on made-up curves with known answers: python -m pytest tests/test_analysis.py"""
import bz2
import errno
import functools
import itertools
import json
import math
import os
import re
import statistics
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

import pruners

import runs

import models
import prune
import stats
import tables
import train
from conftest import ROOT
from test_stats import SIZES, fake

NAN = float("nan")
FC = SIZES["fc"]
FULL_RATES, HALF_RATES = (0.2, 0.1), (0.5, 0.28)      # of fc's hidden layers and of its output, a round
HALVES = {"rates": HALF_RATES, "levels": 10, "group": tables.HALVED}
# of run_all.sh; conv-confirm and conv6 are not here, for no table reads them before all their runs are there
GRIDS = ("fc", "conv", "gpu", "controls", "screen", "rates", "confirm", "lit", "carry", "before", "why",
         "fashion", "half")


def made(init, seed, accuracy, validation=0.0, group=tables.FULL, levels=29, rates=FULL_RATES):
    """A run of fc: test and validation accuracy in % at early stop, one for all levels or one a level, None
    for a level without a finite loss. Early stop is the second of three looks; the last is a point lower."""
    def each(values):
        return values if isinstance(values, list) else [values] * levels
    found = []
    for number, (test, val) in enumerate(zip(each(accuracy), each(validation))):
        kept = {name: round(n * (1 - rates[name == "out"]) ** number) for name, n in FC.items()}
        lost = test is None
        found.append({"level": number, "kept": kept, "size": FC, "step": [10, 20, 30], "diverged": lost,
                      "val_loss": [None] * 3 if lost else [0.3, 0.1, 0.2],
                      "test_acc": [None] * 3 if lost else [0.0, test / 100, test / 100 - 0.01],
                      "train_loss": [0.5, 0.4, 0.3], "val_acc": [0.0, val / 100, 0.0], "inputs": []})
    data, net, rest = group.split("-", 2)
    config = {"data": data, "net": net, "init": init, "pruner": rest.split("-")[0], "seed": seed}
    return {"config": config, "provenance": [{"level": 0, "commit": "a"}], "init": {}, "levels": found,
            "name": f"{data}-{net}-{init}-{rest}-s{seed}"}


def densities(levels, rates=FULL_RATES):
    return [stats.density(level) for level in made("zero", 0, 0.0, levels=levels, rates=rates)["levels"]]


# ---- endpoints

def test_area_equals_the_trapezoids_by_hand():
    """Halvings are equally long in the logarithm, so that the ends count half."""
    found = stats.area([1, 0.5, 0.25, 0.125], [98, 97, 96, 90], 1, 0.125)
    assert found == pytest.approx((98 / 2 + 97 + 96 + 90 / 2) / 3)
    assert stats.area([1, 0.5, 0.25, 0.125], [98, 97, 96, 90], 0.5, 0.25) == pytest.approx(96.5)
    uneven = ((98 + 97) / 2 * math.log(1 / 0.8) + (97 + 90) / 2 * math.log(0.8 / 0.1)) / math.log(1 / 0.1)
    assert stats.area([1, 0.8, 0.1], [98, 97, 90], 1, 0.1) == pytest.approx(uneven)


@pytest.mark.parametrize("rates", [FULL_RATES, HALF_RATES])
def test_area_of_a_constant_and_of_a_line_in_the_logarithm_is_known(rates):
    """A line's mean is its middle, wherever the levels lie."""
    x = densities(29 if rates == FULL_RATES else 10, rates)
    middle = 90 + 2 * (math.log(x[0]) + math.log(x[-1])) / 2
    assert stats.area(x, np.full(len(x), 97.25), 1, 0.0021) == pytest.approx(97.25)
    assert stats.area(x, 90 + 2 * np.log(x), 1, 0.0021) == pytest.approx(middle)


def test_area_is_the_mean_of_its_parts_by_their_lengths():
    x, values = densities(29), np.random.default_rng(0).normal(95, 3, 29)
    whole, upper, tail = (stats.area(x, values, *pair) for pair in ((1, 0.0021), (1, 0.012), (0.012, 0.0021)))
    parts = upper * math.log(x[0] / x[20]) + tail * math.log(x[20] / x[28])
    assert whole * math.log(x[0] / x[28]) == pytest.approx(parts)


@pytest.mark.parametrize("high, low, there", [
    (1, 0.1, True), (1, 0.092, True), (1, 0.09, False), (1, 0.109, True), (1, 0.112, False),
    (0.92, 0.1, True), (0.89, 0.1, False), (0.1, 1, False), (1, 1, False), (0.1, 0.1, False),
    (1, 0.01, False), (0.3, 0.1, True)])
def test_area_is_there_where_both_bounds_are_near_a_level(high, low, there):
    assert np.isfinite(stats.area([1, 0.3, 0.1], [98, 97, 96], high, low)) == there


def test_area_of_an_unfinished_run_or_with_a_level_missing_is_nan():
    x = densities(29)
    assert math.isnan(stats.area(x[:28], [98] * 28, 1, 0.0021))
    assert math.isnan(stats.area(x[:20], [98] * 20, 1, 0.012))
    gap = [98] * 10 + [NAN] + [98] * 18
    assert math.isnan(stats.area(x, gap, 1, 0.012))
    assert stats.area(x, gap, 0.012, 0.0021) == pytest.approx(98)


def test_areas_are_by_seed_in_points_at_early_stop_and_of_finished_runs():
    runs = [made("xavier_normal", 3, 97.0, 96.5), made("xavier_normal", 1, 98.0, 95.0),
            made("xavier_normal", 2, 99.0, levels=28), made("xavier_normal", 4, [98.0] * 28 + [None])]
    assert stats.areas(runs, 1, 0.0021) == pytest.approx({3: 97, 1: 98})
    assert stats.areas(runs, 1, 0.012) == pytest.approx({3: 97, 1: 98, 2: 99, 4: 98})
    assert stats.areas(runs[:2], 1, 0.012, stats.final_test_acc) == pytest.approx({3: 96, 1: 97})
    assert stats.areas(runs[:2], 1, 0.012, stats.early_val_acc) == pytest.approx({3: 96.5, 1: 95})


def test_level_near_is_the_nearest_in_ratio_within_a_tenth():
    for wanted, found in ((1, 0), (0.5, 1), (0.54, 1), (0.46, 1), (0.25, 2), (0.7, None)):
        assert stats.level_near([1, 0.5, 0.25], wanted) == found
    assert stats.level_near([0.109, 0.0915], 0.1) == 0       # off by 9.0% and 9.3%, by 0.009 and 0.0085
    assert stats.level_near([0.1, 0.1], 0.1) == 0
    for ratio, found in ((1.099, 0), (1.101, None), (1 / 1.099, 0), (1 / 1.101, None)):
        assert stats.level_near([0.012 * ratio], 0.012) == found
    for wanted in np.geomspace(1, 0.002, 200):
        x = densities(29)
        plain = min(range(29), key=lambda number: max(x[number] / wanted, wanted / x[number]))
        near = max(x[plain] / wanted, wanted / x[plain]) < 1.1
        assert stats.level_near(x, wanted) == (plain if near else None)


def test_within_a_point_equals_the_crossing_by_hand():
    """Dense is 98, so the line is 97; halfway down a halving is a factor of the root of two."""
    x = [1, 0.5, 0.25, 0.125]
    assert stats.within_a_point(x, [98, 98, 96, 99], 98) == pytest.approx(0.5 / math.sqrt(2))
    assert stats.within_a_point(x, [98, 97.5, 97.25, 96.25], 98) == pytest.approx(0.25 * 0.5 ** 0.25)
    assert stats.within_a_point(x, [98, 97, 96, 95], 98) == pytest.approx(0.5)     # a point below is within
    assert stats.within_a_point(x, [98, 98, 98, 97], 98) == 0.125
    assert stats.within_a_point(x, [98.5, 98, 98, 98], 97) == 0.125                # never below
    assert math.isnan(stats.within_a_point(x, [97, 98, 98, 98], 98.5))             # below at once


def test_within_a_point_is_not_known_where_a_value_is_missing_before_the_crossing():
    x = [1, 0.5, 0.25, 0.125]
    assert math.isnan(stats.within_a_point(x, [NAN, 98, 98, 98], 98))
    assert math.isnan(stats.within_a_point(x, [98, NAN, 98, 98], 98))
    assert math.isnan(stats.within_a_point(x, [98, 98, 98, 98], NAN))
    assert stats.within_a_point(x, [98, 96, NAN, 98], 98) == pytest.approx(math.sqrt(0.5))


# ---- t

# scipy.stats.t.sf(t, df) at t = -2.5, 0.3, 1, 2.5, 6
ABOVE = {1: (0.878881058409157, 0.407226420922258, 0.25, 0.121118941590843, 0.0525684567112534),
         2: (0.935194139889245, 0.396242830420089, 0.211324865405187, 0.0648058601107554, 0.0133357366077124),
         3: (0.956146676495967, 0.39188164601996, 0.195501109477885, 0.0438533235040328, 0.00463635744614233),
         4: (0.966616727594006, 0.38956071413873, 0.186950483150029, 0.0333832724059941, 0.00194126852348026),
         9: (0.983069086158507, 0.385495351870762, 0.171718198068957, 0.0169309138414929, 0.00010124966103),
         19: (0.989129794415801, 0.383717330169632, 0.164938400460562, 0.0108702055841987, 4.489617737e-06),
         120: (0.993115232537485, 0.382348105587593, 0.159661361932211, 0.0068847674625152, 1.0741519e-08)}
# scipy.stats.t.ppf((1 + confidence) / 2, df) at 0.9, 0.999
QUANTILES = {1: (6.31375151467504, 636.61924876879), 3: (2.35336343480182, 12.923978636688),
             19: (1.72913281152137, 3.88340585259213)}


@pytest.mark.parametrize("df", ABOVE)
def test_t_above_equals_scipy(df):
    for t, p in zip((-2.5, 0.3, 1, 2.5, 6), ABOVE[df]):
        assert stats.t_above(t, df) == pytest.approx(p, abs=1e-12)
        assert stats.t_above(t, df) + stats.t_above(-t, df) == pytest.approx(1, abs=1e-12)
    assert stats.t_above(0, df) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("df", QUANTILES)
def test_t_quantile_equals_scipy_and_inverts_t_above(df):
    for confidence, t in zip((0.9, 0.999), QUANTILES[df]):
        assert stats.t_quantile(df, confidence) == pytest.approx(t, rel=1e-9)
        assert 1 - 2 * stats.t_above(stats.t_quantile(df, confidence), df) == pytest.approx(confidence)


def test_t_above_is_a_probability_far_out():
    """scipy.stats.t.sf; as differences of sd 0.01 at n = 20 give against a margin of 0.1."""
    for t, df, p in ((30, 4, 3.6764280488306595e-06), (12.5, 9, 2.717156590890327e-07),
                     (44.72, 19, 5.096724682604239e-21)):
        assert stats.t_above(t, df) == pytest.approx(p, rel=1e-6, abs=0)
    assert min(stats.t_above(t, df) for t in range(0, 400, 20) for df in (1, 5, 19)) >= 0


# ---- tests of paired differences

def flips(n):
    return itertools.product((1, -1), repeat=n)


def plain_sign_flip(d):
    """The share of all choices of signs with a sum at least as far from 0, in exact fractions."""
    d = [Fraction(str(x)) for x in d]
    sums = [sum(s * x for s, x in zip(signs, d)) for signs in flips(len(d))]
    return sum(abs(found) >= abs(sum(d)) for found in sums) / len(sums)


def plain_t(d):
    return statistics.mean(d) / (statistics.stdev(d) / math.sqrt(len(d)))


def plain_max_t(rows):
    """For each row the share of joint flips whose largest |t| of all rows is at least as large as its own."""
    largest = []
    for signs in flips(len(rows[0])):
        largest.append(max(abs(plain_t([s * x for s, x in zip(signs, row)])) for row in rows))
    return [sum(t >= abs(plain_t(row)) * (1 - 1e-9) for t in largest) / len(largest) for row in rows]


def plain_holm(p):
    """The textbook: sorted, times what is left, never below the one before, never above 1."""
    adjusted, worst = [None] * len(p), 0
    for place, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        worst = max(worst, min(1, p[index] * (len(p) - place)))
        adjusted[index] = worst
    return adjusted


@pytest.mark.parametrize("d", [
    [0.7], [-0.7], [0.0], [0, 0, 0, 0], [1, 1, 1, 1], [1, -1, 2, -2], [0, 0, 3, 4], [0.1, 0.2, 0.3],
    [0.1, 0.2, -0.3], [1, 2, 3, 4, 5, 6], [1, 1, 1, -1, 1, 1], [-0.3, -0.1, -0.2, -0.4],
    [0.3, 0.3, 0.3, -0.9, 0.1, 0.2],
    [1e-3, 2e-3, 3e-3], *np.random.default_rng(0).normal(0.4, 1, (8, 8)).round(2).tolist()])
def test_sign_flip_equals_every_choice_of_signs(d):
    assert stats.sign_flip(np.array(d, float)) == plain_sign_flip(d)


@pytest.mark.parametrize("n", range(1, 15))
def test_the_least_p_is_two_of_all_choices(n):
    assert stats.sign_flip(np.linspace(0.01, 1, n)) == stats.sign_flip(-np.ones(n)) == 2 / 2 ** n
    assert stats.sign_flip(np.linspace(-1, 1, n)) == 1


def test_the_flips_are_all_of_them_to_20_and_begin_with_none_beyond():
    assert stats.sign_flip(np.linspace(0.01, 1, 20)) == stats.sign_flip(np.ones(20)) == 2 / 2 ** 20
    for n in range(21, 27):
        sums = stats.flipped(np.arange(n))
        assert len(sums) == 2 ** 20 and sums[0] == n * (n - 1) / 2


@pytest.mark.parametrize("seed", range(4))
def test_max_t_equals_a_double_loop_over_joint_flips(seed):
    noise = np.random.default_rng(seed)
    shared = noise.normal(0, 1, 6)
    rows = (noise.normal(0.5, 1, (4, 6)) * [[1], [10], [0.1], [1]] + seed % 2 * shared).round(3)
    assert stats.max_t(rows) == pytest.approx(plain_max_t(rows.tolist()), abs=1e-12)


def test_max_t_of_one_row_is_the_sign_flip_of_t():
    """With the sum of squares fixed |t| grows with |sum|, ties included; a copy of a row changes nothing."""
    for d in ([1, 2, 3, 4, 5], [1, 1, -1, 2], [3, -1, 4, -1, 5, -9, 2, 6], [0.1, 0.2, -0.3, 0.5]):
        row = np.array(d, float)
        assert stats.max_t(row[None]) == [stats.sign_flip(row)] == plain_max_t([d])
        assert stats.max_t(np.array([row, row, -row])) == 3 * [stats.sign_flip(row)]


def test_max_t_is_no_less_than_each_rows_own_p_and_falls_with_its_t():
    rows = np.random.default_rng(3).normal(0.6, 1, (4, 10))
    found = stats.max_t(rows)
    assert all(stats.sign_flip(row) <= p <= 1 for p, row in zip(found, rows))
    order = sorted(range(4), key=lambda index: -abs(plain_t(rows[index].tolist())))
    assert [found[index] for index in order] == sorted(found)


def test_max_t_of_equal_differences_is_the_least_p():
    for value, n in itertools.product((0.07, 0.1, 0.3, 0.7, 1 / 3), (5, 8, 10, 12)):
        assert stats.max_t(np.full((1, n), value)) == [2 / 2 ** n]


@pytest.mark.parametrize("p", [
    [], [0.04], [0.01, 0.04, 0.03, 0.005], [0.02, 0.02, 0.02], [0.5, 0.9, 1.0], [1, 1],
    [0.01, 0.02, 0.011, 0.2, 0.02, 0.01], *np.random.default_rng(1).uniform(0, 0.3, (6, 6)).tolist()])
def test_holm_equals_the_textbook(p):
    found = stats.holm(p)
    assert found == pytest.approx(plain_holm(p))
    for (a, b), (x, y) in zip(itertools.permutations(p, 2), itertools.permutations(found, 2)):
        assert x <= y if a < b else x == y if a == b else True
    assert all(a <= x <= min(1, len(p) * a) for a, x in zip(p, found))


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([2 / 256] * 4 + [0.5, 0.8]) == pytest.approx([12 / 256] * 4 + [1, 1])


PILOT = [0.05, -0.02, 0.11, 0.08, 0.02, 0.07, -0.05, 0.14, 0.01, 0.09, 0.03, 0.06, -0.01, 0.10, 0.04, 0.12,
         -0.03, 0.08, 0.05, 0.0]


@pytest.mark.parametrize("d, margin, p", [  # the larger p of two scipy.stats.ttest_1samp, one-sided
    ([0.02, -0.05, 0.07, 0.01, -0.03], 0.1, 0.005024654861290416), (PILOT, 0.1, 0.00012873024861043245),
    ([0.3, 0.25, 0.28, 0.35, 0.31, 0.27], 0.1, 0.9999801820729145), ([0.1, -0.2], 0.5, 0.10241638234956672),
    ([-0.09, -0.04, -0.12, -0.02], 0.1, 0.1251818345013305)])
def test_equivalence_equals_two_one_sided_t_tests(d, margin, p):
    d = np.array(d)
    assert stats.equivalence(d, margin) == pytest.approx(p, rel=1e-9)
    assert stats.equivalence(-d, margin) == pytest.approx(p, rel=1e-9)
    assert stats.equivalence(30 * d, 30 * margin) == pytest.approx(p, rel=1e-9)


def test_equivalence_on_the_margin_is_a_half_and_without_spread_yes_or_no():
    assert stats.equivalence(np.array([0.0, 0.25, 0.125, 0.125]), 0.125) == pytest.approx(0.5, abs=1e-3)
    assert [stats.equivalence(np.full(4, x), 0.5) for x in (0.0, 0.25, -0.25, 0.5, -0.75)] == [0, 0, 0, 1, 1]


# ---- intervals

# scipy.stats.t.ppf(0.975, n - 1)
HALF_WIDTHS = {9: 2.306004135204166, 10: 2.2621571628540993, 20: 2.093024054408263}


@pytest.mark.parametrize("n", HALF_WIDTHS)
def test_the_interval_is_students(n):
    d = np.random.default_rng(5).normal(0, 1, n)
    half = HALF_WIDTHS[n] * statistics.stdev(d.tolist()) / n ** 0.5
    assert stats.interval(d) == pytest.approx((d.mean() - half, d.mean() + half), abs=1e-9)
    assert all(math.isnan(end) for end in stats.interval(d[:1]) + stats.interval(d[:0]))


def test_signed_says_mean_and_interval():
    d = np.array([1.0, 2.0, 4.0, 9.0])        # t(0.975, 3) = 3.18244630528371, scipy.stats.t.ppf
    half = 3.18244630528371 * statistics.stdev(d) / 2
    assert tables.signed(d) == f"+4.000 [{4 - half:+.3f}, {4 + half:+.3f}]"
    assert [tables.signed(d[:1]), tables.signed(d[:0])] == ["+1.00", ""]


# ---- pairing

def test_paired_takes_the_seeds_that_all_have_in_whatever_order():
    values = {"a": {3: 1.0, 1: 2.0, 2: 5.0, 9: 7.0}, "b": {2: 0.5, 3: 0.25, 1: 4.0}, "c": {1: 8.0, 3: 16.0}}
    assert stats.paired(values, {"a": -1, "b": 1}).tolist() == [2.0, -4.5, -0.75]          # seeds 1, 2, 3
    assert stats.paired(values, {"c": 1, "b": -0.5, "a": -0.5}).tolist() == [5.0, 15.375]  # seeds 1, 3
    turned = {init: dict(reversed(seeds.items())) for init, seeds in reversed(values.items())}
    weights = {"a": 2, "b": -3}
    assert np.array_equal(stats.paired(turned, weights), stats.paired(values, weights))
    for missing in ({"a": 1, "d": -1}, {"d": 1}):
        assert stats.paired(values, missing).shape == (0,)
    assert stats.paired({"a": {1: 2.0}, "b": {2: 2.0}}, {"a": 1, "b": -1}).shape == (0,)


def test_the_contrasts_are_those_of_two_factors():
    """On XN, XU, KN, KU: scale, shape and interaction of means made from known effects; six pairs."""
    value = {init: {0: 90 + 3 * ("kaiming" in init) + 1 * ("uniform" in init)
                    + 0.5 * (init == "kaiming_uniform")} for init in stats.STANDARD}
    contrasts = [stats.paired(value, weights).tolist() for weights in tables.CONTRASTS.values()]
    assert contrasts == [[3.25], [1.25], [0.5]]
    found = {name: stats.paired(value, weights).tolist() for name, weights in tables.PAIRS.items()}
    assert len(found) == 6
    assert found == {f"{b} less {a}": [value[b][0] - value[a][0]]
                     for a, b in itertools.combinations(stats.STANDARD, 2)}


def standards(n, scale=0.3, shape=0.1, wiggle=1.0, first=10, **settings):
    """Runs of the four schemes, n seeds: effects as said plus wiggles of mean 0, large between seeds; the
    interaction is a wiggle alone. Seeds before `first` are far off."""
    steps = np.linspace(-1, 1, n)
    e, f, g = (wiggle * size * np.roll(steps, roll) for size, roll in ((0.05, 0), (0.03, 1), (0.02, 2)))
    runs = [made(init, seed, 50.0 + 9 * number, **settings)
            for number, init in enumerate(stats.STANDARD) for seed in range(max(first - 7, 0), first)]
    for i, init in itertools.product(range(n), stats.STANDARD):
        kaiming, uniform = "kaiming" in init, "uniform" in init
        points = kaiming * (scale + e[i]) + uniform * (shape + f[i]) + kaiming * uniform * g[i]
        runs.append(made(init, first + i, 96 + math.sin(i) + points, **settings))
    return runs


def fresh(runs):
    """{scheme: its runs of the confirming seeds}."""
    return {init: [run for run in runs if run["config"]["init"] == init and run["config"]["seed"] >= 10]
            for init in stats.STANDARD}


def test_contrasts_of_known_effects_say_so():
    """n = 8, all of one sign: p = 2/256, in a family of six 12/256 by Holm; interaction 0, p 1."""
    _, head, rows = tables.contrasts(stats.groups(standards(8)))
    upper, tail = ("100 to 1.2%", "1.2 to 0.21%")
    assert [(row[2], row[1].split(":")[0]) for row in rows] == [
        (span, label) for span in (upper, tail) for label in ("scale", "shape", "interaction of the two")]
    assert len(head) == len(rows[0]) and {row[0] for row in rows} == {"LeNet-300-100, MNIST"}
    expected = [("+0.300 [", "0.008", "0.047", "different"), ("+0.100 [", "0.008", "0.047", "different"),
                ("0.000 [", "1.000", "1.000", "equivalent")] * 2
    for row, (mean, p, holm, verdict) in zip(rows, expected):
        assert row[4].startswith(mean) or row[4][1:].startswith(mean)        # the sign of a rounded 0 is free
        assert (row[3], row[5], row[6], row[8]) == ("8", p, holm, verdict)
    assert [row[7].endswith(" (+-0.1)") for row in rows] == [True] * 6
    assert rows[1][7] == "0.500 (+-0.1)"                     # the effect is the margin


def test_contrasts_of_each_study_are_a_family_with_its_margin():
    name = "LeNet-300-100, Fashion-MNIST"
    settings = {**HALVES, "group": tables.STUDIES[name].group}
    alone = tables.contrasts(stats.groups(standards(8, **settings)))[2]
    both = tables.contrasts(stats.groups(standards(8, **settings) + standards(8, wiggle=3)))[2]
    assert [row[0] for row in both] == ["LeNet-300-100, MNIST"] * 6 + [name] * 6
    assert both[6:] == alone and [row[6] for row in alone] == ["0.047", "0.047", "1.000"] * 2


def test_a_contrast_uses_the_seeds_that_all_four_have():
    runs = [run for run in standards(8) if "xavier_uniform" not in run["name"] or run["config"]["seed"] != 12]
    rows = tables.contrasts(stats.groups(runs[::-1]))[2]
    assert [row[3] for row in rows] == ["7"] * 6
    areas = {init: {run["config"]["seed"]: 100 * run["levels"][0]["test_acc"][1] for run in members}
             for init, members in fresh(runs).items()}
    for init, found in tables.by_scheme(fresh(runs), (1, 0.012)).items():
        assert found == pytest.approx(areas[init])
    d = [(areas["kaiming_normal"][s] + areas["kaiming_uniform"][s] - areas["xavier_normal"][s]
          - areas["xavier_uniform"][s]) / 2 for s in (10, 11, 13, 14, 15, 16, 17)]
    assert rows[0][4].startswith(f"{statistics.mean(d):+.3f} [") and rows[0][5] == f"{2 / 2 ** 7:.3f}"


def test_the_words_of_a_verdict():
    assert [tables.verdict(p, same) for p, same in itertools.product((0.05, 0.051), repeat=2)] == [
        "different, within the margin", "different", "equivalent", "not shown"]



@pytest.mark.parametrize("n, few", [(5, True), (6, False)])
def test_few_pairs_give_an_estimate_and_no_verdict(n, few):
    """Of five pairs no choice of signs gives a p below 5%: 2 / 32; of six, 2 / 64."""
    rows = tables.contrasts(stats.groups(standards(n)))[2]
    assert len(rows) == 6 and [row[8] == "estimate" for row in rows] == [few] * 6
    assert (2 / 2 ** n > 0.05) == few


@pytest.mark.parametrize("scale, wiggle, word", [
    (0.3, 1, "different"), (0.02, 0.05, "different, within the margin"), (0.0, 0.5, "equivalent"),
    (0.1, 30, "not shown")])
def test_a_table_says_each_word_where_it_is_true(scale, wiggle, word):
    rows = tables.contrasts(stats.groups(standards(8, scale=scale, wiggle=wiggle)))[2]
    assert [row[8] for row in rows if row[1].startswith("scale")] == [word] * 2


def test_the_pairs_have_a_holm_family_an_endpoint():
    """report/PROTOCOL.md: six pairs in a family, so that five of p = 2/256 are 12/256."""
    runs = standards(8)
    rows, areas = tables.pairs(stats.groups(runs))[2], tables.by_scheme(fresh(runs), (1, 0.012))
    p = [stats.sign_flip(stats.paired(areas, weights)) for weights in tables.PAIRS.values()]
    assert [row[6] for row in rows] == 2 * [tables.p_text(adjusted) for adjusted in plain_holm(p)]


# ---- calibration and power

def test_calibration_equals_a_plain_loop_over_the_same_pairings():
    values = np.random.default_rng(4).normal(97, 1, 13).round(2)
    g, rejected = np.random.default_rng(0), 0
    for _ in range(30):
        draw = g.permutation(values)[:12]
        rejected += plain_sign_flip((draw[:6] - draw[6:]).round(6).tolist()) <= 0.05
    assert stats.calibration(values, repeats=30) == rejected / 30


@pytest.mark.parametrize("n", [12, 16, 20])
def test_calibration_rejects_in_five_percent_or_less(n):
    """The exact test can't reject more often; 2000 pairings know that to 0.5%, of which three are allowed."""
    noise = np.random.default_rng(n)
    found = [stats.calibration(noise.normal(97, 0.1, n), repeats=400) for _ in range(10)]
    found.append(stats.calibration([*noise.normal(97, 0.1, n - 1), 11.35], repeats=400))      # one collapsed
    attained = math.floor(0.05 * 2 ** (n // 2) / 2) * 2 / 2 ** (n // 2)
    assert 0 < attained <= 0.05
    assert max(found) <= attained + 3.5 * (0.05 * 0.95 / 400) ** 0.5
    assert np.mean(found[:10]) <= attained + 3 * (0.05 * 0.95 / 4000) ** 0.5
    assert np.mean(found[:10]) >= attained - 3 * (0.05 * 0.95 / 4000) ** 0.5


@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "standard_exponential"])
def test_two_arms_of_one_distribution_differ_in_five_percent_or_less(draw):
    """500 times 8 pairs; the most that the test attains is 12/256."""
    noise = np.random.default_rng(11)
    arms = getattr(noise, draw)(size=(2, 500, 8))
    rejected = sum(stats.sign_flip(d) <= 0.05 for d in arms[0] - arms[1])
    sd = (500 * 0.05 * 0.95) ** 0.5
    assert 500 * 12 / 256 - 3 * sd <= rejected <= 500 * 0.05 + 3 * sd


def test_max_t_and_holm_keep_the_chance_of_any_false_alarm():
    noise, alarms = np.random.default_rng(12), np.zeros(2)
    for _ in range(300):
        rows = noise.normal(0, 1, (4, 8)) + noise.normal(0, 1, 8)
        own = [stats.sign_flip(row) for row in rows]
        alarms += [min(stats.max_t(rows)) <= 0.05, min(stats.holm(own)) <= 0.05]
    assert max(alarms) <= 300 * 0.05 + 3 * (300 * 0.05 * 0.95) ** 0.5


def test_a_difference_of_two_sd_is_found_by_twenty_pairs():
    noise = np.random.default_rng(13)
    for _ in range(5):
        p = stats.sign_flip(noise.normal(2, 1, 20))
        assert 2 / 2 ** 20 <= p <= 0.05 / 6
    row = tables.contrasts(stats.groups(standards(20, wiggle=2)))[2][0]
    assert row[3] == "20" and row[8] == "different" and float(row[6]) < 0.001


# ---- files

def one_run(folder, seed=0, **config):
    """A small run's metrics.json; what read should give."""
    run = made("xavier_normal@0.5", seed, [97.0, None, 95.5], levels=3)
    run["config"].update(config)
    (folder / run["name"]).mkdir(parents=True)
    (folder / run["name"] / "metrics.json").write_bytes(stats.written(run))
    return run


def test_kept_runs_are_read_as_they_were(tmp_path):
    runs = [one_run(tmp_path / "runs", seed) for seed in (2, 0, 11)]
    fake(tmp_path / "runs", levels=2)
    stats.keep(tmp_path / "runs", tmp_path / "results")
    kept, there = stats.read(tmp_path / "results"), stats.read(tmp_path / "runs")
    order = functools.partial(sorted, key=lambda run: run["name"])
    assert order(kept) == order(there) and all(run in kept for run in runs) and len(kept) == 4
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == sorted(
        f"{run['name']}.json.bz2" for run in kept)
    found = stats.groups(kept)
    assert [run["config"]["seed"] for run in found[tables.FULL]["xavier_normal@0.5"]] == [0, 2, 11]


def test_equal_metrics_give_equal_bytes(tmp_path, monkeypatch):
    """Whenever they are written; other metrics replace them."""
    one_run(tmp_path / "runs")
    stats.keep(tmp_path / "runs", tmp_path / "results")
    path, = (tmp_path / "results").iterdir()
    before, source = path.read_bytes(), next((tmp_path / "runs").glob("*/metrics.json"))
    os.utime(source, (1, 1))
    monkeypatch.setattr("time.time", lambda: 1e9)
    stats.keep(tmp_path / "runs", tmp_path / "results")
    stats.keep(tmp_path / "runs", tmp_path / "other")
    assert path.read_bytes() == before == (tmp_path / "other" / path.name).read_bytes()
    assert bz2.decompress(before) == source.read_bytes()
    runs.save_file(source, json.loads(json.dumps(runs.load_file(source)).replace("0.97", "0.98")))
    stats.keep(tmp_path / "runs", tmp_path / "results")
    assert path.read_bytes() != before and len(list((tmp_path / "results").iterdir())) == 1


def test_a_damaged_copy_is_named_in_one_sentence(tmp_path):
    """Cut at every length, every byte flipped: one sentence, or (in codes that nothing uses) the same run."""
    run = one_run(tmp_path / "runs")
    stats.keep(tmp_path / "runs", tmp_path / "results")
    path, = (tmp_path / "results").iterdir()
    whole, same = path.read_bytes(), 0
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1:] for i in range(len(whole))]
    for content in damaged:
        path.write_bytes(content)
        try:
            assert stats.read(tmp_path / "results") == [run]
            same += 1
        except SystemExit as end:
            said = str(end.code)
            assert path.name in said and said.endswith("run it again.") and "\n" not in said
    assert same < len(damaged) / 100


def test_a_damaged_run_is_not_kept(tmp_path):
    run = one_run(tmp_path / "runs")
    stats.keep(tmp_path / "runs", tmp_path / "results")
    path = tmp_path / "runs" / run["name"] / "metrics.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(SystemExit, match="metrics.json is not a run's metrics.*run it again.$"):
        stats.keep(tmp_path / "runs", tmp_path / "results")
    assert stats.read(tmp_path / "results") == [run]


def test_a_run_without_its_checksum_is_not_read(tmp_path):
    path = tmp_path / one_run(tmp_path)["name"] / "metrics.json"
    path.write_text(path.read_text().replace('"crc32"', '"crc33"'))
    with pytest.raises(SystemExit, match=r"is not a run's metrics \(checksum\).*run it again.$"):
        stats.read(tmp_path)


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    one_run(tmp_path / "runs")
    (tmp_path / "results").mkdir()

    def full(*paths):
        raise OSError(errno.ENOSPC, "full")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError):
        stats.keep(tmp_path / "runs", tmp_path / "results")
    assert not list((tmp_path / "results").iterdir())


def test_a_shorter_run_replaces_no_longer_one(tmp_path):
    run = one_run(tmp_path / "runs")
    stats.keep(tmp_path / "runs", tmp_path / "results")
    path = tmp_path / "runs" / run["name"] / "metrics.json"
    runs.save_file(path, {**runs.load_file(path), "levels": run["levels"][:1]})
    stats.keep(tmp_path / "runs", tmp_path / "results")
    assert stats.read(tmp_path / "results") == [run]


def test_a_run_without_a_level_is_not_kept(tmp_path):
    run, begun = one_run(tmp_path / "runs"), one_run(tmp_path / "runs", seed=3)
    (tmp_path / "runs" / begun["name"] / "metrics.json").write_bytes(stats.written({**begun, "levels": []}))
    stats.keep(tmp_path / "runs", tmp_path / "results")
    assert stats.read(tmp_path / "results") == [run]


@pytest.mark.parametrize("words", ["{0}/none --back {0}/new", "{0}/new --keep {0}/none",
                                   "{0}/runs --back {0}/file", "{0}/file --keep {0}/runs"])
def test_where_there_is_nothing_to_read_or_no_place_to_write_one_sentence_says_so(
        tmp_path, monkeypatch, words):
    one_run(tmp_path / "runs")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(sys, "argv", ["stats.py", *words.format(tmp_path).split()])
    with pytest.raises(SystemExit, match="^(No runs in|Cannot write there)[^\n]*$"):
        stats.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "runs"]


def test_runs_come_back_as_train_wrote_them_and_none_is_overwritten(tmp_path, monkeypatch):
    """Byte by byte; to prune.py they are finished runs."""
    two = [one_run(tmp_path / "runs", seed) for seed in (0, 1)]
    paths = [tmp_path / "runs" / run["name"] / "metrics.json" for run in two]
    for path in paths:
        runs.save_file(path, runs.load_file(path))
    before = [path.read_bytes() for path in paths]
    stats.keep(tmp_path / "runs", tmp_path / "results")
    paths[0].unlink()
    paths[1].write_bytes(b"its own")
    words = ["stats.py", tmp_path / "results", "--back", tmp_path / "runs"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    stats.main()
    assert paths[0].read_bytes() == before[0] and paths[1].read_bytes() == b"its own"
    assert len(runs.load_file(paths[0])["levels"]) == 3


def test_mixed_counts_what_differs():
    runs = [made("xavier_normal", seed, 97.0, levels=1) for seed in range(4)]
    assert stats.mixed(runs) == {} == stats.mixed([])
    runs[1]["provenance"] = [{"commit": "a"}, {"commit": "b"}, {"commit": "a"}]
    runs[2]["provenance"] = [{"commit": "b"}]
    runs[3]["config"] = {**runs[3]["config"], "data_crc32": 7}
    assert stats.mixed(runs) == {"commits": {"a": 2, "a+b": 1, "b": 1}, "data files": {None: 3, 7: 1}}


# ---- the screen and its finalists

SCORES = {"xavier_normal": 97.0, "xavier_uniform": 97.5, "kaiming_normal": 96.0, "kaiming_uniform": 97.25,
          "shape_normal": 99.0, "shape_uniform": 99.5, "orthogonal": 98.0, "xavier_normal@0.5": 98.5,
          "shape_sign": 97.75, "xavier_normal_lit": 99.75, "sparse_90": 90.0}  # _lit is not eligible


def screening(seeds=(0, 1, 2, 3, 4), scores=SCORES, late=None):
    """A screen with these validation scores; on test images, and in seeds from 10 on, sparse_90 is best."""
    runs = []
    for number, (init, score) in enumerate(scores.items()):
        for seed in seeds:
            runs.append(made(init, seed, 99.9 if init == "sparse_90" else 80.0 + number,
                             score + 0.25 * (seed - np.mean(seeds)), **HALVES))
        for seed in late or ():
            best = init in ("sparse_90", "kaiming_normal")
            runs.append(made(init, seed, 30.0, 100.0 if best else 10.0, **HALVES))
    return runs


@pytest.mark.parametrize("late", [None, (10, 11, 12, 13)])
def test_finalists_are_the_protocols(late):
    """The two best custom schemes and the best standard one, by validation, by seeds below 10 alone."""
    found = stats.groups(screening(late=late))
    scores = tables.screened(found)
    assert all(list(values) == [0, 1, 2, 3, 4] for values in scores.values())
    for init, score in SCORES.items():
        assert scores[init] == pytest.approx({seed: score + 0.25 * (seed - 2) for seed in range(5)})
    assert tables.finalists(found) == (["xavier_normal@0.5", "orthogonal"], "xavier_uniform")


def test_finalists_as_far_as_the_screen_has_been_run():
    assert tables.finalists({}) == ([], None)
    few = {init: SCORES[init] for init in ("xavier_normal", "shape_uniform", "sparse_90")}
    assert tables.finalists(stats.groups(screening(scores=few))) == (["sparse_90"], "xavier_normal")
    assert tables.finalists(stats.groups(screening(seeds=(0, 1, 2, 3)))) == ([], None)
    unfinished = screening() + [made("orthogonal@2", 0, 99.9, 99.9, **{**HALVES, "levels": 9})]
    assert tables.finalists(stats.groups(unfinished))[0] == ["xavier_normal@0.5", "orthogonal"]


def test_the_screens_score_is_an_area_from_dense_to_the_end():
    """A line in the logarithm of the density has the mean of its ends."""
    x = densities(10, HALF_RATES)
    line = [95 + 2 * math.log(density) for density in x]
    found = tables.screened(stats.groups([made("orthogonal", 4, 50.0, line, **HALVES)]))
    assert found["orthogonal"][4] == pytest.approx((line[0] + line[-1]) / 2)


def test_the_screen_is_sorted_by_score_and_paired_with_xavier_normal():
    rows = tables.screen(stats.groups(screening()))[2]
    assert [row[0] for row in rows] == sorted(SCORES, key=lambda init: -SCORES[init])
    for row in rows:
        assert row[1] == f"{SCORES[row[0]]:.2f} (0.40)" and row[5] == "5"
        gap = SCORES[row[0]] - SCORES["xavier_normal"]
        assert row[2].startswith(f"{gap:+.3f} [") if row[0] != "xavier_normal" else row[2] == ""
        test = 99.9 if row[0] == "sparse_90" else 80 + list(SCORES).index(row[0])
        assert row[3] == row[4] == f"{test:.2f} (0.00)"


def test_the_screens_columns_are_of_the_same_seeds():
    first, again = (tables.screen(stats.groups(screening(late=late)))[2] for late in (None, (10, 11)))
    assert first == again


def test_learning_rates_are_compared_by_validation_of_the_exploring_seeds():
    runs = screening()
    for seed in (0, 1, 2, 10):
        for init, score in (("xavier_uniform", 96.0 + seed), ("orthogonal", 98.0 + 3 * seed), ("zero", 99.0)):
            runs.append(made(init, seed, 50.0, score, **{**HALVES, "group": tables.RATES["three times"]}))
    rows = tables.rates(stats.groups(runs))[2]
    assert [row[:2] for row in rows] == [["the paper's", init] for init in (
        "xavier_uniform", "xavier_normal@0.5", "orthogonal")] + [
            ["three times", init] for init in ("xavier_uniform", "orthogonal")]
    assert rows[-2][2:] == ["97.00 (1.00)", "", "3"]
    assert rows[-1][2] == "101.00 (3.00)" and rows[-1][3].startswith("+4.000 [") and rows[-1][4] == "3"
    assert tables.rates({})[2] == []


def final(customs, comparator, missing=()):
    """Runs of the finalists and the comparator on fresh seeds, and the screen that chose them."""
    noise, runs = np.random.default_rng(21), screening()
    for init, shift in {**customs, comparator: 0.0}.items():
        for seed in range(10, 18):
            upper, tail = 97 + shift + noise.normal(0, 0.3, 2)
            if (init, seed) not in missing:
                runs.append(made(init, seed, [upper] * 21 + [tail] * 8))
    return runs


def confirmed_by_hand(runs, seeds):
    """{(scheme, bounds): differences} from the curves of the runs, by plain loops."""
    found = {}
    for init, bounds in itertools.product(("xavier_normal@0.5", "orthogonal"), ((0, 20), (20, 28))):
        d = []
        for seed in seeds:
            area = {}
            for run in runs:
                if run["name"] in (f"mnist-fc-{name}-magnitude-s{seed}" for name in (init, "xavier_uniform")):
                    part = run["levels"][bounds[0]:bounds[1] + 1]
                    x = [math.log(sum(level["kept"].values())) for level in part]
                    y = [100 * level["test_acc"][1] for level in part]
                    total = sum((x[i] - x[i + 1]) * (y[i] + y[i + 1]) / 2 for i in range(len(x) - 1))
                    area[run["config"]["init"]] = total / (x[0] - x[-1])
            d.append(area[init] - area["xavier_uniform"])
        found[init, bounds] = d
    return found


def check_confirmed(missing):
    runs = final({"xavier_normal@0.5": 0.4, "orthogonal": 0.1}, "xavier_uniform", missing)
    seeds = [seed for seed in range(10, 18) if seed not in {seed for _, seed in missing}]
    by_hand = confirmed_by_hand(runs, seeds)
    rows = tables.confirmed(stats.groups(runs))[2]
    assert [(row[1], row[2], row[4]) for row in rows] == [
        (init, "xavier_uniform", str(len(seeds))) for init, _ in by_hand]
    for row, d, p in zip(rows, by_hand.values(), plain_max_t(list(by_hand.values()))):
        assert row[5].startswith(f"{statistics.mean(d):+.3f} [") and row[6] == tables.p_text(p)


def test_the_finalists_test_equals_a_plain_loop_over_joint_flips():
    check_confirmed(())


def test_the_finalists_test_flips_a_seed_as_one():
    """A seed that one finalist lacks is in no row: the flips are joint by seed."""
    check_confirmed((("orthogonal", 11),))


def test_confirmed_without_its_comparator_or_finalists_is_not_run():
    runs = final({"xavier_normal@0.5": 0.4}, "xavier_uniform")
    for absent in ("xavier_uniform", "xavier_normal@0.5"):
        some = [run for run in runs if run["config"]["init"] != absent or run["config"]["seed"] < 10]
        assert tables.confirmed(stats.groups(some))[2] == []


# ---- what counts as a weight that remains

def test_area_between_levels_is_the_area_of_a_refined_curve():
    """Between a level and halfway (in the logarithm) to the next but one."""
    x, y = [1, 0.5, 0.25, 0.125], [98.0, 97.0, 95.0, 87.0]
    assert stats.area_between(x, y, 1, 0.125) == pytest.approx(stats.area(x, y, 1, 0.125))
    low = math.sqrt(0.25 * 0.125)
    assert stats.area_between(x, y, 0.5, low) == pytest.approx((96 * 1 + (95 + 91) / 2 * 0.5) / 1.5)
    assert stats.area_between(x, y, 0.3, 0.26) == pytest.approx(
        97 - 2 * math.log(0.5 / math.sqrt(0.3 * 0.26)) / math.log(2))
    for outside in ((1.1, 0.5), (0.5, 0.1), (0.5, 0.5)):
        assert math.isnan(stats.area_between(x, y, *outside))
    assert math.isnan(stats.area_between([1], [98.0], 1, 0.5))


def test_seeing_counts_by_plain_loops():
    run = made("xavier_normal", 10, 90.0, levels=3)
    for level in run["levels"]:
        level["inputs"] = [3, 0, 5, 7]
        expected = (sum(level["kept"].values()) - 3 - 7) / sum(FC.values())
        assert tables.seeing([False, True, True, False])(level) == pytest.approx(expected)
        assert tables.seeing([True] * 4)(level) == stats.density(level)


def test_a_difference_by_weights_on_dark_pixels_is_gone_when_they_are_not_counted(monkeypatch, tmp_path):
    """Accuracy is a function of the weights on lit pixels; normal schemes waste more on the others."""
    pixels = tmp_path / "pixels.json"
    pixels.write_text('{"mnist": {"images": 10000, "lit": [0, 9, 100, 5000]}}')
    monkeypatch.setattr(tables, "PIXELS", pixels)
    runs = []
    for place, init in enumerate(stats.STANDARD):
        for seed in range(10, 16):
            run = made(init, seed, 90.0)
            for level in run["levels"]:
                fc1 = level["kept"]["fc1"]
                dark, rare = ((0.04, 0.06) if "normal" in init else (0.01, 0.02))
                level["inputs"] = [dark * fc1, rare * fc1, 0.5 * fc1, (0.5 - dark - rare) * fc1]
                seen = (sum(level["kept"].values()) - (dark + rare) * fc1) / sum(FC.values())
                level["test_acc"][1] = 0.9 + 0.02 * math.log(seen) + 0.001 * math.sin(seed + place) / 10
            runs.append(run)
    rows = tables.dark(stats.groups(runs))[2]
    counted = ["all weights", "not on pixels never lit", "not on those lit by < 0.1%",
               "not on those lit by < 1%"]
    assert [row[:5] for row in rows] == [
        ["LeNet-300-100, MNIST", label, "1.2 to 0.21%", what, "6"]
        for label in list(tables.CONTRASTS)[:2] for what in counted]
    means = [float(row[5].split()[0]) for row in rows]
    assert all(abs(mean) < 0.01 for mean in means[:4]) and means[4] > means[5] > 0.05
    assert abs(means[6]) < 0.01 and abs(means[7]) < 0.01
    wholes = {init: stats.areas([run for run in runs if run["config"]["init"] == init], 0.012, 0.0021)
              for init in stats.STANDARD}
    d = stats.paired(wholes, tables.CONTRASTS["shape: uniform less normal"])
    assert rows[4][5:7] == [tables.signed(d), tables.p_text(stats.sign_flip(d))]


def test_lit_schemes_against_the_plain_ones_of_later_seeds():
    """Of seeds 30 on alone; those that the schemes are compared on have no part in it, nor these in that."""
    runs = standards(8)
    before = tables.contrasts(stats.groups(runs))
    for init, points in (("xavier_normal", 0.0), ("kaiming_normal", 1.0), ("xavier_normal_lit", 0.5),
                         ("kaiming_normal_lit", 1.7)):
        runs += [made(init, seed, 90 + points + seed / 100 * init.endswith("lit")) for seed in range(30, 38)]
        runs += [made(init, seed, 50.0) for seed in range(20, 22) if init.endswith("lit")]
    rows = tables.lit(stats.groups(runs))[2]
    assert [[row[1], row[4]] for row in rows] == [["100 to 1.2%", "8"], ["1.2 to 0.21%", "8"]]
    gap = 0.6 + sum(range(30, 38)) / 800
    assert all(row[5].startswith(f"{gap:+.3f} [") and row[6] == tables.p_text(2 / 2 ** 8) for row in rows)
    assert all(row[2].startswith("90.50 (") and row[3].startswith(f"{90.5 + gap:.2f} (") for row in rows)
    assert tables.contrasts(stats.groups(runs)) == before


# ---- the other tables

def test_spans_say_their_bounds():
    """The protocol's 1.2% is not 1%."""
    assert [tables.span(pair) for pair in ((1, 0.012), (1, 0.016), (1, 0.03), (1, 0.036), (0.5, 0.3))] == [
        "100 to 1.2%", "100 to 1.6%", "100 to 3%", "100 to 3.6%", "50 to 30%"]


def test_endpoints_are_means_over_the_confirming_seeds():
    rows = tables.endpoints(stats.groups(standards(8)))[2]
    assert [row[1:3] for row in rows[:4]] == [[span, label] for span in ("100 to 1.2%", "1.2 to 0.21%")
                                              for label in ("early stop", "level's end")]
    base = [96 + math.sin(i) for i in range(8)]
    for row in rows[:4]:
        lower = row[2] != "early stop"
        assert row[3] == f"{statistics.mean(base) - lower:.2f} ({statistics.stdev(base):.2f})"
        assert row[5].startswith(f"{statistics.mean(base) + 0.3 - lower:.2f} (") and row[-1] == "8"
        e, f, g = (size * np.roll(np.linspace(-1, 1, 8), roll) for size, roll in (
            (0.05, 0), (0.03, 1), (0.02, 2)))
        assert row[7:9] == [tables.signed(0.3 + e + g / 2), tables.signed(0.1 + f + g / 2)]


def test_the_secondary_area_from_100_to_7_percent_is_there():
    pages = tables.verdicts(standards(8))
    assert any("100 to 7%" in page for page in pages.values())


def test_accuracies_limits_and_stops_are_those_of_the_curve():
    """98% down to the ninth level, then 96%: the crossing is halfway to the tenth; one run collapses."""
    x = densities(29)
    runs = [made("xavier_normal", seed, [98.0] * 9 + [96.0] * 19 + [50.0 if seed == 10 else 96.0])
            for seed in (10, 11, 12)]
    found = stats.groups(runs)
    accuracy = {row[1]: row[2] for row in tables.accuracies(found)[2]}
    assert accuracy == {"100": "98.00 (0.00)", "21": "98.00 (0.00)", "7": "96.00 (0.00)", "3": "96.00 (0.00)",
                        "1.2": "96.00 (0.00)", "0.5": "96.00 (0.00)", "0.21": "80.67 (26.56)"}
    row, = tables.limits(found)[2]
    assert row[1:] == ["xavier_normal", *[f"{100 * math.sqrt(x[8] * x[9]):.2f}"] * 2, "1 (below 90%)",
                       "96.00", "3"]
    first = ["LeNet-300-100, MNIST", "xavier_normal", *["20"] * 5]
    assert tables.stops(found)[2] == [[*first, "20", "0", "0"]]
    runs[1]["levels"][28]["val_loss"] = [0.3, 0.2, 0.1]
    assert tables.stops(found)[2] == [[*first, "23", "0", "33"]]
    before = tables.limits(found)[2]
    runs.append(made("xavier_normal", 13, [98.0] * 9 + [50.0], levels=10))     # it is not at its end yet
    assert tables.stops(stats.groups(runs))[2] == [[*first, "23", "0", "33"]]
    assert tables.limits(stats.groups(runs))[2] == before


def test_limits_are_against_the_own_dense_network_and_the_common_one():
    """Dense at 98 and at 97, common 97.5: the line is at 96.5 for both, at 97 and 96 for each its own."""
    x = densities(29)
    runs = [made("xavier_normal", 10, [98.0] * 10 + [96.0] * 19),
            made("kaiming_normal", 10, [97.0] * 10 + [95.0] * 19)]
    rows = {row[1]: row[2:4] for row in tables.limits(stats.groups(runs))[2]}

    def between(share):
        return f"{100 * x[9] * (x[10] / x[9]) ** share:.2f}"
    assert rows["xavier_normal"] == [between(0.5), between(0.75)]
    assert rows["kaiming_normal"] == [between(0.5), between(0.25)]


def test_a_seed_below_the_common_line_at_once_counts_in_the_median():
    """Common dense is 97.83: two seeds of three are below at once, the third's density is not the median."""
    runs = [made("xavier_normal", seed, 98.0 if seed == 12 else 96.0) for seed in (10, 11, 12)]
    runs += [made("kaiming_normal", seed, 99.0) for seed in (10, 11, 12)]
    row, _ = tables.limits(stats.groups(runs))[2]
    assert row[2] == f"{100 * densities(29)[-1]:.2f}" and row[3] != row[2]


def test_needs_are_ratios_of_the_densities_of_limits():
    """Each falls by 2 points behind a level of its own and crosses the own line halfway, the common one, at
    96.5, three quarters of the way from 98 and one quarter from 97."""
    x, runs, last = densities(29), [], {}
    for (place, init), seed in itertools.product(enumerate(stats.STANDARD), range(10, 16)):
        last[place, seed] = 10 + 2 * place + seed % 4 * (1 + place % 2)
        high, length = 97.0 if "kaiming" in init else 98.0, 1 + last[place, seed]
        runs.append(made(init, seed, [high] * length + [high - 2] * (29 - length)))
    runs.append(made("xavier_normal", 16, [98.0] * 9, levels=9))       # it is not at its end yet
    rows = {tuple(row[1:3]): row[3:] for row in tables.needs(stats.groups(runs))[2]}
    assert len(rows) == 4
    for (label, what), (ratio, p, whole, n) in rows.items():
        signs = (-1, -1, 1, 1) if label == "scale: Kaiming over Xavier" else (-1, 1, -1, 1)
        part = {"own": (0.5,) * 4, "common": (0.75, 0.75, 0.25, 0.25)}[what]
        d = [sum(sign / 2 * math.log(x[last[place, seed]] * (
            x[last[place, seed] + 1] / x[last[place, seed]]) ** part[place])
            for place, sign in enumerate(signs)) for seed in range(10, 16)]
        half = 2.5706 * statistics.stdev(d) / 6 ** 0.5
        mean, low, high = map(float, re.findall(r"[\d.]+", ratio))
        assert (mean, low, high) == pytest.approx([math.exp(statistics.mean(d) + side * half)
                                                   for side in (0, -1, 1)], abs=6e-4)
        assert p == tables.p_text(stats.sign_flip(np.array(d))) and (whole, n) == ("0", "6")
    few = [run for run in runs if run["config"]["seed"] < 15]
    assert tables.needs(stats.groups(few))[2] == []                    # no test of five


def test_a_network_below_the_common_line_at_once_needs_all_weights():
    runs = [made(init, seed, 90.0 if (init, seed) == ("xavier_normal", 10) else 98.0)
            for init in stats.STANDARD for seed in range(10, 16)]
    rows = {tuple(row[1:3]): (row[3], row[5]) for row in tables.needs(stats.groups(runs))[2]}
    ratio = math.exp(math.log(densities(29)[-1]) / 2 / 6)
    text, whole = rows["scale: Kaiming over Xavier", "common"]
    assert text.startswith(f"{ratio:.3f} [") and whole == "1"
    assert rows["scale: Kaiming over Xavier", "own"] == ("1.000 [1.000, 1.000]", "0")


def test_a_run_that_diverges_when_dense_and_then_collapses_is_counted():
    runs = [made("xavier_normal", 10, [None] + [9.8] * 28), made("xavier_normal", 11, 98.0)]
    row, = tables.limits(stats.groups(runs))[2]
    assert row[4] == "1 (below 90%)"


def test_swaps_put_masks_and_values_where_they_belong():
    """Masks of B give +2, values of B +0.5, both together 0.25 more; from 1.6% on all of it tenfold."""
    runs = []
    for how, other in (("magnitude", "xavier_uniform"), ("magnitude", "xavier_normal@4"),
                       ("snip-global", "xavier_uniform")):
        for masks, values in itertools.product(("xavier_normal", other), repeat=2):
            group = f"mnist-fc-{how}{tables.HALF}"
            if masks != values:
                donor = f"mnist-fc-{masks}-{how}{tables.HALF}"
                group = f"mnist-fc-magnitude-from-{donor}{tables.HALF}"
            for seed in (0, 1, 2, 10):
                b = masks == other, values == other
                gain = 2 * b[0] + 0.5 * b[1] + 0.25 * all(b)
                points = [50 + seed + gain * (1 if level < 6 else 4 if level == 6 else 10)
                          for level in range(10)]
                if not any(b) and other != "xavier_uniform":
                    continue    # as for the first
                runs.append(made(values, seed, points, **{**HALVES, "group": group}))
    own = densities(10, HALF_RATES)
    parts = [stats.area(own, [1.0 if level < 6 else 4 if level == 6 else 10 for level in range(10)], *pair)
             for pair in ((1, tables.TAIL[0]), tables.TAIL)]
    rows = tables.swaps(stats.groups(runs))[2]
    assert [tuple(row[:3]) for row in rows] == [(*case, pair) for case in (
        ("magnitude, layer by layer", "xavier_uniform"), ("magnitude, layer by layer", "xavier_normal@4"),
        ("SNIP, global", "xavier_uniform")) for pair in ("100 to 1.6%", "1.6 to 0.21%")]
    for row, size in zip(rows, itertools.cycle(parts)):
        assert row[3] == "51.00 (1.00)" and row[10] == "3"
        for cell, gain in zip(row[4:10], (2, 2.25, 0.5, 0.75, 2.125, 0.625), strict=True):
            assert cell.startswith(f"{gain * size:+.3f} [")


def test_the_carry_over_in_two_parts_is_that_of_each_part():
    """Shape is 0.1 down to 3.2%, then 1: the parts' areas and the whole one's mean by their lengths."""
    own, runs = densities(10, HALF_RATES), []
    shape = [0.1 if level < 6 else 1.0 for level in range(10)]
    for init, seed in itertools.product(stats.STANDARD, range(3)):
        values = [90 + seed + gain * ("uniform" in init) + 0.5 * ("kaiming" in init) for gain in shape]
        runs.append(made(init, seed, values, **{**HALVES, "group": tables.METHODS["SNIP, global"]}))
    rows = tables.parts(stats.groups(runs))[2]
    assert [row[:2] for row in rows] == [["SNIP, global", "50 to 1.6%"], ["SNIP, global", "1.6 to 0.21%"]]
    for row, pair in zip(rows, tables.PARTS):
        gap = stats.area(own, shape, *pair)
        assert row[2] == f"{91.25 + gap / 2:.2f}" and row[3].startswith("+0.500 [")
        assert row[4].startswith(f"{gap:+.3f} [") and row[5] == "3"
    lengths = [math.log(high / low) for high, low in tables.PARTS]
    gaps = [stats.area(own, shape, *pair) for pair in tables.PARTS]
    whole = sum(gap * length for gap, length in zip(gaps, lengths)) / sum(lengths)
    assert whole == pytest.approx(stats.area(own, shape, 0.5, tables.TAIL[1]), abs=0.01)


def test_retained_parts_the_dense_network_from_what_pruning_does():
    """By plain sums: dense by scheme and seed, a loss from level 9 on that is another."""
    runs, dense, loss = [], {}, {}
    for (place, init), seed in itertools.product(enumerate(stats.STANDARD), range(10, 16)):
        dense[place, seed] = 96 + 0.1 * place ** 2 + 0.01 * seed * place
        loss[place, seed] = 0.5 * place ** 2 + 0.05 * seed * (3 - place)
        runs.append(made(init, seed, [dense[place, seed] - loss[place, seed] * (level > 8)
                                      for level in range(29)]))
    own = densities(29)
    parts = [stats.area(own, [float(level > 8) for level in range(29)], *pair)
             for pair in ((1, 0.012), (0.012, 0.0021))]
    rows = tables.retained(stats.groups(runs))[2]
    assert [(row[1].split(":")[0], row[2]) for row in rows] == [
        (label, span) for span in ("100 to 1.2%", "1.2 to 0.21%") for label in ("scale", "shape")]
    assert parts[1] == 1
    raw = []
    for row, part, signs in zip(rows, (parts[0],) * 2 + (1, 1), 2 * [(-1, -1, 1, 1), (-1, 1, -1, 1)]):
        first, lost = ([sum(signs[place] * values[place, seed] for place in range(4)) / 2
                        for seed in range(10, 16)] for values in (dense, loss))
        expected = (first, [a - b for a, b in zip(first, lost)], [-b for b in lost],
                    [-part * b for b in lost])
        for cell, d in zip(row[3:7], expected, strict=True):
            assert cell.startswith(f"{statistics.mean(d):+.3f} [")
        raw.append(stats.sign_flip(np.array(expected[3])))
        assert row[7] == tables.p_text(raw[-1]) and row[9] == "6"
    assert [row[8] for row in rows] == list(map(tables.p_text, stats.holm(raw)))
    assert tables.retained(stats.groups(runs[:18]))[2] == []      # one scheme lacks


def test_signs_are_paired_within_the_seeds_that_suggested_it_and_all_planned():
    group, runs = tables.STUDIES["Conv-2, CIFAR-10"].group, []
    gains = {10: 1.0, 11: 1.5, 12: -1.0, 9: 50.0, 13: 9.0}
    for seed, gain in gains.items():
        levels = {"shape_sign": [66.5] + [67 + gain] * 8, "xavier_uniform": [66.0 + seed / 10] + [67.0] * 8}
        runs += [made(init, seed, values, group=group, levels=9, rates=(0.36, 0.19))
                 for init, values in levels.items() if (init, seed) != ("xavier_uniform", 13)]
    own = densities(9, (0.36, 0.19))
    rows = tables.signs(stats.groups(runs))[2]
    asked = {"10 and 11": (10, 11), "10 to 12": (10, 11, 12)}
    assert [(row[0].split(",")[0], int(row[6])) for row in rows] == [
        (what, len(seeds)) for what, seeds in asked.items()]
    for row, seeds in zip(rows, asked.values()):
        dense = [0.5 - seed / 10 for seed in seeds]
        area = [stats.area(own, [d] + [gains[seed]] * 8, 1, 0.03) for d, seed in zip(dense, seeds)]
        lost, last = [a - b for a, b in zip(area, dense)], [gains[seed] for seed in seeds]
        for cell, d in zip(row[1:5], (area, dense, lost, last)):
            assert cell.startswith(f"{statistics.mean(d):+.3f} [")
        assert row[5] == tables.p_text(stats.sign_flip(np.array(area)))
    part = [run for run in runs if run["config"]["seed"] != 12]   # what lacks a seed is not shown
    assert [row[0].split(",")[0] for row in tables.signs(stats.groups(part))[2]] == ["10 and 11"]
    for run in runs:    # the same of another pair
        first = run["config"]["init"]
        run["config"]["init"] = {"shape_sign": "xavier_normal@0.5", "xavier_uniform": "xavier_normal"}[first]
        run["name"] = run["name"].replace(first, run["config"]["init"])
    assert [row[1:] for row in tables.half(stats.groups(runs))[2]] == [row[1:] for row in rows]
    assert tables.signs({})[2] == []


def plain_ranks(values):
    """Places in the sorted list, the mean of them where values are equal."""
    order = sorted(values)
    return [statistics.mean(place for place, other in enumerate(order) if other == value) for value in values]


def saying(seeds=range(5), group=tables.HALVED, levels=10, rates=HALF_RATES):
    """Runs of six schemes whose measures of fc1 and areas are noise, with ties; signs have no eps."""
    noise, runs = np.random.default_rng(5), []
    for place, init in enumerate((*stats.STANDARD, "shape_sign", "orthogonal")):
        for seed in seeds:
            accuracy = [90.0 + noise.integers(4) for _ in range(levels)]
            run = made(init, seed, accuracy, group=group, levels=levels, rates=rates)
            for level in run["levels"]:
                row = {"auroc": noise.integers(3) / 2, "rho": noise.random(), "eps": place + noise.random()}
                level["diagnostics"] = {"layers": {"fc1": row | ({"eps": None} if place == 4 else {})}}
            runs.append(run)
    return runs


@pytest.mark.parametrize("seeds, how, places", [
    (range(5), HALVES, (4, 6)), (range(10, 13), {"group": tables.FULL, "levels": 29, "rates": FULL_RATES},
                                 (12, 20))])
def test_the_say_of_initial_size_goes_with_the_area_as_plain_ranks_do(seeds, how, places):
    runs = saying(seeds, **how)
    others = [made("sparse_90", 0, 99.0, **how)] if how is HALVES else []   # of one seed: not screened
    others += [made("orthogonal@2", seed, 99.0, **how) for seed in seeds]   # of a gain
    rows = tables.say(stats.groups(runs + others))[2]
    high = "1.6" if how is HALVES else "1.2"
    upper, tail = f"100 to {high}%", f"{high} to 0.21%"
    assert [row[1:5] for row in rows] == [
        [what, span, at, "6"] for span, at in ((upper, "6.6"), (tail, "6.6"), (tail, high))
        for what in ("area", "less the own dense")]
    for row, what, place in zip(rows, 3 * ("area", "less"), (places[0],) * 4 + (places[1],) * 2, strict=True):
        for cell, key in zip(row[5:8], ("eps", "auroc", "rho")):
            found = []
            for seed in seeds:
                pairs = []
                for run in runs:
                    accuracy = [100 * level["test_acc"][1] for level in run["levels"]]
                    first, last = (0, places[1]) if row[2] == upper else (places[1], len(accuracy) - 1)
                    area = stats.area(densities(len(accuracy), how["rates"]), accuracy, *(
                        stats.density(run["levels"][level]) for level in (first, last)))
                    measure = run["levels"][place]["diagnostics"]["layers"]["fc1"][key]
                    if run["config"]["seed"] == seed and measure is not None:
                        pairs.append((measure, area - (what == "less") * accuracy[0]))
                assert len(pairs) == (5 if key == "eps" else 6)
                found.append(statistics.correlation(*map(plain_ranks, zip(*pairs))))
            assert cell.startswith(f"{statistics.mean(found):+.2f} (") and row[8] == str(len(seeds))
            assert all(-1 <= float(end) <= 1 for end in re.findall(r"[+-][\d.]+", cell))
    assert tables.say({})[2] == []


def test_rank_correlations_of_orders():
    up, down = ({init: {0: float(sign * place), 1: float(place)} for place, init in enumerate("abcd")}
                for sign in (1, -1))
    assert stats.rank_correlations(up, down).tolist() == pytest.approx([-1, 1])
    without = stats.rank_correlations({**up, "d": {}}, {**down, "d": {0: 9.0}})
    assert without.tolist() == pytest.approx([-1, 1])
    flat = {init: {0: 1.0, 1: float(place)} for place, init in enumerate("abcd")}
    assert stats.rank_correlations(up, flat).tolist() == pytest.approx([1])    # nothing to rank in seed 0
    assert not len(stats.rank_correlations({"a": {0: 1.0}, "b": {0: 2.0}}, {"a": {0: 1.0}, "b": {0: 2.0}}))


def test_fits_are_the_losses_of_the_early_stop_by_contrast():
    """Of losses that are one for all levels, an area is that loss."""
    runs, losses = [], {"train_loss": {}, "val_loss": {}}
    for (place, init), seed in itertools.product(enumerate(stats.STANDARD), range(10, 13)):
        runs.append(made(init, seed, 97.0))
        for key, row in losses.items():
            row[place, seed] = 0.1 + 0.01 * place ** 2 + 0.001 * seed * (place + (key == "val_loss"))
            for level in runs[-1]["levels"]:
                level[key] = [0.9, row[place, seed], 0.8]
    rows = tables.fits(stats.groups(runs))[2]
    assert [(row[2], row[-1]) for row in rows] == 2 * [("100 to 1.2%", "3")] + 2 * [("1.2 to 0.21%", "3")]
    for row, signs in zip(rows, 2 * [(-1, -1, 1, 1), (-1, 1, -1, 1)]):
        for cell, found in zip(row[3:5], losses.values()):
            total = sum(signs[place] * loss for (place, _), loss in found.items())
            assert cell.startswith(f"{100 * total / 2 / 3:+.3f} [")


def test_at_density_is_the_value_of_the_nearest_level_by_seed():
    runs = [made("xavier_normal", seed, [None if (seed, level) == (2, 5) else 90.0 + level
                                         for level in range(10)], **HALVES) for seed in range(3)]
    own = densities(10, HALF_RATES)
    assert tables.at_density(runs, own[4]) == {0: pytest.approx(94.0), 1: pytest.approx(94.0),
                                               2: pytest.approx(94.0)}
    assert set(tables.at_density(runs, own[5])) == {0, 1} and len(tables.at_density(runs, own[9])) == 3
    assert tables.at_density(runs, 0.0001) == tables.at_density([], 0.1) == {}


def test_carried_and_why_have_the_contrasts_of_the_exploring_seeds():
    """Five seeds below 10, t intervals: scale +0.3 and shape +0.1 in each method and variant."""
    snip, movement = ({**HALVES, "group": f"mnist-fc-{name}{tables.HALF}"} for name in ("snip", "movement"))
    runs = screening() + standards(5, first=0, **snip) + standards(5, first=0, **movement)
    runs += [made("orthogonal", seed, 70.0, **snip) for seed in (0, 1, 20)]
    standard = {run["config"]["seed"]: 100 * run["levels"][0]["test_acc"][1] for run in runs
                if run["config"]["init"] == "xavier_uniform" and run["config"]["pruner"] == "snip"}
    _, head, rows = tables.carried(stats.groups(runs))
    rows = {row[0]: dict(zip(head, row)) for row in rows}
    assert list(rows) == ["magnitude, layer by layer", "movement", "SNIP, layer by layer"]
    for name in ("movement", "SNIP, layer by layer"):
        scale, shape = list(tables.CONTRASTS)[:2]
        assert rows[name][scale].startswith("+0.300 [") and rows[name][shape].startswith("+0.100 [")
        assert rows[name]["n"] == "5" and rows[name]["xavier_normal@0.5 less xavier_uniform"] == ""
    plain = [100 * run["levels"][0]["test_acc"][1] for run in runs if run["config"]["init"] in stats.STANDARD
             and run["config"]["pruner"] == "snip"]     # five seeds of each, and all levels alike
    assert rows["SNIP, layer by layer"]["mean"] == f"{statistics.mean(plain):.2f}"
    gap = 70.0 - (standard[0] + standard[1]) / 2
    assert rows["SNIP, layer by layer"]["orthogonal less xavier_uniform"].startswith(f"{gap:+.3f} [")
    why = [row for row in tables.why(stats.groups(runs))[2] if row[0] == "pruned by movement"]
    assert [row[1] for row in why] == ["100 to 1.6%", "1.6 to 0.21%"]
    moved = statistics.mean(100 * run["levels"][0]["test_acc"][1] for run in runs
                            if run["config"]["pruner"] == "movement" and run["config"]["seed"] < 10)
    plain = statistics.mean([80, 81, 82, 83])   # the screen's, by scheme
    for row in why:
        assert row[6].startswith("+0.300 [") and row[7].startswith("+0.100 [") and row[9] == "5"
        assert row[8].startswith(f"{moved - plain:+.3f} [")


def before_training(laplace, t4, late=range(10, 16)):
    """Runs of SNIP and SynFlow: validation scores of the heavy-tailed schemes by method, test differences."""
    runs, noise = [], np.random.default_rng(5)
    for method, name in enumerate(tables.BEFORE):
        how = {**HALVES, "group": tables.METHODS[name]}
        for seed in range(5):
            runs += [made(init, seed, 0.0, scores[method], **how)
                     for init, scores in (("shape_laplace", laplace), ("shape_t4", t4))]
        for seed in late:
            for place, init in enumerate(("xavier_normal", "xavier_uniform", "shape_laplace", "shape_t4")):
                runs.append(made(init, seed, 80 + place + method + noise.normal(), 99.0, **how))
    return runs


def test_the_heavy_tailed_scheme_is_chosen_by_validation_over_both_methods():
    for laplace, t4, chosen in (((90, 92), (91, 90), "shape_laplace"), ((90, 92), (91, 92), "shape_t4")):
        assert tables.heavy(stats.groups(before_training(laplace, t4))) == chosen
    lacking = [run for run in before_training((90, 92), (91, 90))
               if run["config"]["seed"] != 3 or run["config"]["init"] != "shape_t4"]
    assert tables.heavy(stats.groups(lacking)) is None is tables.heavy({})


def test_shapes_before_training_are_tested_as_one_family_by_plain_flips():
    runs = before_training((90, 92), (91, 90))
    rows, raw = tables.before(stats.groups(runs))[2], []
    assert [row[:2] for row in rows] == [[name, f"{init} less xavier_normal"] for name in tables.BEFORE
                                         for init in ("xavier_uniform", "shape_laplace")]
    for row in rows:
        values = {run["config"]["init"]: {} for run in runs}
        for run in runs:
            if stats.group_name(run) == tables.METHODS[row[0]] and run["config"]["seed"] >= 10:
                values[run["config"]["init"]][run["config"]["seed"]] = 100 * run["levels"][0]["test_acc"][1]
        one, other = values["xavier_normal"], values[row[1].split()[0]]
        d = [other[seed] - one[seed] for seed in one]
        assert row[5].startswith(f"{statistics.mean(d):+.3f} [") and row[4] == "6"
        sums = [abs(sum(sign * x for sign, x in zip(signs, d)))
                for signs in itertools.product((1, -1), repeat=6)]
        raw.append(sum(value >= abs(sum(d)) - 1e-9 for value in sums) / 64)
        assert row[6] == tables.p_text(raw[-1])
        assert row[8] == row[9] == row[5]   # accuracies are one for all levels
    assert [row[7] for row in rows] == [tables.p_text(p) for p in stats.holm(raw)]


def test_doses_are_means_over_the_schemes_of_a_dose_by_seed():
    areas = {"a": {0: 1.0, 1: 2.0, 2: 9.0}, "b": {0: 3.0, 1: 6.0}, "c": {1: 7.0}, "none": {}}
    found = tables.dosed(areas, {"c": 4, "a": 0.5, "b": 0.5, "none": 1, "absent": 2, "d": 0.5})
    assert {dose: seeds.tolist() for dose, seeds in found.items()} == {0.5: [2.0, 4.0], 4: [7.0]}
    assert list(found) == [0.5, 4] and tables.dosed({}, {"a": 1}) == {}


def test_shares_are_of_each_layer_under_the_global_ranking():
    runs = [made("xavier_normal", seed, 90.0, group=f"{tables.FULL}-global{tables.HALF}",
                 rates=(rate, 0.28), levels=10) for seed, rate in ((0, 0.5), (1, 0.5), (10, 0.9))]
    runs[1]["levels"][4] = {**runs[1]["levels"][4], "kept": {"fc1": 14_700, "fc2": 1_800, "out": 300}}
    _, head, rows = tables.shares(stats.groups(runs))
    row = dict(zip(head, rows[0]))
    assert len(rows) == 1 and row["n"] == "2" and row["fc1 at 6.3%"] == "6.25 (0.00)"
    assert row["fc2 at 6.3%"] == f"{(6.25 + 6) / 2:.2f} ({0.25 / math.sqrt(2):.2f})"
    assert row["out at 6.3%"] == f"{(26.9 + 30) / 2:.2f} ({3.1 / math.sqrt(2):.2f})"


def test_pixels_and_units_in_use_by_hand():
    """At one density alone; a run without diagnostics does not count."""
    runs, synflow = [], {**HALVES, "group": tables.METHODS["SynFlow, global"]}
    for seed, (pixels, idle) in enumerate(((3, 292), (5, 288))):
        run = made("xavier_normal", seed, 90.0 + 2 * seed, **synflow)
        for level in run["levels"]:
            level["inputs"] = [7] * (pixels if level["level"] == 7 else 700) + [0] * 9
            level["diagnostics"] = {"layers": {"fc1": {"no_way_in": idle if level["level"] == 7 else 0}}}
        runs.append(run)
    runs += [made("xavier_uniform", 0, 90.0, **synflow), made("orthogonal", 0, 90.0, **synflow)]
    assert tables.used(stats.groups(runs))[2] == [
        ["SynFlow, global", "xavier_normal", "91.00 (1.41)", "4.00 (1.41)", "10.00 (2.83)", "2"]]


def test_paths_by_hand():
    """Of the last level alone; a run without diagnostics does not count."""
    runs, shares, snip = [], (30.0, 20.0, 60.0, 80.0), {**HALVES, "group": tables.METHODS["SNIP, global"]}
    for seed, (accuracy, share, least) in enumerate(zip((50.0, 60.0, 70.0, 80.0), shares, (0, 1, 0, 2))):
        run = made("xavier_normal", seed, accuracy, **snip)
        for level in run["levels"]:
            level["diagnostics"] = {"effective_density": share / 100 * stats.density(level),
                                    "least_class_inputs": least if level["level"] == 9 else 5}
        runs.append(run)
    runs.append(made("xavier_normal", 4, 10.0, **snip))  # without diagnostics
    rows = tables.paths(stats.groups(runs))[2]
    sd = statistics.stdev(shares)
    assert rows == [["SNIP, global", "the others", "65.00 (12.91)", f"47.50 ({sd:.2f})", "2", "4"]]


def test_paths_have_signs_apart():
    """Signs are a finalist, by the screen; a class starves in their runs alone."""
    snip = {**HALVES, "group": tables.METHODS["SNIP, global"]}
    runs = [made(init, seed, 97.0, validation, **HALVES) for init, validation in (
        ("shape_sign", 98.0), ("truncated_glorot", 97.0), ("xavier_normal", 96.0)) for seed in range(5)]
    for init in ("xavier_normal", "truncated_glorot", "shape_sign"):
        for seed in range(3):
            run = made(init, seed, 20.0 if init == "shape_sign" else 60.0, **snip)
            for level in run["levels"]:
                level["diagnostics"] = {"effective_density": stats.density(level),
                                        "least_class_inputs": int(init != "shape_sign")}
            runs.append(run)
    assert tables.paths(stats.groups(runs))[2] == [
        ["SNIP, global", "the others", "60.00 (0.00)", "100.00 (0.00)", "0", "6"],
        ["SNIP, global", "shape_sign", "20.00 (0.00)", "100.00 (0.00)", "3", "3"]]


def test_controls_show_both_looks_of_the_exploring_seeds():
    runs = [made("xavier_normal", seed, 97.0 + seed, levels=16, group=group)
            for group in tables.CONTROLLED.values() for seed in (0, 1, 2)]
    runs += [made("xavier_normal", 10, 50.0)]
    rows = tables.controls(stats.groups(runs))[2]
    assert rows == [[name, *["98.00 (1.00); 97.00"] * 4, "3"] for name in tables.CONTROLLED]


def test_the_controls_of_short_runs_have_a_cell_under_each_head():
    _, head, rows = tables.controls(stats.groups([made("xavier_normal", 0, 97.0, levels=2)]))
    assert rows == [["ticket", "97.00; 96.00", "", "", "", "1"]] and len(head) == 6


def test_controls_of_runs_under_way_are_the_mean_of_what_is_there():
    runs = [made("xavier_normal", seed, 97.0 + seed, levels=5 if seed == 2 else 16) for seed in (0, 1, 2)]
    row, = tables.controls(stats.groups(runs))[2]
    assert row[1] == "98.00 (1.00); 97.00" and row[4] == "97.50 (0.71); 96.50"


def test_calibrations_are_of_schemes_with_twelve_seeds():
    noise = np.random.default_rng(30)
    runs = [made("xavier_normal", seed, noise.normal(97, 0.1)) for seed in range(10, 22)]
    runs += [made("kaiming_normal", seed, noise.normal(97, 0.1)) for seed in range(10, 21)]
    rows = tables.calibrations(stats.groups(runs))[2]
    values = [100 * run["levels"][0]["test_acc"][1] for run in runs[:12]]
    assert [row[1:] for row in rows] == [[span, "xavier_normal", f"{100 * stats.calibration(values):.1f}%"]
                                         for span in ("100 to 1.2%", "1.2 to 0.21%")]
    assert float(rows[0][3].rstrip("%")) <= 5


# ---- group names and bounds, against the grids that make the runs

def commands(grid, fast):
    """[(args, run name, config)] of a grid by the real parser; `fast`: conv nets in bf16 are the default."""
    env = {**os.environ, "PYTHON": "python"}
    words = ["bash", "run_all.sh", "list", grid]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parser, found = train.Parser(""), []
    train.add_training_flags(parser)
    prune.add_pruning_flags(parser)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": fast})
        for line in done.stdout.splitlines():
            words = line.split()
            patch.setattr("sys.argv", [*words[words.index("prune.py"):], "--device", "cpu"])
            args = train.parse(parser)
            found += [(args, *run) for run in train.expand_configs(args, args.pruner)]
    return found


@pytest.fixture(scope="module")
def grids():
    """{group: {scheme: seeds}} and {group: config, with its levels} of all grids, gpu's as on a GPU."""
    seeds, configs = {}, {}
    for grid in GRIDS:
        for args, name, config in commands(grid, grid == "gpu"):
            group = stats.group_name({"name": name, "config": config})
            seeds.setdefault(group, {}).setdefault(config["init"], set()).add(config["seed"])
            levels = train.PRESETS[args.preset]["levels"] if args.levels is None else args.levels
            if levels >= configs.get(group, {"levels": 0})["levels"]:
                configs[group] = {**config, "levels": levels}
    return seeds, configs


@pytest.mark.parametrize("name", tables.STUDIES)
def test_the_runs_of_a_study_are_made_by_a_grid(grids, name):
    there = grids[0].get(tables.STUDIES[name].group, {})
    assert set(stats.STANDARD) <= set(there), sorted(grids[0])
    assert all(sum(seed >= 10 for seed in there[init]) >= 3 for init in stats.STANDARD)


@pytest.mark.parametrize("group", [*tables.METHODS.values(), *tables.VARIANTS.values()])
def test_the_runs_of_a_method_and_a_variant_are_made_by_a_grid(grids, group):
    for init in stats.STANDARD:
        there = grids[0].get(group, {}).get(init, ())
        assert {seed for seed in there if seed < 10} == {0, 1, 2, 3, 4}, sorted(grids[0])


@pytest.mark.parametrize("group", tables.CONTROLLED.values())
def test_the_runs_of_a_control_are_made_by_a_grid(grids, group):
    assert {seed for seed in grids[0].get(group, {}).get("xavier_normal", ()) if seed < 10} == {0, 1, 2, 3, 4}


class Asked(dict):
    """An empty dict that notes the keys it is asked for."""

    def get(self, key, default=None):
        self.setdefault("asked", set()).add(key)
        return default


def test_the_tables_ask_for_the_groups_of_the_grids_and_for_no_others(grids):
    found = Asked()
    for name, function in tables.VERDICTS.items():
        assert function(found)[2] == [], name
    assert found["asked"] == set(grids[0])


def test_the_conv_grid_of_a_cpu_with_amx_is_read_too():
    found = {stats.group_name({"name": name, "config": config}) for _, name, config in commands("conv", True)}
    assert found <= {study.group for study in tables.STUDIES.values()}


def planned(config):
    """Densities of all levels by prune.py's own counts; of whole units, by its own choice among equals."""
    layers = models.layers(models.build(config["net"], models.PAPER[config["net"]]["shape"]))
    weights = {name: layer.weight for name, layer in layers.items()}
    size, found = sum(w.numel() for w in weights.values()), []
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    for level in range(config["levels"] + 1):
        kept = pruners.kept_counts(weights, config, level)
        if pruners.PRUNERS[config["pruner"]].keep is pruners.keep_units:
            scores = {name: w.detach().abs() for name, w in weights.items()}
            masks = pruners.keep_units(scores, masks, config, level)
            kept = {name: int(mask.sum()) for name, mask in masks.items()}
        found.append(sum(kept.values()) / size)
    return found


@pytest.fixture(scope="module")
def whole(grids):
    """Groups of made-up runs under the names and at the densities of all grids, six seeds: the first
    scheme of a group at 97%, each further one 0.1 points lower."""
    runs = []
    for group, schemes in grids[0].items():
        shares = planned(grids[1][group])
        for place, init in enumerate(schemes):
            for seed in schemes[init] & {0, 1, 10, 11, 30, 31}:
                run = made(init, seed, 97 - place / 10, 96 - place / 10, group=group, levels=len(shares))
                for level, share in zip(run["levels"], shares):
                    level["kept"], level["size"] = {"all": share}, {"all": 1}
                runs.append(run)
    return stats.groups(runs)


@pytest.mark.parametrize("name", tables.STUDIES)
def test_the_bounds_of_a_study_are_levels_of_its_runs(grids, name):
    found, bounds = planned(grids[1][tables.STUDIES[name].group]), tables.STUDIES[name].bounds
    for pair in itertools.pairwise(bounds):
        assert stats.area(found, [5.0] * len(found), *pair) == pytest.approx(5.0), found


def test_the_protocols_bounds_are_levels_20_and_28_of_fc(grids):
    found, study = planned(grids[1][tables.FULL]), tables.STUDIES["LeNet-300-100, MNIST"]
    assert [stats.level_near(found, bound) for bound in study.bounds] == [0, 20, 28]


def test_of_all_grids_every_table_has_all_its_rows(grids, whole):
    """Rows as many as names, none with an empty number, where every run of the grids is there."""
    rows = {name: function(whole)[2] for name, function in tables.VERDICTS.items()}
    ranges = {name: len(study.bounds) - 1 for name, study in tables.STUDIES.items()}
    to_seven = {name: "Fashion" not in name for name in ranges}  # halving passes 7% by
    assert [row[0] for row in rows["endpoints"]] == [
        name for name in ranges for _ in range(2 * (ranges[name] + to_seven[name]))]
    for table, tests in (("contrasts", 3), ("pairs", 6), ("retained", 2)):
        names = [name for name in ranges for _ in range(tests * ranges[name])]
        assert [row[0] for row in rows[table]] == names
    assert {row[0] for row in rows["accuracies"]} == {row[0] for row in rows["limits"]} == set(tables.STUDIES)
    assert {row[0] for row in rows["screen"]} == set(grids[0][tables.HALVED])
    assert [row[0] for row in rows["carried"]] == list(tables.METHODS)
    assert [row[0] for row in rows["why"]] == [name for name in tables.VARIANTS for _ in range(2)]
    assert [(row[0], row[1]) for row in rows["swaps"]] == [case for case in tables.SWAPS for _ in range(2)]
    assert [row[0] for row in rows["parts"]] == [name for name in tables.METHODS for _ in range(2)]
    assert [row[0] for row in rows["controls"]] == list(tables.CONTROLLED)
    assert [row[1] for row in rows["lit"]] == ["100 to 1.2%", "1.2 to 0.21%"]
    assert [row[0] for row in rows["before"]] == list(tables.BEFORE)  # two seeds choose none of HEAVY
    for table in ("endpoints", "contrasts", "pairs", "limits", "why", "swaps", "controls"):
        assert all(cell not in ("", "nan") for row in rows[table] for cell in row), table
    assert all(row[1] == "96.85" for row in rows["carried"])  # 97, 96.9, 96.8 and 96.7


# ---- all tables of little or nothing

def test_of_nothing_every_table_says_not_run(tmp_path):
    fake(tmp_path, data="glyphs", levels=3)
    for runs in ([], stats.read(tmp_path), [made("xavier_normal", 0, 97.0, group="mnist-fc-none", levels=1)]):
        pages = tables.verdicts(runs)
        assert list(pages) == list(tables.VERDICTS)
        assert all("Not run." in page and "|" not in page for page in pages.values())


GROUPS = [*(study.group for study in tables.STUDIES.values()), f"{tables.FULL}-reinit",
          *(f"mnist-fc-{rest}{tables.HALF}" for rest in (
              "magnitude", "movement", "snip", "magnitude-oneshot", "magnitude-unit",
              f"magnitude-from-mnist-fc-xavier_normal-magnitude{tables.HALF}"))]
LITTLE = {  # schemes, seeds, levels of a run by (scheme, seed)
    "one run": (["kaiming_uniform"], [0, 10], lambda init, seed: 29),
    "one level": (["xavier_normal", "kaiming_normal"], [0, 10], lambda init, seed: 1),
    "two schemes": (["xavier_uniform", "kaiming_normal"], [0, 1, 10, 11], lambda init, seed: 29),
    "only custom schemes": (["orthogonal", "xavier_normal@4", "sparse_90"], [0, 1, 10, 11],
                            lambda init, seed: 29),
    "one seed": ([*stats.STANDARD, "orthogonal"], [0, 10], lambda init, seed: 29),
    "seeds missing": ([*stats.STANDARD, "orthogonal"], [0, 1, 2, 10, 11, 12],
                      lambda init, seed: 0 if (len(init) + seed) % 4 == 0 else 29),
    "runs under way": ([*stats.STANDARD, "orthogonal", "xavier_normal@4"], [0, 1, 2, 10, 11],
                       lambda init, seed: (7 * len(init) + 5 * seed) % 30),
    "no seed in common": (stats.STANDARD, [*range(4), *range(10, 14)],
                          lambda init, seed: 29 * (stats.STANDARD.index(init) == seed % 10))}


@functools.cache
def pages_of_little(name):
    schemes, seeds, length = LITTLE[name]
    runs = []
    for group, init, seed in itertools.product(GROUPS, schemes, seeds):
        halved = tables.HALF in group
        levels = math.ceil(length(init, seed) / (3 if halved else 1))
        if levels:
            runs.append(made(init, seed, 97 + math.sin(seed + len(init)), 96.0, group=group, levels=levels,
                             rates=HALF_RATES if halved else FULL_RATES))
    return tables.verdicts(runs)


@pytest.mark.parametrize("name", LITTLE)
def test_the_tables_of_an_incomplete_study_are_pages(name):
    """Every row has as many cells as its head; no cell is None. The controls have a test of their own."""
    for table, page in pages_of_little(name).items():
        says, rest = page.split("\n\n", 1)
        widths = {line.count("|") for line in rest.splitlines()}
        assert says and "None" not in page and ("Not run." in rest or len(widths) == 1 or table == "controls")


def test_only_the_controls_of_an_incomplete_study_say_nan():
    """What is not there is empty; the controls have a test of their own."""
    for name in LITTLE:
        pages = pages_of_little(name)
        assert {table for table, page in pages.items() if "nan" in page} <= {"controls"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_tables_of_runs_without_a_finite_loss_are_pages():
    runs = [made(init, seed, [None] * 29) for init in stats.STANDARD for seed in (0, 1, 10, 11, 12)]
    pages = tables.verdicts(runs)
    assert "Not run." in pages["contrasts"] and "Not run." in pages["endpoints"]


def test_a_run_without_levels_counts_as_not_run():
    pages = tables.verdicts([made(init, 10, 97.0, levels=0) for init in stats.STANDARD])
    assert "Not run." in pages["contrasts"]
