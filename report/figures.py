"""Draws the figures of the report: each a function of {group: {scheme: runs}}, as stats.groups has them;
nothing where it has not been run.

    python report/figures.py [--runs results --figures figures]
"""
import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import plot  # noqa: E402
import stats  # noqa: E402
from formatting import CONTRAST_LABELS, LABELS, seed_counts_text, span  # noqa: E402
from inference import estimate, half_width, paired  # noqa: E402
from inits import RARE  # noqa: E402
from mechanism import (active_images, influence_of, many_schemes, share_on,  # noqa: E402
                       without_rare_inputs)
from plot import captioned, panels, plain_ticks, scheme_styles  # noqa: E402
from stats import STANDARD, early_test_acc, matrix, scheme_name  # noqa: E402
from study import (BY_KURTOSIS, CONTRASTS, CONTROL_GROUPS, FULL, HALVED, METHODS, SPARSE, UPPER,  # noqa: E402
                   Study, by_scheme, candidates, confirming, exploring, seed_counts, studies, under)

import matplotlib  # noqa: E402  after plot, which sees to it that a notebook's backend stops no import
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

STYLES = scheme_styles(())
SHORT = {name: CONTRAST_LABELS[name] for name in ("variance_scaling", "distribution")}
KURTOSIS = {"shape_sign": 1, "shape_arcsine": 1.5, "shape_uniform": 1.8, "xavier_uniform": 1.8,
            "shape_trunc2": 2.37, "truncated_glorot": 2.37, "shape_normal": 3, "xavier_normal": 3,
            "shape_laplace": 6, "shape_t4": 12}                         # t4's is infinite: drawn at 12


def density_axis(axis, density: np.ndarray, label: str) -> None:
    """A logarithmic axis of % of weights remaining, dense networks left."""
    low = 80 * np.nanmin(density)
    axis.set(xscale="log", xlim=(112, low), xlabel="weights remaining (%)", ylabel=label)
    plain_ticks(axis.xaxis, low)


def line(axis, density: np.ndarray, values: np.ndarray, **style) -> np.ndarray:
    """The mean over seeds of values (seeds, L), with its 95% t interval as a band."""
    found = stats.summary(values)
    draw_band(axis, density, found.mean, half_width(found.sd, found.n), **style)
    return found.mean


def draw_band(axis, density: np.ndarray, mean: np.ndarray, half: np.ndarray, **style) -> None:
    """A line with a band of `half` on either side."""
    axis.plot(100 * density, mean, **style)
    axis.fill_between(100 * density, mean - half, mean + half, color=style["color"], lw=0, alpha=0.15)


def bars(axis, x, values: np.ndarray, **style) -> None:
    """The mean over seeds of values (seeds, L), with its 95% t interval as bars."""
    found = stats.summary(values)
    axis.errorbar(x, found.mean, half_width(found.sd, found.n), **style)


def padded(columns) -> np.ndarray:
    """Numbers of several schemes side by side, (longest, columns), NaN where one has fewer."""
    return np.array(list(itertools.zip_longest(*columns, fillvalue=np.nan)))


def tradeoff(groups: dict) -> Figure | None:
    """Accuracy against density, a column a network: from dense to where it matters, and all."""
    found = list(studies(groups))
    if not found:
        return None
    figure, axes = panels(2 * len(found), len(found), 4.5, 3.2)
    for number, (_, study, schemes) in enumerate(found):
        drawn = {init: matrix(schemes[init], early_test_acc) for init in STANDARD if init in schemes}
        unpruned = min(100 * np.nanmean(values[:, 0]) for _, values in drawn.values())
        for axis, part in zip(axes[number::len(found)], (", upper end", "")):
            means = [line(axis, density, 100 * values, label=scheme_name(init), ms=4, **STYLES[init])
                     for init, (density, values) in drawn.items()]
            axis.axhline(unpruned, color="0.5", ls=":", lw=1)
            sparsest = min((density for density, _ in drawn.values()), key=np.nanmin)
            density_axis(axis, sparsest, "test accuracy (%)")
            axis.set_title(f"{study.title}, n = {max(len(values) for _, values in drawn.values())}{part}")
            if part:
                best = max(map(np.nanmax, means))
                axis.set_ylim(unpruned - 1.5, best + 0.3 * (best - unpruned) + 0.1)
    return captioned(figure, "Test accuracy at the step of the least validation loss. Line: mean; band: its "
                     "95% t interval over seeds; dotted: the lowest of the schemes' dense means.", axes[0])


