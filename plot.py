"""Draws figures and tables of every group of runs, from their metrics.

    python plot.py [--runs runs --figures figures]
"""
import argparse
import functools
import io
import itertools
import math
import os
import textwrap
from collections import namedtuple
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

import stats
from data import atomic_write, path_arg
from runs import run_cli, say

os.environ.pop("MPLBACKEND", None)  # a notebook's, which stops the import where it is not installed
import matplotlib  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

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
PICKED = (1, 0.21, 0.07, 0.02)                                          # densities that have a panel each
CURVE_FIGURES = {   # figure: its panels' quantity of a level, scale, whether zoomed to the top, label
    "accuracy": [(stats.final_test_acc, 100, False, "test accuracy at the level's end (%)"),
                 (stats.final_test_acc, 100, True, "the same, upper end (%)")],
    "early_stop": [(stats.early_step, 1, False, "step of the minimum validation loss")],
    "val_loss": [(stats.early_val_loss, 1, False, "minimum validation loss (nats)"),
                 (stats.early_test_acc, 100, False, "test accuracy at that step (%)")]}
LEARNING = [("val_acc", 100, "validation accuracy (%)"), ("val_loss", 1, "validation loss (nats)")]

Group = namedtuple("Group", "name schemes runs config styles data_dir")     # schemes {init: its runs}


def set_style() -> None:
    """Set the backend and every setting of a figure, whatever a matplotlibrc here says."""
    matplotlib.use("Agg")
    matplotlib.rcdefaults()
    plt.rcParams.update(STYLE)


def scheme_styles(names: Iterable[str]) -> dict[str, dict]:
    """{scheme: plot keywords}, the same in every figure of one set of runs."""
    styles = {**SCHEMES, **dict(zip(sorted(set(names) - set(SCHEMES)), itertools.cycle(OTHERS)))}
    return {init: dict(zip(("color", "ls", "marker"), style)) for init, style in styles.items()}


def panels(count: int, columns: int, width: float, height: float, **how) -> tuple[Figure, list]:
    """A figure of `count` panels of width x height inches, row by row: the figure, the list of its axes."""
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    size = (max(columns * width, 5), rows * height + 1)     # room for legend and caption
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **how)
    for spare in axes.flat[count:]:
        spare.remove()
    return figure, list(axes.flat[:count])


def finish(figure: Figure, group: Group, says: str, *keyed) -> Figure:
    """Adds the caption below, with what was run, and, above, the legend of these axes."""
    caption = f"{stats.settings_text(group.schemes)} {says}"
    width = int(figure.get_figwidth() * 14)
    figure.supxlabel(textwrap.fill(caption, width), x=0.01, ha="left", fontsize=9, color="0.25")
    return keyed_above(figure, *keyed)


def keyed_above(figure: Figure, *axes) -> Figure:
    """Adds the legend of these axes above them, each name once."""
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    inches = [0.8 + 0.075 * len(label) for label in entries]     # of an entry
    rows = next((rows for rows in range(1, len(entries)) if sum(map(max, np.array_split(
        inches, math.ceil(len(entries) / rows)))) < figure.get_figwidth()), len(entries))
    if entries:
        figure.legend(entries.values(), entries, loc="outside upper center",
                      ncols=math.ceil(len(entries) / rows))
    return figure


def curves(rows: list[tuple], group: Group) -> Figure:
    """Quantities of a level against % of weights remaining, a panel each; a zoom only where it helps."""
    upper = stats.upper_end(group.schemes)
    rows = [row for row in rows if upper or not row[2]]
    figure, axes = panels(len(rows), 2, 6 if len(rows) > 1 else 8, 5)
    for axis, (quantity, scale, zoomed, label) in zip(axes, rows):
        draw_curves(axis, group, quantity, scale, upper if zoomed else None)
        axis.set_ylabel(label)
    return finish(figure, group, "Line: mean; band: from the lowest to the highest seed; thin lines: single "
                  "seeds; dotted: the scheme's unpruned mean.", axes[0])


