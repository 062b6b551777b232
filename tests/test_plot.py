"""plot.py from end to end on fake runs: python -m pytest tests/test_plot.py"""
import itertools
import os
import statistics
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text
from PIL import Image

import plot
import stats
from conftest import ROOT
from data import glyph_masters
from test_stats import fake


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder where plot.main() runs without flags."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["plot.py"])
    return tmp_path


def write_images(folder, data="mnist", shape=(28, 28)):
    (folder / "data").mkdir()
    labels = np.arange(40) % 10
    images = np.broadcast_to(labels.reshape(-1, *[1] * len(shape)) * 25, (40, *shape)).astype(np.uint8)
    np.savez(folder / "data" / f"{data}.npz", x_train=images, y_train=labels[:, None])


def group_of(folder, data_dir="data"):
    """What main hands to a figure of the only group there is."""
    plt.close("all")        # of the tests before
    (name, schemes), = stats.groups(stats.read(folder)).items()
    runs = sum(schemes.values(), [])
    return plot.Group(name, schemes, runs, runs[0]["config"], plot.scheme_styles(schemes), data_dir)


def test_every_figure_and_table_is_written(tmp_path):
    write_images(tmp_path)
    for init, seed in itertools.product(("xavier_normal", "kaiming_uniform"), range(2)):
        fake(tmp_path / "runs", init=init, seed=seed, levels=19 - 2 * seed)
    result = subprocess.run([sys.executable, ROOT / "plot.py"], capture_output=True, text=True, cwd=tmp_path,
                            env={**os.environ, "DATA_DIR": "data"})
    names = [f"mnist-fc-magnitude-{name}" for name in (
        *(f"{name}.png" for name in plot.FIGURES), *plot.TABLES)]
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[:len(names)] == [f"figures/{name}" for name in names]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(names)
    for path in (tmp_path / "figures").glob("*.png"):
        assert path.stat().st_size > 10_000
        Image.open(path).load()         # fails for a file cut short


def test_a_figure_is_the_same_under_a_persons_and_a_notebooks_settings(here, monkeypatch):
    fake(here / "runs", levels=2)
    (here / "matplotlibrc").write_text("\n".join((
        "backend: TkAgg", "backend_fallback: False", "interactive: True", "savefig.dpi: 600",
        "savefig.bbox: tight", "text.usetex: True", "font.family: serif", "figure.facecolor: black")))
    monkeypatch.setattr(plot, "FIGURES", {"early_stop": plot.FIGURES["early_stop"]})
    plot.main()
    path = here / "figures" / "mnist-fc-magnitude-early_stop.png"
    own = path.read_bytes()
    path.unlink()
    cut = "import plot; plot.FIGURES = {'early_stop': plot.FIGURES['early_stop']}; plot.main()"
    subprocess.run([sys.executable, "-c", cut], check=True, env={
        **os.environ, "PYTHONPATH": str(ROOT), "MATPLOTLIBRC": str(here / "matplotlibrc"),
        "MPLBACKEND": "not_installed"})
    assert path.read_bytes() == own


def test_a_notebooks_backend_does_not_stop_glyphs_from_being_drawn():
    subprocess.run([sys.executable, "-c", "import data; data.glyph_masters()"], check=True, cwd=ROOT,
                   env={**os.environ, "MPLBACKEND": "not_installed"})


def test_an_older_matplotlib_draws_no_glyphs(monkeypatch):
    monkeypatch.setattr(matplotlib, "__version_info__", (3, 10, 9, "final", 0))
    with pytest.raises(SystemExit, match="matplotlib>=3.11"):
        glyph_masters()


def test_baselines_have_tables_alone_and_the_same_bytes_again(here):
    for seed in range(2):
        fake(here / "runs", pruner="none", seed=seed, levels=1)
    plot.main()
    first = {path.name: path.read_bytes() for path in (here / "figures").iterdir()}
    assert sorted(first) == [f"mnist-fc-none-{name}" for name in sorted(plot.TABLES)]
    plot.main()
    assert first == {path.name: path.read_bytes() for path in (here / "figures").iterdir()}


