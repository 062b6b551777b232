"""The tables' records on made-up runs with known answers."""
import itertools
import math
import statistics

import numpy as np
import pytest

import formatting
import inference
import mechanism
import stats
import study
import tables
from stats import STANDARD, groups
from study import FULL, HALVED, METHODS, SPARSE, STUDIES, UPPER

from .made import (CONFIRMING, EXPLORING, FACTORS, FULL_PARTS, HALF_PARTS, HALVES, INITS, SIZES, accuracy, at,
                   densities, made, over, plain, random_groups, standards)
from .test_inference import plain_ranks

RANGES = STUDIES["mnist"].ranges


def text_of(name, records):
    return formatting.markdown(tables.TABLES[name], records)


@pytest.mark.parametrize("scale, wiggle, n, word", [
    (0.3, 1, 8, "different"), (0.02, 0.05, 8, "different, within the margin"), (0.0, 0.5, 8, "equivalent"),
    (0.1, 30, 8, "not shown"), (0.3, 1, 5, "estimate")])
def test_a_table_says_each_word_where_it_is_true(scale, wiggle, n, word):
    """Of five pairs no choice of signs gives a p below 5%: 2 / 32."""
    records = tables.contrasts(groups(standards(n, scale=scale, wiggle=wiggle)))
    assert [row["verdict"] for row in records if row["contrast"] == "variance_scaling"] == [word] * 2


@pytest.mark.parametrize("p, mean, equivalence, verdict", [
    (0.05, -1, 1, "upheld"), (0.05, 1, 0.01, "refuted"), (0.06, -1, 0.05, "refuted"),
    (0.06, 1, 0.06, "undecided")])
def test_a_prediction_below_0_is_judged_by_the_protocols_rule(p, mean, equivalence, verdict):
    row = {"p": p, "equivalence": equivalence, "difference": inference.Estimate(mean, mean - 2, mean + 2, 8)}
    assert tables.judged(row, -1) == tables.judged({**row, "p": 0, "holm": p}, -1) == verdict


def test_stops_are_the_steps_of_the_least_validation_loss():
    """And the share of runs that it is the last of; one run is not at its end yet."""
    runs = [made("xavier_normal", seed, 98.0, levels=10 if seed == 13 else 29) for seed in range(10, 14)]
    runs[1]["levels"][28]["val_loss"] = [0.3, 0.2, 0.1]
    row, = tables.stops(groups(runs))
    assert row == pytest.approx({
        "study": "mnist", "scheme": "xavier_normal", **dict.fromkeys(("100", "21", "7", "3", "1.2"), 20),
        "0.21": 70 / 3, "last at 3": 0, "last at 1.2": 0, "last at 0.21": 100 / 3})


@pytest.mark.parametrize("below", [1, 4])
def test_limits_and_needs_are_of_the_crossings_of_finished_runs(below):
    """Some dense networks of the first scheme are below the common line, one run collapses on the way."""
    noise, x, curves = np.random.default_rng(6), densities(29), {}
    for init, seed in itertools.product(STANDARD, range(10, 16)):
        curves[init, seed] = (98 - noise.uniform(2, 9) * np.linspace(0, 1, 29) ** 2).tolist()
        curves[init, seed][0] -= 3 * (init == STANDARD[0] and seed < 10 + below)
    curves[STANDARD[1], 12][25], curves[STANDARD[2], 16] = 9.8, [99.0] * 9      # this one is not at its end
    found = groups([made(*key, curve, levels=len(curve)) for key, curve in curves.items()])
    its = {init: [curve for (scheme, _), curve in curves.items() if scheme == init] for init in STANDARD}
    common = statistics.mean(statistics.mean(curve[0] for curve in its[init] if len(curve) == 29)
                             for init in STANDARD)
    least = {what: {key: inference.within_a_point(x, curve, common if what == "common" else curve[0])
                    for key, curve in curves.items() if len(curve) == 29} for what in ("own", "common")}
    for row, init in zip(tables.limits(found), STANDARD, strict=True):
        whole = [curve for curve in its[init] if len(curve) == 29]
        medians = {what: 100 * statistics.median(
            math.inf if math.isnan(values[init, seed]) else values[init, seed] for seed in range(10, 16))
            for what, values in least.items()}
        assert row == pytest.approx({
            "study": "mnist", "scheme": init, **medians, "line": 90, "n": 6,
            "collapsed": sum(min(curve) < 90 for curve in whole),
            "last": statistics.median(curve[-1] for curve in whole)})
        assert (" none " in text_of("limits", [row])) == (init == STANDARD[0] and below > 3)
    for row, (what, name) in zip(tables.needs(found), itertools.product(least, FACTORS), strict=True):
        d = [sum(weight * math.log(np.nan_to_num(least[what][init, seed], nan=1))
                 for init, weight in FACTORS[name].items()) for seed in range(10, 16)]
        assert row["difference"] == pytest.approx(inference.ratio(np.array(d)))
        assert (row["unpruned"], row["quotient"], row["n"]) == (what, name, 6)
        assert row["at_full"] == below * (what == "common") and row["p"] == inference.sign_flip(np.array(d))
    assert tables.needs(groups([run for runs in found[FULL].values() for run in runs[:5]])) == []


