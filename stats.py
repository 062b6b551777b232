"""Numbers from runs: curves and their areas, paired tests, intervals, the verdict tables of the study.

    python stats.py results              the tables, as Markdown
    python stats.py --keep runs results  copy the metrics of runs into results/, compressed
    python stats.py --back runs results  the other way, so that a grid goes on with what is left
"""
import argparse
import bz2
import functools
import itertools
import json
import math
import os
import zlib
from collections import Counter, namedtuple
from pathlib import Path
from statistics import NormalDist

import numpy as np

NAN = float("nan")
STANDARD = ("xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform")
NEEDED = {"run": ("config", "provenance", "init", "levels"),
          "config": ("data", "net", "init", "pruner", "seed"),
          "level": ("level", "kept", "size", "step", "val_loss", "val_acc", "test_acc", "diverged", "inputs")}
SETTINGS = ("pruner", "scope", "rewind", "epochs", "steps")     # what a caption says of a run's config

Summary = namedtuple("Summary", "mean sd median n low high")    # each (L,); low, high: 95% t interval


def read(root):
    """Every run under a folder, by name: what <root>/<name>/metrics.json or <root>/<name>.json.bz2 holds, and
    "name"."""
    paths = [*Path(root).glob("*.json.bz2"), *Path(root).glob("*/metrics.json")]
    if not paths:
        raise SystemExit(f"No runs in {root}: make some first, as in `python prune.py --net fc`.")
    found = {run["name"]: run for run in map(read_one, paths)}
    return [found[name] for name in sorted(found)]


def write(path, content):
    """Write `content` (bytes) so that `path` holds all of it or is as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    partial.write_bytes(content)
    os.replace(partial, path)


def written(run):
    """A run's metrics as train.save writes them."""
    metrics = {key: value for key, value in run.items() if key != "name"}
    return json.dumps({**metrics, "crc32": zlib.crc32(json.dumps(metrics).encode())}).encode()


def keep(runs, root):
    """Write the metrics of every run under `runs` into `root`; equal metrics give equal bytes."""
    for path in sorted(Path(runs).glob("*/metrics.json")):
        write(Path(root, f"{path.parent.name}.json.bz2"), bz2.compress(written(read_one(path))))


def back(runs, root):
    """Write the metrics kept in `root` to `runs`, but where a run is already."""
    for path in sorted(Path(root).glob("*.json.bz2")):
        there = Path(runs, path.name.removesuffix(".json.bz2"), "metrics.json")
        if not there.exists():
            write(there, written(read_one(path)))


