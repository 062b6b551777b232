"""The tables of the study: each a function of {group: {scheme: runs}}, as stats.groups has them, that gives
(what it says, head, rows).

    python stats.py results     prints them all
"""
import functools
import itertools
import json
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import stats  # noqa: E402
from stats import (NAN, STANDARD, area_between, areas, calibration, density, diagnostic,  # noqa: E402
                   early_step, early_test_acc, early_val_acc, equivalence, final_test_acc, holm, interval,
                   level_near, matrix, max_t, paired, rank_correlations, sign_flip, within_a_point)

FULL, HALF = "mnist-fc-magnitude", "-ratefc0.5-rateout0.28"     # all rounds; half of the weights a round
HALVED = FULL + HALF
Study = namedtuple("Study", "group bounds margin collapsed")    # bounds: of the areas, densities
EXPLORE, CONFIRM, LATER = range(10), range(10, 30), range(30, 50)   # seeds, by what they are for
STUDIES = {
    "LeNet-300-100, MNIST": Study(FULL, (1, 0.012, 0.0021), 0.1, 90),
    "LeNet-300-100, Fashion-MNIST": Study("fashion_mnist-fc-magnitude" + HALF, (1, 0.016, 0.0021), 0.1, 70),
    "Conv-2, CIFAR-10": Study("cifar10-conv2-magnitude-epochs2-rateconv0.19-ratefc0.36-rateout0.19",
                              (1, 0.03), 0.5, 25),
    "Conv-2, CIFAR-10, 20 rounds": Study("cifar10-conv2-magnitude-bf16", (1, 0.03, 0.0126), 0.5, 25),
    "Conv-6, CIFAR-10, 20 rounds": Study("cifar10-conv6-magnitude-bf16", (1, 0.036, 0.0254), 0.5, 25)}
TAIL = (0.016, 0.0021)                                          # of a halved run
PARTS = ((0.5, TAIL[0]), TAIL)                                  # of the range of the other methods
SAME = ("shape_normal", "shape_uniform")                        # as two of the standard schemes are
SCREEN = 5                                                      # seeds that a scheme is chosen by
FEWEST = 6                                                      # pairs that can give p below 5%: 2 / 64
METHODS = {"magnitude, layer by layer": HALVED, "magnitude, global": f"{FULL}-global{HALF}",
           "magnitude, one-shot": f"{FULL}-oneshot{HALF}",
           **{name: f"mnist-fc-{name}{HALF}" for name in ("movement", "filters", "random")},
           "SNIP, layer by layer": f"mnist-fc-snip{HALF}",
           **{f"{name}, global": f"mnist-fc-{name.lower()}-global{HALF}" for name in ("SNIP", "GraSP",
                                                                                      "SynFlow")}}
BEFORE = ("SNIP, global", "SynFlow, global")                    # METHODS that the shapes are tested under
HEAVY = ("shape_laplace", "shape_t4")
SHAPES = ("shape_sign", "xavier_uniform", "truncated_glorot", "xavier_normal", *HEAVY)  # by kurtosis
SWAPS = [*(("magnitude, layer by layer", other) for other in ("xavier_uniform", "kaiming_normal",
                                                              "xavier_normal@4")),
         *((name, "xavier_uniform") for name in BEFORE)]        # whose masks, and against xavier_normal
PIXELS = HERE / "pixels.json"                                  # by how many images a pixel is lit
RARE = 0.001                                                    # of them: less is rarely lit
UNITS = 0.006                                                   # the least density of `filters`, but for one
VARIANTS = {"as it is": HALVED, "signs of w0 alone": f"{FULL}-rewindsigns{HALF}",
            "w0 rescaled to each unit's norm": f"{FULL}-rewindrescaled{HALF}",
            "pruned by movement": f"mnist-fc-movement{HALF}", "pixels in [0, 1]": f"{FULL}-unit{HALF}",
            "12 epochs a level": f"{FULL}-epochs12{HALF}"}
RATES = {"a third": f"{FULL}-lr0.0004{HALF}", "the paper's": HALVED, "three times": f"{FULL}-lr0.0036{HALF}"}
CONTRASTS = {  # scheme: weight
    "scale: Kaiming less Xavier": dict(zip(STANDARD, (-0.5, -0.5, 0.5, 0.5))),
    "shape: uniform less normal": dict(zip(STANDARD, (-0.5, 0.5, -0.5, 0.5))),
    "interaction of the two": dict(zip(STANDARD, (1, -1, -1, 1)))}
LIT = dict(zip(("xavier_normal", "kaiming_normal", "xavier_normal_lit", "kaiming_normal_lit"),
               (-0.5, -0.5, 0.5, 0.5)))
PAIRS = {f"{b} less {a}": {a: -1, b: 1} for i, a in enumerate(STANDARD) for b in STANDARD[i + 1:]}


def span(bounds):
    """A pair of densities as a person reads it."""
    return f"{100 * bounds[0]:g} to {100 * bounds[1]:.2g}%"


def with_seeds(groups, group, seeds):
    """{scheme: runs} of a group, of these seeds."""
    kept = {init: [run for run in runs if run["config"]["seed"] in seeds]
            for init, runs in groups.get(group, {}).items()}
    return {init: runs for init, runs in kept.items() if runs}


