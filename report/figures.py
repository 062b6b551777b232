"""Draws the figures of the report: each a function of {group: {scheme: runs}}, as stats.groups has them;
nothing where it has not been run. Their captions are in report.md.j2.

    python report/figures.py [--runs results --figures figures]
"""
import argparse
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import plot  # noqa: E402
import stats  # noqa: E402
from formatting import CONTRAST_LABELS, LABELS, seed_counts_text, span  # noqa: E402
from inference import FEWEST, estimate, half_width, paired  # noqa: E402
from inits import RARE  # noqa: E402
from mechanism import active_images, influence_of, many_schemes, share_on  # noqa: E402
from plot import keyed_above, panels, scheme_styles  # noqa: E402
from stats import STANDARD, early_test_acc, matrix, scheme_name  # noqa: E402
from study import (AT_INITIALIZATION, BY_KURTOSIS, CONTRASTS, CONTROL_GROUPS, FULL,  # noqa: E402
                   METHODS, SPARSE, STUDIES, Study, before_training, by_scheme, candidates, confirming,
                   exploring, minus, seed_counts, studies, under)

from matplotlib import pyplot as plt  # noqa: E402  after plot, which sees to it that this import succeeds
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.markers import CARETDOWN  # noqa: E402

STYLES = scheme_styles(())
WIDTH, TEXT = 9, 11             # inches and points: printed 7 inches wide, text is of 8.6 points
ENDS = (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50)  # last ticks of density
KURTOSIS = {"shape_sign": 1, "shape_arcsine": 1.5, "shape_uniform": 1.8, "xavier_uniform": 1.8,
            "shape_trunc2": 2.37, "truncated_glorot": 2.37, "shape_normal": 3, "xavier_normal": 3,
            "shape_laplace": 6, "shape_t4": math.inf}
TESTED = ("xavier_uniform", "shape_t4")     # under pruning at initialization
COLORS = {"magnitude, layer by layer": "#0072B2", "movement": "#CC79A7", "SNIP, global": "#D55E00",
          "SynFlow, global": "#009E73"}
FLOOR = -4.5                      # points: what is lower is drawn at the edge


def rows_of(count: int) -> tuple[int, int]:
    """Rows and columns for a panel a study: at most three columns, as full as they can be."""
    rows = math.ceil(count / 3)
    return rows, math.ceil(count / rows)


def sheet(count: int, columns: int, height: float, width: float = WIDTH, **how) -> tuple[Figure, list]:
    """A figure of `count` panels, in all `height` by `width` inches: the figure, the list of its axes."""
    columns = min(count, columns)
    return panels(count, columns, width / columns, (height - 1) / math.ceil(count / columns), **how)


def density_axis(axis, density: np.ndarray, label: str) -> None:
    """A logarithmic axis of % of weights remaining, unpruned networks left, with a tick near either end."""
    low = 80 * np.nanmin(density)
    few = low < 2 and axis.get_subplotspec().get_gridspec().ncols > 2
    last = min(tick for tick in ENDS if tick >= low)
    ticks = [tick for tick in ((100, 10, 1) if few else plot.TICKS) if tick > 1.5 * last] + [last]
    axis.set(xscale="log", xlim=(112, low), xlabel="weights remaining (%)", ylabel=label)
    axis.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)


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


def two_lines(title: str, n: int | str) -> str:
    """A study's title as two lines: the network; data and number of seeds."""
    return title.replace(", ", "\n", 1) + f", n = {n}"


def tradeoff(groups: dict) -> Figure | None:
    """Accuracy against density, a panel a network, and the mean of the unpruned networks."""
    found = shown_studies(groups)
    if not found:
        return None
    rows, columns = rows_of(len(found))
    figure, axes = sheet(len(found), columns, 0.8 + 2.9 * rows)
    for axis, (_, study, schemes) in zip(axes, found):
        draw_tradeoff(axis, study, schemes)
    return keyed_above(figure, axes[0])


