"""Numbers from runs: curves over levels and over training steps, and their means and spread over seeds. A run
here is the dict in its metrics.json, and a level the record of one."""
import functools
import textwrap
from collections import Counter, namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np

from runs import Damaged, group_name, load_file, read_group

NAN = float("nan")
STANDARD = ("xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform")
SCHEME_NAMES = {  # of inits.py, as people write them; any other scheme is called by its own name
    "xavier_normal": "Xavier normal", "xavier_uniform": "Xavier uniform",
    "kaiming_normal": "Kaiming normal", "kaiming_uniform": "Kaiming uniform",
    "shape_sign": "random signs", "shape_arcsine": "arcsine", "shape_uniform": "uniform by quantiles",
    "shape_trunc2": "truncated normal by quantiles", "shape_normal": "normal by quantiles",
    "shape_laplace": "Laplace", "shape_t4": "Student's t (4)", "delta_orthogonal": "delta-orthogonal",
    "sparse_50": "Xavier normal, 50% zero", "sparse_90": "Xavier normal, 90% zero",
    "truncated_glorot": "truncated Glorot", "torch_default": "PyTorch default",
    "layer_balanced": "layer-balanced", "input_aware": "input-aware",
    "input_aware_all": "input-aware, all layers", "asymmetric_25": "asymmetric (0.25)",
    "asymmetric_50": "asymmetric (0.5)"}
SCHEME_NAMES |= {f"{init}_lit": f"{SCHEME_NAMES[init]}, active pixels only" for init in STANDARD}
NEEDED = {"run": ("config", "provenance", "init", "levels"),
          "config": ("data", "net", "init", "pruner", "seed"),
          "level": ("level", "kept", "size", "step", "train_loss", "val_loss", "val_acc", "test_acc",
                    "diverged", "inputs")}
SETTINGS = ("pruner", "scope", "rewind", "epochs", "steps")     # what a caption says of a run's config
EVALUATED = ("step", "test_acc", "test_loss", "val_acc", "val_loss")    # of an evaluation, in curves.csv

Summary = namedtuple("Summary", "mean sd median n min max")     # each (L,)


def read(root: Path | str) -> list[dict]:
    """Every run of a folder by name: what <root>/<name>/metrics.json and <root>/<group>.jsonl.xz hold, and
    "name"."""
    found = {}
    for path in sorted(Path(root).glob("*.jsonl.xz")):
        found |= {name: checked(path, metrics) for name, metrics in read_group(path).items()}
    for path in Path(root).glob("*/metrics.json"):
        try:
            found[path.parent.name] = checked(path, load_file(path))
        except (OSError, Damaged) as error:
            raise SystemExit(f"{path} cannot be read ({error}): move its folder away and run it again.")
    if not found:
        raise SystemExit(f"No runs in {root}: make some first, as in `python prune.py --net fc`.")
    return [{**found[name], "name": name} for name in sorted(found)]


def checked(path: Path, metrics: dict) -> dict:
    """The metrics of a run, refused where a key is absent that the figures need."""
    try:
        absent = {key for key in NEEDED["run"] if key not in metrics}
        absent = absent or {key for key in NEEDED["config"] if key not in metrics["config"]}
        absent = absent or {key for level in metrics["levels"] for key in NEEDED["level"] if key not in level}
    except TypeError as error:
        raise SystemExit(f"{path} is not a run's metrics ({error}): move its folder away and run it again.")
    if absent:
        raise SystemExit(f"{path} lacks {', '.join(sorted(absent))}: move its folder away and run it again.")
    return metrics


def groups(runs: list[dict]) -> dict[str, dict[str, list[dict]]]:
    """{group: {scheme: runs by seed}}, the standard schemes first."""
    found = {}
    for run in sorted(runs, key=lambda run: (*rank(run["config"]["init"]), run["config"]["seed"])):
        group = found.setdefault(group_name(run["name"], run["config"]), {})
        group.setdefault(run["config"]["init"], []).append(run)
    return dict(sorted(found.items()))


