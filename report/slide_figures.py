"""Draws the figures of the slides: those of figures.py with flatter panels and larger text, and a few more.

    python report/slide_figures.py [--runs results --figures figures]
"""
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import figures  # noqa: E402
import plot  # noqa: E402
import tables  # noqa: E402
from figures import bars, density_axis, draw_contrasts, minus_normal, padded, sheet, two_lines  # noqa: E402
from formatting import CONTRAST_LABELS, span  # noqa: E402
from inference import estimate, paired  # noqa: E402
from plot import keyed_above  # noqa: E402
from stats import STANDARD, early_test_acc, matrix, scheme_name  # noqa: E402
from study import (AT_INITIALIZATION, FACTORS, SCREEN, SPARSE, TWINS, Study, accuracies,  # noqa: E402
                   candidates, screen_scores, studies)

from matplotlib.figure import Figure  # noqa: E402  after plot, which sees to it that this import succeeds

WIDTH = 8                       # inches: on a slide 12.3 wide, text is of 16.9 points
KINDS = {"standard scheme": "#E69F00", "custom scheme, goes to the test": "#009E73",
         "custom scheme": "0.7"}      # colours of bars
FLOOR = -1.8                    # points: a bar that is longer is cut and has its number


def of_study(groups: dict, name: str, height: float, *draw: Callable) -> Figure | None:
    """A panel of one study for each function of an axis, the study and its schemes' runs."""
    found = next((row[1:] for row in studies(groups) if row[0] == name), None)
    if not found or not all(map(found[1].get, STANDARD)):
        return None
    figure, axes = sheet(len(draw), 2, height, WIDTH)
    for axis, function in zip(axes, draw):
        function(axis, *found)
    return keyed_above(figure, *axes)


def draw_forest(axis, study: Study, schemes: dict) -> None:
    """The two factors' contrasts over the study's ranges."""
    n = draw_contrasts(axis, study, schemes, {CONTRAST_LABELS[name]: FACTORS[name] for name in FACTORS})
    axis.set_title(two_lines(study.title, n))
    axis.locator_params(axis="x", nbins=5)


def draw_factors(axis, study: Study, schemes: dict) -> None:
    """The two factors' contrasts at every density: means, 95% t intervals and, as dots, seeds."""
    density, _ = matrix(schemes[STANDARD[0]], early_test_acc)
    levels = [accuracies(schemes, wanted) for wanted in density]
    for place, (name, weights) in enumerate(FACTORS.items()):
        x, color = 100 * density * (1.03 - 0.06 * place), ("black", "#009E73")[place]
        d = padded(paired(values, weights) for values in levels)
        axis.plot(x, d.T, ".", color=color, alpha=0.4, ms=4)
        bars(axis, x, d, fmt="so"[place] + "-", color=color, ms=5, lw=1.4, label=CONTRAST_LABELS[name])
    axis.axhline(0, color="0.5", lw=1)
    density_axis(axis, density, "difference (points)")


def screen(groups: dict) -> Figure | None:
    """The screen's scores minus Xavier normal's as bars, the highest first, of the standard schemes and those
    that could be chosen."""
    scores = {init: found for init, found in screen_scores(groups).items()
              if len(found) >= SCREEN and init not in TWINS and not init.endswith("_lit")}
    gaps = minus_normal(scores, scores) if "xavier_normal" in scores else {}
    order = sorted(gaps.keys() - {"xavier_normal"}, key=lambda init: -np.mean(gaps[init]))
    chosen, standard = candidates(groups)
    if not chosen or not standard:
        return None
    figure, axes = sheet(2, 2, 3.25, WIDTH, sharex=True)
    for axis, inits in zip(axes, np.array_split(order, 2)):
        for place, init in enumerate(inits):
            kind = ("standard scheme" if init in STANDARD else
                    "custom scheme, goes to the test" if init in chosen else "custom scheme")
            draw_bar(axis, place, gaps[init], kind)
        axis.axvline(0, color="0.3", lw=1)
        axis.set(xlim=(FLOOR, 0.6), ylim=(len(inits) - 0.4, -0.6),
                 xlabel="difference from\nXavier normal (points)")
        axis.set_yticks(range(len(inits)), labels=map(scheme_name, inits))
        axis.grid(axis="y", visible=False)
    return keyed_above(figure, *axes)


def draw_bar(axis, height: float, d: np.ndarray, kind: str) -> None:
    """The mean of differences as a bar with its 95% interval; below FLOOR the mean as a number."""
    found = estimate(d)
    axis.barh(height, found.mean, 0.75, color=KINDS[kind], label=kind)
    axis.plot((found.low, found.high), [height] * 2, color="black", lw=1.2)
    if found.mean < FLOOR:
        axis.text(FLOOR, height, f" ◀ −{-found.mean:.1f}", va="center")


