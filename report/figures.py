"""Draws the figures of the report: each a function of {group: {scheme: runs}}, as stats.groups has them;
nothing where it has not been run.

    python report/figures.py [--runs results --figures figures]
"""
import argparse
import itertools
import json
import os
import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import plot  # noqa: E402
import stats  # noqa: E402
import tables  # noqa: E402
from plot import captioned, panels, plain_ticks, scheme_styles  # noqa: E402

STYLES = scheme_styles(())
KURTOSIS = {"shape_sign": 1, "shape_arcsine": 1.5, "shape_uniform": 1.8, "xavier_uniform": 1.8,
            "shape_trunc2": 2.37, "truncated_glorot": 2.37, "shape_normal": 3, "xavier_normal": 3,
            "shape_laplace": 6, "shape_t4": 12}                         # t4's is infinite: drawn at 12


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
    """Accuracy against density, a column a network: from dense to where it matters, and all."""
    found = list(tables.studies(groups))
    if not found:
        return None
    figure, axes = panels(2 * len(found), len(found), 4.5, 3.2)
    for number, (name, study, schemes, _) in enumerate(found):
        drawn = {init: stats.matrix(schemes[init], stats.early_test_acc)
                 for init in stats.STANDARD if init in schemes}
        dense = min(100 * np.nanmean(values[:, 0]) for _, values in drawn.values())
        for axis, part in zip(axes[number::len(found)], (", upper end", "")):
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
    """Each scheme less Xavier normal at every density, and the planned contrasts."""
    return compared(groups, "xavier_normal", stats.STANDARD[1:], tables.CONTRASTS, "planned contrasts")


def customs(groups):
    """The finalists, and Xavier uniform, less the best standard scheme of the screen."""
    finalists, base = tables.finalists(groups)
    if not finalists:
        return None
    inits = [init for init in (*finalists, "xavier_uniform") if init != base]
    return compared(groups, base, inits, {init: {init: 1, base: -1} for init in inits}, f"areas less {base}")


def compared(groups, base, inits, contrasts, what):
    """Paired differences against a scheme at every density, and contrasts as intervals, of studies with two
    seeds or more of all."""
    found = [row for row in tables.studies(groups)
             if min(len(row[2].get(init, [])) for init in (base, *inits)) > 1]
    if not found:
        return None
    figure, axes = panels(2 * len(found), len(found), 4.5, 3.2)
    for number, (name, study, schemes, bounds) in enumerate(found):
        above, below = axes[number::len(found)]
        draw_differences(above, study, schemes, base, inits)
        above.set_title(name)
        n = draw_contrasts(below, study, schemes, bounds, contrasts)
        below.set_title(f"{what}, n = {n}")
    return captioned(figure, "Above: paired differences by seed, mean and 95% t interval at each density, "
                     "nudged sideways. Below: contrasts on the area under accuracy, mean and 95% interval; "
                     "dots: seeds. Grey: the equivalence margin.", axes[0])


def draw_differences(axis, study, schemes, base, inits):
    def of(init):
        density, values = stats.matrix(schemes[init], stats.early_test_acc)
        return density, dict(zip((run["config"]["seed"] for run in schemes[init]), 100 * values))
    (density, its), styles = of(base), scheme_styles(inits)
    for shift, init in enumerate(inits, -1):
        own, values = of(init)
        seeds = sorted(set(values) & set(its))
        length = min(len(own), len(density))
        gaps = np.array([values[seed][:length] - its[seed][:length] for seed in seeds])
        if len(gaps):
            bars(axis, 100 * own[:length] * (1 + 0.03 * shift), gaps, label=init, ms=3.5, lw=1,
                 elinewidth=0.8, **styles[init])
    axis.axhspan(-study.margin, study.margin, color="0.85", lw=0, zorder=0)
    density_axis(axis, density, f"points, less {base}")


def draw_contrasts(axis, study, schemes, bounds, contrasts):
    """Draws them; returns how many seeds there are."""
    areas = {pair: tables.by_scheme(schemes, pair) for pair in bounds}
    rows = [(f"{re.split(':| of', label)[0]},\n{tables.span(pair)}", stats.paired(areas[pair], weights))
            for pair in bounds for label, weights in contrasts.items()]
    rows = [(label, d) for label, d in rows if len(d) > 1]
    intervals(axis, rows, study.margin)
    return max((len(d) for _, d in rows), default=0)


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
    """Scheme by pruning method: area under accuracy, coloured by its distance from the four schemes'."""
    rows = {}
    for name in tables.METHODS:
        found = tables.under(groups, name)
        if all(found.get(init) for init in stats.STANDARD):
            rows[name] = {init: np.mean(list(seeds.values())) for init, seeds in found.items() if seeds}
    if not rows:
        return None
    inits = [*stats.STANDARD, *(init for init in tables.finalists(groups)[0]
                                if sum(init in row for row in rows.values()) > 1)]
    cells = np.array([[row.get(init, np.nan) for init in inits] for row in rows.values()])
    gaps = cells - cells[:, :len(stats.STANDARD)].mean(1, keepdims=True)
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
    figure.colorbar(shown, label="points from the four schemes' mean", ticks=[-10, -1, 0, 1, 10], format="%g",
                    extend="min")
    return captioned(figure, "MNIST, fc, half of the weights a round: area under test accuracy at early stop "
                     "from 50 to 0.2% (filters 0.6%) in points, and its distance from the mean of the "
                     "four standard schemes. Exploratory.")


