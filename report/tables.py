"""The tables of the study: functions of {group: {scheme: runs}}, as stats.groups has them, that return lists
of records, dicts of numbers by name. Their docstrings are the captions.
"""
import itertools
import sys
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import formatting  # noqa: E402
import mechanism  # noqa: E402
from formatting import FOUR, NAMED, Table, Tested, span  # noqa: E402
from inference import (FEWEST, Values, calibration, curve, equivalence, estimate, family,  # noqa: E402
                       level_near, max_t, paired, range_means, ratio, sign_flip, spread, within_a_point)
from stats import (STANDARD, at_early_stop, density, early_step, early_test_acc, early_val_acc,  # noqa: E402
                   final_test_acc, matrix, scheme_name)
from study import (AT_INITIALIZATION, CONTRASTS, FACTORS, HALVED, HEAVY, METHODS, PAIRS, PARTS,  # noqa: E402
                   RATES, SCREEN, SPARSE, STUDIES, UNTESTED, UPPER, VARIANTS, WHOLE, Study, accuracies,
                   at_ends, before_training, by_scheme, candidates, choosing, density_near, eligible,
                   exploring, factors, four_spreads, mean_of_four, minus, screen_scores, seed_counts,
                   studies, under, with_seeds)

TABLES: dict[str, Table] = {}
table = partial(formatting.table, TABLES)
PLANNED = f"{NAMED} n difference p holm equivalence verdict"


@table(f"study range accuracy_at {FOUR} variance_scaling distribution n", "study range accuracy_at",
       accuracy_at="accuracy at")
def endpoints(groups: dict) -> list[dict]:
    """Mean test accuracy over log density, in points: mean (sd over seeds), and the contrasts with 95%
    intervals, without correction. Fashion-MNIST has no level within a tenth of 7%."""
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
    if record["p"] is None:
        return "estimate"
    return {(True, True): "different, within the margin", (True, False): "different",
            (False, True): "equivalent", (False, False): "not shown"}[
                record["holm"] <= 0.05, record["equivalence"] <= 0.05]


@table(PLANNED, NAMED)
def contrasts(groups: dict) -> list[dict]:
    """Planned contrasts of mean accuracy over log density, at the minimum of the validation loss: paired by
    seed, exact sign-flip tests, one Holm family per network; Student's t intervals. Equivalence p's, and
    verdicts by them, are not corrected."""
    return [record for name, study, schemes in studies(groups)
            for record in study_tests(name, study, schemes, study.ranges, CONTRASTS)]


@table(PLANNED, NAMED)
def pairs(groups: dict) -> list[dict]:
    """All pairs of the four schemes, on the same mean accuracies; one Holm family for each network and range.
    Rows without p have too few seeds, or the protocol does not test them."""
    none = {"p": None, "holm": None, "equivalence": None, "verdict": "estimate"}
    return [record | (none if name in UNTESTED else {}) for name, study, schemes in studies(groups)
            for bounds in study.ranges for record in study_tests(name, study, schemes, [bounds], PAIRS)]


@table(f"{NAMED} unpruned last change difference n", NAMED, unpruned="unpruned",
       last="at the least density", change="minus unpruned", difference="mean accuracy minus unpruned")
def retained(groups: dict) -> list[dict]:
    """For each contrast: in the unpruned networks; at the least density of the range; the second of these
    minus the first; and in mean accuracy minus each network's own unpruned accuracy. Exploratory, but for
    "minus unpruned" at 3% of Conv-2's eight seeds, which the next table tests."""
    records = []
    for name, study, schemes in studies(groups):
        for bounds, (contrast, weights) in itertools.product(study.ranges, FACTORS.items()):
            ends = at_ends(schemes, bounds)
            quantities = ends | {"difference": minus(by_scheme(schemes, bounds), ends["unpruned"])}
            d = {what: paired(values, weights) for what, values in quantities.items()}
            if min(map(len, d.values())) > 1:
                n = len(d["difference"])
                records.append({"study": name, "contrast": contrast, "range": bounds, "n": n,
                                **{what: estimate(own) for what, own in d.items()}})
    return records