def customs(groups: dict) -> Figure | None:
    """The candidate schemes minus the best standard one on MNIST, and random signs minus Xavier uniform on
    Conv-2 at every density."""
    found, (chosen, base) = {name: row for name, *row in studies(groups)}, candidates(groups)
    if not chosen or not {"mnist", "conv2"} <= found.keys() or "shape_sign" not in found["conv2"][1]:
        return None
    figure, (left, right) = sheet(2, 2, 2.55, WIDTH)
    study, schemes = found["mnist"]
    n = draw_contrasts(left, study, schemes, {scheme_name(init): {init: 1, base: -1} for init in chosen})
    left.set(title=two_lines(study.title, n), xlabel=f"mean accuracy minus\n{scheme_name(base)}'s (points)")
    study, schemes = found["conv2"]
    figures.draw_differences(right, study, schemes, "xavier_uniform", ["shape_sign"])
    right.set_title(two_lines(f"random signs, {study.title}", len(schemes["shape_sign"])))
    return figure


def shapes(groups: dict) -> Figure | None:
    """The panel of `shapes` with pruning at initialization, without random signs, which are far below."""
    found = {name: {init: d for init, d in gaps.items() if init != "shape_sign"}
             for name, gaps in figures.shape_gaps(groups).items() if name in AT_INITIALIZATION}
    if not found:
        return None
    figure, (axis,) = sheet(1, 1, 2.8, WIDTH)
    figures.draw_shapes(axis, groups, found)
    labels = [label.get_text().replace(", ", "\n") for label in axis.get_xticklabels()]
    axis.set_xticks(axis.get_xticks(), labels=labels, rotation=0, ha="center", rotation_mode="default")
    axis.set_ylabel("mean accuracy minus\nXavier normal's (points)")
    return keyed_above(figure, axis)


REASONS = {  # row of tables.reasons: what the slide calls it
    "masks of gain 4, values of Xavier normal": "masks of weights × 4,\nusual values",
    "values of gain 4, masks of Xavier normal": "values of weights × 4,\nusual masks",
    "the four schemes, reset to signs of one magnitude": "reset to the signs alone",
    "the four schemes, reset and rescaled to each unit's unpruned norm": "reset and rescaled by unit"}


def reasons(groups: dict) -> Figure | None:
    """What masks, values, signs and rescaling do to mean accuracy at extreme sparsity."""
    found = {row["what"]: row["sparse"] for row in tables.reasons(groups)}
    if not found.keys() >= REASONS.keys():
        return None
    figure, (axis,) = sheet(1, 1, 2.65, WIDTH)
    for height, what in enumerate(REASONS):
        axis.barh(height, found[what].mean, 0.6, color="#56B4E9")
        axis.plot((found[what].low, found[what].high), [height] * 2, color="black", lw=2)
    axis.axvline(0, color="0.3", lw=1)
    axis.set_yticks(range(len(REASONS)), labels=REASONS.values())
    axis.set(ylim=(len(REASONS) - 0.5, -0.5), xlabel=f"change of mean accuracy from {span(SPARSE)} of the "
             f"weights (points), n = {found[what].n}")
    axis.grid(axis="y", visible=False)
    return figure


FIGURES = {  # of slides; the first are one of the report's at another size, or of a single study
    "diagram": functools.partial(figures.diagram, height=3.15, width=WIDTH),
    "inits": functools.partial(figures.inits, height=2.65, width=WIDTH),
    "controls": functools.partial(figures.controls, height=2.85, width=WIDTH),
    "rare_inputs": functools.partial(figures.rare_inputs, height=2.8, width=WIDTH),
    "earlier": functools.partial(figures.earlier, height=3.3, width=WIDTH),
    "mnist": lambda groups: of_study(groups, "mnist", 3.3, figures.draw_tradeoff),
    "forest": lambda groups: of_study(groups, "mnist", 2.55, draw_forest),
    "fashion": lambda groups: of_study(groups, "fashion", 2.55, figures.draw_tradeoff, draw_forest),
    "conv2": lambda groups: of_study(groups, "conv2", 2.8, figures.draw_tradeoff, draw_factors),
    "screen": screen, "customs": customs, "shapes": shapes, "reasons": reasons}


if __name__ == "__main__":
    plot.run_cli(lambda: figures.main({f"slide_{name}": function for name, function in FIGURES.items()}))