exploring, confirming, later = (functools.partial(with_seeds, seeds=seeds)
                                for seeds in (EXPLORE, CONFIRM, LATER))


def by_scheme(schemes, bounds, quantity=None):
    """{scheme: {seed: area}} between two densities."""
    return {init: areas(runs, *bounds, quantity) for init, runs in schemes.items()}


def at_density(runs, wanted, quantity=early_test_acc, scale=100):
    """{seed: scale * quantity} at the level nearest to a density, of the runs that have one near it."""
    densities, values = matrix(runs, quantity) if runs else ((), None)
    level = level_near(densities, wanted) if len(densities) else None
    found = {} if level is None else dict(zip((run["config"]["seed"] for run in runs),
                                              scale * values[:, level]))
    return {seed: value for seed, value in found.items() if np.isfinite(value)}


def studies(groups):
    """(name, study, its schemes, its pairs of bounds) of what has been run."""
    for name, study in STUDIES.items():
        schemes = confirming(groups, study.group)
        if schemes.keys() & set(STANDARD):
            yield name, study, schemes, list(zip(study.bounds, study.bounds[1:]))


def ns(groups):
    """How many there are of each of the four schemes: 20, or 20/19/20/20."""
    found = [str(len(groups.get(init, []))) for init in STANDARD]
    return found[0] if len(set(found)) == 1 else "/".join(found)


def spread(values):
    """mean (sd) of numbers."""
    values = np.array(list(values))
    if not len(values):
        return ""
    return f"{values.mean():.2f}" + (f" ({values.std(ddof=1):.2f})" if len(values) > 1 else "")


def signed(d):
    """mean [95% interval] of differences."""
    if len(d) < 2:
        return f"{d.mean():+.2f}" if len(d) else ""
    low, high = interval(d)
    return f"{d.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def p_text(p):
    return f"{p:.1e}" if p < 0.001 else f"{p:.3f}"


def endpoints(groups):
    rows = []
    for name, study, schemes, bounds in studies(groups):
        for pair in [*bounds, (1, 0.07)]:
            for label, quantity in (("early stop", early_test_acc), ("level's end", final_test_acc)):
                found = by_scheme(schemes, pair, quantity)
                if not any(found.values()):
                    continue
                factors = (paired(found, weights) for weights in list(CONTRASTS.values())[:2])
                rows.append([name, span(pair), label,
                             *(spread(found.get(init, {}).values()) for init in STANDARD),
                             *map(signed, factors), ns(found)])
    return ("Normalised area under test accuracy against log density, in points: mean (sd over seeds), and "
            "the contrasts with 95% intervals, without correction.",
            ["network, data", "densities", "accuracy at", *STANDARD, *list(CONTRASTS)[:2], "n"], rows)


def tests(groups, table, together):
    """(study's name, its margin, label, pair of bounds, differences, sign-flip p, Holm p, equivalence p) of
    {label: weights}: one Holm family a study, over its areas `together` or for each of them."""
    for name, study, schemes, bounds in studies(groups):
        for family in [bounds] if together else [[pair] for pair in bounds]:
            cases = [(label, pair, paired(by_scheme(schemes, pair), weights))
                     for pair in family for label, weights in table.items()]
            cases = [case for case in cases if len(case[2]) > 1]
            raw = [sign_flip(d) for _, _, d in cases]
            for (label, pair, d), own, p in zip(cases, raw, holm(raw)):
                yield name, study.margin, label, pair, d, own, p, equivalence(d, study.margin)


def tested(groups, table, together):
    """The tests as rows of a table."""
    return [[name, label, span(pair), str(len(d)), signed(d), p_text(own), p_text(p),
             f"{p_text(same)} (+-{margin:g})", verdict(p, same) if len(d) >= FEWEST else "estimate"]
            for name, margin, label, pair, d, own, p, same in tests(groups, table, together)]


def verdict(p, same):
    """In a word: different, equivalent, both (a difference within the margin), or neither shown."""
    return {(True, True): "different, within the margin", (True, False): "different",
            (False, True): "equivalent"}.get((p <= 0.05, same <= 0.05), "not shown")


TESTED = ["network, data", "contrast", "densities", "n", "difference, points [95%]", "sign-flip p",
          "Holm p", "equivalence p (margin)", "verdict"]


def contrasts(groups):
    return ("Planned contrasts on the areas at early stop: paired by seed, exact sign-flip tests, one Holm "
            "family a network; Student's t intervals.", TESTED,
            tested(groups, CONTRASTS, True))


def pairs(groups):
    return ("All pairs of the four schemes, on the same areas; a Holm family for each of these.", TESTED,
            tested(groups, PAIRS, False))


def less(values, base):
    """{scheme: {seed: value less that of `base`}}, of the seeds that both have."""
    return {init: {seed: value - base[init][seed] for seed, value in found.items() if seed in base[init]}
            for init, found in values.items()}