def read_one(path):
    try:
        run = json.loads(bz2.decompress(path.read_bytes()) if path.suffix == ".bz2" else path.read_text())
        crc32 = run.pop("crc32", None)      # as train.save wrote it
        if crc32 not in (None, zlib.crc32(json.dumps(run).encode())):
            raise ValueError("checksum")
        absent = {key for key in NEEDED["run"] if key not in run}
        absent = absent or {key for key in NEEDED["config"] if key not in run["config"]}
        absent = absent or {key for level in run["levels"] for key in NEEDED["level"] if key not in level}
    except (OSError, EOFError, zlib.error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SystemExit(f"{path} is not a run's metrics ({error}): move its folder away and run it again.")
    if absent:
        raise SystemExit(f"{path} lacks {', '.join(sorted(absent))}: move its folder away and run it again.")
    name = path.name.removesuffix(".json.bz2") if path.suffix == ".bz2" else path.parent.name
    return {**run, "name": name}


def group_name(run):
    """The folder's name without scheme and seed: what differs in nothing else belongs together."""
    middle, end = f"-{run['config']['init']}-", f"-s{run['config']['seed']}"
    if middle not in run["name"] or not run["name"].endswith(end):
        raise SystemExit(f"The run {run['name']} was made as *{middle}*{end}: name its folder so again.")
    return run["name"].removesuffix(end).replace(middle, "-", 1)


def groups(runs):
    """{group: {scheme: runs by seed}}, the standard schemes first."""
    found = {}
    for run in sorted(runs, key=lambda run: (*rank(run["config"]["init"]), run["config"]["seed"])):
        found.setdefault(group_name(run), {}).setdefault(run["config"]["init"], []).append(run)
    return dict(sorted(found.items()))


def mixed(runs):
    """{what: {value: number of runs}} of commit, precision and preset, where the runs differ in it."""
    found = {"commits": Counter("+".join(dict.fromkeys(row["commit"] for row in run["provenance"]))
                                for run in runs)}
    for key in ("precision", "preset"):
        found[f"{key}s"] = Counter(run["config"].get(key) for run in runs)
    return {what: dict(values) for what, values in found.items() if len(values) > 1}


def rank(init):
    """Sorts schemes: the standard ones in their order, then the others by name."""
    return (STANDARD.index(init) if init in STANDARD else len(STANDARD), init)


def density(level):
    """Weights kept over all weights that can be pruned, in [0, 1]."""
    return sum(level["kept"].values()) / sum(level["size"].values())


def seeing(inputs):
    """As `density`, of the first layer only the weights on inputs where `inputs` (inputs,) is true; NaN for a
    level of other inputs."""
    def share(level):
        if len(level["inputs"]) != len(inputs):
            return NAN
        unseen = np.array(level["inputs"])[~np.asarray(inputs)].sum()
        return density(level) - unseen / sum(level["size"].values())
    return share


def entry(values, index):
    """values[index], NaN where that is null or was not reached."""
    found = values[index:][:1]
    return NAN if found in ([], [None]) else found[0]


def number(value):
    """A number of metrics.json, NaN for its null."""
    return NAN if value is None else value


def diagnostic(*keys):
    """The quantity of a level that these keys lead to in its diagnostics, NaN where it is not there."""
    def quantity(level):
        found = level.get("diagnostics")
        for key in keys:
            found = (found or {}).get(key)
        return number(found)
    return quantity


def early_stop(level):
    """Index of the first minimum of val_loss among a level's looks, None if no loss was finite."""
    finite = [(loss, index) for index, loss in enumerate(level["val_loss"]) if loss is not None]
    return min(finite)[1] if finite else None


def at_early_stop(key):
    """The quantity `key` of a level at its early stop. Where no loss was finite that is NaN, but the last one
    of an accuracy: a run that diverged must not drop out."""
    def quantity(level):
        index = early_stop(level)
        if index is None:
            return entry(level[key], -1) if key.endswith("acc") else NAN
        return entry(level[key], index)
    return quantity


def final_test_acc(level):
    return entry(level["test_acc"], -1)


early_step, early_val_loss, early_val_acc, early_test_acc = map(
    at_early_stop, ("step", "val_loss", "val_acc", "test_acc"))


def matrix(runs, quantity):
    """A quantity of one scheme's levels: densities (L,), values (seeds, L), NaN where a run has not got."""
    length = max((level["level"] + 1 for run in runs for level in run["levels"]), default=0)
    densities, values = np.full((2, len(runs), length), NAN)
    for row, run in enumerate(runs):
        for level in run["levels"]:
            densities[row, level["level"]] = density(level)
            values[row, level["level"]] = quantity(level)
    return summary(densities).mean, values


def at_level(runs, number):
    """The records of one level, of the runs that have got there."""
    return [level for run in runs for level in run["levels"] if level["level"] == number]


def curve(levels, key):
    """Looks of several runs on all their steps: steps (T,), values (seeds, T), NaN where one has none."""
    steps = sorted({step for level in levels for step in level["step"]})
    values = np.full((len(levels), len(steps)), NAN)
    for row, level in enumerate(levels):
        for index, step in enumerate(level["step"]):
            values[row, steps.index(step)] = entry(level[key], index)
    return np.array(steps), values


def picked(runs, wanted):
    """[(level, density)] nearest in ratio to the wanted densities, each once, by the longest run."""
    densities = [density(level) for level in max((run["levels"] for run in runs), key=len)]
    gaps = np.abs(np.log(np.divide.outer(densities, wanted)))
    return [(number, densities[number]) for number in sorted(set(gaps.argmin(0).tolist()))]


NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def t_mass(angle, df):
    """The integral of sin(a) ** (df - 1) from 0 to angle. With T = sqrt(df) / tan(a) that is a's density, and
    large T are small a; all of it is t_mass(pi, df)."""
    return float(angle / 2 * (WEIGHTS * np.sin((NODES + 1) * angle / 2) ** (df - 1)).sum())


@functools.cache
def t_quantile(df, confidence=0.95):
    """t with P(|T| < t) = confidence."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        below = t_mass(middle, df) < (1 - confidence) * t_mass(math.pi / 2, df)
        low, high = (middle, high) if below else (low, middle)
    return df ** 0.5 / math.tan(low)


def t_above(t, df):
    """P(T > t)."""
    return t_mass(math.atan2(df ** 0.5, t), df) / (2 * t_mass(math.pi / 2, df))


def summary(values):
    """Over seeds, of values (seeds, L) with NaN for what is not there; sd and interval need two of them."""
    columns = [column[np.isfinite(column)] for column in values.T]
    n = np.array([len(column) for column in columns], int)
    mean = np.array([column.mean() if len(column) else NAN for column in columns])
    median = np.array([np.median(column) if len(column) else NAN for column in columns])
    sd = np.array([column.std(ddof=1) if len(column) > 1 else NAN for column in columns])
    half = sd * np.array([t_quantile(count - 1) / count ** 0.5 if count > 1 else NAN for count in n.tolist()])
    return Summary(mean, sd, median, n, mean - half, mean + half)


def upper_end(schemes):
    """Range of test accuracy in %, from 1.2 points under dense up; None where hardly anything lies below."""
    values = [100 * matrix(runs, final_test_acc)[1] for runs in schemes.values()]
    means = [summary(seeds).mean for seeds in values]
    dense, best = [mean[0] for mean in means], max(np.nanmax(mean) for mean in means)
    low = max(np.nanmin(dense), np.nanmedian(dense) - 3) - 1.2      # no scheme far below the others counts
    lowest = min(np.nanmin(seeds) for seeds in values)
    return (low, best + 0.15 * (best - low)) if lowest < low - 0.5 else None


def layer_densities(runs):
    """{layer: densities (L,), mean over seeds}."""
    names = [name for run in runs for level in run["levels"][:1] for name in level["size"]]
    return {name: summary(matrix(runs, lambda level: level["kept"][name] / level["size"][name])[1]).mean
            for name in dict.fromkeys(names)}


def histogram(layers, bins=40):
    """One layer's initial weights over several seeds: edges (bins + 1,), probability density (bins,)."""
    low, high = min(layer["min"] for layer in layers), max(layer["max"] for layer in layers)
    edges = np.linspace(low, max(high, low + 1e-6), bins + 1)
    below = [np.interp(edges, np.linspace(layer["min"], layer["max"], len(layer["hist"]) + 1),
                       np.cumsum([0, *layer["hist"]]) / sum(layer["hist"])) for layer in layers]
    return edges, np.diff(np.mean(below, axis=0)) / np.diff(edges)


def table(schemes):
    """A group's rows, densest level first: test accuracy at a level's end, in %, of seeds that got there."""
    rows = []
    for init, runs in schemes.items():
        densities, values = matrix(runs, final_test_acc)
        columns = (100 * densities, *summary(100 * values)[:4])
        for number, (remaining, mean, sd, median, n) in enumerate(zip(*map(np.ndarray.tolist, columns))):
            diverged = sum(level["diverged"] for level in at_level(runs, number))
            rows.append({"level": number, "remaining": remaining, "init": init, "mean": mean, "sd": sd,
                         "median": median, "n": n, "diverged": diverged})
    return sorted(rows, key=lambda row: (row["level"], *rank(row["init"])))


def cells(rows, digits):
    """The rows as text under their heads, empty where a number is not there."""
    def text(value):
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:.{digits}f}"
        return str(value)
    return [list(rows[0])] + [[text(value) for value in row.values()] for row in rows]