def draw_tradeoff(axis, study: Study, schemes: dict) -> None:
    """Accuracy of the four schemes against density, and the mean of the unpruned networks."""
    drawn = {init: matrix(schemes[init], early_test_acc) for init in STANDARD if init in schemes}
    means = [line(axis, density, 100 * values, label=scheme_name(init), ms=4, lw=1.2, **STYLES[init])
             for init, (density, values) in drawn.items()]
    unpruned = np.mean([mean[0] for mean in means])
    axis.axhline(unpruned, color="0.3", ls=":", lw=1.2)
    axis.text(0.3, unpruned, "unpruned", transform=axis.get_yaxis_transform(), ha="center", va="top")
    sparsest = min((density for density, _ in drawn.values()), key=np.nanmin)
    density_axis(axis, sparsest, "test accuracy (%)" if axis.get_subplotspec().is_first_col() else "")
    axis.set_title(two_lines(study.title, seed_counts_text([len(values) for _, values in drawn.values()])))


def shown_studies(groups: dict) -> list[tuple]:
    """The rows of `studies`; of Conv-2's two the first, three seeds, only while the second is not there."""
    found = {row[0]: row for row in studies(groups)}
    return [row for name, row in found.items() if name != "conv2-first" or "conv2" not in found]


def studies_with(groups: dict, inits: list[str], seeds: int = 2) -> list[tuple]:
    """The rows of `shown_studies` that have so many seeds or more of all these schemes."""
    return [row for row in shown_studies(groups) if min(len(row[2].get(init, [])) for init in inits) >= seeds]


def differences(groups: dict) -> Figure | None:
    """Each scheme minus Xavier normal at every density and, below, the planned contrasts, of studies with
    seeds enough for a test."""
    found = studies_with(groups, STANDARD, FEWEST)
    if not found:
        return None
    blocks, columns = rows_of(len(found))
    figure, axes = sheet(2 * columns * blocks, columns, 0.5 + 6 * blocks)
    pairs = np.reshape(axes, (blocks, 2, columns)).swapaxes(1, 2).reshape(-1, 2)
    contrasts = {CONTRAST_LABELS[name]: weights for name, weights in CONTRASTS.items()}
    for spare in pairs[len(found):].flat:
        spare.remove()
    for (above, below), (_, study, schemes) in zip(pairs, found):
        draw_differences(above, study, schemes, "xavier_normal", STANDARD[1:])
        n = draw_contrasts(below, study, schemes, contrasts)
        above.set_title(two_lines(study.title, n))
    lowest = min(below.get_ylim()[0] for _, below in pairs[:len(found)])
    for above, below in pairs[:len(found)]:
        below.set_ylim(bottom=lowest)       # so that a contrast has the same height in every panel
        if not below.get_subplotspec().is_first_col():
            above.set_ylabel("")
            below.tick_params(labelleft=False)
    return keyed_above(figure, axes[0])


def customs(groups: dict) -> Figure | None:
    """The candidate schemes and the two best standard ones, minus the best standard scheme of the screen, on
    Conv-2 minus Xavier uniform: there at every density, and in every study over its ranges."""
    chosen, best = candidates(groups)
    found = studies_with(groups, [best, chosen[0], "xavier_uniform"]) if chosen else []
    bases = {name: "xavier_uniform" if name.startswith("conv2") else best for name, *_ in found}
    conv = next((name for name in bases if name.startswith("conv2")), None)
    if not conv:
        return None
    heights = [len(study.ranges) * (len(chosen) + 2) + 3 for _, study, _ in found]
    figure, axes = plt.subplot_mosaic([["by density", name] for name in bases], height_ratios=heights,
                                      width_ratios=(1, 0.8), figsize=(WIDTH, 1 + 0.21 * sum(heights)))
    for name, study, schemes in found:
        base = bases[name]
        inits = [init for init in (*chosen, "xavier_uniform", best) if init != base and init in schemes]
        n = draw_contrasts(axes[name], study, schemes,
                           {scheme_name(init): {init: 1, base: -1} for init in inits})
        axes[name].set_title(f"{study.title}, n = {n}")
        axes[name].set_xlabel(f"minus {scheme_name(base)} (points)")
        if name == conv:
            draw_differences(axes["by density"], study, schemes, base, inits)
            axes["by density"].set_title(f"{study.title}, n = {n}")
    return keyed_above(figure, axes["by density"])


