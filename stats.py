"""Numbers from runs: curves and their areas, paired differences, their tests and intervals.

    python stats.py results              the verdict tables of the study, as Markdown
    python stats.py --keep runs results  copy the metrics of runs into results/, compressed
    python stats.py --back runs results  the other way, so that a grid goes on with what is left
"""
import argparse
import bz2
import functools
import json
import math
import os
import sys
import zlib
from collections import Counter, namedtuple
from operator import itemgetter
from pathlib import Path

import numpy as np

NAN = float("nan")
STANDARD = ("xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform")
NEEDED = {"run": ("config", "provenance", "init", "levels"),
          "config": ("data", "net", "init", "pruner", "seed"),
          "level": ("level", "kept", "size", "step", "train_loss", "val_loss", "val_acc", "test_acc",
                    "diverged", "inputs")}
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
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def written(run):
    """A run's metrics as train.save writes them."""
    metrics = {key: value for key, value in run.items() if key != "name"}
    return json.dumps({**metrics, "crc32": zlib.crc32(json.dumps(metrics).encode())}).encode()


def keep(runs, root):
    """Write the metrics of every run with a finished level under `runs` into `root`, but where more levels of
    it are there; equal metrics give equal bytes."""
    for run in filter(itemgetter("levels"), read(runs)):
        path = Path(root, f"{run['name']}.json.bz2")
        if not path.exists() or len(read_one(path)["levels"]) <= len(run["levels"]):
            write(path, bz2.compress(written(run)))


def back(runs, root):
    """Write the metrics kept in `root` to `runs`, but where a run is already."""
    for run in read(root):
        path = Path(runs, run["name"], "metrics.json")
        if not path.exists():
            write(path, written(run))


def read_one(path):
    try:
        run = json.loads(bz2.decompress(path.read_bytes()) if path.suffix == ".bz2" else path.read_text())
        if run.pop("crc32", None) != zlib.crc32(json.dumps(run).encode()):      # as train.save wrote it
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
    """{what: {value: number of runs}} of commit and data file's checksum, where the runs differ in it."""
    found = {"commits": Counter("+".join(dict.fromkeys(row["commit"] for row in run["provenance"]))
                                for run in runs),
             "data files": Counter(run["config"].get("data_crc32") for run in runs)}
    return {what: dict(values) for what, values in found.items() if len(values) > 1}


def rank(init):
    """Sorts schemes: the standard ones in their order, then the others by name."""
    return (STANDARD.index(init) if init in STANDARD else len(STANDARD), init)


def density(level):
    """Weights kept over all weights that can be pruned, in [0, 1]."""
    return sum(level["kept"].values()) / sum(level["size"].values())


def entry(values, index):
    """values[index], NaN where that is null or was not reached."""
    found = values[index:][:1]
    return NAN if found in ([], [None]) else found[0]


def diagnostic(*keys):
    """The quantity of a level that these keys lead to in its diagnostics, NaN where it is not there."""
    def quantity(level):
        found = level.get("diagnostics")
        for key in keys:
            found = (found or {}).get(key)
        return NAN if found is None else found
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
    return (f"{group_name(runs[0])}: {config['data']}, {config['net']}, {', '.join(settings)}. "
            f"Seeds: n = {n}."
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
    """{seed: 100 times the area of a quantity}: points of an accuracy, hundredths of a nat of a loss; of test
    accuracy at early stop unless said."""
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

def paired(values, weights):
    """The weighted sum of {scheme: {seed: value}} in every seed that all the schemes have: (n,)."""
    seeds = sorted(set.intersection(*(set(values.get(scheme, {})) for scheme in weights)))
    return np.array([sum(weight * values[scheme][seed] for scheme, weight in weights.items())
                     for seed in seeds])


def ranks(values):
    """Places from 0, the smallest first; equal values share the mean of theirs."""
    values = np.asarray(values)
    return (values[:, None] > values).sum(1) + ((values[:, None] == values).sum(1) - 1) / 2


def rank_correlations(measured, areas):
    """Spearman's between two {scheme: {seed: value}} within each seed that all schemes have; a scheme without
    any value takes no part (eps is not defined for signs), nor a seed in which all values are one."""
    inits = [init for init in areas if areas[init] and measured[init]]
    if len(inits) < 3:
        return np.array([])
    seeds = set.intersection(*(areas[init].keys() & measured[init].keys() for init in inits))
    pairs = [[ranks([found[init][seed] for init in inits]) for found in (measured, areas)]
             for seed in sorted(seeds)]
    return np.array([np.corrcoef(pair)[0, 1] for pair in pairs if min(map(np.ptp, pair)) > 0])


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


def interval(d):
    """95% Student's t interval of the mean of d (n,); NaN for fewer than two."""
    found = summary(np.reshape(d, (-1, 1)))
    return float(found.low[0]), float(found.high[0])


def calibration(values, repeats=2000):
    """How often sign_flip rejects at 5% where nothing differs: values of one scheme, paired at random."""
    values, g = np.array(values), np.random.default_rng(0)
    half = len(values) // 2
    draws = (g.permutation(values)[:2 * half] for _ in range(repeats))
    return float(np.mean([sign_flip(draw[:half] - draw[half:]) <= 0.05 for draw in draws]))


def main():
    parser = argparse.ArgumentParser(description="Print the verdict tables of the study as Markdown.")
    parser.add_argument("runs", help="folder of runs")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--keep", metavar="RUNS", help="first copy the metrics of the runs in RUNS there")
    either.add_argument("--back", metavar="RUNS", help="only write them back to RUNS, where a run is not yet")
    args = parser.parse_args()
    try:
        if args.back:
            return back(args.back, args.runs)
        if args.keep:
            keep(args.keep, args.runs)
    except OSError as error:
        raise SystemExit(f"Cannot write there ({error}): name another folder.")
    for name, text in verdicts(read(args.runs)).items():
        print(f"## {name}\n\n{text}")


if __name__ == "__main__":  # the only part that needs the tables
    sys.path.insert(0, str(Path(__file__).parent / "report"))
    from tables import verdicts
    main()