@table("study contrast density difference p holm verdict n", "study contrast",
       difference="accuracy there minus unpruned, points [95%]")
def change(groups: dict) -> list[dict]:
    """Conv nets: the contrasts of accuracy at the least density of the first range minus that of the same
    network unpruned, which is what pruning gives or takes. Exact sign-flip tests, one Holm family per
    network; none for fewer than six seeds."""
    records = []
    for name, study, schemes in studies(groups):
        values = at_ends(schemes, study.ranges[0])["change"]
        cases = [({"study": name, "contrast": contrast, "density": study.bounds[1]}, paired(values, weights))
                 for contrast, weights in FACTORS.items()]
        if "conv" in name and min(len(d) for _, d in cases) > 1:
            records += [row | {"verdict": verdict(row)} for row in family(cases, study.margin)]
    return records


@table("study density variance_scaling distribution n")
def by_density(groups: dict) -> list[dict]:
    """Conv nets: the contrasts of test accuracy at single densities, with 95% intervals; not tested."""
    records = []
    for name, study, schemes in studies(groups):
        if "conv" in name:
            for wanted in matrix(schemes[STANDARD[0]], early_test_acc)[0]:
                found = accuracies(schemes, wanted)
                records.append({"study": name, "density": density_near(schemes, wanted), **factors(found),
                                "n": seed_counts(found)})
    return records


@table(f"study density {FOUR} highest apart", apart="highest − lowest")
def best(groups: dict) -> list[dict]:
    """Test accuracy (%) by scheme at single levels: mean (sd over seeds), the scheme with the highest
    mean, and how many points it is above the lowest. In the last row of a network: the smallest % of weights
    down to which every level is within 1 point of the same network unpruned, interpolated between levels, a
    median over seeds (at most this much where it is the last level); there "highest" is the scheme that needs
    the fewest weights. Single levels are not tested."""
    records = []
    for name, study, schemes in studies(groups):
        for wanted in (1, 0.21, 0.07, 0.03, 0.012, 0.005, 0.0021):
            found = four_spreads(accuracies(schemes, wanted))
            if all(found.values()):
                order = sorted(STANDARD, key=lambda init: -found[init].mean)
                records.append({"study": name, "density": density_near(schemes, wanted), **found,
                                "highest": order[0],
                                "apart": found[order[0]].mean - found[order[-1]].mean})
        own = least_densities(schemes, study)["own"]
        if all(map(own.get, STANDARD)):
            least = {init: median_percent(own[init]) for init in STANDARD}
            records.append({"study": name, "density": "within 1 point", **least,
                            "highest": min(least, key=least.get), "apart": None})
    return records


def least_densities(schemes: dict, study: Study) -> dict[str, Values]:
    """{"own" or "common": {scheme: {seed: smallest density within 1 point of that unpruned accuracy}}}, of
    the four schemes' finished runs; NaN where an unpruned network is itself further below the common one."""
    finished = {init: [run for run in schemes[init]
                       if level_near(list(map(density, run["levels"])), study.bounds[-1]) is not None]
                for init in STANDARD if init in schemes}
    curves = {init: {run["config"]["seed"]: curve(run) for run in runs} for init, runs in finished.items()}
    common = np.mean([np.nanmean([y[0] for _, y in its.values()]) for its in curves.values()])
    return {what: {init: {seed: within_a_point(x, y, y[0] if what == "own" else common)
                          for seed, (x, y) in its.items()} for init, its in curves.items()}
            for what in ("own", "common")}


def median_percent(least: dict[int, float]) -> float:
    """The median of smallest densities {seed: density}, in %; NaN counts as none, infinity."""
    return 100 * float(np.median(np.nan_to_num(list(least.values()), nan=np.inf)))


@table("study scheme own common collapsed last n", own="own unpruned", common="common unpruned",
       last="at the last level")