def draw_differences(axis, study: Study, schemes: dict, base: str, inits: list[str]) -> None:
    """Schemes minus `base` within seeds, at every density."""
    def of(init):
        density, values = matrix(schemes[init], early_test_acc)
        return density, dict(zip((run["config"]["seed"] for run in schemes[init]), 100 * values))
    inits = list(inits)
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
    density_axis(axis, density, f"test accuracy minus\n{scheme_name(base)}'s (points)")


def draw_contrasts(axis, study: Study, schemes: dict, contrasts: dict) -> int:
    """Draws {label: weights} from the top, a block for each of the study's ranges, on the band of
    equivalence; returns how many seeds there are."""
    labels, counts, height = {}, [0], 0
    for bounds in study.ranges:
        means = by_scheme(schemes, bounds)
        axis.text(0.98, height, span(bounds), transform=axis.get_yaxis_transform(), ha="right", va="center")
        for label, weights in contrasts.items():
            height, d = height - 1, paired(means, weights)
            if len(d) > 1:
                draw_interval(axis, height, d)
                labels[height] = label
                counts.append(len(d))
        height -= 1
    axis.axvspan(-study.margin, study.margin, color="0.85", lw=0, zorder=0)
    axis.axvline(0, color="0.5", lw=1)
    axis.set(ylim=(height + 0.4, 0.6), yticks=list(labels), yticklabels=labels.values(),
             xlabel="difference (points)")
    return max(counts)


def draw_interval(axis, height: float, d: np.ndarray) -> None:
    """The mean of differences, its 95% interval and, above it, every seed's."""
    found = estimate(d)
    axis.plot((found.low, found.high), [height] * 2, color="#0072B2", lw=2)
    axis.plot(d, np.full(len(d), height + 0.32), ".", color="0.6", ms=3)
    axis.plot(found.mean, height, "o", color="#0072B2", ms=5)


def methods(groups: dict) -> Figure | None:
    """Accuracy against density by magnitude and under pruning at initialization."""
    inits = (*STANDARD, *candidates(groups)[0])
    found = {name: exploring(groups, METHODS[name])
             for name in ("magnitude, layer by layer", *AT_INITIALIZATION)}
    found = {name: schemes for name, schemes in found.items() if all(map(schemes.get, STANDARD))}
    if not found:
        return None
    styles = scheme_styles(inits)
    figure, axes = sheet(len(found), 3, 4, sharey=True)
    for axis, (name, schemes) in zip(axes, found.items()):
        for init in filter(schemes.get, inits):
            density, values = matrix(schemes[init], early_test_acc)
            line(axis, density, 100 * values, label=scheme_name(init), lw=1.2, **{**styles[init], "ms": 4})
        density_axis(axis, (1, SPARSE[1]), "test accuracy (%)" if axis is axes[0] else "")
        axis.set_title(f"{name}, n = {seed_counts_text(seed_counts(schemes))}")
    return keyed_above(figure, *axes)


def doses(groups: dict) -> Figure | None:
    """Mean accuracy at extreme sparsity against the gain on Xavier normal, by magnitude and by movement."""
    found = {name: under(groups, name, SPARSE) for name in ("magnitude, layer by layer", "movement")}
    gains = {init: float(init.partition("@")[2] or 1) for means in found.values() for init in means
             if init.partition("@")[0] == "xavier_normal"}
    inits = sorted(gains, key=gains.get)
    drawn = {name: own for name, means in found.items() for own in [[i for i in inits if means.get(i)]]
             if len(own) > 1}
    if not drawn:
        return None
    figure, (axis,) = sheet(1, 1, 4.2)
    for shift, (name, own) in zip((0.98, 1.02), drawn.items()):
        x, values = [shift * gains[init] for init in own], padded(found[name][init].values() for init in own)
        axis.plot(x, values.T, ".", color=COLORS[name], alpha=0.4, ms=5)
        bars(axis, x, values, fmt="o-", color=COLORS[name], capsize=3, label=f"{name}, n = {len(values)}")
    axis.set(xscale="log", xlabel="gain: factor on Xavier normal's weights",
             ylabel=f"mean accuracy (%),\n{span(SPARSE)} of the weights")
    axis.set_xticks(list(gains.values()), labels=[f"{gain:g}" for gain in gains.values()])
    axis.set_xticks([], minor=True)
    return keyed_above(figure, axis)


