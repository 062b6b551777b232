"""Every difference in the tables against plain loops over runs of random numbers."""
import functools
import itertools
import math
import statistics

import numpy as np
import pytest

import formatting
import inference
import stats
import study
import tables
from stats import STANDARD, scheme_name
from study import FULL, HALF, HALVED, METHODS, PARTS, SPARSE, STUDIES, UPPER, VARIANTS, WHOLE

from .made import (CONFIRMING, CUSTOM, DOUBLES, EXPLORING, FACTORS, FULL_PARTS, HALF_PARTS, INITS, SIZES,
                   accuracy, across, at, densities, over, plain, random_groups, record, swapped)
from .test_inference import plain_holm, plain_max_t, plain_sign_flip


def of_the_studies():
    """(table, names, {key: differences}) of the four schemes."""
    plans = [("mnist", bounds, part, CONFIRMING) for bounds, part in FULL_PARTS.items()]
    plans += [("fashion", bounds, HALF_PARTS[bounds], CONFIRMING) for bounds in (UPPER, SPARSE)]
    plans += [("conv2-first", (1, 0.03), (0, 8), range(10, 13)), ("conv2", (1, 0.03), (0, 8), range(31, 39)),
              ("conv2", (0.03, 0.0126), (8, 10), range(31, 39))]
    for (name, bounds, part, seeds), (contrast, weights) in itertools.product(plans, FACTORS.items()):
        d = functools.partial(plain, STUDIES[name].group, weights, seeds)
        mean, names = over(*part), {"study": name, "range": bounds}
        yield "contrasts", {**names, "contrast": contrast}, {"difference": d(mean)}
        yield "contrasts", {**names, "contrast": "interaction"}, {
            "difference": plain(STUDIES[name].group, dict(zip(STANDARD, (1, -1, -1, 1))), seeds, mean)}
        yield "endpoints", {**names, "accuracy_at": "minimum of the validation loss"}, {contrast: d(mean)}
        end = over(*part, lambda level: 100 * level["test_acc"][2])
        yield "endpoints", {**names, "accuracy_at": "level's end"}, {contrast: d(end)}
        yield "retained", {**names, "contrast": contrast}, {
            "difference": d(lambda run: mean(run) - at(0)(run)), "unpruned": d(at(0)), "last": d(at(part[1])),
            "change": d(lambda run: at(part[1])(run) - at(0)(run))}
        if part == (0, 8):
            yield "change", {"study": name, "contrast": contrast}, {
                "difference": d(lambda run: at(8)(run) - at(0)(run))}
        yield "fits", {**names, "contrast": contrast}, {
            what: d(over(*part, lambda level: 100 * level[key][1]))
            for what, key in (("training", "train_loss"), ("validation", "val_loss"))}
    for number, level in enumerate(densities(11, DOUBLES)):
        yield "by_density", {"study": "conv2", "density": pytest.approx(level)}, {
            contrast: plain(STUDIES["conv2"].group, weights, range(31, 39), at(number))
            for contrast, weights in FACTORS.items()}
    for (one, other), (bounds, part) in itertools.product(itertools.combinations(STANDARD, 2),
                                                          FULL_PARTS.items()):
        yield "pairs", {"study": "mnist", "range": bounds, "contrast": f"{other} - {one}"}, {
            "difference": plain(FULL, {other: 1, one: -1}, CONFIRMING, over(*part))}