def methods(groups):
    """Accuracy against density under each way of pruning, a panel each."""
    inits = (*stats.STANDARD, *tables.finalists(groups)[0])
    found = {name: tables.exploring(groups, group) for name, group in tables.METHODS.items()}
    found = {name: schemes for name, schemes in found.items() if all(map(schemes.get, stats.STANDARD))}
    if not found:
        return None
    styles = scheme_styles(inits)
    figure, axes = panels(len(found), 4, 3.5, 3)
    for axis, (name, schemes) in zip(axes, found.items()):
        for init in filter(schemes.get, inits):
            density, values = stats.matrix(schemes[init], stats.early_test_acc)
            line(axis, density, 100 * values, label=init, lw=1.2, **{**styles[init], "ms": 3})
        density_axis(axis, (1, tables.TAIL[1]), "test accuracy (%)" if axis in axes[::4] else "")
        axis.set_xticks((100, 10, 1, 0.2), labels=("100", "10", "1", "0.2"))
        axis.set_title(f"{name}, n = {tables.ns(schemes)}", fontsize=10)
    return captioned(figure, "MNIST, fc, half of the weights a round: test accuracy at early stop, mean and "
                     "95% t interval over seeds. Each panel has its own axis. The area of filters, which has "
                     "levels down to 0.3%, is taken to 0.6%. Exploratory.", axes[0])


def doses(groups):
    """Area against gain and against kurtosis, upper range and sparse end, by magnitude and by movement."""
    ways = {"by magnitude": tables.exploring(groups, tables.HALVED),
            "by movement": tables.exploring(groups, tables.METHODS["movement"])}
    inits = set().union(*ways.values())
    gains = {"xavier_normal": 1, **{init: float(init.split("@")[1]) for init in inits if "@" in init}}
    if len(gains) == 1 or not set(KURTOSIS) & inits:
        return None
    figure, axes = panels(4, 2, 5.5, 3.4)
    counts = set()
    for index, (dose, label) in enumerate(((gains, "gain on Xavier normal's weights"),
                                           (KURTOSIS, "kurtosis of the weights, at Xavier's variance"))):
        for axis, bounds in zip(axes[index::2], [(1, tables.TAIL[0]), tables.TAIL]):
            for colour, shift, (name, schemes) in zip(("#0072B2", "#D55E00"), (0.98, 1.02), ways.items()):
                found = tables.dosed(tables.by_scheme(schemes, bounds), dose)
                if len(found) > 1:
                    values = padded(found.values())
                    counts.add(len(values))
                    x = [shift * value for value in found]
                    axis.plot(x, values.T, ".", color=colour, alpha=0.4, ms=4)
                    bars(axis, x, values, fmt="o-", color=colour, capsize=3, label=name)
            axis.set(xscale="log", xlabel=label, ylabel=f"area, {tables.span(bounds)} (%)")
            ticks = sorted(set(dose.values()))
            axis.set_xticks(ticks, labels=["inf" if label[0] == "k" and tick == KURTOSIS["shape_t4"]
                                           else f"{tick:g}" for tick in ticks])
            axis.set_xticks([], minor=True)
    if not counts:
        plt.close(figure)
        return None
    n = "/".join(map(str, sorted(counts)))
    return captioned(figure, "MNIST, fc, half of the weights a round: area under test accuracy at early "
                     f"stop. Circle: mean and 95% t interval over n = {n} seeds (dots), which are "
                     "means where two schemes have one distribution. Exploratory.", axes[-1])