def differences(groups: dict) -> Figure | None:
    """Each scheme minus Xavier normal at every density, and the planned contrasts."""
    contrasts = {SHORT.get(name, name): weights for name, weights in CONTRASTS.items()}
    return compared(groups, "xavier_normal", STANDARD[1:], contrasts, "planned contrasts")


def customs(groups: dict) -> Figure | None:
    """The candidate schemes, and Xavier uniform, minus the best standard scheme of the screen."""
    chosen, base = candidates(groups)
    if not chosen:
        return None
    inits = [init for init in (*chosen, "xavier_uniform") if init != base]
    contrasts = {scheme_name(init): {init: 1, base: -1} for init in inits}
    return compared(groups, base, inits, contrasts, f"mean accuracy − {scheme_name(base)}")


def compared(groups: dict, base: str, inits: list[str], contrasts: dict, what: str) -> Figure | None:
    """Paired differences against a scheme at every density, and contrasts as intervals, of studies with two
    seeds or more of all."""
    found = [row for row in studies(groups)
             if min(len(row[2].get(init, [])) for init in (base, *inits)) > 1]
    if not found:
        return None
    figure, axes = panels(2 * len(found), len(found), 4.5, 3.2)
    for number, (_, study, schemes) in enumerate(found):
        above, below = axes[number::len(found)]
        draw_differences(above, study, schemes, base, inits)
        above.set_title(study.title)
        n = draw_contrasts(below, study, schemes, contrasts)
        below.set_title(f"{what}, n = {n}")
    return captioned(figure, "Above: paired differences by seed, mean and 95% t interval at each density, "
                     "nudged sideways. Below: differences of mean accuracy, mean and 95% interval; "
                     "dots: seeds. Grey: the equivalence margin.", axes[0])


def draw_differences(axis, study: Study, schemes: dict, base: str, inits: list[str]) -> None:
    """Schemes minus `base` within seeds, at every density."""
    def of(init):
        density, values = matrix(schemes[init], early_test_acc)
        return density, dict(zip((run["config"]["seed"] for run in schemes[init]), 100 * values))
    (density, its), styles = of(base), scheme_styles(inits)
    for shift, init in enumerate(inits, -1):
        own, values = of(init)
        seeds = sorted(set(values) & set(its))
        length = min(len(own), len(density))
        gaps = np.array([values[seed][:length] - its[seed][:length] for seed in seeds])
        if len(gaps):
            bars(axis, 100 * own[:length] * (1 + 0.03 * shift), gaps, label=scheme_name(init), ms=3.5, lw=1,
                 elinewidth=0.8, **styles[init])
    axis.axhspan(-study.margin, study.margin, color="0.85", lw=0, zorder=0)
    density_axis(axis, density, f"points above {scheme_name(base)}")


def draw_contrasts(axis, study: Study, schemes: dict, contrasts: dict) -> int:
    """Draws {name: weights} over the study's ranges; returns how many seeds there are."""
    means = {bounds: by_scheme(schemes, bounds) for bounds in study.ranges}
    rows = [(f"{name},\n{span(bounds)}", paired(means[bounds], weights))
            for bounds in study.ranges for name, weights in contrasts.items()]
    rows = [(label, d) for label, d in rows if len(d) > 1]
    intervals(axis, rows, study.margin)
    return max((len(d) for _, d in rows), default=0)


def intervals(axis, rows: list[tuple[str, np.ndarray]], margin: float) -> None:
    """Means, intervals and seeds of [(label, differences)], from the top, on the band of equivalence."""
    for height, (label, d) in enumerate(rows[::-1]):
        found = estimate(d)
        axis.plot((found.low, found.high), [height] * 2, color="#0072B2", lw=2)
        axis.plot(d, np.full(len(d), height + 0.22), ".", color="0.6", ms=3)
        axis.plot(found.mean, height, "o", color="#0072B2")
    axis.axvspan(-margin, margin, color="0.85", lw=0, zorder=0)
    axis.axvline(0, color="0.5", lw=1)
    axis.set(yticks=range(len(rows)), yticklabels=[label for label, _ in rows[::-1]], xlabel="points")