def retained(groups):
    rows = []
    for name, study, schemes, bounds in studies(groups):
        dense, cases = {init: at_density(runs, 1) for init, runs in schemes.items()}, []
        for pair in bounds:
            last = {init: at_density(runs, pair[1]) for init, runs in schemes.items()}
            found = dense, last, less(last, dense), less(by_scheme(schemes, pair), dense)
            for label, weights in list(CONTRASTS.items())[:2]:
                d = [paired(values, weights) for values in found]
                if min(map(len, d)) > 1:
                    cases.append((label, pair, d, sign_flip(d[3])))
        rows += [[name, label, span(pair), *map(signed, d), p_text(own), p_text(p), str(len(d[3]))]
                 for (label, pair, d, own), p in zip(cases, holm([own for *_, own in cases]))]
    return ("The contrasts of the dense networks, at the least density of each range, of the second less the "
            "first, and of the area less each network's own dense accuracy, with the p of a sign-flip test "
            "of this and Holm's, over the rows of a network. Exploratory: not in the protocol.",
            ["network, data", "contrast", "densities", "dense", "at the least density", "less dense",
             "area less dense", "sign-flip p", "Holm p", "n"], rows)


def accuracies(groups):
    rows = []
    for name, study, schemes, _ in studies(groups):
        for wanted in (1, 0.21, 0.07, 0.03, 0.012, 0.005, 0.0021):
            line = [spread(at_density(schemes.get(init, []), wanted).values()) for init in STANDARD]
            if any(line):
                rows.append([name, f"{100 * wanted:g}", *line])
    return ("Test accuracy at early stop (%): mean (sd).", ["network, data", "% remaining", *STANDARD], rows)


def needed(schemes, study):
    """{"own" or "common": {scheme: {seed: smallest density within 1 point of that dense accuracy}}}, of the
    four schemes' runs that are at their end; NaN where a dense network is further below the common one."""
    ended = {init: [run for run in schemes[init]
                    if level_near([density(level) for level in run["levels"]], study.bounds[-1]) is not None]
             for init in STANDARD if init in schemes}
    curves = {init: {run["config"]["seed"]: ([density(level) for level in run["levels"]],
                                             [100 * early_test_acc(level) for level in run["levels"]])
                     for run in runs} for init, runs in ended.items()}
    common = np.mean([np.nanmean([100 * early_test_acc(run["levels"][0]) for run in schemes[init]])
                      for init in ended])
    return {what: {init: {seed: within_a_point(x, y, y[0] if what == "own" else common)
                          for seed, (x, y) in found.items()} for init, found in curves.items()}
            for what in ("own", "common")}


def limits(groups):
    rows = []
    for name, study, schemes, _ in studies(groups):
        least = needed(schemes, study)
        for init in filter(least["own"].get, least["own"]):
            middle = (100 * np.median(np.nan_to_num(list(found[init].values()), nan=np.inf))
                      for found in least.values())
            values = [100 * np.array([early_test_acc(level) for level in run["levels"]])
                      for run in schemes[init] if run["config"]["seed"] in least["own"][init]]
            collapsed = sum((value < study.collapsed).any() for value in values)
            rows.append([name, init, *(f"{part:.2f}" if part < np.inf else "none" for part in middle),
                         f"{collapsed} (below {study.collapsed}%)",
                         f"{np.median([value[-1] for value in values]):.2f}", str(len(values))])
    return ("Smallest % of weights down to which every level is within 1 point of the dense network, its own "
            "or the schemes' common one (medians); runs that collapse at any level; median accuracy at the "
            "last (%).",
            ["network, data", "scheme", "own dense", "common dense", "collapsed", "at the last", "n"], rows)


def needs(groups):
    rows = []
    for name, study, schemes, _ in studies(groups):
        for what, least in needed(schemes, study).items():
            whole = sum(np.isnan(list(found.values())).sum() for found in least.values())
            logs = {init: {seed: np.log(np.nan_to_num(value, nan=1)) for seed, value in found.items()}
                    for init, found in least.items()}
            for label, weights in list(CONTRASTS.items())[:2]:
                d = paired(logs, weights)
                if len(d) >= FEWEST:
                    low, high = np.exp(interval(d))
                    rows.append([name, label.replace(" less ", " over "), what, f"{np.exp(d.mean()):.3f} "
                                 f"[{low:.3f}, {high:.3f}]", p_text(sign_flip(d)), str(whole), str(len(d))])
    return ("How many weights are needed to stay within 1 point of the dense network, its own or the "
            "schemes' common one: the ratio of the smallest such densities, a geometric mean over seeds, "
            f"paired, with its 95% interval, from {FEWEST} seeds on. Below 1 the first named needs fewer. "
            "Runs whose dense network is itself more than 1 point below the common one count with 100% of "
            "the weights, and are counted. A secondary endpoint of the protocol, without correction.",
            ["network, data", "contrast", "dense network", "ratio [95%]", "sign-flip p", "runs at 100%", "n"],
            rows)


def stops(groups):
    rows = []
    for name, study, schemes, _ in studies(groups):
        for init in filter(schemes.get, STANDARD):
            densities, steps = matrix(schemes[init], early_step)
            last = matrix(schemes[init], lambda level: level["step"][-1])[1]
            found = [level_near(densities, wanted) for wanted in (1, 0.21, 0.07, 0.03, 0.012, 0.0021)]
            means = ["" if at is None else f"{np.nanmean(steps[:, at]):.0f}" for at in found]
            there = np.isfinite(last)
            still = ["" if at is None else f"{100 * (steps == last)[there[:, at], at].mean():.0f}"
                     for at in found[-2:]]
            rows.append([name, init, *means, *still])
    return ("Step of the least validation loss, mean over seeds, at % remaining; and in how many runs (%) it "
            "is the last look of the level.",
            ["network, data", "scheme", "100", "21", "7", "3", "1.2", "0.21", "last at 1.2", "last at 0.21"],
            rows)


