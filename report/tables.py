"""The tables of the study: functions of {group: {scheme: runs}}, as stats.groups has them, that return lists
of records, dicts of numbers by name. Their docstrings are the captions.

    python report/tables.py results     prints them as Markdown
"""
import argparse
import itertools
import sys
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import formatting  # noqa: E402
import mechanism  # noqa: E402
import stats  # noqa: E402
from formatting import FOUR, NAMED, Table, markdown, span  # noqa: E402
from inference import (Values, calibration, equivalence, estimate, family, level_near, max_t,  # noqa: E402
                       paired, range_means, ratio, sign_flip, spread, within_a_point)
from stats import (STANDARD, at_early_stop, density, early_step, early_test_acc, early_val_acc,  # noqa: E402
                   final_test_acc, matrix, scheme_name)
from study import (AT_INITIALIZATION, CONTRASTS, FACTORS, FEWEST, HALVED, HEAVY, METHODS, PAIRS,  # noqa: E402
                   PARTS, RATES, SCREEN, SPARSE, STUDIES, UPPER, VARIANTS, WHOLE, Study, at_density,
                   by_scheme, candidates, confirming, exploring, factors, four_spreads, mean_of_four, minus,
                   screen_scores, seed_counts, studies, under, with_seeds)

TABLES: dict[str, Table] = {}           # in the order in which they are printed
table = partial(formatting.table, TABLES)
TESTED = f"{NAMED} n difference p holm equivalence verdict"


@table(f"study range accuracy_at {FOUR} variance_scaling distribution n", "study range accuracy_at",
       accuracy_at="accuracy at")
def endpoints(groups: dict) -> list[dict]:
    """Mean test accuracy over log density, in points: mean (sd over seeds), and the contrasts with 95%
    intervals, without correction."""
    records = []
    for name, study, schemes in studies(groups):
        for bounds, (label, quantity) in itertools.product([*study.ranges, (1, 0.07)], (
                ("minimum of the validation loss", early_test_acc), ("level's end", final_test_acc))):
            found = by_scheme(schemes, bounds, quantity)
            if any(found.values()):
                records.append({"study": name, "range": bounds, "accuracy_at": label, **four_spreads(found),
                                **factors(found), "n": seed_counts(found)})
    return records


def study_tests(name: str, study: Study, schemes: dict, ranges: list, weights: dict) -> list[dict]:
    """Records of contrasts {name: weights} over the ranges of a study, one Holm family."""
    means = {bounds: by_scheme(schemes, bounds) for bounds in ranges}
    cases = [({"study": name, "contrast": contrast, "range": bounds}, paired(means[bounds], own))
             for bounds in ranges for contrast, own in weights.items()]
    return [record | {"verdict": verdict(record)}
            for record in family([case for case in cases if len(case[1]) > 1], study.margin)]


def verdict(record: dict) -> str:
    """In a word: different, equivalent, both (a difference within the margin), or neither shown."""
    if record["n"] < FEWEST:
        return "estimate"
    return {(True, True): "different, within the margin", (True, False): "different",
            (False, True): "equivalent", (False, False): "not shown"}[
                record["holm"] <= 0.05, record["equivalence"] <= 0.05]


@table(TESTED, NAMED)
def contrasts(groups: dict) -> list[dict]:
    """Planned contrasts of mean accuracy over log density, at the minimum of the validation loss: paired by
    seed, exact sign-flip tests, one Holm family a network; Student's t intervals."""
    return [record for name, study, schemes in studies(groups)
            for record in study_tests(name, study, schemes, study.ranges, CONTRASTS)]


@table(TESTED, NAMED)
def pairs(groups: dict) -> list[dict]:
    """All pairs of the four schemes, on the same mean accuracies; a Holm family for each of these."""
    return [record for name, study, schemes in studies(groups) for bounds in study.ranges
            for record in study_tests(name, study, schemes, [bounds], PAIRS)]


@table(f"{NAMED} unpruned last change difference p holm n", NAMED, unpruned="dense",
       last="at the least density", change="minus unpruned", difference="mean accuracy minus unpruned")
