"""The tables' records on made-up runs with known answers."""
import itertools
import math
import statistics

import numpy as np
import pytest

import formatting
import inference
import mechanism
import study
import tables
from stats import STANDARD, groups
from study import FULL, HALF, METHODS, SPARSE, STUDIES, UPPER

from .made import (FULL_RATES, HALF_RATES, HALVES, SCORES, SIZES, densities, influencing, made, of_seeds,
                   record, screening, standards)
from .test_inference import plain_ranks, plain_sign_flip

RANGES = STUDIES["mnist"].ranges
SIGNS = {"variance_scaling": (-1, -1, 1, 1), "distribution": (-1, 1, -1, 1)}    # twice the contrasts' weights


def text_of(name, records):
    return formatting.markdown(tables.TABLES[name], records)


# the planned contrasts and the pairs

@pytest.mark.parametrize("scale, wiggle, n, word", [
    (0.3, 1, 8, "different"), (0.02, 0.05, 8, "different, within the margin"), (0.0, 0.5, 8, "equivalent"),
    (0.1, 30, 8, "not shown"), (0.3, 1, 5, "estimate")])
def test_a_table_says_each_word_where_it_is_true(scale, wiggle, n, word):
    """Of five pairs no choice of signs gives a p below 5%: 2 / 32."""
    records = tables.contrasts(groups(standards(n, scale=scale, wiggle=wiggle)))
    assert [row["verdict"] for row in records if row["contrast"] == "variance_scaling"] == [word] * 2


# the four schemes

def test_accuracies_limits_and_stops_are_those_of_the_curve():
    """98% down to the ninth level, then 96%: the crossing is halfway to the tenth; one run collapses."""
    x = densities(29)
    runs = [made("xavier_normal", seed, [98.0] * 9 + [96.0] * 19 + [50.0 if seed == 10 else 96.0])
            for seed in (10, 11, 12)]
    found = groups(runs)
    means = {row["density"]: row["xavier_normal"].mean for row in tables.accuracies(found)}
    assert means == pytest.approx({1: 98, 0.21: 98, 0.07: 96, 0.03: 96, 0.012: 96, 0.005: 96,
                                   0.0021: (96 + 96 + 50) / 3})
    limit, = tables.limits(found)
    crossing = 100 * math.sqrt(x[8] * x[9])
    assert limit["own"] == limit["common"] == pytest.approx(crossing) and limit["last"] == pytest.approx(96)
    assert (limit["collapsed"], limit["line"], limit["n"]) == (1, 90, 3)
    stop, = tables.stops(found)
    assert stop == {"study": "mnist", "scheme": "xavier_normal", **dict.fromkeys(
        ("100", "21", "7", "3", "1.2", "0.21"), 20), "last at 1.2": 0, "last at 0.21": 0}
    runs[1]["levels"][28]["val_loss"] = [0.3, 0.2, 0.1]
    before = tables.limits(groups(runs))
    runs.append(made("xavier_normal", 13, [98.0] * 9 + [50.0], levels=10))      # it is not at its end yet
    later, = tables.stops(groups(runs))
    assert (later["0.21"], later["last at 0.21"]) == pytest.approx((70 / 3, 100 / 3))
    assert tables.limits(groups(runs)) == before


def test_needs_are_ratios_of_the_densities_of_limits():
    """Each falls by 2 points behind a level of its own and crosses the own line halfway, the common one, at
    96.5, three quarters of the way from 98 and one quarter from 97."""
    x, runs, last = densities(29), [], {}
    for (place, init), seed in itertools.product(enumerate(STANDARD), range(10, 16)):
        last[place, seed] = 10 + 2 * place + seed % 4 * (1 + place % 2)
        high, length = 97.0 if "kaiming" in init else 98.0, 1 + last[place, seed]
        runs.append(made(init, seed, [high] * length + [high - 2] * (29 - length)))
    runs.append(made("xavier_normal", 16, [98.0] * 9, levels=9))        # it is not at its end yet
    records = tables.needs(groups(runs))
    for row, (what, name) in zip(records, itertools.product(("own", "common"), SIGNS), strict=True):
        share = {"own": (0.5,) * 4, "common": (0.75, 0.75, 0.25, 0.25)}[what]
        d = [sum(sign / 2 * math.log(x[last[place, seed]] * (
            x[last[place, seed] + 1] / x[last[place, seed]]) ** share[place])
            for place, sign in enumerate(SIGNS[name])) for seed in range(10, 16)]
        assert row["difference"] == pytest.approx(inference.ratio(np.array(d)))
        assert (row["unpruned"], row["quotient"], row["whole"], row["n"]) == (what, name, 0, 6)
        assert row["p"] == plain_sign_flip([round(value, 9) for value in d])
    assert tables.needs(groups([run for run in runs if run["config"]["seed"] < 15])) == []      # of five