def fits(groups):
    rows = []
    for name, study, schemes, bounds in studies(groups):
        for pair in bounds:
            losses = [by_scheme(schemes, pair, stats.at_early_stop(key)) for key in
                      ("train_loss", "val_loss")]
            for label, weights in list(CONTRASTS.items())[:2]:
                d = [paired(areas, weights) for areas in losses]
                if len(d[0]) > 1:
                    rows.append([name, label, span(pair), *map(signed, d), str(len(d[0]))])
    return ("Training loss (mean over the batches since the look before) and validation loss at early stop, "
            "in hundredths of a nat, averaged over each range as accuracy is; above 0 is the worse. Paired "
            "by seed, with 95% intervals. Exploratory.",
            ["network, data", "contrast", "densities", "training loss", "validation loss", "n"], rows)


def screened(groups):
    """{scheme: {seed: score}} of the screen: area under validation accuracy at early stop, 100 to 0.2%."""
    return by_scheme(exploring(groups, HALVED), (1, TAIL[1]), early_val_acc)


def screen(groups):
    scores, schemes = screened(groups), exploring(groups, HALVED)
    tail, upper = by_scheme(schemes, TAIL), by_scheme(schemes, (1, TAIL[0]))
    rows = []
    for init in sorted(scores, key=lambda init: -np.mean(list(scores[init].values()) or [-np.inf])):
        gap = paired(scores, {init: 1, "xavier_normal": -1}) if init != "xavier_normal" else np.array([])
        rows.append([init, spread(scores[init].values()), signed(gap), spread(upper[init].values()),
                     spread(tail[init].values()), str(len(scores[init]))])
    return ("Every scheme, half of the weights a round, by its score: area under validation accuracy from "
            "100 to 0.2%, mean (sd); the differences are paired by seed. Exploratory.",
            ["scheme", "score", "less xavier_normal", f"test, {span((1, TAIL[0]))}", f"test, {span(TAIL)}",
             "n"], rows)


def dosed(areas, dose):
    """{dose: area by seed (n,)} in order of the doses, from {scheme: {seed: area}} and {scheme: dose}: a mean
    over the schemes of a dose, of the seeds that all of them have."""
    found = {}
    for value in sorted(set(dose.values())):
        same = [init for init in dose if dose[init] == value and areas.get(init)]
        mean = paired(areas, dict.fromkeys(same, 1 / len(same))) if same else []
        if len(mean):
            found[value] = mean
    return found


def finalists(groups):
    """(two custom schemes, the comparator) by the protocol's rule, of those with all seeds of the screen."""
    scores = {init: np.mean(list(found.values())) for init, found in screened(groups).items()
              if len(found) >= SCREEN}
    order = sorted(scores, key=lambda init: -scores[init])
    return ([init for init in order if init not in STANDARD + SAME and not init.endswith("_lit")][:2],
            next((init for init in order if init in STANDARD), None))


def rates(groups):
    customs, comparator = finalists(groups)
    rows = []
    for name, group in RATES.items():
        scores = by_scheme(exploring(groups, group), (1, TAIL[1]), early_val_acc)
        for init in filter(scores.get, (comparator, *customs)):
            gap = np.array([]) if init == comparator else paired(scores, {init: 1, comparator: -1})
            rows.append([name, init, spread(scores[init].values()), signed(gap), str(len(scores[init]))])
    return ("The finalists and the best standard scheme at other learning rates: score as in the screen, by "
            "validation images. Exploratory.",
            ["learning rate", "scheme", "score", f"less {comparator}", "n"], rows)


def confirmed(groups):
    customs, comparator = finalists(groups)
    rows = []
    for name, study, schemes, bounds in studies(groups):
        found = {(init, pair): areas(schemes[init], *pair) for init in (*customs, comparator)
                 if init in schemes for pair in bounds}
        cases = [(init, pair,  # of the seeds that all have
                  paired(found, {**dict.fromkeys(found, 0), (init, pair): 1, (comparator, pair): -1}))
                 for init, pair in found if init != comparator and (comparator, pair) in found]
        cases = [case for case in cases if len(case[2]) > 1]
        adjusted = max_t(np.array([d for _, _, d in cases])) if cases else []
        rows += [[name, init, comparator, span(pair), str(len(d)), signed(d), p_text(p),
                  f"{p_text(equivalence(d, study.margin))} (+-{study.margin:g})"]
                 for (init, pair, d), p in zip(cases, adjusted)]
    return ("The finalists against the best standard scheme on fresh seeds: areas under test accuracy, max-T "
            "sign-flip test, a family a network.",
            ["network, data", "scheme", "against", "densities", "n", "difference, points [95%]", "max-T p",
             "equivalence p (margin)"], rows)


def under(groups, name, seeds=exploring, quantity=None, bounds=(0.5, TAIL[1])):
    """{scheme: {seed: area}} under a row of METHODS, from half of the weights to the least density."""
    low = max(bounds[1], UNITS) if name == "filters" else bounds[1]
    return by_scheme(seeds(groups, METHODS[name]), (bounds[0], low), quantity)