def shapes(groups: dict) -> Figure | None:
    """Distributions minus Xavier normal in the order of their kurtosis, a line a way of pruning; under
    pruning at initialization also those that were tested."""
    found = shape_gaps(groups)
    after, before = ([name for name in found if (name in AT_INITIALIZATION) == at] for at in (False, True))
    if not after or not before:
        return None
    figure, axes = sheet(2, 2, 4.6)
    draw_shapes(axes[0], groups, {name: found[name] for name in after})
    axes[0].set(title="pruning after training", ylabel="mean accuracy minus\nXavier normal's (points)")
    draw_shapes(axes[1], groups, {name: found[name] for name in before})
    axes[1].set_title("pruning at initialization")
    return keyed_above(figure, *axes)


def shape_gaps(groups: dict) -> dict[str, dict]:
    """{way of pruning: `minus_normal` of the distributions}, of those that have them all."""
    found = {name: minus_normal(under(groups, name), BY_KURTOSIS) for name in COLORS}
    return {name: gaps for name, gaps in found.items() if len(gaps) == len(BY_KURTOSIS)}


def draw_shapes(axis, groups: dict, found: dict) -> None:
    """Rows of `shape_gaps`, and beside them, of pruning at initialization, the seeds of the test."""
    inits = list(next(iter(found.values())))
    for place, (name, gaps) in enumerate(found.items()):
        x, style = np.arange(len(inits)) + 0.12 * place - 0.1, {"color": COLORS[name], "capsize": 3, "ms": 6}
        n = min(map(len, gaps.values()))
        bars(axis, x, padded(gaps.values()), fmt="o-", label=f"{name}, n = {n}", **style)
        tested = minus_normal(under(groups, name, choose=before_training), TESTED)
        if name in AT_INITIALIZATION and tested:
            n = min(map(len, tested.values()))
            bars(axis, x[list(map(inits.index, tested))] + 0.24, padded(tested.values()), fmt="D",
                 mfc="white", label=f"{name}: test, n = {n}", **style)
    labels = [f"{scheme_name(init)}, {KURTOSIS[init]:g}".replace("inf", "∞") for init in inits]
    axis.axhline(0, color="0.5", lw=1)
    axis.set_xlabel("initial distribution, its kurtosis")
    axis.set_xticks(range(len(labels)), labels=labels, rotation=40, ha="right", rotation_mode="anchor")


def minus_normal(means: dict, inits: Iterable[str]) -> dict[str, np.ndarray]:
    """{scheme: its differences from Xavier normal by seed}, of those of `inits` with two or more."""
    normal = dict.fromkeys(inits, means.get("xavier_normal", {}))
    gaps = minus({init: means.get(init, {}) for init in inits}, normal)
    return {init: np.array([*d.values()]) for init, d in gaps.items() if len(d) > 1}


def influence(groups: dict) -> Figure | None:
    """Schemes by their initial-to-update RMS ratio: their mean accuracy minus Xavier normal's."""
    shown = {"screen", *(name for name, *_ in shown_studies(groups))} - {"mnist"}     # the screen is MNIST's
    rows = [(LABELS["study"][name], influence_of(schemes, "rho"), ranges[-1], by_scheme(schemes, ranges[-1]))
            for name, schemes, ranges in many_schemes(groups)
            if name in shown and len(schemes) > len(STANDARD)]
    rows = [row for row in rows if row[1].get("xavier_normal")]
    if not rows:
        return None
    figure, axes = sheet(len(rows), 3, 5, sharey=True)
    named = (*STANDARD, *candidates(groups)[0])
    tops = [draw_by_ratio(axis, named, *row) for axis, row in zip(axes, rows)]
    axes[0].set(ylabel="mean accuracy minus\nXavier normal's (points)", ylim=(FLOOR, max(tops)))
    return keyed_above(figure, *axes)