def retained(groups: dict) -> list[dict]:
    """The contrasts of the unpruned networks, at the least density of each range, the second minus the first,
    and of the mean accuracy minus each network's own unpruned accuracy, with the p of a sign-flip test of
    this and Holm's, over the rows of a network. Exploratory: not in the protocol."""
    records = []
    for name, study, schemes in studies(groups):
        unpruned, cases = {init: at_density(runs, 1) for init, runs in schemes.items()}, []
        for bounds, (contrast, weights) in itertools.product(study.ranges, FACTORS.items()):
            last = {init: at_density(runs, bounds[1]) for init, runs in schemes.items()}
            quantities = {"unpruned": unpruned, "last": last, "change": minus(last, unpruned)}
            d = {what: paired(values, weights) for what, values in quantities.items()}
            tested = paired(minus(by_scheme(schemes, bounds), unpruned), weights)
            if min(map(len, (*d.values(), tested))) > 1:
                cases.append(({"study": name, "contrast": contrast, "range": bounds,
                               **{what: estimate(own) for what, own in d.items()}}, tested))
        records += family(cases)
    return records


@table(f"study density {FOUR}")
def accuracies(groups: dict) -> list[dict]:
    """Test accuracy (%) at the minimum of the validation loss: mean (sd)."""
    records = []
    for name, _, schemes in studies(groups):
        for wanted in (1, 0.21, 0.07, 0.03, 0.012, 0.005, 0.0021):
            found = four_spreads({init: at_density(runs, wanted) for init, runs in schemes.items()})
            if any(found.values()):
                records.append({"study": name, "density": wanted, **found})
    return records


def least_densities(schemes: dict, study: Study) -> dict[str, Values]:
    """{"own" or "common": {scheme: {seed: smallest density within 1 point of that unpruned accuracy}}}, of
    the four schemes' finished runs; NaN where an unpruned network is itself further below the common one."""
    finished = {init: [run for run in schemes[init]
                       if level_near(list(map(density, run["levels"])), study.bounds[-1]) is not None]
                for init in STANDARD if init in schemes}
    curves = {init: {run["config"]["seed"]: (list(map(density, run["levels"])),
                                             [100 * early_test_acc(level) for level in run["levels"]])
                     for run in runs} for init, runs in finished.items()}
    common = np.mean([np.nanmean([100 * early_test_acc(run["levels"][0]) for run in schemes[init]])
                      for init in finished])
    return {what: {init: {seed: within_a_point(x, y, y[0] if what == "own" else common)
                          for seed, (x, y) in its.items()} for init, its in curves.items()}
            for what in ("own", "common")}


@table("study scheme own common collapsed last n", own="own unpruned", common="common unpruned",
       last="at the last")
def limits(groups: dict) -> list[dict]:
    """Smallest % of weights down to which every level is within 1 point of the unpruned network, its own or
    the schemes' common one (medians); runs that collapse at any level; median accuracy at the last (%)."""
    records = []
    for name, study, schemes in studies(groups):
        least = least_densities(schemes, study)
        for init in filter(least["own"].get, least["own"]):
            medians = {what: 100 * float(np.median(np.nan_to_num(list(smallest[init].values()), nan=np.inf)))
                       for what, smallest in least.items()}
            values = [100 * np.array([early_test_acc(level) for level in run["levels"]])
                      for run in schemes[init] if run["config"]["seed"] in least["own"][init]]
            records.append({"study": name, "scheme": init, **medians, "line": study.collapsed,
                            "collapsed": sum(int((value < study.collapsed).any()) for value in values),
                            "last": float(np.median([value[-1] for value in values])), "n": len(values)})
    return records


@table("study quotient unpruned difference p whole n", "study quotient unpruned", quotient="contrast",
       unpruned="dense network", difference="ratio [95%]", whole="runs at 100%")
def needs(groups: dict) -> list[dict]:
    """How many weights are needed to stay within 1 point of the unpruned network, its own or the schemes'
    common one: the ratio of the smallest such densities, a geometric mean over seeds, paired, with its 95%
    interval, from 6 seeds on. Below 1 the first named needs fewer. Runs whose unpruned network is itself more
    than 1 point below the common one count with 100% of the weights, and are counted. A secondary endpoint of
    the protocol, without correction."""
    records = []
    for name, study, schemes in studies(groups):
        for what, least in least_densities(schemes, study).items():
            logs = {init: {seed: np.log(np.nan_to_num(value, nan=1)) for seed, value in its.items()}
                    for init, its in least.items()}
            whole = sum(int(np.isnan(list(its.values())).sum()) for its in least.values())
            for contrast, weights in FACTORS.items():
                d = paired(logs, weights)
                if len(d) >= FEWEST:
                    records.append({"study": name, "quotient": contrast, "unpruned": what, "n": len(d),
                                    "difference": ratio(d), "p": sign_flip(d), "whole": whole})
    return records