def draw_curves(axis, group: Group, quantity: Callable, scale: float, limits: tuple | None) -> None:
    """Means over seeds with the range from the lowest to the highest, as Frankle & Carbin draw them."""
    drawn = {init: stats.matrix(runs, quantity) for init, runs in group.schemes.items()}
    for init, (density, values) in drawn.items():
        style, found = group.styles[init], stats.summary(scale * values)
        axis.plot(100 * density, scale * values.T, color=style["color"], lw=0.5, alpha=0.4)
        axis.fill_between(100 * density, found.min, found.max, color=style["color"], lw=0,
                          alpha=min(0.14, 0.5 / len(drawn)))
        axis.plot(100 * density, found.mean, label=stats.scheme_name(init), ms=4.5, **style)
        axis.axhline(found.mean[0], color=style["color"], ls=":", lw=1.2)
    limits = limits or axis.get_ylim()
    for init, runs in group.schemes.items():
        for level in (level for run in runs for level in run["levels"] if level["diverged"]):
            height = np.clip(np.nan_to_num(scale * quantity(level), nan=limits[0]), *limits)
            axis.plot(100 * stats.density(level), height, "x", color=group.styles[init]["color"], ms=9, mew=2,
                      clip_on=False)
    low = 80 * min(np.nanmin(density) for density, _ in drawn.values())
    axis.set(xscale="log", xlim=(112, low), ylim=limits, xlabel="weights remaining (%)")
    plain_ticks(axis.xaxis, low)