def shapes(groups):
    """Shapes less Xavier normal by their kurtosis, a line a way of pruning."""
    figure, (axis,) = panels(1, 1, 8.5, 4.5)
    for place, (name, color) in enumerate({"magnitude, layer by layer": "#0072B2", "movement": "#56B4E9",
                                           "SNIP, global": "#D55E00", "SynFlow, global": "#009E73"}.items()):
        areas = tables.under(groups, name)
        gaps = {init: stats.paired(areas, {"xavier_normal": -1, init: 1}) for init in tables.SHAPES
                if init != "xavier_normal"}
        gaps = {init: d for init, d in gaps.items() if len(d) > 1}
        if len(gaps) == len(tables.SHAPES) - 1:
            gaps["xavier_normal"] = np.zeros(len(gaps["shape_sign"]))
            x = [KURTOSIS[init] * (0.98 + 0.013 * place) for init in tables.SHAPES]
            bars(axis, x, padded(gaps[init] for init in tables.SHAPES), fmt="o-", color=color, capsize=3,
                 label=f"{name}, n = {min(map(len, gaps.values()))}")
    if not axis.lines:
        plt.close(figure)
        return None
    axis.axhline(0, color="0.5", lw=1)
    axis.set(xscale="log", xlabel="kurtosis of the initial weights, at Xavier's variance",
             ylabel="points less Xavier normal")
    axis.set_yscale("symlog", linthresh=1)
    axis.set_yticks([-10, -3, -1, 0, 1, 3], labels=["-10", "-3", "-1", "0", "1", "3"])
    axis.set_xticks([KURTOSIS[init] for init in tables.SHAPES], rotation=25, ha="right", labels=[
        f"{'inf' if init == 'shape_t4' else format(KURTOSIS[init], 'g')}  {init}" for init in tables.SHAPES])
    axis.set_xticks([], minor=True)
    return captioned(figure, "MNIST, fc, half of the weights a round: area under test accuracy at early stop "
                     "from 50 to 0.2%, paired by seed; mean and 95% t interval. The scale is linear within 1 "
                     "point, logarithmic beyond. Exploratory.", axis)


def say(groups):
    """Schemes by the say that initial size has in what survives: their areas less Xavier normal's."""
    found = [(name, tables.say_of(schemes, "rho"), pair, tables.by_scheme(schemes, pair))
             for name, schemes, bounds in tables.many_schemes(groups) for pair in bounds
             if len(schemes) > len(stats.STANDARD)]
    found = [row for row in found if row[1].get("xavier_normal")]
    if not found:
        return None
    figure, axes = panels(len(found), 4, 4.3, 3.6)
    named = (*stats.STANDARD, *tables.finalists(groups)[0])
    for axis, row in zip(axes, found):
        draw_say(axis, named, *row)
    return captioned(figure, "A point a scheme. Horizontally: how far its survivors in fc1 began from zero, "
                     "in units of how far they typically moved, at 6 to 7% of the weights. Vertically: its "
                     "area less that of Xavier normal, paired by seed, mean and 95% t interval; an axis that "
                     "goes below -2 is logarithmic beyond 1 point. Exploratory.", axes[0])


def draw_say(axis, named, name, measured, pair, areas):
    gaps = {init: stats.paired(areas, {"xavier_normal": -1, init: 1}) for init in areas if measured[init]}
    gaps["xavier_normal"] = np.zeros(len(areas["xavier_normal"]))
    styles = {init: (look["color"], look["marker"]) for init, look in scheme_styles(named).items()}
    families = {init: (*styles[init], [init]) for init in named} | {
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
    axis.set(title=f"{name}, n = {n}", xscale="log", xlabel="rms w0 / rms move",
             ylabel=f"area {tables.span(pair)}, points")
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


def mechanism(groups):
    """What survival has to do with the initial weight, and the signal at a level's start."""
    found = next((row for row in tables.studies(groups)), None)
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
            ("% of fc1's survivors on always-dark pixels", ("dark_share",)),
            ("least inputs of a class", ("least_class_inputs",)),
            ("% of the weights remaining on a path", ("effective_density",))]
    figure, axes = panels(len(rows), 3, 4, 2.9)
    for axis, (label, keys) in zip(axes, rows):
        for init in drawn:
            density, values = stats.matrix(schemes[init], stats.diagnostic(*keys))
            if keys == ("effective_density",):
                values = values / density
            if label.startswith("%"):
                values = 100 * values
            line(axis, density, values, label=init, ms=2.5, lw=1.2, **STYLES[init])
        density_axis(axis, density, "")
        if keys[-1] in ("gradient_norm", "logit_std", "least_class_inputs"):
            axis.set_yscale("log")
        if keys[-1] == "auroc":
            axis.axhline(0.5, color="0.5", ls=":", lw=1)
        axis.set_title(label, fontsize=10)
        axis.set_xticks([tick for tick in (100, 10, 1, 0.2) if tick > 90 * np.nanmin(density)])
        axis.set_xticklabels([f"{tick:g}" for tick in axis.get_xticks()])
    return captioned(figure, f"{name}, mean and 95% t interval over seeds, by level. Dotted: chance.",
                     axes[0])