def of_the_exploration():
    """(table, names, {key: differences}) of custom schemes, other methods, and what is changed."""
    validation = over(0, 9, lambda level: 100 * level["val_acc"][1])
    for init in CUSTOM:
        yield "screen", {"scheme": init}, {
            "difference": plain(HALVED, {init: 1, "xavier_normal": -1}, EXPLORING, validation)}
    customs, standard = study.candidates(random_groups())
    for (rate, group), init in itertools.product(study.RATES.items(), customs):
        yield "rates", {"rate": rate, "scheme": init}, {
            "difference": plain(group, {init: 1, standard: -1}, EXPLORING, validation)}
    for name, group in METHODS.items() - {("filters", METHODS["filters"])}:     # whose levels are others
        for bounds in (WHOLE, *PARTS):
            mean, names = over(*HALF_PARTS[bounds]), {} if bounds == WHOLE else {"range": bounds}
            yield "parts" if names else "methods", {"method": name, **names}, {
                key: plain(group, weights, EXPLORING, mean) for key, weights in FACTORS.items()}
            if names:
                yield "parts", {"method": name, **names}, {
                    f"{scheme_name(init)} − {scheme_name(standard)}": plain(
                        group, {init: 1, standard: -1}, EXPLORING, mean) for init in customs}
        yield "methods", {"method": name}, {key: plain(
            group, {init: 1, other: -1}, EXPLORING, over(*HALF_PARTS[WHOLE])) for key, init, other in (
                ("signs", "shape_sign", standard), ("heavy", "shape_t4", "xavier_normal"))}
    for name, control in itertools.product(study.AT_INITIALIZATION, ("reinit", "shuffle")):
        pair = {(METHODS[name].replace(HALF, f"-{control}{HALF}"), "xavier_normal"): 1,
                (METHODS[name], "xavier_normal"): -1}
        yield "controls_at_initialization", {"method": name, "control": control}, {
            key: across(pair, EXPLORING, over(*HALF_PARTS[bounds])) for key, bounds in zip(
                ("upper", "sparse"), PARTS)}
    for (name, group), bounds in itertools.product(VARIANTS.items(), (UPPER, SPARSE)):
        mean = over(*HALF_PARTS[bounds])
        change = {(way, init): 0.25 if way == group else -0.25 for way in (HALVED, group)
                  for init in STANDARD}
        yield "why", {"variant": name, "range": bounds}, {
            **{key: plain(group, weights, EXPLORING, mean) for key, weights in FACTORS.items()},
            **({} if group == HALVED else {"change": across(change, EXPLORING, mean)})}
    for (name, other), (bounds, mean) in itertools.product(study.SWAPS, (
            (UPPER, over(0, 6)), (SPARSE, over(6, 9)))):
        a, b, ab, ba = ((METHODS[name], "xavier_normal"), (METHODS[name], other),
                        (swapped("xavier_normal", name), other), (swapped(other, name), "xavier_normal"))
        gaps = {"masks_given_a": {ba: 1, a: -1}, "masks_given_b": {b: 1, ab: -1},      # ab: masks of a
                "values_given_a": {ab: 1, a: -1}, "values_given_b": {b: 1, ba: -1}}
        yield "swaps", {"method": name, "other": other, "range": bounds}, {
            key: across(weights, EXPLORING, mean) for key, weights in gaps.items()}
    first, normal = "magnitude, layer by layer", (HALVED, "xavier_normal")
    ways = {"magnitude": HALVED, "movement": METHODS["movement"]}
    crossed = {}
    for name, init in (("gain 4", "xavier_normal@4"), ("Kaiming normal", "kaiming_normal")):
        crossed[f"masks of {name}, values of Xavier normal"] = {
            (swapped(init, first), "xavier_normal"): 1, normal: -1}
        crossed[f"values of {name}, masks of Xavier normal"] = {
            (swapped("xavier_normal", first), init): 1, normal: -1}
    pruned = {f"{name}, pruned by {way}": {(group, init): 1, (group, "xavier_normal"): -1}
              for name, init in (("gain 4", "xavier_normal@4"), ("Student's t", "shape_t4"))
              for way, group in ways.items()}
    changed = {f"the four schemes, {what}": {(group, init): 0.25 if group != HALVED else -0.25
                                             for group in (HALVED, VARIANTS[variant]) for init in STANDARD}
               for what, variant in (
                   ("reset to signs of one magnitude", "signs of w0 alone"),
                   ("reset and rescaled to each unit's unpruned norm", "w0 rescaled to each unit's norm"),
                   ("trained 12 epochs per level", "12 epochs a level"))}
    for what, weights in {**crossed, **pruned, **changed}.items():
        yield "reasons", {"what": what}, {key: across(weights, EXPLORING, over(*HALF_PARTS[bounds]))
                                          for key, bounds in (("upper", UPPER), ("sparse", SPARSE))}
    heavy = tables.heavy_tailed(random_groups())
    for name, init in itertools.product(study.AT_INITIALIZATION, ("xavier_uniform", heavy)):
        yield "before", {"method": name, "contrast": f"{init} - xavier_normal"}, {
            key: plain(METHODS[name], {init: 1, "xavier_normal": -1}, CONFIRMING, over(*HALF_PARTS[bounds]))
            for key, bounds in zip(("difference", "upper", "sparse"), (WHOLE, *PARTS))}
    for one, other, table in (("shape_sign", "xavier_uniform", "signs_on_conv2"),
                              ("xavier_normal@0.5", "xavier_normal", "half_as_wide")):
        mean = over(0, 8)
        values = {"difference": mean, "unpruned": at(0), "last": at(8),
                  "retained": lambda run: mean(run) - at(0)(run)}
        plans = [("conv2-first", (10, 11)), ("conv2-first", (10, 11, 12)), ("conv2", range(31, 39))]
        for row, (name, seeds) in zip(records_of(table), plans if table == "signs_on_conv2" else plans[1:2],
                                      strict=True):
            if table == "signs_on_conv2" and name == "conv2":
                values["sparse"] = over(8, 10)
            yield table, {"seeds": row["seeds"]}, {key: plain(
                STUDIES[name].group, {one: 1, other: -1}, seeds, value) for key, value in values.items()}
    for name, seeds in plans[1:]:
        yield "customs", {"study": name, "scheme": "shape_sign", "against": "xavier_uniform"}, {
            "difference": plain(STUDIES[name].group, {"shape_sign": 1, "xavier_uniform": -1}, seeds,
                                over(0, 8))}