def carried(groups):
    customs, comparator = finalists(groups)
    against = {f"{init} less {comparator}": {init: 1, comparator: -1} for init in customs}
    differences, rows = {**dict(list(CONTRASTS.items())[:2]), **against}, []
    for name in METHODS:
        found = under(groups, name)
        if any(found.values()):
            means = [np.mean(list(found[init].values())) for init in STANDARD if found.get(init)]
            rows.append([name, f"{np.mean(means):.2f}" if means else "",
                         *(signed(paired(found, weights)) for weights in differences.values()),
                         str(min((len(found[init]) for init in STANDARD if found.get(init)), default=0))])
    return ("Under other pruning methods: area under test accuracy from 50 to 0.2% (filters 0.6%), mean of "
            "the four schemes, the contrasts and the finalists against the best standard scheme, with t "
            "intervals. Exploratory.", ["method", "mean", *differences, "n"], rows)


def parts(groups):
    rows = []
    for name, pair in itertools.product(METHODS, PARTS):
        found = under(groups, name, bounds=pair)
        scale, shape = (paired(found, weights) for weights in list(CONTRASTS.values())[:2])
        if len(shape):
            means = [np.mean(list(found[init].values())) for init in STANDARD]
            rows.append([name, span(pair), f"{np.mean(means):.2f}", signed(scale), signed(shape),
                         str(len(shape))])
    return ("Other pruning methods, in two parts: area under test accuracy from 50 to 1.6% and from there to "
            "0.21% (filters 0.6%), mean of the four schemes, and the contrasts with t intervals. "
            "Exploratory.",
            ["method", "densities", "mean", *list(CONTRASTS)[:2], "n"], rows)


def heavy(groups):
    """The heavy-tailed scheme for pruning before training, by the protocol's rule; None as yet."""
    found = [under(groups, name, quantity=early_val_acc) for name in BEFORE]
    scores = {init: np.mean([np.mean(list(areas[init].values())) for areas in found]) for init in HEAVY
              if all(len(areas.get(init, {})) >= SCREEN for areas in found)}
    return max(scores, key=scores.get) if len(scores) == len(HEAVY) else None


def before(groups):
    chosen, cases = heavy(groups), []
    for name in BEFORE:
        whole, *split = (under(groups, name, confirming, bounds=pair) for pair in ((0.5, TAIL[1]), *PARTS))
        for init in filter(None, ("xavier_uniform", chosen)):
            weights = {init: 1, "xavier_normal": -1}
            d = paired(whole, weights)
            if len(d) > 1:
                means = [spread(whole[one].values()) for one in ("xavier_normal", init)]
                cases.append((name, init, means, d, [signed(paired(part, weights)) for part in split]))
    raw = [sign_flip(d) for *_, d, _ in cases]
    rows = [[name, f"{init} less xavier_normal", *means, str(len(d)), signed(d), p_text(own), p_text(p),
             *split]
            for (name, init, means, d, split), own, p in zip(cases, raw, holm(raw))]
    return ("Shapes under pruning before training, on seeds that these methods had not been run on: area "
            "under test accuracy from 50 to 0.2%, mean (sd); exact sign-flip tests, one Holm family. The "
            "last two columns have the difference in two parts; they are not in the protocol.",
            ["method", "contrast", "xavier_normal", "the other", "n", "difference, points [95%]",
             "sign-flip p", "Holm p", *map(span, PARTS)], rows)


def used(groups):
    quantities = (lambda level: 100 * early_test_acc(level), lambda level: np.count_nonzero(level["inputs"]),
                  lambda level: 300 - diagnostic("layers", "fc1", "no_way_in")(level))
    rows = []
    for name in (*BEFORE, "magnitude, layer by layer"):
        schemes = exploring(groups, METHODS[name])
        for init in filter(schemes.get, SHAPES):
            levels = [level for run in schemes[init] for level in run["levels"]
                      if level_near([density(level)], 0.0082) is not None and level.get("diagnostics")]
            if levels:
                cells = [spread(map(quantity, levels)) for quantity in quantities]
                rows.append([name, init, *cells, str(len(levels))])
    return ("Networks of 0.82% of the weights by the shape of their initial weights, from light to heavy "
            "tails: test accuracy (%), pixels with a weight of 784, units of the first layer with a weight "
            "of 300, mean (sd). Exploratory.", ["method", "scheme", "accuracy", "pixels", "units", "n"], rows)


def shares(groups):
    schemes, rows = exploring(groups, METHODS["magnitude, global"]), []
    layers = next((runs[0]["levels"][0]["size"] for runs in schemes.values()), ())
    columns = [(layer, percent) for layer in layers for percent in (6.3, 1.6, 0.21)]
    for init, runs in schemes.items():
        cells = [spread(at_density(runs, percent / 100, lambda level: (
            level["kept"][layer] / level["size"][layer])).values()) for layer, percent in columns]
        rows.append([init, *cells, str(len(runs))])
    return ("Global magnitude: the share (%) of each layer's weights that remains when 6.3, 1.6 and 0.21% of "
            "all do, mean (sd). Exploratory.",
            ["scheme", *(f"{layer} at {percent}%" for layer, percent in columns), "n"], rows)