def limits(groups: dict) -> list[dict]:
    """Smallest % of weights down to which every level is within 1 point of the unpruned network, its own or
    the schemes' common one (medians, at most this much where it is the last level's); runs that collapse,
    with an accuracy below the number in brackets at any level; median accuracy at the last level (%)."""
    records = []
    for name, study, schemes in studies(groups):
        least = least_densities(schemes, study)
        for init in filter(least["own"].get, least["own"]):
            medians = {what: median_percent(smallest[init]) for what, smallest in least.items()}
            values = [100 * np.array([early_test_acc(level) for level in run["levels"]])
                      for run in schemes[init] if run["config"]["seed"] in least["own"][init]]
            records.append({"study": name, "scheme": init, **medians, "line": study.collapsed,
                            "collapsed": sum(int((value < study.collapsed).any()) for value in values),
                            "last": float(np.median([value[-1] for value in values])), "n": len(values)})
    return records


@table("study quotient unpruned difference p at_full n", "study quotient unpruned", quotient="contrast",
       unpruned="unpruned network", difference="ratio [95%]", at_full="runs at 100%")
def needs(groups: dict) -> list[dict]:
    """How many weights are needed to stay within 1 point of the unpruned network, its own or the schemes'
    common one: the ratio of the smallest such densities, a geometric mean over seeds, paired, with its
    95% interval, for networks with at least 6 seeds. Below 1 the first named needs fewer. Runs whose
    unpruned network is itself more than 1 point below the common one count with 100% of the weights, and
    are counted. A secondary endpoint of the protocol; p's are not corrected, and there is none where the
    protocol has no test."""
    records = []
    for name, study, schemes in studies(groups):
        for what, least in least_densities(schemes, study).items():
            logs = {init: {seed: np.log(np.nan_to_num(value, nan=1)) for seed, value in its.items()}
                    for init, its in least.items()}
            at_full = sum(int(np.isnan(list(its.values())).sum()) for its in least.values())
            for contrast, weights in FACTORS.items():
                d = paired(logs, weights)
                if len(d) >= FEWEST:
                    records.append({"study": name, "quotient": contrast, "unpruned": what, "n": len(d),
                                    "difference": ratio(d), "at_full": at_full,
                                    "p": None if name in UNTESTED else sign_flip(d)})
    return records


@table("study scheme *", digits=0)
def stops(groups: dict) -> list[dict]:
    """Step of the minimum validation loss, mean over seeds, at the level nearest to a % of weights remaining;
    and in how many runs (%) it is the last evaluation of the level. A step is a batch; a level has 1,500 on
    conv nets and 4,580 on LeNet-300-100. Blank: no level is near."""
    records = []
    for name, _, schemes in studies(groups):
        for init in filter(schemes.get, STANDARD):
            densities, steps = matrix(schemes[init], early_step)
            last = matrix(schemes[init], lambda level: level["step"][-1])[1]
            at_last = np.where(np.isfinite(last), 100 * (steps == last), np.nan)
            means = {f"{100 * wanted:g}": mean_at(densities, steps, wanted)
                     for wanted in (1, 0.21, 0.07, 0.03, 0.012, 0.0021)}
            shares = {f"last at {100 * wanted:g}": mean_at(densities, at_last, wanted)
                      for wanted in (0.03, 0.012, 0.0021)}
            records.append({"study": name, "scheme": init} | means | shares)
    return records


def mean_at(densities: np.ndarray, values: np.ndarray, wanted: float) -> float | None:
    """The mean of values (seeds, L) over seeds at the level nearest to a density, None where none is near."""
    level = level_near(densities, wanted)
    return None if level is None else float(np.nanmean(values[:, level]))


@table(f"{NAMED} training validation n", training="training loss", validation="validation loss")
def fits(groups: dict) -> list[dict]:
    """Training loss (mean over the batches since the evaluation before) and validation loss at its minimum,
    in hundredths of a nat, averaged over each range as accuracy is: above 0 the first named has the higher
    loss. Paired by seed, with 95% intervals. Exploratory."""
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
    """The schemes of the screen, MNIST, half of the weights per round, by score: mean validation
    accuracy over log density from 100 to 0.21%, mean (sd); the differences are paired by seed. "By
    quantiles": another draw from the distribution. Exploratory."""
    scores, schemes = screen_scores(groups), exploring(groups, HALVED)
    upper, sparse = (by_scheme(schemes, bounds) for bounds in (UPPER, SPARSE))
    return [{"scheme": init, "score": spread(scores[init].values()), "upper": spread(upper[init].values()),
             "sparse": spread(sparse[init].values()), "n": len(scores[init]),
             "difference": None if init == "xavier_normal" else estimate(
                 paired(scores, {init: 1, "xavier_normal": -1}))}
            for init in sorted(scores, key=lambda init: -np.mean(list(scores[init].values()) or [-np.inf]))]