@pytest.mark.parametrize("name", plot.CURVE_FIGURES)
def test_lines_are_the_plain_means_and_bands_go_from_the_lowest_to_the_highest_seed(tmp_path, name):
    runs = [fake(tmp_path, seed=seed, levels=4 - seed, diverge=[1] if seed == 0 else []) for seed in range(2)]
    figure = plot.FIGURES[name](group_of(tmp_path))
    for axis, (quantity, scale, *_) in zip(figure.axes, plot.CURVE_FIGURES[name]):
        (line,), (mark,), (dotted,), singles = (
            [line for line in axis.lines if plt.getp(line, key) == value] for key, value in (
                ("label", "Xavier normal"), ("marker", "x"), ("linestyle", ":"), ("linewidth", 0.5)))
        for number, (x, y) in enumerate(line.get_xydata()):
            levels = [run["levels"][number] for run in runs if number < len(run["levels"])]
            assert x == pytest.approx(100 * sum(levels[0]["kept"].values()) / 266200)
            assert y == pytest.approx(scale * statistics.mean(quantity(level) for level in levels))
        assert number == 3 and set(dotted.get_ydata()) == {line.get_ydata()[0]}
        band = axis.collections[0].get_paths()[0].vertices
        for x, y in line.get_xydata():
            seeds = [single.get_ydata()[single.get_xdata() == x] for single in singles]
            heights = band[np.isclose(band[:, 0], x), 1]
            assert (heights.min(), heights.max()) == pytest.approx((np.nanmin(seeds), np.nanmax(seeds)))
        assert mark.get_xdata() == [line.get_xdata()[1]]
        assert axis.get_xlim()[0] > 100 > axis.get_xlim()[1] and "%" in axis.get_xlabel()
    assert "n = 2 a scheme" in figure.get_supxlabel()


def test_zoom_is_there_for_a_tail_alone_and_holds_the_dense_nets(tmp_path):
    for levels, zoomed in ((10, False), (21, True)):
        runs = [fake(tmp_path / str(levels), init=init, levels=levels) for init in stats.STANDARD]
        figure = plot.FIGURES["accuracy"](group_of(tmp_path / str(levels)))
        assert len(figure.axes) == 1 + zoomed
    low, high = figure.axes[1].get_ylim()
    ends = [[100 * level["test_acc"][-1] for level in run["levels"]] for run in runs]
    assert low == pytest.approx(min(end[0] for end in ends) - 1.2) and high > max(map(max, ends))