@pytest.mark.parametrize("below", [1, 5])
def test_a_network_below_the_common_line_at_once_needs_all_weights(below):
    """And in the median, which is then of none; one that diverged has collapsed."""
    last = densities(29)[-1]
    runs = [made(init, seed, 90.0 if init == STANDARD[0] and seed < 10 + below else 98.0)
            for init in STANDARD for seed in range(10, 16)]
    row, own = (record(tables.needs(groups(runs)), quotient="variance_scaling", unpruned=what)
                for what in ("common", "own"))
    assert row["difference"].mean == pytest.approx(math.exp(below * math.log(last) / 2 / 6))
    assert row["whole"] == below and own["whole"] == 0 and own["difference"].mean == pytest.approx(1)
    limit = tables.limits(groups(runs))[0]
    assert limit["own"] == pytest.approx(100 * last)
    assert limit["common"] == (math.inf if below > 3 else limit["own"])
    assert (" none " in text_of("limits", [limit])) == (below > 3)
    runs = [made("xavier_normal", 10, [None] + [9.8] * 28), made("xavier_normal", 11, 98.0)]
    assert [row["collapsed"] for row in tables.limits(groups(runs))] == [1]


def test_calibrations_are_of_schemes_with_twelve_seeds():
    noise = np.random.default_rng(30)
    runs = [made("xavier_normal", seed, noise.normal(97, 0.1)) for seed in range(10, 22)]
    runs += [made("kaiming_normal", seed, noise.normal(97, 0.1)) for seed in range(10, 21)]
    rate = inference.calibration([100 * run["levels"][0]["test_acc"][1] for run in runs[:12]])
    assert 0 < rate <= 0.05
    assert tables.calibrations(groups(runs)) == [
        {"study": "mnist", "range": bounds, "scheme": "xavier_normal", "rejected": rate} for bounds in RANGES]


# the screen and its candidates

def test_candidates_are_the_protocols():
    """The two best custom schemes and the best standard one, by validation, by seeds below 10 alone, of those
    with all seeds of the screen and all levels."""
    late, found = (groups(screening(late=late)) for late in ((10, 11, 12, 13), None))
    assert text_of("screen", tables.screen(late)) == text_of("screen", tables.screen(found))
    few = {init: SCORES[init] for init in ("xavier_normal", "shape_uniform", "sparse_90")}
    unfinished = screening() + [made("orthogonal@2", 0, 99.9, 99.9, **{**HALVES, "levels": 9})]
    best = (["xavier_normal@0.5", "orthogonal"], "xavier_uniform")
    for schemes, chosen in ((late, best), (groups(unfinished), best), ({}, ([], None)),
                            (groups(screening(scores=few)), (["sparse_90"], "xavier_normal")),
                            (groups(screening(seeds=(0, 1, 2, 3))), ([], None))):
        assert study.candidates(schemes) == chosen


# other ways of pruning

def test_the_heavy_tailed_scheme_is_chosen_by_validation_over_both_methods():
    for laplace, t4, chosen in (((90, 92), (91, 90), "shape_laplace"), ((90, 92), (91, 92), "shape_t4")):
        runs = [made(init, seed, 0.0, scores[number], **{**HALVES, "group": METHODS[name]})
                for number, name in enumerate(study.AT_INITIALIZATION) for seed in range(5)
                for init, scores in (("shape_laplace", laplace), ("shape_t4", t4))]
        assert tables.heavy_tailed(groups(runs)) == chosen
        assert tables.heavy_tailed(groups(runs[:-1])) is None is tables.heavy_tailed({})


def test_controls_are_the_exploring_seeds_and_as_many_as_are_there():
    runs = [made("xavier_normal", seed, 97.0 + seed, group=group,
                 levels=5 if (seed, group) == (2, FULL) else 16)
            for group in study.CONTROLS.values() for seed in (0, 1, 2)] + [made("xavier_normal", 10, 50.0)]
    for row, name in zip(mechanism.controls(groups(runs)), study.CONTROLS, strict=True):
        short = name == "ticket"
        assert row["control"] == name and row["100%"] == (pytest.approx((98, 1, 3)), pytest.approx(97))
        assert row["3.6%"] == ((pytest.approx((97.5, math.sqrt(0.5), 2)), pytest.approx(96.5)) if short else
                               (pytest.approx((98, 1, 3)), pytest.approx(97)))
    gaps = mechanism.control_gaps(groups(runs))
    assert len(gaps) == 8 and all(row["difference"].mean == pytest.approx(0) for row in gaps)


