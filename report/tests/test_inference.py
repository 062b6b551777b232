"""Means over ranges, pairing, tests and intervals against slower, plainer counts."""
import itertools
import math
import statistics
from fractions import Fraction

import numpy as np
import pytest

import inference

from .made import densities, made

NAN = float("nan")
HALVINGS = [1, 0.5, 0.25, 0.125]


def test_range_means_are_by_seed_in_points_and_of_finished_runs():
    runs = [made("xavier_normal", 3, 97.0, 96.5), made("xavier_normal", 1, 98.0, 95.0),
            made("xavier_normal", 2, 99.0, levels=28), made("xavier_normal", 4, [98.0] * 28 + [None]),
            made("xavier_normal", 5, [98.0] * 10 + [None] + [98.0] * 18)]
    assert inference.range_means(runs, (1, 0.0021)) == pytest.approx({3: 97, 1: 98})
    assert inference.range_means(runs, (1, 0.012)) == pytest.approx({3: 97, 1: 98, 2: 99, 4: 98})


def test_a_mean_between_levels_is_that_of_a_refined_curve():
    """Between a level and halfway (in the logarithm) to the next but one."""
    y, low = [98.0, 97.0, 95.0, 87.0], math.sqrt(0.25 * 0.125)
    whole = inference.mean_over_range(HALVINGS, y, (1, 0.125))
    assert inference.mean_between(HALVINGS, y, (1, 0.125)) == pytest.approx(whole)
    by_hand = (96 * 1 + (95 + 91) / 2 * 0.5) / 1.5
    assert inference.mean_between(HALVINGS, y, (0.5, low)) == pytest.approx(by_hand)
    for outside in ((1.1, 0.5), (0.5, 0.1), (0.5, 0.5)):
        assert math.isnan(inference.mean_between(HALVINGS, y, outside))
    assert math.isnan(inference.mean_between([1], [98.0], (1, 0.5)))
    assert math.isnan(inference.mean_over_range(HALVINGS, y, (0.125, 1)))


def test_level_near_is_the_nearest_in_ratio_within_a_tenth():
    assert inference.level_near([0.109, 0.0915], 0.1) == 0      # off by 9.0% and 9.3%, by 0.009 and 0.0085
    assert inference.level_near([], 0.1) is None
    for ratio, found in ((1.099, 0), (1.101, None), (1 / 1.099, 0), (1 / 1.101, None)):
        assert inference.level_near([0.012 * ratio], 0.012) == found
    x = densities(29)
    for wanted in np.geomspace(1, 0.002, 200):
        plain = min(range(29), key=lambda number: max(x[number] / wanted, wanted / x[number]))
        near = max(x[plain] / wanted, wanted / x[plain]) < 1.1
        assert inference.level_near(x, wanted) == (plain if near else None)


def test_within_a_point_equals_the_crossing_by_hand():
    """The line is a point below dense; halfway down a halving is a factor of the root of two."""
    for values, dense, found in (
            ([98, 98, 96, 99], 98, 0.5 / math.sqrt(2)), ([98, 97.5, 97.25, 96.25], 98, 0.25 * 0.5 ** 0.25),
            ([98, 97, 96, 95], 98, 0.5), ([98, 98, 98, 97], 98, 0.125), ([98.5, 98, 98, 98], 97, 0.125),
            ([98, 96, NAN, 98], 98, math.sqrt(0.5)), ([97, 98, 98, 98], 98.5, NAN),     # below at once
            ([NAN, 98, 98, 98], 98, NAN), ([98, NAN, 98, 98], 98, NAN), ([98, 98, 98, 98], NAN, NAN)):
        assert inference.within_a_point(HALVINGS, values, dense) == pytest.approx(found, nan_ok=True)


# t with P(|T| < t) = 0.95, from the tables of a textbook, by degrees of freedom
T = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 19: 2.093, 60: 2.000}


@pytest.mark.parametrize("df", T)
def test_the_interval_is_students(df):
    d = np.random.default_rng(df).normal(0, 1, df + 1)
    half = T[df] * statistics.stdev(d.tolist()) / (df + 1) ** 0.5
    found = inference.estimate(d)
    assert found[:3] == pytest.approx((d.mean(), d.mean() - half, d.mean() + half), rel=1e-3, abs=2e-3)
    assert found.n == df + 1 and inference.estimate(d[:0]) is None
    assert math.isnan(inference.estimate(d[:1]).low) and inference.estimate(d[:1]).mean == d[0]
    assert inference.ratio(d)[:3] == pytest.approx(tuple(map(math.exp, found[:3])))