def of_means():
    """(table, names, {key: values}) of means, most at single densities; seed 4 has no diagnostics."""
    def fc1(key):
        return lambda level: level["diagnostics"]["layers"]["fc1"][key]

    def values(group, number, inits, seeds=range(4), **of):
        return {key: [value for init in inits for value in plain(
            group, {init: 1}, seeds, at(number, quantity))] for key, quantity in of.items()}
    for name, init in itertools.product((*study.AT_INITIALIZATION, *list(METHODS)[:1]), study.BY_KURTOSIS):
        yield "used", {"method": name, "scheme": init}, values(
            METHODS[name], 7, [init], accuracy=accuracy, pixels=lambda level: sum(level["inputs"]),
            units=lambda level: 300 - fc1("no_way_in")(level))
    kinds = {"shape_sign": ["shape_sign"], "the others": [*STANDARD, "shape_t4"]}     # the candidates
    for (name, group), (kind, inits) in itertools.product(METHODS.items(), kinds.items()):
        found = values(group, 9, inits, accuracy=accuracy, linked=lambda level: (
            100 * level["diagnostics"]["effective_density"] / stats.density(level)),
            least=lambda level: level["diagnostics"]["least_class_inputs"])
        yield "paths", {"method": name, "schemes": kind, "starved": found.pop("least").count(0)}, found
    for init, layer, (percent, number) in itertools.product(INITS, SIZES, ((6.3, 4), (1.6, 6), (0.21, 9))):
        yield "shares", {"scheme": init}, values(METHODS["magnitude, global"], number, [init], EXPLORING, **{
            f"{layer} at {percent}%": lambda level: 100 * level["kept"][layer] / level["size"][layer]})
    def dark(level):
        return 100 * level["diagnostics"]["dark_share"]
    for (variant, group), init in itertools.product(VARIANTS.items(), INITS):
        yield "constant_inputs", {"variant": variant, "scheme": init}, values(group, 4, [init], mean=dark)
    for (table, names, quantity), number in itertools.product((
            ("survival", {"quantity": "eps"}, fc1("eps")), ("best", {}, accuracy),
            ("survival", {"quantity": "constant_inputs"}, dark)), (7, 12, 28)):
        density = densities(29)[number]
        yield table, {"study": "mnist", "density": pytest.approx(density), **names}, {
            init: values(FULL, number, [init], CONFIRMING, mean=quantity)["mean"] for init in STANDARD}
    for bounds, part in FULL_PARTS.items():
        names = {"study": "mnist", "range": bounds, "n": [7, 7, 7, 6],
                 "accuracy_at": "minimum of the validation loss"}
        yield "endpoints", names, {
            init: plain(FULL, {init: 1}, CONFIRMING, over(*part)) for init in STANDARD}