def paths(groups):
    customs, rows = finalists(groups)[0], []
    kinds = {"the others": [*STANDARD, *(init for init in customs if init != "shape_sign")],
             "shape_sign": [init for init in customs if init == "shape_sign"]}
    for (name, group), (kind, inits) in itertools.product(METHODS.items(), kinds.items()):
        found = exploring(groups, group)
        levels = [level for init in inits for run in found.get(init, []) for level in run["levels"]
                  if level_near([density(level)], TAIL[1]) is not None and level.get("diagnostics")]
        if len(levels) > 2:
            accuracy = np.array([100 * early_test_acc(level) for level in levels])
            linked = np.array([100 * level["diagnostics"]["effective_density"] / density(level)
                               for level in levels])
            starved = sum(level["diagnostics"]["least_class_inputs"] == 0 for level in levels)
            rows.append([name, kind, spread(accuracy), spread(linked), str(starved), str(len(levels))])
    return ("Networks of 0.21% of the weights, of the four schemes and the finalists, signs of one size "
            "apart: test accuracy (%) and the share (%) of the remaining weights on some path from an input "
            "to an output, mean (sd over runs); runs in which a class has no weight left. Exploratory.",
            ["method", "schemes", "accuracy", "on a path", "a class without weights", "runs"], rows)


def why(groups):
    rows = []
    for name, group in VARIANTS.items():
        for bounds in ((1, TAIL[0]), TAIL):
            found, plain = (by_scheme(exploring(groups, which), bounds) for which in (group, HALVED))
            d = [paired(found, weights) for weights in list(CONTRASTS.values())[:2]]
            both = {(way, init): areas.get(init, {}) for way, areas in enumerate((plain, found))
                    for init in STANDARD}
            change = paired(both, {(way, init): (way - 0.5) / 2 for way, init in both})
            if len(d[0]):
                rows.append([name, span(bounds), *(spread(found[init].values()) for init in STANDARD),
                             *map(signed, d), signed(change) if group != HALVED else "0",
                             str(len(d[0]))])
    return ("The contrasts when one thing is changed, and the mean of the four schemes less that of the "
            "first rows. Exploratory.",
            ["what is changed", "densities", *STANDARD, *list(CONTRASTS)[:2], "change of the mean", "n"],
            rows)


def swaps(groups):
    rows, one = [], "xavier_normal"
    for (name, other), pair in itertools.product(SWAPS, ((1, TAIL[0]), TAIL)):
        crossed = {}
        for masks, values in itertools.product((one, other), repeat=2):
            group = METHODS[name]
            if masks != values:
                donor = group.replace("mnist-fc-", f"mnist-fc-{masks}-", 1)
                group = f"{FULL}-from-{donor}{HALF}"
            crossed[masks, values] = areas(exploring(groups, group).get(values, []), *pair)
        if all(crossed.values()):
            masks = [signed(paired(crossed, {(other, own): 1, (one, own): -1})) for own in (one, other)]
            values = [signed(paired(crossed, {(own, other): 1, (own, one): -1})) for own in (one, other)]
            means = [signed(paired(crossed, dict(zip(crossed, weights)))) for weights in (
                (-0.5, -0.5, 0.5, 0.5), (-0.5, 0.5, -0.5, 0.5))]
            rows.append([name, other, span(pair), spread(crossed[one, one].values()), *masks, *values, *means,
                         str(min(map(len, crossed.values())))])
    return ("Masks of one scheme with the initial values of another, A being xavier_normal: areas under test "
            "accuracy and their differences. Exploratory.",
            ["masks by", "B", "densities", "masks A, values A", "masks B less A, values A",
             "masks B less A, values B", "values B less A, masks A", "values B less A, masks B",
             "masks B less A, mean", "values B less A, mean", "n"], rows)


CONTROLLED = {"ticket": FULL, "another draw, the ticket's masks": f"{FULL}-reinit",
              "the ticket's draw, shuffled masks": f"{FULL}-shuffle",
              "the ticket's draw, random masks": f"{FULL}-random_mask", "one-shot": f"{FULL}-oneshot"}


def controls(groups):
    rows = []
    for name, group in CONTROLLED.items():
        runs = exploring(groups, group).get("xavier_normal", [])
        line = []
        for wanted in (1, 0.21, 0.07, 0.036):
            stop, end = (at_density(runs, wanted, quantity) for quantity in (early_test_acc, final_test_acc))
            line.append(f"{spread(stop.values())}; {np.mean([end[seed] for seed in stop]):.2f}"
                        if stop else "")
        if runs:
            rows.append([name, *line, str(len(runs))])
    return ("Controls, Xavier normal: test accuracy (%) at early stop, mean (sd); and at the level's end.",
            ["network", "100%", "21%", "7%", "3.6%", "n"], rows)


SURVIVAL = {"eps in fc1": (("layers", "fc1", "eps"), 1),
            "AUROC of initial size in fc1": (("layers", "fc1", "auroc"), 1),
            "rms w0 / rms move in fc1": (("layers", "fc1", "rho"), 1),
            "% of fc1's survivors on always-dark pixels": (("dark_share",), 100)}