@table("study scheme *", digits=0)
def stops(groups: dict) -> list[dict]:
    """Step of the minimum validation loss, mean over seeds, at % remaining; and in how many runs (%) it is
    the last evaluation of the level."""
    records = []
    for name, _, schemes in studies(groups):
        for init in filter(schemes.get, STANDARD):
            densities, steps = matrix(schemes[init], early_step)
            last = matrix(schemes[init], lambda level: level["step"][-1])[1]
            places = {f"{100 * wanted:g}": level_near(densities, wanted)
                     for wanted in (1, 0.21, 0.07, 0.03, 0.012, 0.0021)}
            there = np.isfinite(last)
            records.append({"study": name, "scheme": init} | {
                percent: None if level is None else float(np.nanmean(steps[:, level]))
                for percent, level in places.items()} | {
                f"last at {percent}": None if places[percent] is None else float(
                    100 * (steps == last)[there[:, places[percent]], places[percent]].mean())
                for percent in ("1.2", "0.21")})
    return records


@table(f"{NAMED} training validation n", NAMED, training="training loss", validation="validation loss")
def fits(groups: dict) -> list[dict]:
    """Training loss (mean over the batches since the evaluation before) and validation loss at its minimum,
    in hundredths of a nat, averaged over each range as accuracy is; above 0 is the worse. Paired by seed,
    with 95% intervals. Exploratory."""
    records = []
    for name, study, schemes in studies(groups):
        for bounds in study.ranges:
            training, validation = (by_scheme(schemes, bounds, at_early_stop(key))
                                    for key in ("train_loss", "val_loss"))
            for contrast, weights in FACTORS.items():
                d = paired(training, weights)
                if len(d) > 1:
                    records.append({"study": name, "contrast": contrast, "range": bounds, "n": len(d),
                                    "training": estimate(d),
                                    "validation": estimate(paired(validation, weights))})
    return records


@table("scheme score difference upper sparse n", "scheme", difference="minus Xavier normal",
       upper=f"test, {span(UPPER)}", sparse=f"test, {span(SPARSE)}")
def screen(groups: dict) -> list[dict]:
    """Every scheme, half of the weights a round, by its score: mean validation accuracy over log density from
    100 to 0.2%, mean (sd); the differences are paired by seed. Exploratory."""
    scores, schemes = screen_scores(groups), exploring(groups, HALVED)
    upper, sparse = (by_scheme(schemes, bounds) for bounds in (UPPER, SPARSE))
    return [{"scheme": init, "score": spread(scores[init].values()), "upper": spread(upper[init].values()),
             "sparse": spread(sparse[init].values()), "n": len(scores[init]),
             "difference": None if init == "xavier_normal" else estimate(
                 paired(scores, {init: 1, "xavier_normal": -1}))}
            for init in sorted(scores, key=lambda init: -np.mean(list(scores[init].values()) or [-np.inf]))]


@table("rate scheme score difference n", "rate scheme", rate="learning rate", difference="minus {against}")
def rates(groups: dict) -> list[dict]:
    """The candidate schemes and the best standard scheme at other learning rates: score as in the screen, by
    validation images. Exploratory."""
    customs, standard = candidates(groups)
    records = []
    for name, group in RATES.items():
        scores = screen_scores(groups, group)
        records += [{"rate": name, "scheme": init, "against": standard, "n": len(scores[init]),
                     "score": spread(scores[init].values()),
                     "difference": None if init == standard else estimate(
                         paired(scores, {init: 1, standard: -1}))}
                    for init in filter(scores.get, (standard, *customs))]
    return records


