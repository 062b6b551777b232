"""Draws every figure and table from the metrics of runs.

    python plot.py                          each group of runs in runs/
    python plot.py --runs results --study   the figures of the report
"""
import argparse
import functools
import io
import itertools
import json
import math
import os
import sys
import textwrap
from collections import namedtuple
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image

import stats

STYLE = {"font.size": 12, "axes.titlesize": 12, "legend.fontsize": 11, "legend.frameon": False,
         "figure.dpi": 150, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
         "grid.color": "0.9", "axes.axisbelow": True, "figure.constrained_layout.use": True}
# Okabe & Ito's colours: blue is Xavier, orange is Kaiming; a solid line is normal, a dashed one uniform.
SCHEMES = {"xavier_normal": ("#0072B2", "-", "o"), "xavier_uniform": ("#56B4E9", "--", "^"),
           "kaiming_normal": ("#D55E00", "-", "s"), "kaiming_uniform": ("#E69F00", "--", "D")}
OTHERS = [(color, line, mark) for mark, (line, color) in zip("vP*<X>d" * 12, itertools.cycle(
    itertools.product(("-", "--", "-."), ("#009E73", "#CC79A7", "#000000", "#999999"))))]
LAYERS = ["#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#F0E442", "#999999", "#000000"]
TICKS = [100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01]     # % of weights remaining
FINE = [100, 80, 60, 50, 40, 30, 20]                                    # the same for a short range
KURTOSIS = {"shape_sign": 1, "shape_arcsine": 1.5, "shape_uniform": 1.8, "xavier_uniform": 1.8,
            "shape_trunc2": 2.37, "truncated_glorot": 2.37, "shape_normal": 3, "xavier_normal": 3,
            "shape_laplace": 6, "shape_t4": 12}                         # t4's is infinite: drawn at 12
PICKED = (1, 0.21, 0.07, 0.02)                                          # densities that have a panel each
PICTURES = {784: (1, 28, 28), 3072: (3, 32, 32)}                        # inputs: channels, rows, columns
CURVES = {      # figure: its panels' quantity of a level, scale, whether zoomed to the upper end, label
    "accuracy": [(stats.final_test_acc, 100, False, "test accuracy at the level's end (%)"),
                 (stats.final_test_acc, 100, True, "the same, upper end (%)")],
    "early_stop": [(stats.early_step, 1, False, "early stop (step of least validation loss)")],
    "val_loss": [(stats.early_val_loss, 1, False, "least validation loss (nats)"),
                 (stats.early_test_acc, 100, False, "test accuracy at early stop (%)")]}
LEARNING = [("val_acc", 100, "validation accuracy (%)"), ("val_loss", 1, "validation loss (nats)")]

Group = namedtuple("Group", "name schemes runs config styles data_dir")     # schemes {init: its runs}


def scheme_styles(inits):
    """{scheme: plot keywords}, the same in every figure of one set of runs."""
    looks = {**SCHEMES, **dict(zip(sorted(set(inits) - set(SCHEMES)), itertools.cycle(OTHERS)))}
    return {init: dict(zip(("color", "ls", "marker"), look)) for init, look in looks.items()}


def panels(count, columns, width, height, **how):
    """A figure of `count` panels of width x height inches, row by row: the figure, the list of its axes."""
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    size = (max(columns * width, 5), rows * height + 1)     # room for legend and caption
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **how)
    for spare in axes.flat[count:]:
        spare.remove()
    return figure, list(axes.flat[:count])


def finish(figure, group, says, keyed=None):
    """Adds the caption below, with what was run, and, above, the legend of one of the axes."""
    return captioned(figure, f"{stats.describe(group.schemes)} {says}", keyed)