def comma(name, schemes):
    """A group's table as CSV."""
    return "".join(",".join(line) + "\n" for line in cells(table(schemes), 4))


def markdown(name, schemes):
    """A group's table as a page."""
    head, *body = cells(table(schemes), 2)
    rule = [":---" if column == "init" else "---:" for column in head]
    lines = "".join("| " + " | ".join(line) + " |\n" for line in (head, rule, *body))
    says = f"Test accuracy at each level's end and weights remaining, in %. {describe(schemes)}"
    return f"# {name}\n\n{says}\n\n{lines}"


def describe(schemes):
    """What was run and how often, as sentences for a caption."""
    runs = sum(schemes.values(), [])
    config, counts = runs[0]["config"], {init: len(members) for init, members in schemes.items()}
    settings = [f"{key} {config[key]}" for key in SETTINGS if config.get(key) is not None]
    each = ", ".join(f"{count} of {init}" for init, count in counts.items())
    n = each if len(set(counts.values())) > 1 else f"{len(runs) // len(counts)} a scheme"
    uneven = len({len(run["levels"]) for run in runs}) > 1
    diverged = sum(level["diverged"] for run in runs for level in run["levels"])
    return (f"{config['data']}, {config['net']}, {', '.join(settings)}. Seeds: n = {n}."
            + " Runs differ in length: the table has n at each density." * uneven
            + f" Levels that diverged (x): {diverged}." * (diverged > 0)
            + " glyphs is a stand-in data set." * (config["data"] == "glyphs"))


# ---- endpoints: one number a run