# influence of the initial magnitude

@pytest.mark.parametrize("seeds, how, places, ranges", [
    (range(5), HALVES, (4, 6), (UPPER, SPARSE)),
    (range(10, 13), {"group": FULL, "levels": 29, "rates": FULL_RATES}, (12, 20), RANGES)])
def test_the_influence_of_the_initial_magnitude_goes_with_accuracy_as_plain_ranks_do(seeds, how, places,
                                                                                     ranges):
    runs = influencing(seeds, **how)
    others = [made("orthogonal@2", seed, 99.0, **how) for seed in seeds]    # of a gain
    others += [made("sparse_90", 0, 99.0, **HALVES)]                        # of one seed: not screened
    x, (upper, sparse) = densities(how["levels"], how["rates"]), ranges
    cases = itertools.product(((upper, 0.066, places[0]), (sparse, 0.066, places[0]),
                               (sparse, sparse[0], places[1])), ("mean", "minus unpruned"))
    records = mechanism.influence(groups(runs + others))
    for row, ((bounds, at, place), outcome) in zip(records, cases, strict=True):
        assert (row["range"], row["density"], row["outcome"], row["schemes"]) == (bounds, at, outcome, 6)
        for key in ("eps", "auroc", "rho"):
            pairs = {seed: [] for seed in seeds}
            for run in runs:
                accuracy = [100 * level["test_acc"][1] for level in run["levels"]]
                mean = inference.mean_over_range(x, accuracy, bounds) - (outcome != "mean") * accuracy[0]
                measure = run["levels"][place]["diagnostics"]["layers"]["fc1"][key]
                pairs[run["config"]["seed"]] += [(measure, mean)] * (measure is not None)
            found = [statistics.correlation(*map(plain_ranks, zip(*own))) for own in pairs.values()]
            assert row[key] == pytest.approx((statistics.mean(found), min(found), max(found), len(seeds)))


def test_a_difference_by_weights_on_rare_inputs_is_gone_when_they_are_not_counted(monkeypatch, tmp_path):
    """Accuracy is a function of the weights on other inputs; normal schemes waste more on the rare ones."""
    pixels = tmp_path / "pixels.json"
    pixels.write_text('{"mnist": {"images": 10000, "lit": [0, 9, 100, 5000]}}')
    monkeypatch.setattr(mechanism, "PIXELS", pixels)
    runs = []
    for (place, init), seed in itertools.product(enumerate(STANDARD), range(10, 16)):
        run = made(init, seed, 90.0)
        for level in run["levels"]:
            fc1 = level["kept"]["fc1"]
            constant, rare = (0.04, 0.06) if "normal" in init else (0.01, 0.02)
            level["inputs"] = [constant * fc1, rare * fc1, 0.5 * fc1, (0.5 - constant - rare) * fc1]
            seen = (sum(level["kept"].values()) - (constant + rare) * fc1) / sum(SIZES.values())
            level["test_acc"][1] = 0.9 + 0.02 * math.log(seen) + 0.001 * math.sin(seed + place) / 10
        runs.append(run)
    records = mechanism.without_rare_inputs(groups(runs))
    inputs = ("all", "not constant", "not below 0.1%", "not below 1%")
    assert [(row["contrast"], row["inputs"], row["range"], row["n"]) for row in records] == [
        (*case, RANGES[1], 6) for case in itertools.product(SIGNS, inputs)]
    *scaling, plain, not_constant, not_rare, not_below_1 = (row["difference"].mean for row in records)
    assert plain > not_constant > 0.05 and max(map(abs, (*scaling, not_rare, not_below_1))) < 0.01
    d = inference.paired(study.by_scheme(of_seeds(runs), RANGES[1]), study.CONTRASTS["distribution"])
    assert records[4]["differences"] == pytest.approx(d) and records[4]["p"] == inference.sign_flip(d)