SAY = {"eps": "with eps", "auroc": "with AUROC", "rho": "with rms w0 / rms move"}   # diagnostics of a layer
SAY_AT = 0.066                                                  # the level near it: 7.0, 6.9 or 6.3%


def survival(groups):
    rows = []
    for name, study, schemes, _ in studies(groups):
        for label, (keys, scale) in SURVIVAL.items():
            for wanted in (0.21, 0.07, 0.012, 0.0021):
                found = {init: at_density(schemes.get(init, []), wanted, diagnostic(*keys), scale)
                         for init in STANDARD}
                if any(found.values()):
                    d = paired(found, CONTRASTS["shape: uniform less normal"])
                    rows.append([name, label, f"{100 * wanted:g}", *(
                        spread(found.get(init, {}).values()) for init in STANDARD), signed(d), str(len(d))])
    return ("What survives, at single densities: mean (sd over seeds), and the contrast of shape, by seed.",
            ["network, data", "what", "% remaining", *STANDARD, "uniform less normal [95%]", "n"], rows)


def many_schemes(groups):
    """(name, schemes, pairs of bounds) of the screen, as far as it is whole, and of every study."""
    whole = {init: runs for init, runs in exploring(groups, HALVED).items() if len(runs) >= SCREEN}
    if whole:
        yield "LeNet-300-100, MNIST, screen", whole, [(1, TAIL[0]), TAIL]
    for name, _, schemes, bounds in studies(groups):
        yield name, schemes, bounds


def say_of(schemes, key, wanted=SAY_AT):
    """{scheme: {seed: a diagnostic of the first fully connected layer at a density}}"""
    quantity = diagnostic("layers", "fc1", key)
    return {init: at_density(runs, wanted, quantity, 1) for init, runs in schemes.items()}


def say(groups):
    rows = []
    for name, schemes, bounds in many_schemes(groups):
        schemes = {init: runs for init, runs in schemes.items() if "@" not in init}
        dense = {init: at_density(runs, 1) for init, runs in schemes.items()}
        for high, low in bounds:
            area = by_scheme(schemes, (high, low))
            for wanted in [at for at in (SAY_AT, high) if at < 1]:
                measured = [say_of(schemes, key, wanted) for key in SAY]
                for what, values in {"area": area, "less the own dense": less(area, dense)}.items():
                    found = [rank_correlations(its, values) for its in measured]
                    if min(map(len, found)) > 1:
                        rows.append([name, what, span((high, low)), f"{100 * wanted:.2g}", str(len(schemes)),
                                     *map(ranged, found), str(max(map(len, found)))])
    return ("Is accuracy lower where initial size has more say in what survives? Rank correlation "
            "(Spearman's), over the schemes of a seed, of the area under test accuracy with each measure in "
            "fc1: mean over seeds (least to largest). -1: one order is the reverse of the other. Schemes "
            "with a gain are left out. Of signs of one size eps is not defined, and AUROC 0.5 by definition. "
            "Exploratory.",
            ["network, data", "area", "densities", "measured near %", "schemes", *SAY.values(), "n"], rows)


def ranged(d):
    """mean (least to largest) of correlations."""
    return f"{d.mean():+.2f} ({d.min():+.2f} to {d.max():+.2f})"


def seeing(inputs):
    """As `density`, of the first layer only the weights on inputs where `inputs` (inputs,) is true; NaN for a
    level of other inputs."""
    def share(level):
        if len(level["inputs"]) != len(inputs):
            return NAN
        unseen = np.array(level["inputs"])[~np.asarray(inputs)].sum()
        return density(level) - unseen / sum(level["size"].values())
    return share


def share_on(inputs):
    """The share of a level's first-layer weights on inputs where `inputs` (inputs,) is true; NaN for a level
    of other inputs."""
    def share(level):
        if len(level["inputs"]) != len(inputs):
            return NAN
        return np.array(level["inputs"])[np.asarray(inputs)].sum() / sum(level["inputs"])
    return share


def tails(runs, pair, share):
    """{seed: area} of test accuracy against the log of `share` of a level, between the densities `pair`."""
    found = {}
    for run in runs:
        levels = run["levels"]
        own = [density(level) for level in levels]
        ends = [level_near(own, bound) for bound in pair]
        if None not in ends:
            found[run["config"]["seed"]] = area_between(
                [share(level) for level in levels], [100 * early_test_acc(level) for level in levels],
                *(own[end] for end in ends))
    return {seed: value for seed, value in found.items() if np.isfinite(value)}


def lights(study):
    """By how many training images a pixel of the study's data is lit, and of how many; None if not known."""
    found = json.loads(PIXELS.read_text()).get(study.group.split("-")[0])
    return found and (np.array(found["lit"]), found["images"])


def accounts(groups):
    """(study's name, study, contrast, pair of bounds, {what counts as a weight: differences (n,)})."""
    for name, study, schemes, bounds in studies(groups):
        for pair in bounds[1:] if lights(study) else ():
            lit, images = lights(study)
            least = {"all weights": 0, "not on pixels never lit": 1, **{
                f"not on those lit by < {100 * share:g}%": share * images for share in (RARE, 10 * RARE)}}
            found = {what: {init: tails(runs, pair, seeing(lit >= number)) for init, runs in schemes.items()}
                     for what, number in least.items()}
            for label, weights in list(CONTRASTS.items())[:2]:
                d = {what: paired(area_, weights) for what, area_ in found.items()}
                if len(d["all weights"]) > 1:
                    yield name, study, label, pair, d