@table("rate scheme score against difference n", rate="learning rate", against="standard scheme",
       difference="minus it, points [95%]")
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


@table("study scheme against range difference p equivalence n", "study scheme against range",
       scheme="custom scheme", against="standard scheme", p="max-T p")
def customs(groups: dict) -> list[dict]:
    """Custom schemes minus standard ones on seeds not used to choose the candidates: mean test accuracy
    over log density. The candidate schemes against the best standard scheme of the screen: max-T
    sign-flip test, one family per network. Random signs against Xavier uniform on Conv-2: a family of one,
    which two of the three earlier seeds suggested."""
    chosen, standard = candidates(groups)
    records = []
    for name, study, schemes in studies(groups):
        both = [(init, standard) for init in chosen if init in schemes]
        families = [[(*two, bounds) for bounds in study.ranges for two in both]] if len(both) == 2 else []
        if "conv2" in name and "shape_sign" in schemes:
            families.append([("shape_sign", "xavier_uniform", study.ranges[0])])
        records += [row for cases in families for row in max_t_records(name, study, schemes, cases)]
    return records


def max_t_records(name: str, study: Study, schemes: dict, cases: list[tuple]) -> list[dict]:
    """Records of [(scheme, the other, range)] tested together, on the seeds that all of them have."""
    means = {(init, bounds): range_means(schemes.get(init, []), bounds)
             for one, other, bounds in cases for init in (one, other)}
    rows = [paired(means, {**dict.fromkeys(means, 0), (one, bounds): 1, (other, bounds): -1})
            for one, other, bounds in cases]
    if min(map(len, rows)) < 2:
        return []
    tested = min(map(len, rows)) >= FEWEST
    p_values = max_t(np.array(rows)) if tested else [None] * len(rows)
    return [{"study": name, "scheme": one, "against": other, "range": bounds, "n": len(d),
             "difference": estimate(d), "p": p, "margin": study.margin,
             "equivalence": equivalence(d, study.margin) if tested else None}
            for (one, other, bounds), d, p in zip(cases, rows, p_values)]


@table("method mean variance_scaling distribution signs heavy n", "method", mean="mean of the four",
       signs="random signs − best standard", heavy="Student's t − Xavier normal")
def methods(groups: dict) -> list[dict]:
    """By pruning method, at densities of 50, 25, ... %: mean test accuracy over log density from 50 to 0.21%
    (filters 0.6%), of the four schemes; paired differences with 95% t intervals. The best standard scheme is
    the screen's. Rows without "test" are exploratory. The two with it are on seeds that these methods had not
    been run on; their first difference is Xavier uniform − Xavier normal, and the four tests are one Holm
    family."""
    standard, heavy = candidates(groups)[1], {"shape_t4": 1, "xavier_normal": -1}
    records = []
    for name in METHODS:
        found = under(groups, name)
        if any(found.values()):
            records.append({"method": name, "mean": mean_of_four(found), **factors(found),
                            "signs": estimate(paired(found, {"shape_sign": 1, standard: -1})),
                            "heavy": estimate(paired(found, heavy)),
                            "n": min(filter(None, seed_counts(found)), default=0)})
    tested = {(row["method"], row["contrast"]): row for row in before(groups)}
    for name in AT_INITIALIZATION:
        two = [tested.get((name, f"{init} - xavier_normal")) for init in ("xavier_uniform", "shape_t4")]
        if all(two):
            uniform, heavier = (Tested(row["difference"], row["holm"]) for row in two)
            records.append({"method": f"{name}: test", "mean": None, "variance_scaling": None,
                            "distribution": uniform, "signs": None, "heavy": heavier, "n": two[0]["n"]})
    return records