def test_calibrations_are_of_schemes_with_twelve_seeds():
    noise = np.random.default_rng(30)
    runs = [made("xavier_normal", seed, noise.normal(97, 0.1)) for seed in range(10, 22)]
    runs += [made("kaiming_normal", seed, noise.normal(97, 0.1)) for seed in range(10, 21)]
    runs += [made("xavier_uniform", seed, noise.normal(97, 0.1)) for seed in range(10, 22)]
    rates = [100 * inference.calibration([100 * run["levels"][0]["test_acc"][1] for run in its])
             for its in (runs[:12], runs[23:])]
    assert 0 < min(rates) < max(rates) < 6
    assert tables.calibrations(groups(runs)) == [
        {"study": "mnist", "least": min(rates), "largest": max(rates)}]


def test_candidates_are_the_protocols():
    """The two best custom schemes and the best standard one, by validation, by seeds below 10 alone, of those
    with all seeds of the screen and all levels; no twin of a standard scheme, nor a scheme in _lit."""
    score = over(0, 9, lambda level: 100 * level["val_acc"][1])
    order = sorted(INITS, key=lambda init: -statistics.mean(plain(HALVED, {init: 1}, EXPLORING, score)))
    customs, standard = ([init for init in order if (init in STANDARD) == wanted] for wanted in (False, True))
    others = {init: [made(init, seed, 0.0, 99.9, **{**HALVES, "levels": levels}) for seed in range(seeds)]
              for init, seeds, levels in (("shape_uniform", 5, 10), ("xavier_normal_lit", 5, 10),
                                          ("orthogonal", 4, 10), ("sparse_90", 5, 9))}
    assert study.candidates({HALVED: random_groups()[HALVED] | others}) == (customs[:2], standard[0])
    assert study.candidates({HALVED: others}) == study.candidates({}) == ([], None)


def test_the_heavy_tailed_scheme_is_chosen_by_validation_over_both_methods():
    for laplace, t4, chosen in (((90, 92), (91, 90), "shape_laplace"), ((90, 92), (91, 92), "shape_t4")):
        runs = [made(init, seed, 0.0, scores[number], **{**HALVES, "group": METHODS[name]})
                for number, name in enumerate(study.AT_INITIALIZATION) for seed in range(5)
                for init, scores in (("shape_laplace", laplace), ("shape_t4", t4))]
        assert tables.heavy_tailed(groups(runs)) == chosen
        assert tables.heavy_tailed(groups(runs[:-1])) is None is tables.heavy_tailed({})


def test_a_control_is_compared_with_the_ticket_by_the_exploring_seeds_that_both_have():
    """One run of the ticket is not at its end yet."""
    runs = [made("xavier_normal", seed, 97.0 + seed * (group != FULL), group=group,
                 levels=5 if (seed, group) == (2, FULL) else 16)
            for group in study.CONTROL_GROUPS.values() for seed in (0, 1, 2, 10)]
    gaps = mechanism.control_gaps(groups(runs))
    assert len(gaps) == 8 and all(row["difference"].mean == pytest.approx(-0.5) for row in gaps)