def level_near(densities, wanted):
    """Index of the level nearest in ratio to a density; None where that is off by more than a tenth."""
    gaps = np.abs(np.log(np.asarray(densities) / wanted))
    return int(gaps.argmin()) if gaps.min() < math.log(1.1) else None


def mean_height(x, y):
    """The trapezoid sum of y over x (both (L,)), over x's length."""
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


def area(densities, values, high, low):
    """Area under values (L,) against the log of densities (L,) over its length, from the level near `high` to
    that near `low`: a mean of the values. NaN where a level is missing or near neither."""
    first, last = level_near(densities, high), level_near(densities, low)
    if first is None or last is None or first >= last:
        return NAN
    return mean_height(np.log(densities[first:last + 1]), np.asarray(values[first:last + 1]))


def areas(runs, high, low, quantity=None):
    """{seed: area of a quantity, in points}; test accuracy at early stop unless said."""
    found = {}
    for run in runs:
        values = [100 * (quantity or early_test_acc)(level) for level in run["levels"]]
        found[run["config"]["seed"]] = area([density(level) for level in run["levels"]], values, high, low)
    return {seed: value for seed, value in found.items() if np.isfinite(value)}


def area_between(densities, values, high, low):
    """As `area`, between two densities themselves, the curve being straight between levels."""
    x, ends = -np.log(densities), -np.log([high, low])
    if len(x) < 2 or not x[0] <= ends[0] < ends[1] <= x[-1]:
        return NAN
    x_in = np.array([ends[0], *x[(x > ends[0]) & (x < ends[1])], ends[1]])
    return mean_height(x_in, np.interp(x_in, x, values))


def within_a_point(densities, values, dense):
    """The smallest density down to which no level is more than 1 point below `dense`, between two levels by
    interpolation over log density. NaN where the first level is."""
    x, y = np.log(densities), np.asarray(values) - (dense - 1)
    below = np.flatnonzero(~(y >= 0))
    if not len(below):
        return float(densities[-1])
    at = below[0]
    if at == 0:
        return NAN
    part = y[at - 1] / (y[at - 1] - y[at])      # of the way down to the level below
    return float(np.exp(x[at - 1] + part * (x[at] - x[at - 1])))


# ---- paired differences by seed and their tests

CONTRASTS = {  # scheme: weight
    "scale: Kaiming less Xavier": dict(zip(STANDARD, (-0.5, -0.5, 0.5, 0.5))),
    "shape: uniform less normal": dict(zip(STANDARD, (-0.5, 0.5, -0.5, 0.5))),
    "interaction of the two": dict(zip(STANDARD, (1, -1, -1, 1)))}
LIT = dict(zip(("xavier_normal", "kaiming_normal", "xavier_normal_lit", "kaiming_normal_lit"),
               (-0.5, -0.5, 0.5, 0.5)))
PAIRS = {f"{b} less {a}": {a: -1, b: 1} for i, a in enumerate(STANDARD) for b in STANDARD[i + 1:]}


def paired(values, weights):
    """The weighted sum of {scheme: {seed: value}} in every seed that all the schemes have: (n,)."""
    seeds = sorted(set.intersection(*(set(values.get(scheme, {})) for scheme in weights)))
    return np.array([sum(weight * values[scheme][seed] for scheme, weight in weights.items())
                     for seed in seeds])


def flipped(d, exact=20):
    """Sums of d (n,) under every choice of signs, (2 ** n,), in one order for all d of a length, d's own
    first; for n above `exact`, of as many random choices as there are at `exact`."""
    sums, g = np.zeros(1), np.random.default_rng(0)
    for x in d[:exact]:
        sums = np.concatenate([sums + x, sums - x])
    for x in d[exact:]:
        signs = g.choice([-1, 1], len(sums))
        signs[0] = 1
        sums += x * signs
    return sums


def reached(sums, sum_):
    """Share of |sums| that is as large as |sum_|, but for rounding."""
    return float((np.abs(sums) >= np.abs(sum_) * (1 - 1e-9) - 1e-12).mean())


def sign_flip(d):
    """Two-sided p of a mean of 0, for differences d (n,) as likely with either sign: exact to n = 20."""
    sums = flipped(d)
    return reached(sums, sums[0])


def max_t(rows):
    """p of each of several rows of differences (k, n) for the largest |t| of all under joint sign flips: the
    chance of any false alarm (Westfall & Young 1993). Flips leave the sum of squares alone."""
    def t(sums, row):
        n, square = len(row), (row ** 2).sum()
        return sums / np.sqrt(np.maximum((square - sums ** 2 / n) / (n - 1), 1e-30) * n)
    values = [np.abs(t(flipped(row), row)) for row in rows]
    largest = functools.reduce(np.maximum, values)
    return [reached(largest, own[0]) for own in values]