@table("method range mean variance_scaling distribution * n", "method range", mean="mean of the four")
def parts(groups: dict) -> list[dict]:
    """Pruning methods, in two parts: mean test accuracy over log density from 50 to 1.6% and from there
    to 0.21% (filters 0.6%), mean of the four schemes, the contrasts and the candidate schemes minus the best
    standard scheme, with t intervals. Exploratory."""
    customs, standard = candidates(groups)
    records = []
    for name, bounds in itertools.product(METHODS, PARTS):
        found = under(groups, name, bounds)
        both = factors(found)
        if both["distribution"]:
            records.append({"method": name, "range": bounds, "mean": mean_of_four(found), **both, **{
                f"{scheme_name(init)} − {scheme_name(standard)}": estimate(
                    paired(found, {init: 1, standard: -1})) for init in customs},
                "n": both["distribution"].n})
    return records


def heavy_tailed(groups: dict) -> str | None:
    """The heavy-tailed scheme for pruning at initialization, by the protocol's rule; None as yet."""
    found = [under(groups, name, choose=choosing, quantity=early_val_acc) for name in AT_INITIALIZATION]
    scores = {init: np.mean([np.mean(list(values[init].values())) for values in found]) for init in HEAVY
              if all(len(values.get(init, {})) >= SCREEN for values in found)}
    return max(scores, key=scores.get) if len(scores) == len(HEAVY) else None


@table("method contrast plain other n difference p holm upper sparse", "method contrast",
       plain="Xavier normal", other="the other", upper=f"{span(PARTS[0])}, points [95%]",
       sparse=f"{span(PARTS[1])}, points [95%]")
def before(groups: dict) -> list[dict]:
    """Distributions under pruning at initialization, on seeds that these methods had not been run on: mean
    test accuracy over log density from 50 to 0.21%, mean (sd); exact sign-flip tests, one Holm family. The
    last two columns have the difference in two parts; they are not in the protocol."""
    chosen, cases = heavy_tailed(groups), []
    for name in AT_INITIALIZATION:
        whole, upper, sparse = (under(groups, name, bounds, before_training) for bounds in (WHOLE, *PARTS))
        for init in filter(None, ("xavier_uniform", chosen)):
            weights = {init: 1, "xavier_normal": -1}
            d = paired(whole, weights)
            if len(d) > 1:
                cases.append(({"method": name, "contrast": f"{init} - xavier_normal",
                               "plain": spread(whole["xavier_normal"].values()),
                               "other": spread(whole[init].values()),
                               "upper": estimate(paired(upper, weights)),
                               "sparse": estimate(paired(sparse, weights))}, d))
    return [row | {"median": float(np.median(row["differences"]))} for row in family(cases)]


def on_conv2(groups: dict, one: str, other: str, asked: dict) -> list[dict]:
    """Records of one scheme minus another on Conv-2, of {what: (study, seeds)} that have all been run."""
    shown, records, weights = {name: its for name, _, its in studies(groups)}, [], {one: 1, other: -1}
    bounds, sparse = STUDIES["conv2"].ranges
    for label, (name, numbers) in asked.items():
        schemes = with_seeds(shown, name, numbers)
        ends, means = at_ends(schemes, bounds), by_scheme(schemes, bounds)
        quantities = {"difference": means, "sparse": by_scheme(schemes, sparse),
                      "retained": minus(means, ends["unpruned"]), **ends}
        d = {what: paired(values, weights) for what, values in quantities.items()}
        if len(d["difference"]) == len(numbers):
            p = sign_flip(d["difference"]) if len(numbers) >= FEWEST else None
            records.append({"seeds": label, "p": p, "n": len(numbers),
                            **{what: estimate(own) for what, own in d.items()}})
    return records