def plain_ticks(axis, low: float) -> None:
    """% of weights remaining on a log axis, as plain numbers."""
    ticks = [tick for tick in (TICKS if low < 10 else FINE) if tick >= low]
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def learning(group: Group) -> Figure:
    """A column a density, a row a quantity; what matters comes after the steep first evaluations."""
    picked = stats.picked(group.runs, PICKED)
    figure, axes = panels(2 * len(picked), len(picked), 3.2, 3.4, sharex=True, sharey="row")
    for first, (key, scale, label) in zip((0, len(picked)), LEARNING):
        late = []
        for axis, (number, density) in zip(axes[first:], picked):
            for init, runs in group.schemes.items():
                steps, values = stats.curve(stats.at_level(runs, number), key)
                mean, style = stats.summary(scale * values).mean, group.styles[init]
                axis.plot(steps, scale * values.T, color=style["color"], lw=0.5, alpha=0.4)
                axis.plot(steps, mean, label=stats.scheme_name(init), ms=3.5, **style)
                late += mean[len(mean) // 5:].tolist()
            axis.set_title("" if first else f"{100 * density:.3g}% remaining")
            axis.set_xlabel("training step" if first else "")
        late = [value for value in late if np.isfinite(value)] or [0, 1]
        margin = 0.1 * (max(late) - min(late)) + 1e-6
        axes[first].set(ylabel=label, ylim=(min(late) - margin, max(late) + margin))
    return finish(figure, group, "Line: mean over seeds; thin lines: single seeds. "
                  "The first fifth of the evaluations may lie outside.", axes[0])


def density_by_layer(group: Group) -> Figure:
    """Density by layer and level; layer-wise counts are the same for every scheme, so one panel does."""
    shared = group.config.get("scope") == "layer" and not group.config.get("masks_from")
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
        axis.set(title=textwrap.fill(stats.scheme_name(title), 26), xlabel="level (pruning rounds)",
                 yscale="log", ylim=(max(lowest, 0.01), 125))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_ylabel("weights remaining (%)" if axis.get_subplotspec().is_first_col() else "")
    plain_ticks(axes[0].yaxis, max(lowest, 0.01))
    return finish(figure, group, "Mean over seeds.", axes[0])


def initial_weights(group: Group) -> Figure:
    """A panel a layer, as probability density over a weight's value."""
    names = list(group.runs[0]["init"])
    figure, axes = panels(len(names), 3, 3.9, 3.3)
    for axis, layer in zip(axes, names):
        draw_initial_weights(axis, group.schemes, layer, group.styles)
        axis.set_title(layer)
        axis.set_ylabel("probability density" if axis.get_subplotspec().is_first_col() else "")
    return finish(figure, group, "Initial weights, not biases, of all seeds; a peak above three times the "
                  "median scheme's is cut.", axes[0])


def draw_initial_weights(axis, schemes: dict[str, list[dict]], layer: str, styles: dict) -> None:
    """A layer's initial weights, of all seeds, a line a scheme."""
    peaks = []
    for init, runs in schemes.items():
        edges, density = stats.histogram([run["init"][layer] for run in runs])
        axis.stairs(density, edges, color=styles[init]["color"], ls=styles[init]["ls"], lw=1.5,
                    label=stats.scheme_name(init))
        peaks.append(density.max())
    axis.set(xlabel="initial weight", ylim=(0, 1.05 * min(max(peaks), 3 * np.median(peaks))))


def picture_shape(pixels: int) -> tuple[int, int, int] | None:
    """(channels, rows, columns) of a square image of so many numbers; None where there is none."""
    sides = {channels: math.isqrt(pixels // channels) for channels in (1, 3)}
    return next(((channels, side, side) for channels, side in sides.items()
                 if channels * side ** 2 == pixels), None)


def inputs(group: Group) -> Figure | None:
    """A row of pictures a scheme, a column a density; None for convolutions, and for images not square."""
    level = group.runs[0]["levels"][0]
    shape = picture_shape(len(level["inputs"]))
    if shape is None or next(iter(level["kept"])).startswith("conv"):
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
        axis.set_ylabel(textwrap.fill(stats.scheme_name(init), 26), fontsize=10)
    return finish(figure, group, "Surviving weights of the first layer by input pixel, mean over seeds.")


def picture(axis, pixels: np.ndarray, **how):
    """Shows an image without ticks or frame."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    return axis.imshow(pixels, **how)


def example_images(group: Group) -> Figure | None:
    """Eight images of each class, or None and a line that says why."""
    data = group.config["data"]
    path = Path(group.data_dir, group.runs[0]["provenance"][0].get("data_file") or f"{data}.npz")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["x_train"], arrays["y_train"].ravel()
    except Exception as error:      # whatever is wrong with the file, only this sheet is lost
        say(f"{group.name}: no sheet of examples, as {path} cannot be read ({error}).")
        return None
    kinds = np.unique(labels)
    figure, axes = panels(8 * len(kinds), 8, 0.9, 0.8)
    for index, kind in enumerate(kinds):
        row = axes[8 * index:8 * index + 8]
        row[0].set_ylabel(kind, rotation=0, ha="right", va="center")
        for axis, image in zip(row, images[labels == kind]):
            picture(axis, image, cmap="gray", vmin=0, vmax=255)
    return finish(figure, group, f"The first eight training images of each class of {data}, by its number.")


FIGURES = {**{name: functools.partial(curves, rows) for name, rows in CURVE_FIGURES.items()},
           "learning": learning, "layers": density_by_layer, "inits": initial_weights, "inputs": inputs,
           "examples": example_images}
TABLES = {"table.csv": lambda group: stats.to_csv(stats.accuracy_rows(group.schemes), 4),
          "table.md": lambda group: stats.accuracy_markdown(group.name, group.schemes),
          "curves.csv": lambda group: stats.to_csv(stats.curve_rows(group.schemes))}


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and say so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content)
    except OSError as error:
        raise SystemExit(f"Cannot write to {path.parent} ({error}): name another folder with --figures.")
    print(path, flush=True)


def png(figure: Figure) -> bytes:
    """A figure as bytes, of 256 colours; it is closed."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    plt.close(figure)
    image = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=8)
    image.save(packed, format="png", optimize=True)
    return packed.getvalue()


def draw_group(group: Group, folder: Path) -> None:
    """Writes a group's figures and tables; unpruned baselines have one level and so no curves."""
    for name, function in FIGURES.items() if group.config["pruner"] != "none" else ():
        figure = function(group)
        if figure:
            write(folder / f"{group.name}-{name}.png", png(figure))
    for name, function in TABLES.items():
        write(folder / f"{group.name}-{name}", function(group).encode())


def show(groups: list[Group], folder: Path) -> None:
    """Prints a table of each group of several levels, where there are few, and which figure to open first:
    that of the group with the most levels in all."""
    curved = [group for group in groups if max(len(run["levels"]) for run in group.runs) > 1]
    for group in curved if len(curved) <= 4 else ():
        print(f"\n{stats.accuracy_text(group.name, group.schemes)}")
    drawn = {group.name: sum(len(run["levels"]) for run in group.runs) for group in groups
             if group.config["pruner"] != "none"}
    if drawn:
        print(f"Open first: {folder / max(drawn, key=drawn.get)}-accuracy.png")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw figures and tables of every group of runs.")
    parser.add_argument("--runs", type=path_arg, default="runs", help="folder of runs")
    parser.add_argument("--figures", type=path_arg, default="figures", help="folder to write to")
    parser.add_argument("--data-dir", type=path_arg, default=os.environ.get("DATA_DIR", "data"),
                        help="folder of <name>.npz")
    args = parser.parse_args()
    runs = [run for run in stats.read(args.runs) if run["levels"]]
    if not runs:
        raise SystemExit(f"No run in {args.runs} has finished a level yet: wait for one.")
    set_style()
    styles = scheme_styles(run["config"]["init"] for run in runs)
    groups = [Group(name, schemes, its, its[0]["config"], styles, args.data_dir)
              for name, schemes in stats.groups(runs).items() for its in [sum(schemes.values(), [])]]
    for group in groups:
        for what, values in stats.mixed(group.runs).items():
            each = ", ".join(f"{value} ({count} runs)" for value, count in values.items())
            say(f"{group.name}: the lines mix {what}: {each}.")
        draw_group(group, args.figures)
    show(groups, args.figures)


if __name__ == "__main__":
    run_cli(main)