def test_side_facts_are_plain_counts_and_correlations():
    found = random_groups()
    for row, (bounds, part) in zip(mechanism.pairing(found), FULL_PARTS.items(), strict=True):
        values = [plain(FULL, {init: 1, **{other: 0 for other in STANDARD if other != init}}, CONFIRMING,
                        over(*part)) for init in STANDARD]
        each = [statistics.correlation(*two) for two in itertools.combinations(values, 2)]
        assert (row["range"], row["least"], row["largest"]) == (
            bounds, pytest.approx(min(each)), pytest.approx(max(each)))
    runs = [made(init, seed, 90.0 + seed * (init == "kaiming_normal")) for seed in (10, 30, 32)
            for init in ("kaiming_normal", "xavier_normal")]
    assert [row["difference"].mean for row in mechanism.replicated(groups(runs))] == pytest.approx([31, 31])
    level = runs[0]["levels"][28]
    level["diagnostics"] = {"layers": {"fc1": {"no_way_out": 250}, "fc2": {"no_way_out": 60}}}
    assert {row["what"]: row["mean"].mean for row in mechanism.remaining(groups(runs))} == {
        "weights": sum(level["kept"].values()), "biases": 50 + 40 + 10}
    some = {HALVED: {**found[HALVED], "shape_normal": found[HALVED]["shape_t4"]}}
    assert tables.screened(some) == [{"what": "custom", "n": len(INITS) - 3},
                                     {"what": "eligible", "n": len(INITS) - 4}]


def test_the_pixels_that_are_rarely_active_are_counted(nine_pixels):
    rare = sum(active < 10 for active in nine_pixels)
    assert mechanism.pixels({FULL: random_groups()[FULL]}) == [{"study": "mnist", "all": 9, "rare": rare}]


def test_the_influence_of_the_initial_magnitude_goes_with_accuracy_as_plain_ranks_do():
    """Of the seeds that all have. Schemes with a gain are left out, and of signs eps is not defined."""
    found = {HALVED: random_groups()[HALVED] | {"sparse_90": [made("sparse_90", 0, 99.0, **HALVES)]},
             FULL: {init: its[:5] for init, its in random_groups()[FULL].items()}}      # one run is no screen
    parts, fresh, (upper, sparse) = HALF_PARTS | FULL_PARTS, (10, 11), RANGES
    cases = itertools.product((
        (HALVED, range(4), UPPER, 0.066, 4), (HALVED, range(4), SPARSE, 0.066, 4),
        (HALVED, range(4), SPARSE, 0.016, 6), (FULL, fresh, upper, 0.066, 12),
        (FULL, fresh, sparse, 0.066, 12), (FULL, fresh, sparse, 0.012, 20)), ("mean", "minus unpruned"))
    for row, ((group, seeds, bounds, density, place), outcome) in zip(mechanism.influence(found), cases,
                                                                      strict=True):
        assert (row["range"], row["density"], row["outcome"], row["schemes"]) == (bounds, density, outcome, 8)
        for key in ("eps", "auroc", "rho"):
            inits = [init for init in INITS if "@" not in init and (key, init) != ("eps", "shape_sign")]
            measured, means = ([plain(group, {init: 1}, seeds, value) for init in inits] for value in (
                at(place, lambda level: level["diagnostics"]["layers"]["fc1"][key]),
                lambda run: over(*parts[bounds])(run) - (outcome != "mean") * at(0)(run)))
            each = [statistics.correlation(*map(plain_ranks, pair))
                    for pair in zip(zip(*measured), zip(*means))]
            assert row[key] == pytest.approx((statistics.mean(each), min(each), max(each), len(seeds)))


def not_rare(active, least):
    """The mean accuracy of a run, by its weights but those on pixels active in fewer than `least` images."""
    def mean(run):
        ends = tuple(stats.density(run["levels"][number]) for number in (20, 28))
        others = [sum(count for count, images in zip(level["inputs"], active) if images < least)
                  for level in run["levels"]]
        x = [(sum(level["kept"].values()) - other) / sum(SIZES.values())
             for level, other in zip(run["levels"], others)]
        return inference.mean_between(x, list(map(accuracy, run["levels"])), ends)
    return mean


def test_contrasts_by_the_weights_on_active_inputs_equal_plain_means(nine_pixels):
    records = mechanism.without_rare_inputs({FULL: random_groups()[FULL]})
    least = {"all": 0, "not constant": 1, "not below 0.1%": 10, "not below 1%": 100}
    cases = itertools.product(FACTORS.items(), least.items())
    for row, ((contrast, weights), (inputs, number)) in zip(records, cases, strict=True):
        assert (row["contrast"], row["inputs"], row["range"]) == (contrast, inputs, RANGES[1])
        d = np.array(plain(FULL, weights, CONFIRMING, not_rare(nine_pixels, number)))
        assert row["differences"] == pytest.approx(d, rel=1e-9) and row["p"] == inference.sign_flip(d)
    assert len({row["difference"].mean for row in records}) == len(records)