def draw_by_ratio(axis, named: tuple, title: str, measured: dict, bounds: tuple, means: dict) -> float:
    """A point a scheme, {scheme: {seed: value}} `means` against `measured`; `named` have their own styles.
    Returns the highest mean and half a point."""
    x = {init: np.mean(list(values.values())) for init, values in measured.items() if values}
    gaps = minus_normal(means, x)
    left, styled = set(gaps), list(map(scheme_name, named))
    for label, (color, marker, members) in families(named, gaps).items():
        inits = [init for init in members if init in left]
        left -= set(inits)
        if inits:
            bars(axis, [x[init] for init in inits], padded(gaps[init] for init in inits), fmt=marker,
                 color=color, ms=5, lw=1, label=label, zorder=3 if label in styled else 2)
        draw_clipped(axis, {x[init]: np.mean(gaps[init]) for init in inits}, color, np.median([*x.values()]))
    n = "/".join(map(str, sorted({len(d) for d in gaps.values()})))
    axis.set(title=f"{two_lines(title, n)}\n{span(bounds)}", xscale="log",
             xlabel="initial-to-update RMS ratio")
    low, high = axis.get_xlim()
    ticks = [tick for tick in ((0.03, 0.1, 0.3, 1, 3) if high / low > 10 else (0.3, 0.5, 0.7, 1, 2, 3))
             if low <= tick <= high]
    axis.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    return max(map(np.mean, gaps.values())) + 0.5


def families(named: tuple, gaps: dict) -> dict[str, tuple]:
    """{name in the legend: (colour, marker, its schemes)}; a scheme is of the first that has it."""
    styles = scheme_styles(named)
    return {scheme_name(init): (styles[init]["color"], styles[init]["marker"], [init]) for init in named} | {
        "other distribution": ("0.35", "v", list(KURTOSIS)),
        "Xavier normal × gain": ("#882255", "^", [init for init in gaps if "@" in init]),
        "PyTorch default": ("#661100", "*", ["torch_default"]), "other scheme": ("0.65", "x", list(gaps))}


def draw_clipped(axis, means: dict[float, float], color: str, middle: float) -> None:
    """Marks means {x: value} below the axis at its lower edge, the value beside it, towards the middle."""
    for x, value in means.items():
        if value < FLOOR:
            axis.plot(x, FLOOR, marker=CARETDOWN, color=color, ms=7, clip_on=False)
            axis.annotate(f"−{-value:.1f}", (x, FLOOR), (6 if x < middle else -6, 5), color=color,
                          textcoords="offset points", ha="left" if x < middle else "right")


SURVIVAL = {  # title: what a level's diagnostics have it under, label of its axis
    "eps": (("layers", "fc1", "eps"), "eps (0: no influence)"),
    "AUROC of the initial magnitude": (("layers", "fc1", "auroc"), "AUROC (0.5: chance)"),
    "initial-to-update RMS ratio": (("layers", "fc1", "rho"), "ratio"),
    "logits at a level's start": (("logit_std",), "standard deviation")}


def survival(groups: dict) -> Figure | None:
    """What survival has to do with the initial weight, and the signal at a level's start."""
    first = next(studies(groups), None)
    if not first:
        return None
    figure, axes = sheet(4, 2, 6)
    for axis, (title, (keys, label)) in zip(axes, SURVIVAL.items()):
        for init in filter(first[2].get, STANDARD):
            density, values = matrix(first[2][init], stats.diagnostic(*keys))
            line(axis, density, values, label=scheme_name(init), ms=3, lw=1.2, **STYLES[init])
        density_axis(axis, density, label)
        axis.set_title(title)
    axes[1].axhline(0.5, color="0.3", ls=":", lw=1.2)
    axes[3].set_yscale("log")
    axes[3].yaxis.set_major_formatter("{x:g}")
    return keyed_above(figure, axes[0])


def rare_inputs(groups: dict, height: float = 4.2, width: float = WIDTH) -> Figure | None:
    """First-layer weights kept on rarely active pixels."""
    schemes = {init: runs for init, runs in confirming(groups, FULL).items() if init in STANDARD}
    if not schemes:
        return None
    active, images = active_images(STUDIES["mnist"])
    figure, (axis,) = sheet(1, 1, height, width)
    for init, runs in schemes.items():
        density, values = matrix(runs, share_on(active < RARE * images))
        line(axis, density, 100 * values, label=scheme_name(init), ms=4, **STYLES[init])
    density_axis(axis, density, "first-layer survivors on\nrarely active pixels (%)")
    axis.set_ylim(bottom=0)
    return keyed_above(figure, axis)