def heat(groups: dict) -> Figure | None:
    """Scheme by pruning method: mean accuracy of a range, coloured by its distance from the four schemes'."""
    rows = {}
    for name in METHODS:
        found = under(groups, name)
        if all(map(found.get, STANDARD)):
            rows[name] = {init: np.mean(list(seeds.values())) for init, seeds in found.items() if seeds}
    if not rows:
        return None
    inits = [*STANDARD, *(init for init in candidates(groups)[0]
                          if sum(init in row for row in rows.values()) > 1)]
    cells = np.array([[row.get(init, np.nan) for init in inits] for row in rows.values()])
    gaps = cells - cells[:, :len(STANDARD)].mean(1, keepdims=True)
    figure, (axis,) = panels(1, 1, 9, 0.55 * len(rows) + 1.8)
    shown = axis.imshow(gaps, cmap="RdBu", norm=matplotlib.colors.SymLogNorm(0.2, vmin=-10, vmax=10),
                        aspect="auto")
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            gap = gaps[row, column]
            axis.text(column, row, f"{value:.2f}\n{gap:+.2f}", ha="center", va="center", fontsize=9,
                      color="white" if abs(gap) > 1 else "black")
    axis.set(xticks=range(len(inits)), yticks=range(len(rows)), yticklabels=list(rows))
    axis.set_xticklabels(map(scheme_name, inits), rotation=20, ha="right")
    axis.grid(False)
    figure.colorbar(shown, label="points from the four schemes' mean", ticks=[-10, -1, 0, 1, 10], format="%g",
                    extend="min")
    return captioned(figure, "MNIST, fc, half of the weights a round: mean test accuracy over log density "
                     "from 50 to 0.2% (filters 0.6%) in points, and its distance from the mean of the "
                     "four standard schemes. Exploratory.")


def methods(groups: dict) -> Figure | None:
    """Accuracy against density under each way of pruning, a panel each."""
    inits = (*STANDARD, *candidates(groups)[0])
    found = {name: exploring(groups, group) for name, group in METHODS.items()}
    found = {name: schemes for name, schemes in found.items() if all(map(schemes.get, STANDARD))}
    if not found:
        return None
    styles = scheme_styles(inits)
    figure, axes = panels(len(found), 4, 3.5, 3)
    for axis, (name, schemes) in zip(axes, found.items()):
        for init in filter(schemes.get, inits):
            density, values = matrix(schemes[init], early_test_acc)
            line(axis, density, 100 * values, label=scheme_name(init), lw=1.2, **{**styles[init], "ms": 3})
        density_axis(axis, (1, SPARSE[1]), "test accuracy (%)" if axis in axes[::4] else "")
        axis.set_xticks((100, 10, 1, 0.2), labels=("100", "10", "1", "0.2"))
        axis.set_title(f"{name}, n = {seed_counts_text(seed_counts(schemes))}", fontsize=10)
    return captioned(figure, "MNIST, fc, half of the weights a round: test accuracy at the minimum of the "
                     "validation loss, mean and 95% t interval over seeds. Each panel has its own axis. "
                     "Exploratory.", axes[0])


def dosed(values: dict, dose: dict) -> dict[float, np.ndarray]:
    """{dose: value by seed (n,)} in order of the doses, from {scheme: {seed: value}} and {scheme: dose}: a
    mean over the schemes of a dose, of the seeds that all of them have."""
    found = {}
    for amount in sorted(set(dose.values())):
        same = [init for init in dose if dose[init] == amount and values.get(init)]
        mean = paired(values, dict.fromkeys(same, 1 / len(same))) if same else []
        if len(mean):
            found[amount] = mean
    return found