@functools.cache
def records_of(table):
    return tables.TABLES[table].records(random_groups())


@pytest.mark.parametrize("cases, statistic", [
    (of_the_studies, inference.estimate), (of_the_exploration, inference.estimate),
    (of_means, inference.spread)])
def test_differences_and_means_equal_plain_loops(cases, statistic):
    for table, names, expected in cases():
        row = record(records_of(table), **names)
        for key, d in expected.items():
            assert len(d) > 1 and row[key] == pytest.approx(statistic(np.array(d))), (table, names)


def test_the_screen_is_in_the_order_of_its_scores():
    score = over(0, 9, lambda level: 100 * level["val_acc"][1])
    scores = {init: statistics.mean(plain(HALVED, {init: 1}, EXPLORING, score)) for init in INITS}
    assert {row["scheme"]: pytest.approx(row["score"].mean) for row in records_of("screen")} == scores
    assert [row["scheme"] for row in records_of("screen")] == sorted(scores, key=lambda init: -scores[init])


@pytest.mark.parametrize("table, family", [("contrasts", ["study"]), ("pairs", ["study", "range"]),
                                           ("change", ["study"]), ("before", [])])
def test_p_and_holm_are_those_of_plain_flips_in_the_protocols_families(table, family):
    found = {}
    for row in records_of(table):
        found.setdefault(tuple(row[key] for key in family), []).append(row)
    for names, rows in found.items():
        if names[:1] == ("conv2-first",) or table == "pairs" and names[0] == "conv2":   # 3 pairs; not planned
            assert {(row["p"], row["holm"], row["equivalence"], row["verdict"]) for row in rows} == {
                (None, None, None, "estimate")}
            continue
        raw = [plain_sign_flip(row["differences"].round(9).tolist()) for row in rows]
        assert [row["p"] for row in rows] == raw and [row["holm"] for row in rows] == pytest.approx(
            plain_holm(raw))
        for row in rows if table in ("contrasts", "pairs", "change") else ():
            margin = STUDIES[row["study"]].margin
            assert (row["margin"], row["equivalence"]) == (
                margin, inference.equivalence(row["differences"], margin))


def test_the_candidates_test_equals_a_plain_loop_over_joint_flips_of_seeds_that_all_have():
    customs, standard = study.candidates(random_groups())
    cases, all_of_them = list(itertools.product(customs, FULL_PARTS.items())), dict.fromkeys(
        (*customs, standard), 0)
    d = [plain(FULL, {**all_of_them, init: 1, standard: -1}, CONFIRMING, over(*part))
         for init, (_, part) in cases]
    for (init, (bounds, _)), own, p in zip(cases, d, plain_max_t(d)):
        row = record(records_of("customs"), study="mnist", scheme=init, range=bounds)
        assert row["difference"] == pytest.approx(inference.estimate(np.array(own)))
        assert row["p"] == pytest.approx(p) and row["against"] == standard
    first = record(records_of("customs"), study="conv2-first", scheme="shape_sign", against="xavier_uniform")
    assert first["p"] is first["equivalence"] is None and first["n"] == 3


def test_a_record_has_names_of_its_own_and_none_of_a_method_of_dict():
    """A template writes record.name, which would give the method."""
    for name, table in tables.TABLES.items():
        found = [tuple(row[key] for key in table.names) for row in records_of(name)]
        assert not table.names or len(set(found)) == len(found), name
        assert not {*table.columns, *table.names} & set(dir(dict)), name