@pytest.mark.parametrize("d, margin, p", [  # by the t distribution's finite sums
    ([0.02, -0.05, 0.07, 0.01, -0.03], 0.1, 0.005024654861290416), ([0.1, -0.2], 0.5, 0.10241638234956672),
    ([0.3, 0.25, 0.28, 0.35, 0.31, 0.27], 0.1, 0.9999801820729145),
    ([-0.09, -0.04, -0.12, -0.02], 0.1, 0.1251818345013305), ([0.0, 0.25, 0.125, 0.125], 0.125, 0.5),
    ([0.25] * 4, 0.5, 0), ([0.5] * 4, 0.5, 1), ([0.75] * 4, 0.5, 1)])   # without spread it is yes or no
def test_equivalence_equals_two_one_sided_t_tests(d, margin, p):
    d = np.array(d)
    assert inference.equivalence(d, margin) == pytest.approx(p, rel=1e-3)
    assert inference.equivalence(-d, margin) == pytest.approx(inference.equivalence(d, margin))
    assert inference.equivalence(30 * d, 30 * margin) == pytest.approx(inference.equivalence(d, margin))


def plain_sign_flip(d):
    """The share of all choices of signs with a sum at least as far from 0, in exact fractions."""
    d = [Fraction(str(x)) for x in d]
    sums = [sum(s * x for s, x in zip(signs, d)) for signs in itertools.product((1, -1), repeat=len(d))]
    return sum(abs(found) >= abs(sum(d)) for found in sums) / len(sums)


def plain_t(d):
    return statistics.mean(d) / (statistics.stdev(d) / math.sqrt(len(d)))


def plain_max_t(rows):
    """For each row the share of joint flips whose largest |t| of all rows is at least as large as its own."""
    largest = []
    for signs in itertools.product((1, -1), repeat=len(rows[0])):
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
    assert inference.sign_flip(np.array(d, float)) == plain_sign_flip(d)


def test_twenty_differences_of_one_sign_have_the_least_p():
    assert inference.sign_flip(np.linspace(0.01, 1, 20)) == inference.sign_flip(-np.ones(20)) == 2 / 2 ** 20


@pytest.mark.parametrize("d", [
    [1, 2, 3, 4, 5], [1, 1, -1, 2], [3, -1, 4, -1, 5, -9, 2, 6], [0.1, 0.2, -0.3, 0.5],
    *([value] * n for value in (0.07, 0.1, 0.7, 1 / 3) for n in (5, 8, 12))])
def test_max_t_of_one_row_is_the_sign_flip_of_t(d):
    """With the sum of squares fixed |t| grows with |sum|, ties included; a copy of a row changes nothing."""
    row = np.array(d, float)
    assert inference.max_t(row[None]) == [plain_sign_flip(d)]
    assert inference.max_t(np.array([row, row, -row])) == 3 * [plain_sign_flip(d)]


def test_paired_takes_the_seeds_that_all_have_in_whatever_order():
    values = {"b": {3: 0.25, 1: 4.0, 2: 0.5}, "a": {9: 7.0, 2: 5.0, 1: 2.0, 3: 1.0}, "c": {1: 8.0, 3: 16.0}}
    assert inference.paired(values, {"a": -1, "b": 1}).tolist() == [2.0, -4.5, -0.75]    # seeds 1, 2, 3
    assert inference.paired(values, {"c": 1, "b": -0.5, "a": -0.5}).tolist() == [5.0, 15.375]
    for weights in ({"a": 1, "d": -1}, {"d": 1}, {"e": 1, "c": -1}):
        assert inference.paired({**values, "e": {2: 2.0}}, weights).shape == (0,)


def plain_ranks(values):
    """Places in the sorted list, the mean of them where values are equal."""
    order = sorted(values)
    return [statistics.mean(place for place, other in enumerate(order) if other == value) for value in values]


def test_rank_correlations_leave_out_what_has_none():
    up, down, flat = ({init: {0: float(sign * place), 1: float(place)} for place, init in enumerate("abcd")}
                      for sign in (1, -1, 0))
    for one, other, found in (({**up, "d": {}}, {**down, "d": {0: 9.0}}, [-1, 1]), (up, flat, [1]),
                              (*[{"a": up["a"], "b": up["b"]}] * 2, [])):     # nothing to rank; too few
        assert inference.rank_correlations(one, other).tolist() == pytest.approx(found)


def test_calibration_equals_a_plain_loop_over_the_same_pairings():
    values = np.random.default_rng(4).normal(97, 1, 13).round(2)
    g, rejected = np.random.default_rng(0), 0
    for _ in range(30):
        draw = g.permutation(values)[:12]
        rejected += plain_sign_flip((draw[:6] - draw[6:]).round(6).tolist()) <= 0.05
    assert inference.calibration(values, repeats=30) == rejected / 30