@table("study scheme against range n difference p equivalence", "study scheme range", p="max-T p")
def confirmed(groups: dict) -> list[dict]:
    """The candidate schemes against the best standard scheme on fresh seeds: mean test accuracy over log
    density, max-T sign-flip test, a family a network."""
    customs, standard = candidates(groups)
    records = []
    for name, study, schemes in studies(groups):
        found = {(init, bounds): range_means(schemes[init], bounds) for init in (*customs, standard)
                 if init in schemes for bounds in study.ranges}
        cases = [(init, bounds,  # of the seeds that all have
                  paired(found, {**dict.fromkeys(found, 0), (init, bounds): 1, (standard, bounds): -1}))
                 for init, bounds in found if init != standard and (standard, bounds) in found]
        cases = [case for case in cases if len(case[2]) > 1]
        adjusted = max_t(np.array([d for *_, d in cases])) if cases else []
        records += [{"study": name, "scheme": init, "against": standard, "range": bounds, "n": len(d),
                     "difference": estimate(d), "p": p, "margin": study.margin,
                     "equivalence": equivalence(d, study.margin)}
                    for (init, bounds, d), p in zip(cases, adjusted)]
    return records


@table("method mean variance_scaling distribution * n", "method")
def carried(groups: dict) -> list[dict]:
    """Under other pruning methods: mean test accuracy over log density from 50 to 0.2% (filters 0.6%), mean
    of the four schemes, the contrasts and the candidate schemes against the best standard scheme, with t
    intervals. Exploratory."""
    customs, standard = candidates(groups)
    records = []
    for name in METHODS:
        found = under(groups, name)
        if any(found.values()):
            records.append({"method": name, "mean": mean_of_four(found), **factors(found), **{
                f"{scheme_name(init)} − {scheme_name(standard)}": estimate(
                    paired(found, {init: 1, standard: -1})) for init in customs},
                "n": min(filter(None, seed_counts(found)), default=0)})
    return records


@table("method range mean variance_scaling distribution n", "method range")
def parts(groups: dict) -> list[dict]:
    """Other pruning methods, in two parts: mean test accuracy over log density from 50 to 1.6% and from there
    to 0.21% (filters 0.6%), mean of the four schemes, and the contrasts with t intervals. Exploratory."""
    records = []
    for name, bounds in itertools.product(METHODS, PARTS):
        found = under(groups, name, bounds)
        both = factors(found)
        if both["distribution"]:
            records.append({"method": name, "range": bounds, "mean": mean_of_four(found), **both,
                            "n": both["distribution"].n})
    return records


def heavy_tailed(groups: dict) -> str | None:
    """The heavy-tailed scheme for pruning at initialization, by the protocol's rule; None as yet."""
    found = [under(groups, name, quantity=early_val_acc) for name in AT_INITIALIZATION]
    scores = {init: np.mean([np.mean(list(values[init].values())) for values in found]) for init in HEAVY
              if all(len(values.get(init, {})) >= SCREEN for values in found)}
    return max(scores, key=scores.get) if len(scores) == len(HEAVY) else None


@table("method contrast plain other n difference p holm upper sparse", "method contrast",
       plain="xavier_normal", other="the other", upper=span(PARTS[0]), sparse=span(PARTS[1]))
def before(groups: dict) -> list[dict]:
    """Distributions under pruning at initialization, on seeds that these methods had not been run on: mean
    test accuracy over log density from 50 to 0.2%, mean (sd); exact sign-flip tests, one Holm family. The
    last two columns have the difference in two parts; they are not in the protocol."""
    chosen, cases = heavy_tailed(groups), []
    for name in AT_INITIALIZATION:
        whole, upper, sparse = (under(groups, name, bounds, confirming) for bounds in (WHOLE, *PARTS))
        for init in filter(None, ("xavier_uniform", chosen)):
            weights = {init: 1, "xavier_normal": -1}
            d = paired(whole, weights)
            if len(d) > 1:
                cases.append(({"method": name, "contrast": f"{init} - xavier_normal",
                               "plain": spread(whole["xavier_normal"].values()),
                               "other": spread(whole[init].values()),
                               "upper": estimate(paired(upper, weights)),
                               "sparse": estimate(paired(sparse, weights))}, d))
    return family(cases)