def holm(p):
    """p adjusted by Holm 1979, in their order."""
    order, adjusted, least = np.argsort(p, kind="stable"), np.empty(len(p)), 0
    for place, index in enumerate(order):
        least = max(least, min(1, (len(p) - place) * p[index]))
        adjusted[index] = least
    return adjusted.tolist()


def equivalence(d, margin):
    """p of two one-sided t tests that the mean of d (n,) is not within +-margin (Schuirmann 1987)."""
    error = d.std(ddof=1) / len(d) ** 0.5
    if np.ptp(d) == 0:
        return float(abs(d.mean()) >= margin)
    return max(t_above((margin + side * d.mean()) / error, len(d) - 1) for side in (1, -1))


def bootstrap(d, repeats=10_000):
    """95% BCa interval of the mean of d (n,): Efron 1987."""
    n, normal = len(d), NormalDist()
    if np.ptp(d) == 0:
        return float(d[0]), float(d[0])
    means = np.random.default_rng(0).choice(d, (repeats, n)).mean(1)
    below = ((means < d.mean()).mean() + (means <= d.mean()).mean()) / 2
    bias, jack = normal.inv_cdf(below), (d.sum() - d) / (n - 1)
    pulls = jack.mean() - jack
    skew = (pulls ** 3).sum() / (6 * (pulls ** 2).sum() ** 1.5)
    ends = []
    for z in (normal.inv_cdf(0.025), normal.inv_cdf(0.975)):
        ends.append(normal.cdf(bias + (bias + z) / (1 - skew * (bias + z))))
    return tuple(np.quantile(means, ends).tolist())


def interval(d):
    """95%: BCa from 10 seeds on, else Student's t; NaN for fewer than two."""
    if len(d) >= 10:
        return bootstrap(d)
    found = summary(np.reshape(d, (-1, 1)))
    return float(found.low[0]), float(found.high[0])


def calibration(values, repeats=2000):
    """How often sign_flip rejects at 5% where nothing differs: values of one scheme, paired at random."""
    values, g = np.array(values), np.random.default_rng(0)
    half = len(values) // 2
    draws = (g.permutation(values)[:2 * half] for _ in range(repeats))
    return float(np.mean([sign_flip(draw[:half] - draw[half:]) <= 0.05 for draw in draws]))


# ---- the verdicts: each table is a function of {group: {scheme: runs}} that gives (what it says, head, rows)

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
SAME = ("shape_normal", "shape_uniform")                        # as two of the standard schemes are
SCREEN = 5                                                      # seeds that a scheme is chosen by
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
PIXELS = Path(__file__).parent / "report" / "pixels.json"       # by how many images a pixel is lit
RARE = 0.001                                                    # of them: less is rarely lit
UNITS = 0.006                                                   # the least density of `filters`, but for one
VARIANTS = {"as it is": HALVED, "signs of w0 alone": f"{FULL}-rewindsigns{HALF}",
            "w0 rescaled to each unit's norm": f"{FULL}-rewindrescaled{HALF}",
            "pruned by movement": f"mnist-fc-movement{HALF}", "pixels in [0, 1]": f"{FULL}-unit{HALF}",
            "12 epochs a level": f"{FULL}-epochs12{HALF}"}
RATES = {"a third": f"{FULL}-lr0.0004{HALF}", "the paper's": HALVED, "three times": f"{FULL}-lr0.0036{HALF}"}


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


def studies(groups):
    """(name, study, its schemes, its pairs of bounds) of what has been run."""
    for name, study in STUDIES.items():
        schemes = confirming(groups, study.group)
        if schemes:
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
                rows.append([name, span(pair), label,
                             *(spread(found.get(init, {}).values()) for init in STANDARD),
                             ns(found)])
    return ("Normalised area under test accuracy against log density, in points: mean (sd over seeds).",
            ["network, data", "densities", "accuracy at", *STANDARD, "n"], rows)


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
             f"{p_text(same)} (+-{margin:g})", verdict(p, same)]
            for name, margin, label, pair, d, own, p, same in tests(groups, table, together)]


def verdict(p, same):
    """In a word: different, equivalent, both (a difference within the margin), or neither shown."""
    return {(True, True): "different, within the margin", (True, False): "different",
            (False, True): "equivalent"}.get((p <= 0.05, same <= 0.05), "not shown")


TESTED = ["network, data", "contrast", "densities", "n", "difference, points [95%]", "sign-flip p",
          "Holm p", "equivalence p (margin)", "verdict"]