def doses(groups: dict) -> Figure | None:
    """Mean accuracy against gain and against kurtosis, over both ranges, by magnitude and by movement."""
    ways = {"by magnitude": exploring(groups, HALVED),
            "by movement": exploring(groups, METHODS["movement"])}
    inits = set().union(*ways.values())
    gains = {"xavier_normal": 1, **{init: float(init.split("@")[1]) for init in inits if "@" in init}}
    if len(gains) == 1 or not set(KURTOSIS) & inits:
        return None
    figure, axes = panels(4, 2, 5.5, 3.4)
    counts = set()
    for index, (dose, label) in enumerate(((gains, "gain on Xavier normal's weights"),
                                           (KURTOSIS, "kurtosis of the weights, at Xavier's variance"))):
        for axis, bounds in zip(axes[index::2], (UPPER, SPARSE)):
            for colour, shift, (name, schemes) in zip(("#0072B2", "#D55E00"), (0.98, 1.02), ways.items()):
                found = dosed(by_scheme(schemes, bounds), dose)
                if len(found) > 1:
                    values = padded(found.values())
                    counts.add(len(values))
                    x = [shift * value for value in found]
                    axis.plot(x, values.T, ".", color=colour, alpha=0.4, ms=4)
                    bars(axis, x, values, fmt="o-", color=colour, capsize=3, label=name)
            axis.set(xscale="log", xlabel=label, ylabel=f"mean accuracy, {span(bounds)} (%)")
            ticks = sorted(set(dose.values()))
            axis.set_xticks(ticks, labels=["inf" if label[0] == "k" and tick == KURTOSIS["shape_t4"]
                                           else f"{tick:g}" for tick in ticks])
            axis.set_xticks([], minor=True)
    if not counts:
        plt.close(figure)
        return None
    n = "/".join(map(str, sorted(counts)))
    return captioned(figure, "MNIST, fc, half of the weights a round: mean test accuracy over log "
                     f"density. Circle: mean and 95% t interval over n = {n} seeds (dots), which are "
                     "means where two schemes have one distribution. Exploratory.", axes[-1])


def shapes(groups: dict) -> Figure | None:
    """Shapes minus Xavier normal by their kurtosis, a line a way of pruning."""
    figure, (axis,) = panels(1, 1, 8.5, 4.5)
    for place, (name, color) in enumerate({"magnitude, layer by layer": "#0072B2", "movement": "#56B4E9",
                                           "SNIP, global": "#D55E00", "SynFlow, global": "#009E73"}.items()):
        means = under(groups, name)
        gaps = {init: paired(means, {"xavier_normal": -1, init: 1}) for init in BY_KURTOSIS
                if init != "xavier_normal"}
        gaps = {init: d for init, d in gaps.items() if len(d) > 1}
        if len(gaps) == len(BY_KURTOSIS) - 1:
            gaps["xavier_normal"] = np.zeros(len(gaps["shape_sign"]))
            x = [KURTOSIS[init] * (0.98 + 0.013 * place) for init in BY_KURTOSIS]
            bars(axis, x, padded(gaps[init] for init in BY_KURTOSIS), fmt="o-", color=color, capsize=3,
                 label=f"{name}, n = {min(map(len, gaps.values()))}")
    if not axis.lines:
        plt.close(figure)
        return None
    axis.axhline(0, color="0.5", lw=1)
    axis.set(xscale="log", xlabel="kurtosis of the initial weights, at Xavier's variance",
             ylabel="points above Xavier normal")
    axis.set_yscale("symlog", linthresh=1)
    axis.set_yticks([-10, -3, -1, 0, 1, 3], labels=["-10", "-3", "-1", "0", "1", "3"])
    axis.set_xticks([KURTOSIS[init] for init in BY_KURTOSIS], rotation=25, ha="right", labels=[
        f"{'inf' if init == 'shape_t4' else format(KURTOSIS[init], 'g')}  {scheme_name(init)}"
        for init in BY_KURTOSIS])
    axis.set_xticks([], minor=True)
    return captioned(figure, "MNIST, fc, half of the weights a round: mean test accuracy over log density "
                     "from 50 to 0.2%, paired by seed; mean and 95% t interval. The scale is linear within 1 "
                     "point, logarithmic beyond. Exploratory.", axis)


def accuracy_by_ratio(groups: dict) -> Figure | None:
    """Schemes by their initial-to-update RMS ratio: their mean accuracy minus Xavier normal's."""
    rows = [(LABELS["study"][name], influence_of(schemes, "rho"), bounds, by_scheme(schemes, bounds))
            for name, schemes, ranges in many_schemes(groups) for bounds in ranges
            if len(schemes) > len(STANDARD)]
    rows = [row for row in rows if row[1].get("xavier_normal")]
    if not rows:
        return None
    figure, axes = panels(len(rows), 4, 4.3, 3.6)
    named = (*STANDARD, *candidates(groups)[0])
    for axis, row in zip(axes, rows):
        draw_by_ratio(axis, named, *row)
    return captioned(figure, "A point a scheme. Horizontally: how far its survivors in fc1 began from zero, "
                     "in units of how far they typically moved, at 6 to 7% of the weights. Vertically: its "
                     "mean accuracy minus that of Xavier normal, paired by seed, with its 95% t interval; an "
                     "axis that goes below -2 is logarithmic beyond 1 point. Exploratory.", axes[0])