on_conv2_table = partial(
    table, names="seeds", unpruned="unpruned", retained="mean accuracy minus unpruned",
    difference=f"mean accuracy from {span(STUDIES['conv2'].ranges[0])} [95%]",
    sparse=f"from {span(STUDIES['conv2'].ranges[1])}",
    last=f"at {100 * STUDIES['conv2'].bounds[1]:g}%", p="sign-flip p of the mean accuracy")


@on_conv2_table("seeds difference sparse unpruned retained last p n")
def signs_on_conv2(groups: dict) -> list[dict]:
    """Conv-2: random signs minus Xavier uniform, paired by seed, in points. Two seeds suggested the
    comparison; only seeds 31 to 38 test it. The earlier seeds end at 3%."""
    return on_conv2(groups, "shape_sign", "xavier_uniform", {
        "10 and 11, which suggested it": ("conv2-first", range(10, 12)),
        "10 to 12, all earlier seeds": ("conv2-first", range(10, 13)), "31 to 38": ("conv2", range(31, 39))})


@on_conv2_table("seeds difference unpruned retained last n")
def half_as_wide(groups: dict) -> list[dict]:
    """Conv-2: Xavier normal at half its width minus Xavier normal, paired by seed, in points; no test."""
    return on_conv2(groups, "xavier_normal@0.5", "xavier_normal", {
        "10 to 12": ("conv2-first", range(10, 13))})


@table(names="study")
def calibrations(groups: dict) -> list[dict]:
    """How often, in %, the test at 5% rejects where nothing differs, one scheme's seeds paired at random: the
    least and the largest over schemes with 12 seeds and ranges."""
    records = []
    for name, study, schemes in studies(groups):
        values = [list(range_means(runs, bounds).values()) for bounds in study.ranges
                  for runs in schemes.values()]
        rejected = [100 * calibration(own) for own in values if len(own) >= 12]
        if rejected:
            records.append({"study": name, "least": min(rejected), "largest": max(rejected)})
    return records


@table(names="what")
def screened(groups: dict) -> list[dict]:
    """How many custom schemes were screened on all of its seeds, and how many of these could be chosen."""
    whole = {init for init, found in screen_scores(groups).items() if len(found) >= SCREEN} - {*STANDARD}
    return [{"what": "custom", "n": len(whole)}, {"what": "eligible", "n": sum(map(eligible, whole))}]


@table(names="study")
def seeds(groups: dict) -> list[dict]:
    """How many seeds a study has over its whole range, by scheme."""
    return [{"study": name, "n": seed_counts(by_scheme(schemes, (study.bounds[0], study.bounds[-1])))}
            for name, study, schemes in studies(groups)]


@table(names="way scheme range")
def gaps(groups: dict) -> list[dict]:
    """Schemes minus Xavier normal by magnitude, by movement and with pixels in [0, 1]; exploratory seeds."""
    ways = {name: METHODS[name] for name in ("magnitude, layer by layer", "movement")}
    ways |= {name: VARIANTS[name] for name in ("pixels in [0, 1]",)}
    records = []
    for (way, group), bounds in itertools.product(ways.items(), (UPPER, SPARSE)):
        values = by_scheme(exploring(groups, group), bounds)
        for init in values.keys() - {"xavier_normal"}:
            d = paired(values, {init: 1, "xavier_normal": -1})
            records.append({"way": way, "scheme": init, "range": bounds, "difference": estimate(d)})
    return records


@table(names="scheme density")
def level_gaps(groups: dict) -> list[dict]:
    """Schemes minus Xavier normal at the one level of halved runs within 2 to 5% of the weights, for which
    the protocol has directions."""
    found = accuracies(exploring(groups, HALVED), 0.032)
    return [{"scheme": init, "density": 0.032, "difference": estimate(paired(
        found, {init: 1, "xavier_normal": -1}))} for init in found if init != "xavier_normal"]