def test_zeroing_against_the_plain_schemes_of_later_seeds(nine_pixels):
    """Of seeds 30 on alone; those that the schemes are compared on have no part in it, nor these in that."""
    runs, noise = standards(8), np.random.default_rng(0)
    before = text_of("contrasts", tables.contrasts(groups(runs)))
    for init, points in (("xavier_normal", 0.0), ("kaiming_normal", 1.0), ("xavier_normal_lit", 0.5),
                         ("kaiming_normal_lit", 1.7)):
        runs += [made(init, seed, 90 + points + seed / 100 * init.endswith("lit")) for seed in range(30, 38)]
        runs += [made(init, seed, 50.0) for seed in range(20, 22) if init.endswith("lit")]
    for level in (level for run in runs for level in run["levels"]):
        level["inputs"] = noise.integers(1, 9, size=9).tolist()
    *records, other, survivors = mechanism.zeroing(groups(runs))
    for row, value in ((other, not_rare(nine_pixels, 10)), (survivors, at(20, lambda level: 100 * sum(
            level["inputs"][place] for place in (0, 1, 6, 7)) / sum(level["inputs"])))):
        its = {(run["config"]["init"], run["config"]["seed"]): value(run) for run in runs}
        d = [sum((-0.5 + init.endswith("lit")) * its[init, seed] for init in study.ZEROING)
             for seed in range(30, 38)]
        assert row["difference"] == pytest.approx(inference.estimate(np.array(d)))
    gap = 0.6 + sum(range(30, 38)) / 800
    for row, (effect, bounds) in zip(records, zip(("upper", "test"), RANGES), strict=True):
        assert (row["effect"], row["where"], row["n"], row["p"]) == (effect, bounds, 8, 2 / 2 ** 8)
        assert [row[key].mean for key in ("plain", "zero", "difference")] == pytest.approx(
            [90.5, 90.5 + gap, gap])
    assert text_of("contrasts", tables.contrasts(groups(runs))) == before


def test_numbers_are_printed_by_their_kind():
    d = np.array([1.0, 2.0, 4.0, 9.0])      # t(0.975, 3) = 3.182
    half = 3.18244630528371 * statistics.stdev(d) / 2
    assert formatting.text(inference.estimate(d)) == (
        f"+4.000 [\u2212{half - 4:.3f},\u00a0{4 + half:+.3f}]")
    assert formatting.text(inference.estimate(d[:1])) == "+1.00" and formatting.text(None) == ""
    assert formatting.text(inference.spread(d)) == "4.00 (3.56)"
    assert formatting.text(inference.spread(d[:1])) == "1.00"
    assert formatting.text([20, 20, 20, 20]) == "20" and formatting.text([20, 19, 20, 20]) == "20/19/20/20"
    assert [formatting.text(p, "p") for p in (0.0123, 0.0004)] == ["0.012", "4.0e-04"]
    assert [formatting.text(pair) for pair in ((1, 0.012), (1, 0.03), (1, 0.036), (0.5, 0.3))] == [
        "100 to 1.2%", "100 to 3%", "100 to 3.6%", "50 to 30%"]     # the protocol's 1.2% is not 1%


LITTLE = {  # how many levels there are of a scheme's run of a seed
    "nothing": lambda init, seed: 0, "one level": lambda init, seed: 1,
    "only custom schemes": lambda init, seed: 29 * (init not in STANDARD and seed != 4),
    "one seed": lambda init, seed: 29 * (seed in (0, 10)),
    "unfinished runs": lambda init, seed: (7 * len(init) + 5 * seed) % 30,
    "no seed in common": lambda init, seed: 29 * (INITS.index(init) % 4 == seed % 4)}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", LITTLE)
def test_the_tables_of_an_incomplete_study_are_pages(name):
    """Every row has as many cells as its head; what is not there is empty."""
    runs = [run | {"levels": run["levels"][:LITTLE[name](init, run["config"]["seed"])]}
            for schemes in random_groups().values() for init, its in schemes.items() for run in its]
    found, none = groups([run for run in runs if run["levels"]]), "*Not run.*\n"
    for key, shown in tables.TABLES.items():
        page = formatting.markdown(shown, shown.records(found)) if shown.columns else none
        assert len({line.count("|") for line in page.splitlines()}) == 1 and "None" not in page, key
        assert "nan" not in page and (page == none or found), key


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_runs_without_a_finite_loss_are_in_no_area():
    found = groups([made(init, seed, [None] * 29) for init in STANDARD for seed in (0, 1, 10, 11, 12)])
    records = {key: shown.records(found) for key, shown in tables.TABLES.items()}
    assert records["contrasts"] == records["endpoints"] == []