def dark(groups):
    """First-layer weights kept on rarely lit pixels, and the contrasts without them, a row a study."""
    found = [row for row in tables.studies(groups) if tables.lights(row[1])]
    if not found:
        return None
    figure, axes = panels(2 * len(found), 2, 6, 3.6)
    for number, (name, study, schemes, _) in enumerate(found):
        lit, images = tables.lights(study)
        rare = lit < tables.RARE * images
        for init in filter(schemes.get, stats.STANDARD):
            density, values = stats.matrix(schemes[init], tables.share_on(rare))
            line(axes[2 * number], density, 100 * values, label=init, ms=4, **STYLES[init])
        density_axis(axes[2 * number], density, "% of fc1's survivors")
        axes[2 * number].set_title(f"{name}: on rarely lit pixels ({rare.sum()})")
        rows = [(f"{label.split(':')[0]}, {what}", d) for at, _, label, _, parts in tables.accounts(groups)
                for what, d in parts.items() if at == name]
        intervals(axes[2 * number + 1], rows, study.margin)
        axes[2 * number + 1].set_title(f"contrasts over the sparse end, n = {len(rows[0][1]) if rows else 0}")
    return captioned(figure, f"Rarely lit: in fewer than {100 * tables.RARE:g}% of the training images. "
                     "Left: mean and 95% t interval. Right: by which weights count as remaining; mean, 95% "
                     "interval, seeds; grey: the equivalence margin. Exploratory.", axes[0])


def controlled(groups):
    """The ticket against its controls."""
    runs = {name: tables.exploring(groups, group).get("xavier_normal", [])
            for name, group in tables.CONTROLLED.items()}
    if not all(runs.values()):
        return None
    figure, (axis,) = panels(1, 1, 8, 4.5)
    for (name, its), color, marker in zip(runs.items(), [*plot.LAYERS[2:6], "black"], "osD^v"):
        density, values = stats.matrix(its, stats.early_test_acc)
        mean = line(axis, density, 100 * values, color=color, marker=marker, ms=4,
                    label=f"{name} (n = {len(its)})")
    density_axis(axis, density, "test accuracy at early stop (%)")
    axis.set_ylim(min(94.5, np.nanmin(mean)), None)
    axis.legend(fontsize=9)
    return captioned(figure, "MNIST, fc, Xavier normal, 20% a round. Band: 95% t interval over seeds.")


def earlier(groups):
    """The earlier study's true test accuracies beside this one's, LeNet-300-100 on MNIST."""
    table = json.loads((HERE / "earlier-study.json").read_text())["table"]
    schemes = tables.confirming(groups, tables.FULL)
    if not schemes.keys() & set(stats.STANDARD):
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
    titles = f"earlier, n = {row['n']}: one reset for all", f"here, n = {tables.ns(schemes)}: its own draw"
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


def examples(groups, folder=None):
    """Eight training images of each class of every data set, or None and a line that says what is lacking."""
    folder, sheets = Path(folder or os.environ.get("DATA_DIR", "data")), {}
    for name, title in {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}.items():
        try:
            with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
                images, labels = arrays["x_train"], arrays["y_train"].ravel()
        except Exception as error:      # whatever is wrong with the file, only this figure is lost
            print(f"study-examples: {folder / name}.npz cannot be read ({error})", file=sys.stderr)
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


def of_group(figure):
    """A group's figure, of the study's four schemes on MNIST."""
    def drawn(groups):
        schemes = {init: runs for init, runs in tables.confirming(groups, tables.FULL).items()
                   if init in stats.STANDARD}
        runs = sum(schemes.values(), [])
        return runs and figure(plot.Group(tables.FULL, schemes, runs, runs[0]["config"], STYLES, None))
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


FIGURES = {"diagram": diagram, "tradeoff": tradeoff, "differences": differences, "customs": customs,
           "heat": heat, "methods": methods, "doses": doses, "shapes": shapes, "say": say,
           "mechanism": mechanism,
           "dark": dark, "controls": controlled, "earlier": earlier, "inputs": of_group(plot.inputs),
           "inits": of_group(plot.inits), "examples": examples}


def draw(groups, folder):
    for name, function in FIGURES.items():
        figure = function(groups)
        if figure:
            plot.write(folder / f"study-{name}.png", plot.png(figure))
        else:
            print(f"study-{name}: nothing to draw it from", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description="Draw the figures of the report.")
    parser.add_argument("--runs", type=Path, default=HERE.parent / "results", help="folder of runs' metrics")
    parser.add_argument("--figures", type=Path, default=HERE.parent / "figures", help="folder to write to")
    args = parser.parse_args()
    matplotlib.use("Agg")
    plt.rcParams.update(plot.STYLE)
    try:
        draw(stats.groups([run for run in stats.read(args.runs) if run["levels"]]), args.figures)
    except OSError as error:
        raise SystemExit(f"Cannot write to {args.figures} ({error}): name another folder with --figures.")


if __name__ == "__main__":
    main()