AWKWARD = {"one level": [{"levels": 1, "data": "glyphs"}],
           "diverged at once": [{"levels": 3, "diverge": [0, 1, 2]}, {"levels": 1, "seed": 1}],
           "unequal, global": [{"scope": "global", "levels": 9},
                               {"scope": "global", "levels": 1, "init": "zeta"},
                               {"scope": "global", "levels": 4, "init": "zeta", "seed": 1}],
           "ten schemes": [{"levels": 2, "init": f"zeta_{k % 10}", "seed": k // 10} for k in range(20)],
           "conv": [{"net": "conv2", "levels": 3}]}


@pytest.mark.parametrize("settings", AWKWARD.values(), ids=AWKWARD)
@pytest.mark.filterwarnings("error")
def test_awkward_groups_are_drawn(tmp_path, settings, capsys):
    for more in settings:
        fake(tmp_path, **more)
    group = group_of(tmp_path, tmp_path)
    for name, function in plot.FIGURES.items():
        figure = function(group)
        assert bool(figure) == (name != "examples" and (name, group.config["net"]) != ("inputs", "conv2"))
        if figure:
            figure.set_dpi(40)
            figure.canvas.draw()
            assert not [text for text in figure.findobj(Text) if "_" in text.get_text()]  # no code names
    assert capsys.readouterr().err.count("\n") == 1        # of the examples that are not there


def test_inputs_are_means_over_seeds_and_sums_over_channels(tmp_path, monkeypatch):
    runs = [fake(tmp_path, seed=seed, levels=9) for seed in range(2)]
    figure = plot.inputs(group_of(tmp_path))
    picture = figure.axes[0].images[0].get_array()
    first, second = (np.reshape(run["levels"][7]["inputs"], (28, 28)) for run in runs)      # 21.1% remaining
    assert (picture == (first + second) / 2).all()
    group = group_of(tmp_path)
    for run in group.runs:
        run["levels"] = [{**level, "inputs": list(range(3072))} for level in run["levels"]]
    picture = np.asarray(plot.inputs(group).axes[0].images[0].get_array())
    assert picture.shape == (32, 32) and picture[1, 2] == 34 + (34 + 1024) + (34 + 2048)


def test_layers_have_a_panel_where_schemes_differ(tmp_path):
    for scope, panels, of_fc2 in (("layer", 1, [100, 80, 64]), ("global", 2, [100, 84, 70.56])):
        for init in ("xavier_normal", "kaiming_normal"):
            fake(tmp_path / scope, init=init, levels=3, scope=scope)
        axes = plot.density_by_layer(group_of(tmp_path / scope)).axes
        assert len(axes) == panels and axes[0].lines[1].get_ydata() == pytest.approx(of_fc2, abs=0.01)
    group = group_of(tmp_path / "layer")    # other runs' masks may be of any scope
    from_another = group._replace(config={**group.config, "masks_from": "another"})
    assert len(plot.density_by_layer(from_another).axes) == 2


@pytest.mark.parametrize("data, shape", [("mnist", (28, 28)), ("cifar10", (32, 32, 3))])
def test_examples_are_of_their_class_and_none_of_a_corrupt_file(tmp_path, data, shape, capsys):
    write_images(tmp_path, data, shape)
    fake(tmp_path / "runs", data=data, levels=1)
    figure = plot.example_images(group_of(tmp_path / "runs", tmp_path / "data"))
    for index, axis in enumerate(figure.axes):
        assert [image.get_array().max() for image in axis.images] == [index // 8 * 25] * (index % 8 < 4)
    (tmp_path / "data" / f"{data}.npz").write_bytes(b"PK\x03\x04 not a zip")
    assert plot.example_images(group_of(tmp_path / "runs", tmp_path / "data")) is None
    assert f"{data}.npz cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("levels, spoil, says", [(0, "elsewhere", "finished a level"),
                                                 (1, "figures", "--figures"),
                                                 (1, "runs/broken/metrics.json", "broken/metrics.json")])
def test_wrong_input_is_one_sentence(here, capsys, levels, spoil, says):
    fake(here / "runs", levels=levels)
    (here / spoil).parent.mkdir(exist_ok=True)
    (here / spoil).write_text("neither a folder nor JSON")
    with pytest.raises(SystemExit, match=f"^[^\n]*{says}[^\n]*$"):
        plot.main()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("groups", [4, 5])
def test_the_screen_has_the_tables_of_few_groups_and_the_figure_of_most_levels(here, monkeypatch, capsys,
                                                                              groups):
    """A group of single levels has no table and does not count."""
    for place in range(groups):
        fake(here / "runs", levels=4 if place == 2 else 3, extras=f"-{place}")
    fake(here / "runs", net="conv2", levels=1)
    monkeypatch.setattr(plot, "FIGURES", {})
    plot.main()
    *lines, last = capsys.readouterr().out.splitlines()
    found = stats.groups(stats.read(here / "runs")).items()
    tables = [stats.accuracy_text(name, schemes) for name, schemes in found if "conv2" not in name]
    expected = "".join(f"\n{table}\n" for table in tables).splitlines() if groups == 4 else []
    assert lines[3 * len(found):] == expected
    assert last == "Open first: figures/mnist-fc-magnitude-2-accuracy.png"


def test_a_tilde_is_the_home_of_its_user(here, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(here / "home"))
    fake(here / "home" / "runs", pruner="none", levels=1)
    monkeypatch.setattr(sys, "argv", ["plot.py", "--runs=~/runs", "--figures=~/drawn"])
    plot.main()
    assert len([*(here / "home" / "drawn").iterdir()]) == len(plot.TABLES) and not [*here.glob("~*")]
    monkeypatch.setattr(sys, "argv", ["plot.py", "--runs=~/runs", "--figures=~no one/drawn"])
    with pytest.raises(SystemExit) as refused:
        plot.main()
    assert refused.value.code == 2 and "--figures" in capsys.readouterr().err


def test_schemes_look_different_and_the_standard_ones_always_the_same():
    few = plot.scheme_styles(stats.STANDARD)
    many = plot.scheme_styles([*map(str, range(80)), *stats.STANDARD])
    assert all(few[init] == many[init] for init in stats.STANDARD)
    assert len({tuple(style.values()) for style in many.values()}) == len(many) == 84


def test_a_legend_of_long_names_lies_within_its_figure(tmp_path):
    for init in stats.STANDARD:
        fake(tmp_path, init=f"{init}_lit@0.25", levels=2)
    with plt.rc_context(plot.STYLE):
        figure = plot.FIGURES["learning"](group_of(tmp_path))
        figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