def inputs(groups: dict) -> Figure | None:
    """First-layer weights left per pixel, of two schemes at the density nearest 2%."""
    found = {init: confirming(groups, FULL).get(init, []) for init in STANDARD[:2]}
    if not all(found.values()):
        return None
    (number, density), = stats.picked(sum(found.values(), []), (0.02,))
    levels = {init: stats.at_level(runs, number) for init, runs in found.items()}
    means = {init: np.mean([level["inputs"] for level in its], 0) for init, its in levels.items()}
    if any(mean.shape != (784,) for mean in means.values()):
        return None
    figure, axes = sheet(2, 2, 4)
    for axis, (init, mean) in zip(axes, means.items()):
        shown = plot.picture(axis, mean.reshape(28, 28), vmin=0, vmax=np.max(list(means.values())),
                             cmap="cividis")
        axis.set_title(f"{scheme_name(init)}, {100 * density:.2g}% of the weights, n = {len(levels[init])}")
    figure.colorbar(shown, ax=axes, label="weights left per pixel")
    return figure


def inits(groups: dict, height: float = 3.6, width: float = WIDTH) -> Figure | None:
    """The initial weights of the first layer."""
    schemes = {init: runs for init, runs in confirming(groups, FULL).items() if init in STANDARD}
    layer = next((layer for runs in schemes.values() for layer in runs[0]["init"]), None)
    if layer is None:
        return None
    figure, (axis,) = sheet(1, 1, height, width)
    plot.draw_initial_weights(axis, schemes, layer, STYLES)
    axis.set(xlabel="initial weight, first layer", ylabel="probability density")
    return keyed_above(figure, axis)


def controls(groups: dict, height: float = 5, width: float = WIDTH) -> Figure | None:
    """The ticket against its controls."""
    runs = {LABELS["control"].get(name, name): exploring(groups, group).get("xavier_normal", [])
            for name, group in CONTROL_GROUPS.items()}
    if not all(runs.values()):
        return None
    figure, (axis,) = sheet(1, 1, height, width)
    for (name, its), color, marker in zip(runs.items(), [*plot.LAYERS[2:6], "black"], "osD^v"):
        density, values = matrix(its, early_test_acc)
        line(axis, density, 100 * values, color=color, marker=marker, ms=4, label=f"{name} (n = {len(its)})")
    density_axis(axis, density, "test accuracy (%)")
    axis.legend(loc="lower left")
    return figure


def earlier(groups: dict, height: float = 4, width: float = WIDTH) -> Figure | None:
    """The earlier study's true test accuracies beside this one's, LeNet-300-100 on MNIST."""
    table = json.loads((HERE / "earlier-study.json").read_text())["table"]
    schemes = confirming(groups, FULL)
    if not schemes.keys() & set(STANDARD):
        return None
    figure, axes = sheet(2, 2, height, width, sharey=True)
    for init in filter(schemes.get, STANDARD):
        row, style = table[f"lenet {init.replace('_', '-')}"], {"ms": 4, **STYLES[init]}
        mean, half = np.array(row["mean"]), half_width(np.array(row["sd"]), row["n"])
        there = 0.8 ** np.arange(len(mean))
        draw_band(axes[0], there, mean, half, label=scheme_name(init), **style)
        density, values = matrix(schemes[init], stats.final_test_acc)
        line(axes[1], density, 100 * values, **style)
    titles = (f"earlier study, n = {row['n']}", f"this study, n = {seed_counts_text(seed_counts(schemes))}")
    for axis, title in zip(axes, titles):
        density_axis(axis, there, "test accuracy at a level's end (%)" if axis is axes[0] else "")
        axis.set(title=title, ylim=(86, 98.6))
    return keyed_above(figure, axes[0])