def mixed(runs: list[dict]) -> dict[str, dict]:
    """{what: {value: number of runs}} of commit and data file's checksum, where the runs differ in it."""
    found = {"commits": Counter("+".join(dict.fromkeys(row["commit"] for row in run["provenance"]))
                                for run in runs),
             "data files": Counter(run["config"].get("data_crc32") for run in runs)}
    return {what: dict(values) for what, values in found.items() if len(values) > 1}


def rank(init: str) -> tuple[int, str]:
    """Sorts schemes: the standard ones in their order, then the others by name."""
    return (STANDARD.index(init) if init in STANDARD else len(STANDARD), init)


def scheme_name(init: str) -> str:
    """A scheme as people write it: "Xavier normal × 0.5" of xavier_normal@0.5."""
    name, _, gain = init.partition("@")
    return SCHEME_NAMES.get(name, name.replace("_", " ")) + (f" × {gain}" if gain else "")


def density(level: dict) -> float:
    """Weights kept over all weights that can be pruned, in [0, 1]."""
    return sum(level["kept"].values()) / sum(level["size"].values())


def entry(values: list, index: int) -> float:
    """values[index], NaN where that is null or was not reached."""
    found = values[index:][:1]
    return NAN if found in ([], [None]) else found[0]


def diagnostic(*keys: str) -> Callable[[dict], float]:
    """The quantity of a level that these keys lead to in its diagnostics, NaN where it is not there."""
    def quantity(level):
        found = level.get("diagnostics")
        for key in keys:
            found = (found or {}).get(key)
        return NAN if found is None else found
    return quantity


def early_stop(level: dict) -> int | None:
    """The minimum-validation-loss checkpoint: index of the first minimum of val_loss among a level's
    evaluations, None if no loss was finite."""
    finite = [(loss, index) for index, loss in enumerate(level["val_loss"]) if loss is not None]
    return min(finite)[1] if finite else None


def at_early_stop(key: str) -> Callable[[dict], float]:
    """The quantity `key` of a level at its minimum-validation-loss checkpoint. Where no loss was finite that
    is NaN, but the last one of an accuracy: a run that diverged must not drop out."""
    def quantity(level):
        index = early_stop(level)
        if index is None:
            return entry(level[key], -1) if key.endswith("acc") else NAN
        return entry(level[key], index)
    return quantity


def final_test_acc(level: dict) -> float:
    """Test accuracy of a level's last evaluation, in [0, 1]."""
    return entry(level["test_acc"], -1)


early_step, early_val_loss, early_val_acc, early_test_acc = map(
    at_early_stop, ("step", "val_loss", "val_acc", "test_acc"))


def matrix(runs: list[dict], quantity: Callable[[dict], float]) -> tuple[np.ndarray, np.ndarray]:
    """A quantity of one scheme's levels: densities (L,), values (seeds, L), NaN where a run has no level."""
    length = max((level["level"] + 1 for run in runs for level in run["levels"]), default=0)
    densities, values = np.full((2, len(runs), length), NAN)
    for row, run in enumerate(runs):
        for level in run["levels"]:
            densities[row, level["level"]] = density(level)
            values[row, level["level"]] = quantity(level)
    return summary(densities).mean, values


def at_level(runs: list[dict], number: int) -> list[dict]:
    """The records of one level, of the runs that have it."""
    return [level for run in runs for level in run["levels"] if level["level"] == number]