REASONS = {  # what is changed: the table that has it, its row but for the range, the row's number
    "masks of gain 4, values of Xavier normal": (mechanism.swaps, {"other": "xavier_normal@4"},
                                                 "masks_given_a"),
    "values of gain 4, masks of Xavier normal": (mechanism.swaps, {"other": "xavier_normal@4"},
                                                 "values_given_a"),
    "masks of Kaiming normal, values of Xavier normal": (mechanism.swaps, {"other": "kaiming_normal"},
                                                         "masks_given_a"),
    "values of Kaiming normal, masks of Xavier normal": (mechanism.swaps, {"other": "kaiming_normal"},
                                                         "values_given_a"),
    "gain 4, pruned by magnitude": (gaps, {"way": "magnitude, layer by layer", "scheme": "xavier_normal@4"},
                                    "difference"),
    "gain 4, pruned by movement": (gaps, {"way": "movement", "scheme": "xavier_normal@4"}, "difference"),
    "Student's t, pruned by magnitude": (gaps, {"way": "magnitude, layer by layer", "scheme": "shape_t4"},
                                         "difference"),
    "Student's t, pruned by movement": (gaps, {"way": "movement", "scheme": "shape_t4"}, "difference"),
    **{f"the four schemes, {label}": (mechanism.why, {"variant": variant}, "change") for label, variant in {
        "reset to signs of one magnitude": "signs of w0 alone",
        "reset and rescaled to each unit's unpruned norm": "w0 rescaled to each unit's norm",
        "trained 12 epochs per level": "12 epochs a level"}.items()}}


@table("what upper sparse n", "what", what="what is changed", upper=f"{span(UPPER)}, points [95%]",
       sparse=f"{span(SPARSE)}, points [95%]")
def reasons(groups: dict) -> list[dict]:
    """What one change does to mean test accuracy over log density: paired differences from Xavier normal or,
    where it says so, from the mean of the four schemes unchanged; under movement, from Xavier normal under
    movement. MNIST, half of the weights per round, exploratory seeds. A gain multiplies all initial weights.
    Exploratory."""
    found = {function: function(groups) for function, *_ in REASONS.values()}
    records = []
    for what, (function, names, key) in REASONS.items():
        rows = {row["range"]: row[key] for row in found[function] if names.items() <= row.items()}
        if all(map(rows.get, (UPPER, SPARSE))):
            records.append({"what": what, "upper": rows[UPPER], "sparse": rows[SPARSE], "n": rows[SPARSE].n})
    return records


PREDICTED = [  # of Conv-2: the table that has it, its row, the sign of the difference
    (contrasts, {"contrast": "variance_scaling", "range": (1, 0.03)}, -1),
    (contrasts, {"contrast": "distribution", "range": (1, 0.03)}, 1),
    (contrasts, {"contrast": "variance_scaling", "range": (0.03, 0.0126)}, 1),
    (contrasts, {"contrast": "distribution", "range": (0.03, 0.0126)}, 1),
    (change, {"contrast": "variance_scaling"}, 1), (change, {"contrast": "distribution"}, 1),
    (customs, {"scheme": "shape_sign", "against": "xavier_uniform"}, 1)]


@table("contrast where predicted difference p holm equivalence verdict n", where="densities")
def predictions(groups: dict) -> list[dict]:
    """Predictions for Conv-2's seeds 31 to 38, as the protocol has them. Upheld: p at most 0.05 and the sign
    that was predicted; refuted: the same with the other sign, or without a significant difference equivalence
    to zero; undecided: anything else. Holm's p counts where there is one."""
    records, found = [], {function: function(groups) for function, *_ in PREDICTED}
    for function, names, sign in PREDICTED:
        for row in found[function]:
            if row["study"] == "conv2" and names.items() <= row.items():
                contrast = row.get("contrast") or f"{row['scheme']} - {row['against']}"
                records.append({**row, "contrast": contrast, "holm": row.get("holm"),
                                "where": row.get("range", "3% minus unpruned"), "verdict": judged(row, sign),
                                "predicted": "above 0" if sign > 0 else "below 0"})
    return records


def judged(row: dict, sign: int) -> str:
    """The verdict on a predicted sign, by a row's p, or Holm's, and its equivalence p."""
    if row.get("holm", row["p"]) <= 0.05:
        return "upheld" if row["difference"].mean * sign > 0 else "refuted"
    return "refuted" if row["equivalence"] <= 0.05 else "undecided"


TABLES |= mechanism.TABLES