def on_conv2(groups: dict, one: str, other: str, asked: dict) -> list[dict]:
    """Records of one scheme minus another on Conv-2, of {what: seeds} that have all been run."""
    study, records, weights = STUDIES["conv2"], [], {one: 1, other: -1}
    for what, numbers in asked.items():
        schemes = with_seeds(groups, study.group, numbers)
        unpruned, last = ({init: at_density(runs, wanted) for init, runs in schemes.items()}
                          for wanted in study.bounds)
        means = by_scheme(schemes, study.bounds)
        d = paired(means, weights)
        if len(d) == len(numbers):
            records.append({"seeds": what, "difference": estimate(d), "p": sign_flip(d), "n": len(d),
                            "unpruned": estimate(paired(unpruned, weights)),
                            "change": estimate(paired(minus(means, unpruned), weights)),
                            "last": estimate(paired(last, weights))})
    return records


on_conv2_table = partial(
    table, "seeds difference unpruned change last p n", "seeds", unpruned="dense",
    change="mean accuracy minus unpruned",
    difference=f"mean accuracy from {span(STUDIES['conv2'].bounds)}, points [95%]",
    last=f"at {100 * STUDIES['conv2'].bounds[1]:g}%", p="sign-flip p of the mean accuracy")


@on_conv2_table()
def signs_on_conv2(groups: dict) -> list[dict]:
    """Conv-2: constant-magnitude random signs minus Xavier uniform, paired by seed; no test."""
    return on_conv2(groups, "shape_sign", "xavier_uniform", {
        "10 and 11, which suggested it": range(10, 12), "10 to 12, as planned": range(10, 13)})


@on_conv2_table()
def half_as_wide(groups: dict) -> list[dict]:
    """Conv-2: Xavier normal at half its width minus Xavier normal, paired by seed; no test."""
    return on_conv2(groups, "xavier_normal@0.5", "xavier_normal", {
        "10 and 11": range(10, 12), "10 to 12": range(10, 13)})


@table("study range scheme rejected")
def calibrations(groups: dict) -> list[dict]:
    """How often the test at 5% rejects where nothing differs: one scheme's seeds paired at random."""
    records = []
    for name, study, schemes in studies(groups):
        for bounds, (init, runs) in itertools.product(study.ranges, schemes.items()):
            found = list(range_means(runs, bounds).values())
            if len(found) >= 12:
                records.append({"study": name, "range": bounds, "scheme": init,
                                "rejected": calibration(found)})
    return records


@table(names="study")
def seeds(groups: dict) -> list[dict]:
    """How many seeds a study has over its whole range, by scheme."""
    return [{"study": name, "n": seed_counts(by_scheme(schemes, (study.bounds[0], study.bounds[-1])))}
            for name, study, schemes in studies(groups)]


@table(names="way scheme range")
def gaps(groups: dict) -> list[dict]:
    """Schemes minus Xavier normal under every method, with pixels in [0, 1], and as a difference of these
    differences between layer-wise magnitude and movement; exploring seeds."""
    records = []
    for bounds in (UPPER, SPARSE, WHOLE, PARTS[0]):
        ways = {method: under(groups, method, bounds) for method in METHODS}
        unit, changed = by_scheme(exploring(groups, VARIANTS["pixels in [0, 1]"]), bounds), ways["movement"]
        plain = {init: ways["magnitude, layer by layer"].get(init, {}) for init in changed}
        ways |= {"pixels in [0, 1]": unit, "magnitude - movement": minus(plain, changed)}
        for way, values in ways.items():
            for init in values.keys() - {"xavier_normal"}:
                d = paired(values, {init: 1, "xavier_normal": -1})
                records.append({"way": way, "scheme": init, "range": bounds, "difference": estimate(d),
                                "n": len(d)})
    return records


@table(names="scheme density")
def level_gaps(groups: dict) -> list[dict]:
    """Schemes minus Xavier normal at the one level of halved runs within 2 to 5% of the weights, for which
    the protocol has directions."""
    found = {init: at_density(runs, 0.032) for init, runs in exploring(groups, HALVED).items()}
    return [{"scheme": init, "density": 0.032, "n": len(d), "difference": estimate(d)} for init in found
            for d in [paired(found, {init: 1, "xavier_normal": -1})] if init != "xavier_normal"]


TABLES |= mechanism.TABLES


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description="Print the tables of the study as Markdown.")
    parser.add_argument("runs", help="folder of runs")
    groups = stats.groups([run for run in stats.read(parser.parse_args().runs) if run["levels"]])
    for name, shown in TABLES.items():
        if shown.columns:
            print(f"## {name}\n\n{shown.caption}\n\n{markdown(shown, shown.records(groups))}")


if __name__ == "__main__":
    main()