def curve(levels: list[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Evaluations of several runs on all their steps: steps (T,), values (seeds, T), NaN where a run has
    none."""
    steps = sorted({step for level in levels for step in level["step"]})
    values = np.full((len(levels), len(steps)), NAN)
    for row, level in enumerate(levels):
        for index, step in enumerate(level["step"]):
            values[row, steps.index(step)] = entry(level[key], index)
    return np.array(steps), values


def picked(runs: list[dict], wanted: tuple[float, ...]) -> list[tuple[int, float]]:
    """[(level, density)] nearest in ratio to the wanted densities, each once, by the longest run."""
    densities = [density(level) for level in max((run["levels"] for run in runs), key=len)]
    gaps = np.abs(np.log(np.divide.outer(densities, wanted)))
    return [(number, densities[number]) for number in sorted(set(gaps.argmin(0).tolist()))]


def summary(values: np.ndarray) -> Summary:
    """Over seeds, of values (seeds, L) with NaN for what is not there: each of it (L,), NaN of no value; sd
    needs two."""
    columns = [column[np.isfinite(column)] for column in values.T]

    def each(statistic, fewest=1):
        return np.array([statistic(column) if len(column) >= fewest else NAN for column in columns])
    return Summary(each(np.mean), each(functools.partial(np.std, ddof=1), 2), each(np.median),
                   np.array([len(column) for column in columns], int), each(np.min), each(np.max))


def upper_end(schemes: dict[str, list[dict]]) -> tuple[float, float] | None:
    """Range of test accuracy in %, from 1.2 points below the unpruned networks' up; None where hardly
    anything lies below."""
    values = [100 * matrix(runs, final_test_acc)[1] for runs in schemes.values()]
    means = [summary(seeds).mean for seeds in values]
    dense, best = [mean[0] for mean in means], max(np.nanmax(mean) for mean in means)
    low = max(np.nanmin(dense), np.nanmedian(dense) - 3) - 1.2      # no scheme far below the others counts
    lowest = min(np.nanmin(seeds) for seeds in values)
    return (low, best + 0.15 * (best - low)) if lowest < low - 0.5 else None


def layer_densities(runs: list[dict]) -> dict[str, np.ndarray]:
    """{layer: densities (L,), mean over seeds}."""
    names = [name for run in runs for level in run["levels"][:1] for name in level["size"]]
    return {name: summary(matrix(runs, lambda level: level["kept"][name] / level["size"][name])[1]).mean
            for name in dict.fromkeys(names)}


def histogram(layers: list[dict], bins: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """One layer's initial weights over several seeds: edges (bins + 1,), probability density (bins,)."""
    low, high = min(layer["min"] for layer in layers), max(layer["max"] for layer in layers)
    edges = np.linspace(low, max(high, low + 1e-6), bins + 1)
    below = [np.interp(edges, np.linspace(layer["min"], layer["max"], len(layer["hist"]) + 1),
                       np.cumsum([0, *layer["hist"]]) / sum(layer["hist"])) for layer in layers]
    return edges, np.diff(np.mean(below, axis=0)) / np.diff(edges)


def accuracy_rows(schemes: dict[str, list[dict]]) -> list[dict]:
    """A group's rows, densest level first: test accuracy at a level's end, in %, of seeds that have it."""
    rows = []
    for init, runs in schemes.items():
        densities, values = matrix(runs, final_test_acc)
        columns = (100 * densities, *summary(100 * values)[:4])
        for number, (remaining, mean, sd, median, n) in enumerate(zip(*map(np.ndarray.tolist, columns))):
            diverged = sum(level["diverged"] for level in at_level(runs, number))
            rows.append({"level": number, "remaining": remaining, "init": init, "mean": mean, "sd": sd,
                         "median": median, "n": n, "diverged": diverged})
    return sorted(rows, key=lambda row: (row["level"], *rank(row["init"])))


def curve_rows(schemes: dict[str, list[dict]]) -> list[dict]:
    """A group's rows, one a run and level: EVALUATED at the minimum-validation-loss checkpoint (early_*) and
    at the level's end (final_*), accuracy in [0, 1] and loss in nats; NaN for what is not finite, as all of
    early_* where no validation loss was."""
    def evaluation(when, level, index):
        return {f"{when}_{key}": NAN if index is None else entry(level.get(key, []), index)
                for key in EVALUATED}
    return [{"scheme": init, "seed": run["config"]["seed"], "level": level["level"],
             "density": density(level), **evaluation("early", level, early_stop(level)),
             **evaluation("final", level, -1)}
            for init, runs in schemes.items() for run in runs for level in run["levels"]]


def cells(rows: list[dict], digits: int | None = None) -> list[list[str]]:
    """The rows as text under their heads, empty where a number is not there; without `digits` as precise as
    they are."""
    def text(value):
        if isinstance(value, float):
            return "" if np.isnan(value) else repr(value) if digits is None else f"{value:.{digits}f}"
        return str(value)
    return [list(rows[0])] + [[text(value) for value in row.values()] for row in rows]


def to_csv(rows: list[dict], digits: int | None = None) -> str:
    """Rows as CSV, their numbers as in `cells`."""
    return "".join(",".join(line) + "\n" for line in cells(rows, digits))


def accuracy_markdown(name: str, schemes: dict[str, list[dict]]) -> str:
    """A group's table as a page."""
    head, *body = cells(accuracy_rows(schemes), 2)
    rule = [":---" if column == "init" else "---:" for column in head]
    lines = "".join("| " + " | ".join(line) + " |\n" for line in (head, rule, *body))
    says = f"Test accuracy at each level's end and weights remaining, in %. {settings_text(schemes)}"
    return f"# {name}\n\n{says}\n\n{lines}"


def accuracy_text(name: str, schemes: dict[str, list[dict]], columns: int = 6) -> str:
    """A group's means for a screen 100 wide: schemes by density, from the first level to the last and about
    evenly on a log scale between, and n, the fewest and the most seeds of a mean."""
    rows = accuracy_rows(schemes)
    found = {(row["init"], row["level"]): row for row in rows}
    wanted = np.geomspace(rows[0]["remaining"] / 100, rows[-1]["remaining"] / 100, columns)
    levels = picked(sum(schemes.values(), []), wanted)
    lines = [["", *(f"{100 * share:.3g}" for _, share in levels), "n"]]
    for init in schemes:
        its = [found.get((init, number)) for number, _ in levels]
        counts = sorted({row["n"] for row in its if row})
        lines.append([scheme_name(init)[:44], *(f"{row['mean']:.2f}" if row else "" for row in its),
                      "-".join(map(str, counts[:1] + counts[1:][-1:]))])
    wide = max(len(line[0]) for line in lines)
    head = f"{name}: mean test accuracy in % at a level's end, by % of weights remaining"
    body = (line[0].ljust(wide) + "".join(cell.rjust(8) for cell in line[1:]) for line in lines)
    return "\n".join([*textwrap.wrap(head, 100, break_on_hyphens=False), *body]) + "\n"


def settings_text(schemes: dict[str, list[dict]]) -> str:
    """What was run and how often, as sentences for a caption."""
    runs = sum(schemes.values(), [])
    config, counts = runs[0]["config"], {init: len(members) for init, members in schemes.items()}
    settings = [f"{key} {config[key]}" for key in SETTINGS if config.get(key) is not None]
    each = ", ".join(f"{count} of {scheme_name(init)}" for init, count in counts.items())
    n = each if len(set(counts.values())) > 1 else f"{len(runs) // len(counts)} a scheme"
    uneven = len({len(run["levels"]) for run in runs}) > 1
    diverged = sum(level["diverged"] for run in runs for level in run["levels"])
    group = group_name(runs[0]["name"], config)
    return (f"{group}: {config['data']}, {config['net']}, {', '.join(settings)}. Seeds: n = {n}."
            + " Runs differ in length: the table has n at each density." * uneven
            + f" Levels that diverged (x): {diverged}." * (diverged > 0)
            + " glyphs is a stand-in data set." * (config["data"] == "glyphs"))
