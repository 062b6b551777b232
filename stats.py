"""Numbers and tables from runs: python -c "import stats; print(*stats.groups(stats.read('runs')))"."""
import functools
import json
from collections import namedtuple
from pathlib import Path

import numpy as np

NAN = float("nan")
STANDARD = ("xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform")
NEEDED = {"run": ("config", "provenance", "init", "levels"),
          "config": ("data", "net", "init", "pruner", "seed"),
          "level": ("level", "kept", "size", "step", "val_loss", "val_acc", "test_acc", "diverged", "inputs")}
SETTINGS = ("pruner", "scope", "rewind", "epochs", "steps")     # what a caption says of a run's config

Summary = namedtuple("Summary", "mean sd median n low high")    # each (L,); low, high: 95% t interval


def read(root):
    """Every run under a folder, by name: what <root>/<name>/metrics.json holds, and "name"."""
    paths = sorted(Path(root).glob("*/metrics.json"))
    if not paths:
        raise SystemExit(f"No runs in {root}: make some first, as in `python prune.py --net fc`.")
    return [read_one(path) for path in paths]


def read_one(path):
    try:
        run = json.loads(path.read_text())
        absent = {key for key in NEEDED["run"] if key not in run}
        absent = absent or {key for key in NEEDED["config"] if key not in run["config"]}
        absent = absent or {key for level in run["levels"] for key in NEEDED["level"] if key not in level}
    except (OSError, ValueError, TypeError) as error:
        raise SystemExit(f"{path} is not a run's metrics ({error}): move its folder away and run it again.")
    if absent:
        raise SystemExit(f"{path} lacks {', '.join(sorted(absent))}: move its folder away and run it again.")
    return {**run, "name": path.parent.name}


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


def early_stop(level):
    """Index of the first minimum of val_loss among a level's looks, None if no loss was finite."""
    finite = [(loss, index) for index, loss in enumerate(level["val_loss"]) if loss is not None]
    return min(finite)[1] if finite else None


def at_early_stop(key):
    """The quantity `key` of a level at its early stop, NaN where there is none."""
    def quantity(level):
        index = early_stop(level)
        return NAN if index is None else entry(level[key], index)
    return quantity


def final_test_acc(level):
    return entry(level["test_acc"], -1)


early_step, early_val_loss, early_test_acc = map(at_early_stop, ("step", "val_loss", "test_acc"))


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


@functools.cache
def t_quantile(df, confidence=0.95):
    """t with P(|T| < t) = confidence. With T = sqrt(df) tan(a), a has a density of cos(a) ** (df - 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(200)

    def mass(angle):
        return angle * (weights * np.cos((nodes + 1) * angle / 2) ** (df - 1)).sum()
    low, high = 0.0, np.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mass(middle) < confidence * mass(np.pi / 2) else (low, middle)
    return float(np.sqrt(df) * np.tan(low))


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