def contrasts(groups):
    return ("Planned contrasts on the areas at early stop: paired by seed, exact sign-flip tests, one Holm "
            "family a network; intervals BCa from 10 seeds on, else t.", TESTED,
            tested(groups, CONTRASTS, True))


def pairs(groups):
    return ("All pairs of the four schemes, on the same areas; a Holm family for each of these.", TESTED,
            tested(groups, PAIRS, False))


def accuracies(groups):
    rows = []
    for name, study, schemes, _ in studies(groups):
        for wanted in (1, 0.21, 0.07, 0.03, 0.012, 0.005, 0.0021):
            line = []
            for init in STANDARD:
                runs = schemes.get(init, [])
                densities, values = matrix(runs, early_test_acc)
                at = level_near(densities, wanted) if len(densities) else None
                line.append("" if at is None else spread(100 * values[np.isfinite(values[:, at]), at]))
            if any(line):
                rows.append([name, f"{100 * wanted:g}", *line])
    return ("Test accuracy at early stop (%): mean (sd).", ["network, data", "% remaining", *STANDARD], rows)


def limits(groups):
    rows = []
    for name, study, schemes, _ in studies(groups):
        dense = {init: 100 * np.nanmean([early_test_acc(run["levels"][0]) for run in runs])
                 for init, runs in schemes.items() if init in STANDARD}
        for init in dense:
            found = []
            for run in schemes[init]:
                curve_ = [density(level) for level in run["levels"]], [100 * early_test_acc(level)
                                                                      for level in run["levels"]]
                found.append((within_a_point(*curve_, curve_[1][0]),
                              within_a_point(*curve_, np.mean(list(dense.values()))),
                              any(value < study.collapsed for value in curve_[1]), curve_[1][-1]))
            own, common, collapsed, last = np.array(found).T
            own, common = (100 * np.median(np.nan_to_num(part, nan=np.inf)) for part in (own, common))
            rows.append([name, init, *(f"{part:.2f}" if part < np.inf else "none" for part in (own, common)),
                         f"{int(collapsed.sum())} (below {study.collapsed}%)", f"{np.median(last):.2f}",
                         str(len(found))])
    return ("Smallest % of weights down to which every level is within 1 point of the dense network, its own "
            "or the schemes' common one (medians); runs that collapse at any level; median accuracy at the "
            "last (%).",
            ["network, data", "scheme", "own dense", "common dense", "collapsed", "at the last", "n"], rows)


def stops(groups):
    rows = []
    for name, study, schemes, _ in studies(groups):
        for init in filter(schemes.get, STANDARD):
            densities, steps = matrix(schemes[init], early_step)
            last = matrix(schemes[init], lambda level: level["step"][-1])[1]
            found = [level_near(densities, wanted) for wanted in (1, 0.21, 0.07, 0.03, 0.012, 0.0021)]
            means = ["" if at is None else f"{np.nanmean(steps[:, at]):.0f}" for at in found]
            still = ["" if at is None else f"{100 * np.mean(steps[:, at] == last[:, at]):.0f}"
                     for at in found[-2:]]
            rows.append([name, init, *means, *still])
    return ("Step of the least validation loss, mean over seeds, at % remaining; and in how many runs (%) it "
            "is the last look of the level.",
            ["network, data", "scheme", "100", "21", "7", "3", "1.2", "0.21", "last at 1.2", "last at 0.21"],
            rows)


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


def under(groups, name, seeds=exploring, quantity=None):
    """{scheme: {seed: area}} under a row of METHODS, from half of the weights to the least density."""
    bounds = (0.5, UNITS if name == "filters" else TAIL[1])
    return by_scheme(seeds(groups, METHODS[name]), bounds, quantity)


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


def heavy(groups):
    """The heavy-tailed scheme for pruning before training, by the protocol's rule; None as yet."""
    found = [under(groups, name, quantity=early_val_acc) for name in BEFORE]
    scores = {init: np.mean([np.mean(list(areas[init].values())) for areas in found]) for init in HEAVY
              if all(len(areas.get(init, {})) >= SCREEN for areas in found)}
    return max(scores, key=scores.get) if len(scores) == len(HEAVY) else None