def draw_by_ratio(axis, named: tuple, title: str, measured: dict, bounds: tuple, means: dict) -> None:
    """A point a scheme, {scheme: {seed: value}} `means` against `measured`; `named` have their own styles."""
    gaps = {init: paired(means, {"xavier_normal": -1, init: 1}) for init in means if measured[init]}
    gaps["xavier_normal"] = np.zeros(len(means["xavier_normal"]))
    styles = {init: (style["color"], style["marker"]) for init, style in scheme_styles(named).items()}
    families = {scheme_name(init): (*styles[init], [init]) for init in named} | {
        "another shape at Xavier's variance": ("0.35", "v", KURTOSIS),
        "gain on Xavier normal": ("#882255", "^", [init for init in gaps if "@" in init]),
        "PyTorch's default": ("#661100", "*", ["torch_default"]), "another": ("0.65", "x", gaps)}
    of = {init: next(label for label, (*_, its) in families.items() if init in its) for init in gaps}
    for label, (color, marker, _) in families.items():
        inits = [init for init in gaps if of[init] == label]
        if inits:
            bars(axis, [np.mean(list(measured[init].values())) for init in inits],
                 padded(gaps[init] for init in inits), fmt=marker, color=color, ms=5, lw=1, label=label)
    n = "/".join(map(str, sorted({len(d) for d in gaps.values()})))
    axis.set(title=f"{title}, n = {n}", xscale="log", xlabel="initial-to-update RMS ratio",
             ylabel=f"mean accuracy {span(bounds)}, points")
    if axis.get_ylim()[0] < -2:
        axis.set_yscale("symlog", linthresh=1)
        ends = axis.get_ylim()
        ticks = [tick for tick in (-10, -3, -1, -0.5, 0, 0.5, 1, 2) if ends[0] < tick < ends[1]]
        axis.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    low, high = axis.get_xlim()
    ticks = (0.03, 0.1, 0.3, 1, 3) if high / low > 10 else (0.5, 0.7, 1, 1.5, 2, 3)
    ticks = [tick for tick in ticks if low <= tick <= high]
    axis.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)


def survival_by_level(groups: dict) -> Figure | None:
    """What survival has to do with the initial weight, and the signal at a level's start."""
    first = next(studies(groups), None)
    if not first:
        return None
    _, study, schemes = first
    drawn = [init for init in STANDARD if init in schemes]
    layers = list(schemes[drawn[0]][0]["levels"][0]["size"])
    rows = [*((f"{layer}: eps, 1: |w0| decides survival", ("layers", layer, "eps")) for layer in layers[:3]),
            *((f"{layer}: AUROC of |w0| for survival", ("layers", layer, "auroc")) for layer in layers[:3]),
            ("fc1: rms w0 / rms move of survivors", ("layers", layers[0], "rho")),
            ("gradient norm at the start", ("gradient_norm",)),
            ("std of logits at the start", ("logit_std",)),
            ("% of fc1's survivors on constant pixels", ("dark_share",)),
            ("least inputs of a class", ("least_class_inputs",)),
            ("% of the weights remaining on a path", ("effective_density",))]
    figure, axes = panels(len(rows), 3, 4, 2.9)
    for axis, (label, keys) in zip(axes, rows):
        for init in drawn:
            density, values = matrix(schemes[init], stats.diagnostic(*keys))
            if keys == ("effective_density",):
                values = values / density
            if label.startswith("%"):
                values = 100 * values
            line(axis, density, values, label=scheme_name(init), ms=2.5, lw=1.2, **STYLES[init])
        density_axis(axis, density, "")
        if keys[-1] in ("gradient_norm", "logit_std", "least_class_inputs"):
            axis.set_yscale("log")
        if keys[-1] == "auroc":
            axis.axhline(0.5, color="0.5", ls=":", lw=1)
        axis.set_title(label, fontsize=10)
        axis.set_xticks([tick for tick in (100, 10, 1, 0.2) if tick > 90 * np.nanmin(density)])
        axis.set_xticklabels([f"{tick:g}" for tick in axis.get_xticks()])
    return captioned(figure, f"{study.title}, mean and 95% t interval over seeds, by level. Dotted: chance.",
                     axes[0])