def dark(groups):
    rows = [[name, label, span(pair), what, str(len(d)), signed(d), p_text(sign_flip(d)),
             f"{p_text(equivalence(d, study.margin))} (+-{study.margin:g})"]
            for name, study, label, pair, parts in accounts(groups) for what, d in parts.items()]
    return ("The contrasts over the sparse end, by which weights are counted as remaining: accuracies are "
            "read at equal numbers of these. Pixels by the share of training images that light them. No "
            "correction. Exploratory: not in the protocol.",
            ["network, data", "contrast", "densities", "counted", "n", "difference, points [95%]",
             "sign-flip p", "equivalence p (margin)"], rows)


def lit(groups):
    rows, study = [], STUDIES["LeNet-300-100, MNIST"]
    pixels, images = lights(study)
    rare, schemes, (upper, tail) = pixels < RARE * images, later(groups, study.group), list(
        itertools.pairwise(study.bounds))
    for what, where, found in (
            ("area", span(upper), by_scheme(schemes, upper)),
            ("area: the test", span(tail), by_scheme(schemes, tail)),
            ("area, by weights on other pixels", span(tail), {
                init: tails(runs, tail, seeing(~rare)) for init, runs in schemes.items()}),
            ("% of fc1's survivors on these pixels", f"at {100 * tail[0]:g}%", {
                init: at_density(runs, tail[0], share_on(rare)) for init, runs in schemes.items()})):
        d = paired(found, LIT)
        if len(d) > 1:
            means = [spread(paired(found, {init: abs(LIT[init]) for init in half})) for half in
                     (list(LIT)[:2], list(LIT)[2:])]
            same = f"{p_text(equivalence(d, study.margin))} (+-{study.margin:g})"
            rows.append([what, where, *means, str(len(d)), signed(d), p_text(sign_flip(d)),
                         same if what.startswith("area") else ""])
    return ("Normal schemes with nothing on rarely lit pixels at the start against the plain ones, mean (sd) "
            "of Xavier's and Kaiming's, on seeds that no scheme had been run on. The test is that of the "
            "sparse end at 20 seeds; the other rows are exploratory.",
            ["what", "densities", "plain", "nothing there", "n", "the second less the first [95%]",
             "sign-flip p", "equivalence p (margin)"], rows)


def on_conv2(groups, weights, parts):
    """Head and rows of a contrast on Conv-2, of {what: seeds} that have all been run."""
    study, rows = STUDIES["Conv-2, CIFAR-10"], []
    for what, seeds in parts.items():
        schemes = with_seeds(groups, study.group, seeds=seeds)
        dense, last = ({init: at_density(runs, wanted) for init, runs in schemes.items()}
                       for wanted in study.bounds)
        area = by_scheme(schemes, study.bounds)
        d = paired(area, weights)
        if len(d) == len(seeds):
            others = [signed(paired(values, weights)) for values in (dense, less(area, dense), last)]
            rows.append([what, signed(d), *others, p_text(sign_flip(d)), str(len(d))])
    return ["seeds", f"area from {span(study.bounds)}, points [95%]", "dense", "area less the own dense",
            f"at {100 * study.bounds[1]:g}%", "sign-flip p of the area", "n"], rows


def signs(groups):
    return ("Conv-2: signs of one size less Xavier uniform, paired by seed; no test.",
            *on_conv2(groups, {"shape_sign": 1, "xavier_uniform": -1}, {
                "10 and 11, which suggested it": range(10, 12), "10 to 12, as planned": range(10, 13)}))


def half(groups):
    return ("Conv-2: Xavier normal at half its width less Xavier normal, paired by seed; no test.",
            *on_conv2(groups, {"xavier_normal@0.5": 1, "xavier_normal": -1}, {
                "10 and 11": range(10, 12), "10 to 12": range(10, 13)}))


def calibrations(groups):
    rows = []
    for name, study, schemes, bounds in studies(groups):
        for pair, (init, runs) in itertools.product(bounds, schemes.items()):
            found = list(areas(runs, *pair).values())
            if len(found) >= 12:
                rows.append([name, span(pair), init, f"{100 * calibration(found):.1f}%"])
    return ("How often the test at 5% rejects where nothing differs: one scheme's seeds paired at random.",
            ["network, data", "densities", "scheme", "rejected"], rows)


VERDICTS = {table.__name__: table for table in (
    endpoints, contrasts, pairs, retained, accuracies, limits, needs, stops, fits, screen, rates, confirmed,
    carried, parts, before, used, shares, paths, why, swaps, controls, survival, say, dark, lit, signs,
    half, calibrations)}


def lines(head, rows):
    """A table as Markdown."""
    if not rows:
        return "*Not run.*\n"
    return "".join("| " + " | ".join(line) + " |\n" for line in (head, ["---"] * len(head), *rows))


def verdicts(runs):
    """{name: Markdown} of every table."""
    found = stats.groups([run for run in runs if run["levels"]])
    made = {name: function(found) for name, function in VERDICTS.items()}
    return {name: f"{says}\n\n{lines(head, rows)}" for name, (says, head, rows) in made.items()}