CLASSES = {  # by number
    "MNIST": "0 1 2 3 4 5 6 7 8 9",
    "Fashion-MNIST": "t-shirt trousers pullover dress coat sandal shirt sneaker bag boot",
    "CIFAR-10": "airplane car bird cat deer dog frog horse ship truck"}


def examples(groups: dict, folder: Path | None = None) -> Figure | None:
    """Six training images of each class of every data set, or None and a line that says what is lacking."""
    folder, sheets = Path(folder or os.environ.get("DATA_DIR", "data")), {}
    for name, title in {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}.items():
        try:
            with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
                images, labels = arrays["x_train"], arrays["y_train"].ravel()
        except Exception as error:      # whatever is wrong with the file, only this figure is lost
            plot.say(f"study-examples: {folder / name}.npz cannot be read ({error})")
            return None
        sheets[title] = np.concatenate([np.concatenate(list(images[labels == kind][:6]), 1)
                                        for kind in range(10)])
    figure, axes = sheet(3, 3, 4.2)
    for axis, (title, tiles) in zip(axes, sheets.items()):
        axis.imshow(tiles, cmap="gray")
        axis.set(title=title, xticks=[], yticks=(np.arange(10) + 0.5) * len(tiles) / 10,
                 yticklabels=CLASSES[title].split())
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.grid(False)
    return figure


BOXES = {"seed, scheme": (0.08, 0.85), "initial weights w0\n(kept)": (0.31, 0.85),
         "w0 under the mask": (0.585, 0.85), "train, with Adam's\nstate reset": (0.87, 0.85),
         "measure: validation\nand test accuracy": (0.87, 0.47),
         "new mask: in each layer\nremove the smallest |w|": (0.585, 0.47),
         "results, one record\nper level": (0.87, 0.1), "tables, figures,\ntests": (0.585, 0.1)}
ARROWS = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 2), (4, 6), (6, 7)]


def diagram(groups: dict, height: float = 3.4, width: float = WIDTH) -> Figure | None:
    """The experiment as boxes and arrows."""
    figure, (axis,) = sheet(1, 1, height, width)
    boxes = [axis.text(x, y, text, ha="center", va="center",
                       bbox={"boxstyle": "round,pad=0.5", "fc": "#E8F1F8", "ec": "#0072B2"})
             for text, (x, y) in BOXES.items()]
    places = list(BOXES.values())
    for start, end in ARROWS:
        axis.annotate("", places[end], places[start], arrowprops={
            "arrowstyle": "-|>", "mutation_scale": 16, "color": "0.3", "lw": 1.4, "shrinkA": 0, "shrinkB": 3,
            "patchA": boxes[start].get_bbox_patch(), "patchB": boxes[end].get_bbox_patch()})
    axis.text(0.575, 0.67, "next round", color="0.3", ha="right", va="center")
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.axis("off")
    return figure


FIGURES = {function.__name__: function for function in (
    diagram, tradeoff, differences, customs, methods, doses, shapes, influence, survival, rare_inputs,
    controls, earlier, inputs, inits, examples)}


def draw(figures: dict[str, Callable], groups: dict, folder: Path) -> None:
    """Writes {name: figure of the groups}, and says which have nothing to be drawn from."""
    for name, function in figures.items():
        figure = function(groups)
        if figure:
            plot.write(folder / f"study-{name}.png", plot.png(figure))
        else:
            plot.say(f"study-{name}: nothing to draw it from")


def main(figures: dict[str, Callable] = FIGURES) -> None:
    """Draws figures by a command's arguments."""
    parser = argparse.ArgumentParser(description="Draw the figures of the report, or those of the slides.")
    add, home = parser.add_argument, HERE.parent
    add("--runs", type=plot.path_arg, default=home / "results", help="folder of runs' metrics")
    add("--figures", type=plot.path_arg, default=home / "figures", help="folder to write to")
    args = parser.parse_args()
    plot.set_style()
    plt.rcParams.update({"font.size": TEXT, "axes.titlesize": TEXT, "legend.fontsize": TEXT,
                         "figure.constrained_layout.w_pad": 0.1})
    draw(figures, stats.groups([run for run in stats.read(args.runs) if run["levels"]]), args.figures)


if __name__ == "__main__":
    plot.run_cli(main)