def rare_inputs(groups: dict) -> Figure | None:
    """First-layer weights kept on rarely active pixels, and the contrasts without them, a row a study."""
    found = [row for row in studies(groups) if active_images(row[1])]
    if not found:
        return None
    figure, axes = panels(2 * len(found), 2, 6, 3.6)
    records = without_rare_inputs(groups)
    for number, (name, study, schemes) in enumerate(found):
        active, images = active_images(study)
        rare = active < RARE * images
        for init in filter(schemes.get, STANDARD):
            density, values = matrix(schemes[init], share_on(rare))
            line(axes[2 * number], density, 100 * values, label=scheme_name(init), ms=4, **STYLES[init])
        density_axis(axes[2 * number], density, "% of fc1's survivors")
        axes[2 * number].set_title(f"{study.title}: on rarely active pixels ({rare.sum()})")
        rows = [(f"{SHORT[row['contrast']]}, {LABELS['inputs'][row['inputs']]}", row["differences"])
                for row in records if row["study"] == name]
        intervals(axes[2 * number + 1], rows, study.margin)
        axes[2 * number + 1].set_title(f"contrasts, lower range, n = {len(rows[0][1]) if rows else 0}")
    return captioned(figure, f"Rarely active: in fewer than {100 * RARE:g}% of the training images. "
                     "Left: mean and 95% t interval. Right: by which weights count as remaining; mean, 95% "
                     "interval, seeds; grey: the equivalence margin. Exploratory.", axes[0])


def controlled(groups: dict) -> Figure | None:
    """The ticket against its controls."""
    runs = {LABELS["control"].get(name, name): exploring(groups, group).get("xavier_normal", [])
            for name, group in CONTROL_GROUPS.items()}
    if not all(runs.values()):
        return None
    figure, (axis,) = panels(1, 1, 8, 4.5)
    for (name, its), color, marker in zip(runs.items(), [*plot.LAYERS[2:6], "black"], "osD^v"):
        density, values = matrix(its, early_test_acc)
        mean = line(axis, density, 100 * values, color=color, marker=marker, ms=4,
                    label=f"{name} (n = {len(its)})")
    density_axis(axis, density, "test accuracy (%)")
    axis.set_ylim(min(94.5, np.nanmin(mean)), None)
    axis.legend(fontsize=9)
    return captioned(figure, "MNIST, fc, Xavier normal, 20% a round. Band: 95% t interval over seeds.")


def earlier(groups: dict) -> Figure | None:
    """The earlier study's true test accuracies beside this one's, LeNet-300-100 on MNIST."""
    table = json.loads((HERE / "earlier-study.json").read_text())["table"]
    schemes = confirming(groups, FULL)
    if not schemes.keys() & set(STANDARD):
        return None
    figure, axes = panels(2, 2, 6, 4.2, sharey=True)
    for init in filter(schemes.get, STANDARD):
        row, style = table[f"lenet {init.replace('_', '-')}"], {"ms": 4, **STYLES[init]}
        mean, half = np.array(row["mean"]), half_width(np.array(row["sd"]), row["n"])
        there = 0.8 ** np.arange(len(mean))
        draw_band(axes[0], there, mean, half, label=scheme_name(init), **style)
        density, values = matrix(schemes[init], stats.final_test_acc)
        line(axes[1], density, 100 * values, **style)
    titles = (f"earlier, n = {row['n']}: one reset for all",
              f"here, n = {seed_counts_text(seed_counts(schemes))}: its own draw")
    for axis, title in zip(axes, titles):
        density_axis(axis, there, "test accuracy at a level's end (%)" if axis is axes[0] else "")
        axis.set(title=title, ylim=(86, 98.6))
    return captioned(figure, "Left: stfwn/neural-network-pruning (2020), test accuracy from its logs, 20% a "
                     "round in every layer; all arms were reset to PyTorch's default weights. Right: this "
                     "study, 20%, output layer 10%. Mean and 95% t interval.", axes[0])


CLASSES = {  # by number
    "MNIST": "0 1 2 3 4 5 6 7 8 9",
    "Fashion-MNIST": "t-shirt trousers pullover dress coat sandal shirt sneaker bag boot",
    "CIFAR-10": "airplane car bird cat deer dog frog horse ship truck"}