def before(groups):
    chosen, cases = heavy(groups), []
    for name in BEFORE:
        areas = under(groups, name, confirming)
        for init in filter(None, ("xavier_uniform", chosen)):
            d = paired(areas, {init: 1, "xavier_normal": -1})
            if len(d) > 1:
                means = [spread(areas[one].values()) for one in ("xavier_normal", init)]
                cases.append((name, init, means, d))
    raw = [sign_flip(d) for *_, d in cases]
    rows = [[name, f"{init} less xavier_normal", *means, str(len(d)), signed(d), p_text(own), p_text(p)]
            for (name, init, means, d), own, p in zip(cases, raw, holm(raw))]
    return ("Shapes under pruning before training, on seeds that these methods had not been run on: area "
            "under test accuracy from 50 to 0.2%, mean (sd); exact sign-flip tests, one Holm family.",
            ["method", "contrast", "xavier_normal", "the other", "n", "difference, points [95%]",
             "sign-flip p", "Holm p"], rows)


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
        cells = []
        for layer, percent in columns:
            densities, values = matrix(runs, lambda level: level["kept"][layer] / level["size"][layer])
            at = level_near(densities, percent / 100)
            cells.append("" if at is None else spread(100 * values[np.isfinite(values[:, at]), at]))
        rows.append([init, *cells, str(len(runs))])
    return ("Global magnitude: the share (%) of each layer's weights that remains when 6.3, 1.6 and 0.21% of "
            "all do, mean (sd). Exploratory.",
            ["scheme", *(f"{layer} at {percent}%" for layer, percent in columns), "n"], rows)


def paths(groups):
    drawn, rows = (*STANDARD, *finalists(groups)[0]), []
    for name, group in METHODS.items():
        found = exploring(groups, group)
        levels = [level for init in drawn for run in found.get(init, []) for level in run["levels"]
                  if level_near([density(level)], TAIL[1]) is not None and level.get("diagnostics")]
        if len(levels) > 2:
            accuracy = np.array([100 * early_test_acc(level) for level in levels])
            linked = np.array([100 * level["diagnostics"]["effective_density"] / density(level)
                               for level in levels])
            starved = sum(level["diagnostics"]["least_class_inputs"] == 0 for level in levels)
            rows.append([name, spread(accuracy), spread(linked), str(starved), str(len(levels))])
    return ("Networks of 0.21% of the weights, of the four schemes and the finalists: test accuracy (%) and "
            "the share (%) of the remaining weights on some path from an input to an output, mean (sd over "
            "runs); runs in which a class has no weight left. Exploratory.",
            ["method", "accuracy", "on a path", "a class without weights", "runs"], rows)


def why(groups):
    rows = []
    for name, group in VARIANTS.items():
        for bounds in ((1, TAIL[0]), TAIL):
            found = by_scheme(exploring(groups, group), bounds)
            d = [paired(found, weights) for weights in list(CONTRASTS.values())[:2]]
            if len(d[0]):
                rows.append([name, span(bounds), *(spread(found[init].values()) for init in STANDARD),
                             *map(signed, d), str(len(d[0]))])
    return ("The contrasts when one thing is changed. Exploratory.",
            ["what is changed", "densities", *STANDARD, *list(CONTRASTS)[:2], "n"], rows)


def swaps(groups):
    rows, one = [], "xavier_normal"
    for name, other in SWAPS:
        crossed = {}
        for masks, values in itertools.product((one, other), repeat=2):
            group = METHODS[name]
            if masks != values:
                donor = group.replace("mnist-fc-", f"mnist-fc-{masks}-", 1)
                group = f"{FULL}-from-{donor}{HALF}"
            crossed[masks, values] = areas(exploring(groups, group).get(values, []), *TAIL)
        if all(crossed.values()):
            rows.append([name, other, *(spread(cell.values()) for cell in crossed.values()),
                         signed(paired(crossed, {(other, one): 1, (one, one): -1})),
                         signed(paired(crossed, {(one, other): 1, (one, one): -1})),
                         str(min(map(len, crossed.values())))])
    return (f"Masks of one scheme with the initial values of another: area under test accuracy, "
            f"{span(TAIL)}. Exploratory.",
            ["masks by", "B (A is xavier_normal)", "masks A, values A", "masks A, values B",
             "masks B, values A", "masks B, values B", "masks B less A", "values B less A", "n"], rows)


CONTROLLED = {"ticket": FULL, "another draw, the ticket's masks": f"{FULL}-reinit",
              "the ticket's draw, shuffled masks": f"{FULL}-shuffle",
              "the ticket's draw, random masks": f"{FULL}-random_mask", "one-shot": f"{FULL}-oneshot"}