def captioned(figure, caption, keyed=None):
    width = figure.get_figwidth()
    figure.supxlabel(textwrap.fill(caption, int(width * 14)), x=0.01, ha="left", fontsize=9, color="0.25")
    if keyed:
        handles, labels = keyed.get_legend_handles_labels()
        rows = math.ceil(len(labels) / (width // 2.2))
        figure.legend(handles, labels, loc="outside upper center", ncols=math.ceil(len(labels) / rows))
    return figure


def curves(rows, group):
    """Quantities of a level against % of weights remaining, a panel each; a zoom only where it helps."""
    upper = stats.upper_end(group.schemes)
    rows = [row for row in rows if upper or not row[2]]
    figure, axes = panels(len(rows), 2, 6 if len(rows) > 1 else 8, 5)
    for axis, (quantity, scale, zoomed, label) in zip(axes, rows):
        draw_curves(axis, group, quantity, scale, upper if zoomed else None)
        axis.set_ylabel(label)
    return finish(figure, group, "Line: mean; band: its 95% t interval over seeds, none for a single one; "
                  "thin lines: single seeds; dotted: the scheme's dense mean.", axes[0])


def draw_curves(axis, group, quantity, scale, limits):
    drawn = {init: stats.matrix(runs, quantity) for init, runs in group.schemes.items()}
    found = {init: stats.summary(scale * values) for init, (_, values) in drawn.items()}
    for init, (density, values) in drawn.items():
        style = group.styles[init]
        axis.plot(100 * density, scale * values.T, color=style["color"], lw=0.5, alpha=0.4)
        axis.plot(100 * density, found[init].mean, label=init, ms=4.5, **style)
        axis.axhline(found[init].mean[0], color=style["color"], ls=":", lw=1.2)
    limits = limits or axis.get_ylim()      # before the bands, as that of two seeds would flatten all else
    for init, (density, _) in drawn.items():
        color = group.styles[init]["color"]
        axis.fill_between(100 * density, found[init].low, found[init].high, color=color, lw=0,
                          alpha=min(0.14, 0.5 / len(drawn)))
        for level in (level for run in group.schemes[init] for level in run["levels"] if level["diverged"]):
            height = np.clip(np.nan_to_num(scale * quantity(level), nan=limits[0]), *limits)
            axis.plot(100 * stats.density(level), height, "x", color=color, ms=9, mew=2, clip_on=False)
    low = 80 * min(np.nanmin(density) for density, _ in drawn.values())
    axis.set(xscale="log", xlim=(112, low), ylim=limits, xlabel="weights remaining (%)")
    plain_ticks(axis.xaxis, low)


def plain_ticks(axis, low):
    """% of weights remaining on a log axis, as plain numbers."""
    ticks = [tick for tick in (TICKS if low < 10 else FINE) if tick >= low]
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def learning(group):
    """A column a density, a row a quantity; what matters comes after the steep first looks."""
    picked = stats.picked(group.runs, PICKED)
    figure, axes = panels(2 * len(picked), len(picked), 3.2, 3.4, sharex=True, sharey="row")
    for first, (key, scale, label) in zip((0, len(picked)), LEARNING):
        late = []
        for axis, (number, density) in zip(axes[first:], picked):
            for init, runs in group.schemes.items():
                steps, values = stats.curve(stats.at_level(runs, number), key)
                mean, style = stats.summary(scale * values).mean, group.styles[init]
                axis.plot(steps, scale * values.T, color=style["color"], lw=0.5, alpha=0.4)
                axis.plot(steps, mean, label=init, ms=3.5, **style)
                late += mean[len(mean) // 5:].tolist()
            axis.set_title("" if first else f"{100 * density:.3g}% remaining")
            axis.set_xlabel("training step" if first else "")
        late = [value for value in late if np.isfinite(value)] or [0, 1]
        margin = 0.1 * (max(late) - min(late)) + 1e-6
        axes[first].set(ylabel=label, ylim=(min(late) - margin, max(late) + margin))
    return finish(figure, group, "Line: mean over seeds; thin lines: single seeds. "
                  "The first fifth of the looks may lie outside.", axes[0])


def layers(group):
    """Density by layer and level; layer-wise counts are the same for every scheme, so one panel does."""
    shared = group.config.get("scope") == "layer"
    rows = {"every scheme": group.runs} if shared else group.schemes
    figure, axes = panels(len(rows), 4, 7 if shared else 3.2, 4.6 if shared else 3.4, sharey=True)
    lowest = 100
    for axis, (title, runs) in zip(axes, rows.items()):
        found = stats.layer_densities(runs)
        for index, (layer, density) in enumerate(found.items()):
            width = 7 - 5.5 * index / len(found)    # ever thinner, so that layers that coincide stay visible
            axis.plot(100 * density, color=LAYERS[index % len(LAYERS)], lw=width, label=layer,
                      solid_capstyle="butt")
            lowest = min(lowest, 80 * np.nanmin(density))
        axis.plot(100 * stats.matrix(runs, stats.density)[0], color="black", ls=":", label="all layers")
        axis.set(title=title, xlabel="level (pruning rounds)", yscale="log", ylim=(max(lowest, 0.01), 125))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_ylabel("weights remaining (%)" if axis.get_subplotspec().is_first_col() else "")
    plain_ticks(axes[0].yaxis, max(lowest, 0.01))
    return finish(figure, group, "Mean over seeds.", axes[0])


def inits(group):
    """A panel a layer, as probability density over a weight's value."""
    names = list(group.runs[0]["init"])
    figure, axes = panels(len(names), 3, 3.9, 3.3)
    for axis, layer in zip(axes, names):
        peaks = []
        for init, runs in group.schemes.items():
            edges, density = stats.histogram([run["init"][layer] for run in runs])
            style = group.styles[init]
            axis.stairs(density, edges, color=style["color"], ls=style["ls"], lw=1.5, label=init)
            peaks.append(density.max())
        axis.set(title=layer, xlabel="initial weight", ylim=(0, 1.05 * min(max(peaks), 3 * np.median(peaks))))
        axis.set_ylabel("probability density" if axis.get_subplotspec().is_first_col() else "")
    return finish(figure, group, "Initial weights, not biases, of all seeds; a peak above three times the "
                  "median scheme's is cut.", axes[0])


def inputs(group):
    """A row of pictures a scheme, a column a density; None where the first layer sees no whole picture."""
    shape = PICTURES.get(len(group.runs[0]["levels"][0]["inputs"]))
    if shape is None:
        return None
    picked = stats.picked(group.runs, PICKED[1:])
    figure, axes = panels(len(picked) * len(group.schemes), len(picked), 2.4, 2.1)
    for column, (number, density) in enumerate(picked):
        cells = axes[column::len(picked)]
        found = [stats.at_level(runs, number) for runs in group.schemes.values()]
        nothing = np.full((1, math.prod(shape)), np.nan)
        means = [np.mean([level["inputs"] for level in levels] or nothing, 0) for levels in found]
        means = np.reshape(means, (-1, *shape)).sum(1)      # over channels
        for axis, mean in zip(cells, means):
            shown = picture(axis, mean, vmin=0, vmax=np.nanmax(means), cmap="cividis")
        cells[0].set_title(f"{100 * density:.3g}% remaining")
        figure.colorbar(shown, ax=cells, location="bottom", label="weights left per pixel", aspect=16,
                        fraction=0.15 / len(cells), pad=0.1 / len(cells))
    for axis, init in zip(axes[::len(picked)], group.schemes):
        axis.set_ylabel(init, fontsize=10)
    return finish(figure, group, "Surviving weights of the first layer by input pixel, mean over seeds.")


def picture(axis, pixels, **how):
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    return axis.imshow(pixels, **how)


def examples(group):
    """Eight images of each class, or None and a line that says why."""
    data = group.config["data"]
    path = Path(group.data_dir, group.runs[0]["provenance"][0].get("data_file") or f"{data}.npz")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["x_train"], arrays["y_train"].ravel()
    except Exception as error:      # whatever is wrong with the file, only this sheet is lost
        print(f"{group.name}: no sheet of examples, as {path} cannot be read ({error}).", file=sys.stderr)
        return None
    kinds = np.unique(labels)
    figure, axes = panels(8 * len(kinds), 8, 0.9, 0.8)
    for index, kind in enumerate(kinds):
        row = axes[8 * index:8 * index + 8]
        row[0].set_ylabel(kind, rotation=0, ha="right", va="center")
        for axis, image in zip(row, images[labels == kind]):
            picture(axis, image, cmap="gray", vmin=0, vmax=255)
    return finish(figure, group, f"The first eight training images of each class of {data}, by its number.")


FIGURES = {**{name: functools.partial(curves, rows) for name, rows in CURVES.items()},
           "learning": learning, "layers": layers, "inits": inits, "inputs": inputs, "examples": examples}
TABLES = {"csv": stats.comma, "md": stats.markdown}


# ---- figures of the report: of all groups, {group: {scheme: runs}}; None where nothing of it has been run

def density_axis(axis, density, label):
    low = 80 * np.nanmin(density)
    axis.set(xscale="log", xlim=(112, low), xlabel="weights remaining (%)", ylabel=label)
    plain_ticks(axis.xaxis, low)


def line(axis, density, values, **style):
    """The mean over seeds of values (seeds, L), with its 95% t interval as a band."""
    found = stats.summary(values)
    axis.plot(100 * density, found.mean, **style)
    axis.fill_between(100 * density, found.low, found.high, color=style["color"], lw=0, alpha=0.15)
    return found.mean


def bars(axis, x, values, **style):
    """The mean over seeds of values (seeds, L), with its 95% t interval as bars."""
    found = stats.summary(values)
    axis.errorbar(x, found.mean, (found.mean - found.low, found.high - found.mean), **style)


def padded(columns):
    """Numbers of several schemes side by side, (longest, columns), NaN where one has fewer."""
    return np.array(list(itertools.zip_longest(*columns, fillvalue=np.nan)))


def tradeoff(groups):
    """Accuracy against density, a row a network: from dense to where it matters, and all."""
    found = list(stats.studies(groups))
    if not found:
        return None
    figure, axes = panels(2 * len(found), 2, 6, 3.9)
    for number, (name, study, schemes, _) in enumerate(found):
        drawn = {init: stats.matrix(schemes[init], stats.early_test_acc)
                 for init in stats.STANDARD if init in schemes}
        dense = min(100 * np.nanmean(values[:, 0]) for _, values in drawn.values())
        for axis, part in zip(axes[2 * number:], (", upper end", "")):
            means = [line(axis, density, 100 * values, label=init, ms=4, **STYLES[init])
                     for init, (density, values) in drawn.items()]
            axis.axhline(dense, color="0.5", ls=":", lw=1)
            sparsest = min((density for density, _ in drawn.values()), key=np.nanmin)
            density_axis(axis, sparsest, "test accuracy (%)")
            axis.set_title(f"{name}, n = {max(len(values) for _, values in drawn.values())}{part}")
            if part:
                best = max(map(np.nanmax, means))
                axis.set_ylim(dense - 1.5, best + 0.3 * (best - dense) + 0.1)
    return captioned(figure, "Test accuracy at the step of the least validation loss. Line: mean; band: its "
                     "95% t interval over seeds; dotted: the lowest of the schemes' dense means.", axes[0])


def differences(groups):
    """Paired differences against Xavier normal at every density; the planned contrasts as intervals."""
    found = [row for row in stats.studies(groups) if "xavier_normal" in row[2]]
    if not found:
        return None
    figure, axes = panels(2 * len(found), 2, 6, 3.9)
    for number, (name, study, schemes, bounds) in enumerate(found):
        for axis, draw_one in zip(axes[2 * number:], (draw_differences, draw_contrasts)):
            draw_one(axis, name, study, schemes, bounds)
    return captioned(figure, "Left: paired differences by seed, mean and 95% t interval at each density, "
                     "nudged sideways. Right: contrasts on the area under accuracy, mean and 95% interval; "
                     "dots: seeds. Grey: the equivalence margin.", axes[0])


def draw_differences(axis, name, study, schemes, bounds):
    def of(init):
        density, values = stats.matrix(schemes[init], stats.early_test_acc)
        return density, dict(zip((run["config"]["seed"] for run in schemes[init]), 100 * values))
    density, base = of("xavier_normal")
    for shift, init in enumerate([init for init in stats.STANDARD[1:] if init in schemes], -1):
        its, values = of(init)
        seeds = sorted(set(values) & set(base))
        length = min(len(its), len(density))
        gaps = np.array([values[seed][:length] - base[seed][:length] for seed in seeds])
        if len(gaps):
            bars(axis, 100 * its[:length] * (1 + 0.03 * shift), gaps, label=init, ms=3.5, lw=1,
                 elinewidth=0.8, **STYLES[init])
    axis.axhspan(-study.margin, study.margin, color="0.85", lw=0, zorder=0)
    density_axis(axis, density, "points")
    axis.set_title(f"{name}: less xavier_normal")


def draw_contrasts(axis, name, study, schemes, bounds):
    areas = {pair: stats.by_scheme(schemes, pair) for pair in bounds}
    rows = [(f"{label.split(':')[0]}, {stats.span(pair)}", stats.paired(areas[pair], weights))
            for pair in bounds for label, weights in stats.CONTRASTS.items()]
    rows = [(label, d) for label, d in rows if len(d) > 1]
    intervals(axis, rows, study.margin)
    axis.set_title(f"planned contrasts, n = {max((len(d) for _, d in rows), default=0)}")


def intervals(axis, rows, margin):
    """Means, intervals and seeds of [(label, differences)], from the top, on the band of equivalence."""
    for height, (label, d) in enumerate(rows[::-1]):
        axis.plot(stats.interval(d), [height] * 2, color="#0072B2", lw=2)
        axis.plot(d, np.full(len(d), height + 0.22), ".", color="0.6", ms=3)
        axis.plot(d.mean(), height, "o", color="#0072B2")
    axis.axvspan(-margin, margin, color="0.85", lw=0, zorder=0)
    axis.axvline(0, color="0.5", lw=1)
    axis.set(yticks=range(len(rows)), yticklabels=[label for label, _ in rows[::-1]], xlabel="points")


def heat(groups):
    """Scheme by pruning method: area under accuracy, coloured by its difference from the row's mean."""
    rows = {}
    for name in stats.METHODS:
        found = stats.under(groups, name)
        if all(found.get(init) for init in stats.STANDARD):
            rows[name] = {init: np.mean(list(seeds.values())) for init, seeds in found.items() if seeds}
    if not rows:
        return None
    inits = [*stats.STANDARD, *(init for init in stats.finalists(groups)[0]
                                if sum(init in row for row in rows.values()) > 1)]
    cells = np.array([[row.get(init, np.nan) for init in inits] for row in rows.values()])
    gaps = cells - np.nanmean(cells, 1, keepdims=True)
    figure, (axis,) = panels(1, 1, 9, 0.55 * len(rows) + 1.8)
    shown = axis.imshow(gaps, cmap="RdBu", norm=matplotlib.colors.SymLogNorm(0.2, vmin=-10, vmax=10),
                        aspect="auto")
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            gap = gaps[row, column]
            axis.text(column, row, f"{value:.2f}\n{gap:+.2f}", ha="center", va="center", fontsize=9,
                      color="white" if abs(gap) > 1 else "black")
    axis.set(xticks=range(len(inits)), yticks=range(len(rows)), yticklabels=list(rows))
    axis.set_xticklabels(inits, rotation=20, ha="right")
    axis.grid(False)
    figure.colorbar(shown, label="points from the row's mean", ticks=[-10, -1, 0, 1, 10], format="%g")
    return captioned(figure, "MNIST, fc, half of the weights a round: area under test accuracy at early stop "
                     "from 50 to 0.2% (filters 0.6%) in points, and its distance from the row's mean. "
                     "Exploratory.")


def methods(groups):
    """Accuracy against density under each way of pruning, a panel each."""
    inits = (*stats.STANDARD, *stats.finalists(groups)[0])
    found = {name: stats.exploring(groups, group) for name, group in stats.METHODS.items()}
    found = {name: schemes for name, schemes in found.items() if all(map(schemes.get, stats.STANDARD))}
    if not found:
        return None
    styles = scheme_styles(inits)
    figure, axes = panels(len(found), 3, 4.2, 3.1)
    for axis, (name, schemes) in zip(axes, found.items()):
        for init in filter(schemes.get, inits):
            density, values = stats.matrix(schemes[init], stats.early_test_acc)
            line(axis, density, 100 * values, label=init, lw=1.2, **{**styles[init], "ms": 3})
        density_axis(axis, (1, stats.TAIL[1]), "test accuracy (%)" if axis in axes[::3] else "")
        axis.set_xticks((100, 10, 1, 0.2), labels=("100", "10", "1", "0.2"))
        axis.set_title(f"{name}, n = {stats.ns(schemes)}", fontsize=10)
    return captioned(figure, "MNIST, fc, half of the weights a round: test accuracy at early stop, mean and "
                     "95% t interval over seeds. Each panel has its own axis. Exploratory.", axes[0])


def doses(groups):
    """Area against gain and against kurtosis, upper range and sparse end, by magnitude and by movement."""
    ways = {"by magnitude": stats.exploring(groups, stats.HALVED),
            "by movement": stats.exploring(groups, stats.METHODS["movement"])}
    inits = set().union(*ways.values())
    gains = {"xavier_normal": 1, **{init: float(init.split("@")[1]) for init in inits if "@" in init}}
    if len(gains) == 1 or not set(KURTOSIS) & inits:
        return None
    figure, axes = panels(4, 2, 5.5, 3.4)
    for index, (dose, label) in enumerate(((gains, "gain on Xavier normal's weights"),
                                           (KURTOSIS, "kurtosis of the weights, at Xavier's variance"))):
        for axis, bounds in zip(axes[index::2], [(1, stats.TAIL[0]), stats.TAIL]):
            for colour, shift, (name, schemes) in zip(("#0072B2", "#D55E00"), (0.98, 1.02), ways.items()):
                found = stats.dosed(stats.by_scheme(schemes, bounds), dose)
                if len(found) > 1:
                    values = padded(found.values())
                    x = [shift * value for value in found]
                    axis.plot(x, values.T, ".", color=colour, alpha=0.4, ms=4)
                    bars(axis, x, values, fmt="o-", color=colour, capsize=3, label=name)
            axis.set(xscale="log", xlabel=label, ylabel=f"area, {stats.span(bounds)} (%)")
            ticks = sorted(set(dose.values()))
            axis.set_xticks(ticks, labels=["inf" if label[0] == "k" and tick == KURTOSIS["shape_t4"]
                                           else f"{tick:g}" for tick in ticks])
            axis.set_xticks([], minor=True)
    return captioned(figure, "MNIST, fc, half of the weights a round: area under test accuracy at early "
                     f"stop. Circle: mean and 95% t interval over n = {len(values)} seeds (dots), which are "
                     "means where two schemes have one distribution. Exploratory.", axes[-1])


def shapes(groups):
    """Shapes less Xavier normal by their kurtosis, a line a way of pruning."""
    figure, (axis,) = panels(1, 1, 8.5, 4.5)
    for place, (name, color) in enumerate({"magnitude, layer by layer": "#0072B2", "movement": "#56B4E9",
                                           "SNIP, global": "#D55E00", "SynFlow, global": "#009E73"}.items()):
        areas = stats.under(groups, name)
        gaps = {init: stats.paired(areas, {"xavier_normal": -1, init: 1}) for init in stats.SHAPES
                if init != "xavier_normal"}
        gaps = {init: d for init, d in gaps.items() if len(d) > 1}
        if len(gaps) == len(stats.SHAPES) - 1:
            gaps["xavier_normal"] = np.zeros(len(gaps["shape_sign"]))
            x = [KURTOSIS[init] * (0.98 + 0.013 * place) for init in stats.SHAPES]
            bars(axis, x, padded(gaps[init] for init in stats.SHAPES), fmt="o-", color=color, capsize=3,
                 label=f"{name}, n = {min(map(len, gaps.values()))}")
    if not axis.lines:
        plt.close(figure)
        return None
    axis.axhline(0, color="0.5", lw=1)
    axis.set(xscale="log", xlabel="kurtosis of the initial weights, at Xavier's variance",
             ylabel="points less Xavier normal")
    axis.set_yscale("symlog", linthresh=1)
    axis.set_yticks([-10, -3, -1, 0, 1, 3], labels=["-10", "-3", "-1", "0", "1", "3"])
    axis.set_xticks([KURTOSIS[init] for init in stats.SHAPES], rotation=25, ha="right", labels=[
        f"{'inf' if init == 'shape_t4' else format(KURTOSIS[init], 'g')}  {init}" for init in stats.SHAPES])
    axis.set_xticks([], minor=True)
    return captioned(figure, "MNIST, fc, half of the weights a round: area under test accuracy at early stop "
                     "from 50 to 0.2%, paired by seed; mean and 95% t interval. The scale is linear within 1 "
                     "point, logarithmic beyond. Exploratory.", axis)


def mechanism(groups):
    """What survival has to do with the initial weight, and the signal at a level's start."""
    found = next((row for row in stats.studies(groups)), None)
    if not found:
        return None
    name, study, schemes, _ = found
    drawn = [init for init in stats.STANDARD if init in schemes]
    layers = list(schemes[drawn[0]][0]["levels"][0]["size"])
    rows = [*((f"{layer}: eps, 1: |w0| decides survival", ("layers", layer, "eps")) for layer in layers[:3]),
            *((f"{layer}: AUROC of |w0| for survival", ("layers", layer, "auroc")) for layer in layers[:3]),
            ("fc1: rms w0 / rms move of survivors", ("layers", layers[0], "rho")),
            ("gradient norm at the start", ("gradient_norm",)),
            ("std of logits at the start", ("logit_std",)),
            ("share of fc1 on always-dark pixels", ("dark_share",)),
            ("least inputs of a class", ("least_class_inputs",)),
            ("weights on a path / all weights", ("effective_density",))]
    figure, axes = panels(len(rows), 3, 4, 2.9)
    for axis, (label, keys) in zip(axes, rows):
        for init in drawn:
            density, values = stats.matrix(schemes[init], stats.diagnostic(*keys))
            line(axis, density, values, label=init, ms=2.5, lw=1.2, **STYLES[init])
        density_axis(axis, density, "")
        axis.set_title(label, fontsize=10)
        axis.set_xticks([tick for tick in (100, 10, 1, 0.2) if tick > 90 * np.nanmin(density)])
        axis.set_xticklabels([f"{tick:g}" for tick in axis.get_xticks()])
    return captioned(figure, f"{name}, mean and 95% t interval over seeds, by level.", axes[0])


def dark(groups):
    """First-layer weights kept on rarely lit pixels, and the contrasts without them, a row a study."""
    found = [row for row in stats.studies(groups) if stats.lights(row[1])]
    if not found:
        return None
    figure, axes = panels(2 * len(found), 2, 6, 3.6)
    for number, (name, study, schemes, _) in enumerate(found):
        lit, images = stats.lights(study)
        rare = lit < stats.RARE * images

        def share(level):
            return np.array(level["inputs"])[rare].sum() / sum(level["inputs"])
        for init in filter(schemes.get, stats.STANDARD):
            density, values = stats.matrix(schemes[init], share)
            line(axes[2 * number], density, 100 * values, label=init, ms=4, **STYLES[init])
        density_axis(axes[2 * number], density, "% of fc1's survivors")
        axes[2 * number].set_title(f"{name}: on rarely lit pixels ({rare.sum()})")
        rows = [(f"{label.split(':')[0]}, {what}", d) for at, _, label, _, parts in stats.accounts(groups)
                for what, d in parts.items() if at == name]
        intervals(axes[2 * number + 1], rows, study.margin)
        axes[2 * number + 1].set_title(f"contrasts over the sparse end, n = {len(rows[0][1]) if rows else 0}")
    return captioned(figure, f"Rarely lit: in fewer than {100 * stats.RARE:g}% of the training images. Left: "
                     "mean and 95% t interval. Right: by which weights count as remaining; mean, 95% "
                     "interval, seeds; grey: the equivalence margin. Exploratory.", axes[0])


def controlled(groups):
    """The ticket against its controls."""
    runs = {name: stats.exploring(groups, group).get("xavier_normal", [])
            for name, group in stats.CONTROLLED.items()}
    if not all(runs.values()):
        return None
    figure, (axis,) = panels(1, 1, 8, 4.5)
    for (name, its), color in zip(runs.items(), LAYERS[3:]):
        density, values = stats.matrix(its, stats.early_test_acc)
        mean = line(axis, density, 100 * values, color=color, marker="o", ms=4,
                    label=f"{name} (n = {len(its)})")
    density_axis(axis, density, "test accuracy at early stop (%)")
    axis.set_ylim(min(94.5, np.nanmin(mean)), None)
    axis.legend(fontsize=9)
    return captioned(figure, "MNIST, fc, Xavier normal, 20% a round. Band: 95% t interval over seeds.")


def earlier(groups):
    """The earlier study's true test accuracies beside this one's, LeNet-300-100 on MNIST."""
    table = json.loads((Path(__file__).parent / "report" / "earlier-study.json").read_text())["table"]
    schemes = stats.confirming(groups, stats.FULL)
    if not schemes:
        return None
    figure, axes = panels(2, 2, 6, 4.2, sharey=True)
    for init in filter(schemes.get, stats.STANDARD):
        row, look = table[f"lenet {init.replace('_', '-')}"], {"ms": 4, **STYLES[init]}
        mean = np.array(row["mean"])
        half = np.array(row["sd"]) * stats.t_quantile(row["n"] - 1) / row["n"] ** 0.5
        there = 0.8 ** np.arange(len(mean))
        axes[0].plot(100 * there, mean, label=init, **look)
        axes[0].fill_between(100 * there, mean - half, mean + half, color=look["color"], lw=0, alpha=0.15)
        density, values = stats.matrix(schemes[init], stats.final_test_acc)
        line(axes[1], density, 100 * values, **look)
    titles = f"earlier, n = {row['n']}: one reset for all", f"here, n = {stats.ns(schemes)}: its own draw"
    for axis, title in zip(axes, titles):
        density_axis(axis, there, "test accuracy at a level's end (%)" if axis is axes[0] else "")
        axis.set(title=title, ylim=(86, 98.6))
    return captioned(figure, "Left: stfwn/neural-network-pruning (2020), test accuracy from its logs, 20% a "
                     "round in every layer; all arms were reset to PyTorch's default weights. Right: this "
                     "study, 20%, output layer 10%. Mean and 95% t interval.", axes[0])


def of_group(figure, data_dir=None):
    """A group's figure, of the study's four schemes on MNIST."""
    def drawn(groups):
        schemes = {init: runs for init, runs in stats.confirming(groups, stats.FULL).items()
                   if init in stats.STANDARD}
        runs = sum(schemes.values(), [])
        return figure(Group(stats.FULL, schemes, runs, runs[0]["config"], STYLES, data_dir)) if runs else None
    return drawn


BOXES = {"seed, scheme": (0.09, 0.78), "initial weights w0\n(kept)": (0.33, 0.78),
         "w0 under the mask": (0.58, 0.78), "train 5 epochs,\nfresh Adam": (0.83, 0.78),
         "measure: validation\nand test accuracy": (0.83, 0.42),
         "rank |w| in each layer,\nremove a fifth": (0.58, 0.42), "new mask": (0.33, 0.42),
         "metrics, a record\na level": (0.83, 0.08), "tables, figures,\ntests": (0.58, 0.08)}
ARROWS = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 2), (4, 7), (7, 8)]


def diagram(groups):
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


STYLES = scheme_styles(())
STUDY = {"diagram": diagram, "tradeoff": tradeoff, "differences": differences, "heat": heat,
         "methods": methods, "doses": doses, "shapes": shapes, "mechanism": mechanism, "dark": dark,
         "controls": controlled, "earlier": earlier, "inputs": of_group(inputs), "inits": of_group(inits),
         "examples": of_group(examples, os.environ.get("DATA_DIR", "data"))}


def write(path, content):
    stats.write(path, content)
    print(path, flush=True)


def png(figure):
    """A figure as bytes, of 256 colours; it is closed."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    plt.close(figure)
    image = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=8)
    image.save(packed, format="png", optimize=True)
    return packed.getvalue()


def draw(group, folder):
    """Writes a group's figures and tables; unpruned baselines have one level and so no curves."""
    for name, function in FIGURES.items() if group.config["pruner"] != "none" else ():
        figure = function(group)
        if figure:
            write(folder / f"{group.name}-{name}.png", png(figure))
    for kind, function in TABLES.items():
        write(folder / f"{group.name}-table.{kind}", function(group.name, group.schemes).encode())


def draw_study(groups, folder):
    for name, function in STUDY.items():
        figure = function(groups)
        if figure:
            write(folder / f"study-{name}.png", png(figure))
        else:
            print(f"study-{name}: not run yet", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", default="runs", help="folder of runs")
    parser.add_argument("--figures", default="figures", help="folder to write to")
    parser.add_argument("--data-dir", default=os.environ.get("DATA_DIR", "data"), help="folder of <name>.npz")
    parser.add_argument("--study", action="store_true", help="draw the report's figures, over all groups")
    args = parser.parse_args()
    runs = [run for run in stats.read(args.runs) if run["levels"]]
    if not runs:
        raise SystemExit(f"No run in {args.runs} has finished a level yet: wait for one.")
    matplotlib.use("Agg")
    plt.rcParams.update(STYLE)
    styles = scheme_styles(run["config"]["init"] for run in runs)
    try:
        Path(args.figures).mkdir(parents=True, exist_ok=True)
        if args.study:
            return draw_study(stats.groups(runs), Path(args.figures))
        for name, schemes in stats.groups(runs).items():
            runs = sum(schemes.values(), [])
            for what, values in stats.mixed(runs).items():
                each = ", ".join(f"{value} ({count} runs)" for value, count in values.items())
                print(f"{name}: the lines mix {what}: {each}.", file=sys.stderr)
            draw(Group(name, schemes, runs, runs[0]["config"], styles, args.data_dir), Path(args.figures))
    except OSError as error:
        raise SystemExit(f"Cannot write to {args.figures} ({error}): name another folder with --figures.")


if __name__ == "__main__":
    main()