def examples(groups: dict, folder: Path | None = None) -> Figure | None:
    """Eight training images of each class of every data set, or None and a line that says what is lacking."""
    folder, sheets = Path(folder or os.environ.get("DATA_DIR", "data")), {}
    for name, title in {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}.items():
        try:
            with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
                images, labels = arrays["x_train"], arrays["y_train"].ravel()
        except Exception as error:      # whatever is wrong with the file, only this figure is lost
            plot.say(f"study-examples: {folder / name}.npz cannot be read ({error})")
            return None
        sheets[title] = np.concatenate([np.concatenate(list(images[labels == kind][:8]), 1)
                                        for kind in range(10)])
    figure, axes = panels(3, 3, 3.4, 4.2)
    for axis, (title, sheet) in zip(axes, sheets.items()):
        axis.imshow(sheet, cmap="gray")
        axis.set(title=title, xticks=[], yticks=(np.arange(10) + 0.5) * len(sheet) / 10,
                 yticklabels=CLASSES[title].split())
        axis.grid(False)
    return captioned(figure, "The first eight training images of each class.")


def of_group(figure: Callable) -> Callable[[dict], Figure | None]:
    """A group's figure, of the study's four schemes on MNIST."""
    def drawn(groups):
        schemes = {init: runs for init, runs in confirming(groups, FULL).items() if init in STANDARD}
        runs = sum(schemes.values(), [])
        return runs and figure(plot.Group(FULL, schemes, runs, runs[0]["config"], STYLES, None))
    return drawn


BOXES = {"seed, scheme": (0.09, 0.78), "initial weights w0\n(kept)": (0.33, 0.78),
         "w0 under the mask": (0.58, 0.78), "train 5 epochs,\nfresh Adam": (0.83, 0.78),
         "measure: validation\nand test accuracy": (0.83, 0.42),
         "rank |w| in each layer,\nremove a fifth": (0.58, 0.42), "new mask": (0.33, 0.42),
         "metrics, a record\na level": (0.83, 0.08), "tables, figures,\ntests": (0.58, 0.08)}
ARROWS = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 2), (4, 7), (7, 8)]


def diagram(groups: dict) -> Figure | None:
    """The experiment as boxes and arrows."""
    figure, (axis,) = panels(1, 1, 9.5, 3.2)
    places = list(BOXES.values())
    for start, end in ARROWS:
        upright = places[start][0] == places[end][0]
        axis.annotate("", places[end], places[start], arrowprops={
            "arrowstyle": "-|>", "color": "0.3", "lw": 1.4, "shrinkA": 24, "shrinkB": 24 if upright else 66})
    for text, (x, y) in BOXES.items():
        axis.text(x, y, text, ha="center", va="center", fontsize=10,
                  bbox={"boxstyle": "round,pad=0.5", "fc": "#E8F1F8", "ec": "#0072B2"})
    axis.text(0.33, 0.6, "next level: back to w0", fontsize=9, color="0.3", ha="center")
    axis.set(xlim=(0, 1), ylim=(-0.05, 0.95))
    axis.axis("off")
    return figure


FIGURES = {"diagram": diagram, "tradeoff": tradeoff, "differences": differences, "customs": customs,
           "heat": heat, "methods": methods, "doses": doses, "shapes": shapes, "say": accuracy_by_ratio,
           "mechanism": survival_by_level, "dark": rare_inputs, "controls": controlled, "earlier": earlier,
           "inputs": of_group(plot.inputs), "inits": of_group(plot.initial_weights), "examples": examples}


def draw(groups: dict, folder: Path) -> None:
    """Writes every figure, and says which have nothing to be drawn from."""
    for name, function in FIGURES.items():
        figure = function(groups)
        if figure:
            plot.write(folder / f"study-{name}.png", plot.png(figure))
        else:
            plot.say(f"study-{name}: nothing to draw it from")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the figures of the report.")
    add, home = parser.add_argument, HERE.parent
    add("--runs", type=plot.path_arg, default=home / "results", help="folder of runs' metrics")
    add("--figures", type=plot.path_arg, default=home / "figures", help="folder to write to")
    args = parser.parse_args()
    plot.set_style()
    draw(stats.groups([run for run in stats.read(args.runs) if run["levels"]]), args.figures)


if __name__ == "__main__":
    plot.run_cli(main)