def test_the_procedures_are_compared_through_the_same_densities():
    """20 against 50% a round: both are read at the levels of the latter, on the seeds that both have."""
    def mean(run):
        x = [math.log(stats.density(level)) for level in run["levels"]]
        at = [math.log(density) for density in (0.0119, 0.00816, 0.00416, 0.00215)]
        y = []
        for wanted in at:
            after = next(number for number, own in enumerate(x) if own <= wanted)
            share = (x[after - 1] - wanted) / (x[after - 1] - x[after])
            above, below = (accuracy(run["levels"][number]) for number in (after - 1, after))
            y.append((1 - share) * above + share * below)
        return sum((y[i] + y[i + 1]) / 2 * (at[i] - at[i + 1]) for i in range(3)) / (at[0] - at[-1])
    overall = METHODS["magnitude, global"]
    cases = {"20% − 50% a round": {(FULL, "xavier_normal"): 1, (HALVED, "xavier_normal"): -1},
             "global − layer by layer, 50% a round": {(overall, "xavier_normal"): 1,
                                                      (HALVED, "xavier_normal"): -1}}
    for what, weights in cases.items():
        row = record(records_of("rounds"), what=what)
        assert row["difference"] == pytest.approx(inference.estimate(np.array(
            across(weights, CONFIRMING, mean))))
        last = across(weights, CONFIRMING, lambda run: accuracy(run["levels"][-1]))
        assert row["last"] == pytest.approx(inference.estimate(np.array(last)))
    for contrast, weights in FACTORS.items():
        row = record(records_of("rounds"), what=f"{formatting.CONTRAST_LABELS[contrast]}, 20% a round")
        assert row["difference"] == pytest.approx(inference.estimate(np.array(
            plain(FULL, weights, CONFIRMING, mean))))


def test_the_best_scheme_at_a_density_has_the_highest_mean_and_needs_the_fewest_weights():
    limits = {row["scheme"]: row["own"] for row in records_of("limits") if row["study"] == "mnist"}
    of_mnist = [row for row in records_of("best") if row["study"] == "mnist"]
    for row in of_mnist[:-1]:
        means = {init: row[init].mean for init in STANDARD}
        assert row["highest"] == max(means, key=means.get)
        assert row["apart"] == max(means.values()) - min(means.values())
    assert of_mnist[-1]["density"] == "within 1 point"
    assert {init: of_mnist[-1][init] for init in STANDARD} == limits
    assert limits[of_mnist[-1]["highest"]] == min(limits.values())


def test_predictions_and_tested_methods_repeat_the_tables_of_the_tests():
    for row, (table, names) in zip(records_of("predictions"), [
            *(("contrasts", {"range": bounds, "contrast": contrast})
              for bounds in STUDIES["conv2"].ranges for contrast in FACTORS),
            *(("change", {"contrast": contrast}) for contrast in FACTORS),
            ("customs", {"scheme": "shape_sign", "against": "xavier_uniform"})], strict=True):
        own = record(records_of(table), study="conv2", **names)
        assert all(row[key] == own[key] for key in ("difference", "p", "n"))
    for row in records_of("before"):
        column = "distribution" if row["contrast"].startswith("xavier_uniform") else "heavy"
        tested = record(records_of("methods"), method=f"{row['method']}: test")
        assert tested[column] == (row["difference"], row["holm"])


@pytest.mark.parametrize("levels", [0, 10])
def test_nothing_of_a_study_is_shown_before_all_its_runs_are_whole(levels):
    """One run of 40 has not begun, or lacks its last level."""
    name, group = "conv2", STUDIES["conv2"].group
    signs = [run | {"levels": run["levels"][:levels]} if run["config"]["seed"] == 38 else run
             for run in random_groups()[group]["shape_sign"]]
    some = {**random_groups(), group: {**random_groups()[group], "shape_sign": [
        run for run in signs if run["levels"]]}}
    for key, shown in tables.TABLES.items():
        assert not [row for row in shown.records(some) if row.get("study") == name], key
    assert [row["seeds"] for row in tables.signs_on_conv2(some)] == [
        "10 and 11, which suggested it", "10 to 12, all earlier seeds"]