def test_zero_rare_inputs_against_the_plain_schemes_of_later_seeds():
    """Of seeds 30 on alone; those that the schemes are compared on have no part in it, nor these in that."""
    runs = standards(8)
    before = text_of("contrasts", tables.contrasts(groups(runs)))
    for init, points in (("xavier_normal", 0.0), ("kaiming_normal", 1.0), ("xavier_normal_lit", 0.5),
                         ("kaiming_normal_lit", 1.7)):
        runs += [made(init, seed, 90 + points + seed / 100 * init.endswith("lit")) for seed in range(30, 38)]
        runs += [made(init, seed, 50.0) for seed in range(20, 22) if init.endswith("lit")]
    records = mechanism.zero_rare_inputs(groups(runs))
    gap = 0.6 + sum(range(30, 38)) / 800
    for row, (effect, bounds) in zip(records, zip(("upper", "test"), RANGES), strict=True):
        assert (row["effect"], row["where"], row["n"], row["p"]) == (effect, bounds, 8, 2 / 2 ** 8)
        assert [row[key].mean for key in ("plain", "zero", "difference")] == pytest.approx(
            [90.5, 90.5 + gap, gap])
    assert text_of("contrasts", tables.contrasts(groups(runs))) == before


# numbers as text

def test_numbers_are_printed_by_their_kind():
    d = np.array([1.0, 2.0, 4.0, 9.0])      # t(0.975, 3) = 3.182
    half = 3.18244630528371 * statistics.stdev(d) / 2
    assert formatting.text(inference.estimate(d)) == f"+4.000 [{4 - half:+.3f}, {4 + half:+.3f}]"
    assert formatting.text(inference.estimate(d[:1])) == "+1.00" and formatting.text(None) == ""
    assert formatting.text(inference.spread(d)) == "4.00 (3.56)"
    assert formatting.text(inference.spread(d[:1])) == "1.00"
    assert formatting.text([20, 20, 20, 20]) == "20" and formatting.text([20, 19, 20, 20]) == "20/19/20/20"
    assert [formatting.text(p, "p") for p in (0.0123, 0.0004)] == ["0.012", "4.0e-04"]
    assert [formatting.text(pair) for pair in ((1, 0.012), (1, 0.03), (1, 0.036), (0.5, 0.3))] == [
        "100 to 1.2%", "100 to 3%", "100 to 3.6%", "50 to 30%"]     # the protocol's 1.2% is not 1%


# all tables of little or nothing

GROUPS = [*(each.group for each in STUDIES.values()), f"{FULL}-reinit",
          *(f"mnist-fc-{rest}{HALF}" for rest in (
              "magnitude", "movement", "snip", "magnitude-oneshot", "magnitude-unit",
              f"magnitude-from-mnist-fc-xavier_normal-magnitude{HALF}"))]
LITTLE = {  # schemes, seeds, levels of a run by (scheme, seed)
    "nothing": ([], [], None),
    "one level": (["xavier_normal", "kaiming_normal"], [0, 10], lambda init, seed: 1),
    "only custom schemes": (["orthogonal", "xavier_normal@4"], [0, 1, 10, 11], lambda init, seed: 29),
    "one seed": ([*STANDARD, "orthogonal"], [0, 10], lambda init, seed: 29),
    "unfinished runs": ([*STANDARD, "orthogonal", "xavier_normal@4"], [0, 1, 2, 10, 11],
                        lambda init, seed: (7 * len(init) + 5 * seed) % 30),
    "no seed in common": (STANDARD, [*range(4), *range(10, 14)],
                          lambda init, seed: 29 * (STANDARD.index(init) == seed % 10)),
    "no finite loss": (STANDARD, [0, 1, 10, 11, 12], lambda init, seed: 29)}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", LITTLE)
def test_the_tables_of_an_incomplete_study_are_pages(name):
    """Every row has as many cells as its head; what is not there is empty, but in the controls."""
    schemes, seeds, length = LITTLE[name]
    lost = name == "no finite loss"
    runs = [made(init, seed, [None] * 29 if lost else 97 + math.sin(seed + len(init)), 96.0, group=group,
                 levels=math.ceil(length(init, seed) / (3 if HALF in group else 1)),
                 rates=HALF_RATES if HALF in group else FULL_RATES)
            for group, init, seed in itertools.product([FULL] if lost else GROUPS, schemes, seeds)]
    found, none = groups([run for run in runs if run["levels"]]), "*Not run.*\n"
    for key, shown in tables.TABLES.items():
        page = formatting.markdown(shown, shown.records(found)) if shown.columns else none
        assert lost or len({line.count("|") for line in page.splitlines()}) == 1 and "None" not in page, key
        assert lost or "nan" not in page or key == "controls"
        assert page == none or found and not (lost and key in ("contrasts", "endpoints")), key