def controls(groups):
    rows = []
    for name, group in CONTROLLED.items():
        runs = exploring(groups, group).get("xavier_normal", [])
        densities, values = matrix(runs, early_test_acc)
        ends, line = matrix(runs, final_test_acc)[1], []
        for wanted in (1, 0.21, 0.07, 0.036) if runs else ():
            at = level_near(densities, wanted)
            here = [] if at is None else np.isfinite(values[:, at])
            line.append(f"{spread(100 * values[here, at])}; {100 * ends[here, at].mean():.2f}"
                        if np.any(here) else "")
        if runs:
            rows.append([name, *line, str(len(runs))])
    return ("Controls, Xavier normal: test accuracy (%) at early stop, mean (sd); and at the level's end.",
            ["network", "100%", "21%", "7%", "3.6%", "n"], rows)


SURVIVAL = {"eps in fc1": (("layers", "fc1", "eps"), 1),
            "AUROC of initial size in fc1": (("layers", "fc1", "auroc"), 1),
            "rms w0 / rms move in fc1": (("layers", "fc1", "rho"), 1),
            "% of fc1's survivors on always-dark pixels": (("dark_share",), 100)}


def survival(groups):
    rows = []
    for name, study, schemes, _ in studies(groups):
        for label, (keys, scale) in SURVIVAL.items():
            drawn = {init: matrix(schemes[init], diagnostic(*keys)) for init in STANDARD if init in schemes}
            for wanted in (0.21, 0.07, 0.012, 0.0021):
                found = {}
                for init, (densities, values) in drawn.items():
                    at = level_near(densities, wanted)
                    seeds = [run["config"]["seed"] for run in schemes[init]]
                    here = [] if at is None else zip(seeds, scale * values[:, at])
                    found[init] = {seed: value for seed, value in here if np.isfinite(value)}
                if any(found.values()):
                    d = paired(found, CONTRASTS["shape: uniform less normal"])
                    rows.append([name, label, f"{100 * wanted:g}", *(
                        spread(found.get(init, {}).values()) for init in STANDARD), signed(d), str(len(d))])
    return ("What survives, at single densities: mean (sd over seeds), and the contrast of shape, by seed.",
            ["network, data", "what", "% remaining", *STANDARD, "uniform less normal [95%]", "n"], rows)


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
    for pair in itertools.pairwise(study.bounds):
        d = paired(by_scheme(later(groups, study.group), pair), LIT)
        if len(d) > 1:
            same = f"{p_text(equivalence(d, study.margin))} (+-{study.margin:g})"
            rows.append(["lit less plain", span(pair), str(len(d)), signed(d), p_text(sign_flip(d)), same])
    return ("Normal schemes with nothing on rarely lit pixels at the start, less the plain ones, on further "
            "seeds. The test is that of the sparse end.",
            ["contrast", "densities", "n", "difference, points [95%]", "sign-flip p",
             "equivalence p (margin)"], rows)


def calibrations(groups):
    rows = []
    for name, study, schemes, bounds in studies(groups):
        for init, runs in schemes.items():
            found = list(areas(runs, *bounds[0]).values())
            if len(found) >= 12:
                rows.append([name, init, f"{100 * calibration(found):.1f}%"])
    return ("How often the test at 5% rejects where nothing differs: one scheme's seeds paired at random.",
            ["network, data", "scheme", "rejected"], rows)


VERDICTS = {"endpoints": endpoints, "contrasts": contrasts, "pairs": pairs, "accuracies": accuracies,
            "limits": limits, "stops": stops, "screen": screen, "rates": rates, "confirmed": confirmed,
            "carried": carried, "before": before, "used": used, "shares": shares, "paths": paths, "why": why,
            "swaps": swaps, "controls": controls, "survival": survival, "dark": dark, "lit": lit,
            "calibrations": calibrations}


def lines(head, rows):
    """A table as Markdown."""
    if not rows:
        return "*Not run.*\n"
    return "".join("| " + " | ".join(line) + " |\n" for line in (head, ["---"] * len(head), *rows))


def verdicts(runs):
    """{name: Markdown} of every table."""
    found = groups([run for run in runs if run["levels"]])
    made = {name: function(found) for name, function in VERDICTS.items()}
    return {name: f"{says}\n\n{lines(head, rows)}" for name, (says, head, rows) in made.items()}


def main():
    parser = argparse.ArgumentParser(description="Print the verdict tables of the study as Markdown.")
    parser.add_argument("runs", help="folder of runs")
    parser.add_argument("--keep", metavar="RUNS", help="first copy the metrics of the runs in RUNS there")
    parser.add_argument("--back", metavar="RUNS", help="only write them back to RUNS, where a run is not yet")
    args = parser.parse_args()
    if args.back:
        return back(args.back, args.runs)
    if args.keep:
        keep(args.keep, args.runs)
    for name, text in verdicts(read(args.runs)).items():
        print(f"## {name}\n\n{text}")


if __name__ == "__main__":
    main()
