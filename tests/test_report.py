"""The report is made of tables and numbers that are generated, and comes out the same twice."""
import functools
import inspect
import json
import math
import re
import shutil
import statistics
import subprocess
import sys

import pytest
from conftest import REAL, ROOT
from test_analysis import made
from test_stats import fake

import build
import diagnostics
import runs
import data as datasets
import inits
import models
import stats
import tables


@functools.cache
def results():
    """{group: {scheme: runs}} of results/, read once: not to be changed."""
    return stats.groups(stats.read(ROOT / "results"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("report") / "runs"
    for init in stats.STANDARD:
        for seed in range(10, 13):
            fake(root, init=init, seed=seed, levels=29, shift=0.01 * ("uniform" in init))
    return root


def test_the_report_is_the_same_twice_and_leaves_no_mark(runs, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "report", tmp_path / "report")
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(build, "HERE", tmp_path / "report")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["build.py", "--runs", str(runs), "--figures", str(tmp_path)])
    texts = []
    for _ in range(2):
        build.main()
        texts.append([(tmp_path / name).read_text() for name in ("report/REPORT.md", "README.md")])
    assert texts[0] == texts[1] and not any(map(build.MARK.search, texts[0]))
    texts = texts[0]
    assert "n = 3 paired seeds" in texts[1]
    for kind in ("Table", "Figure"):
        numbered = re.findall(rf"^\*\*{kind} (\d+)\.\*\*", texts[0], re.M)
        assert numbered == [str(place) for place in range(1, len(numbered) + 1)] and numbered
    row = tables.contrasts(stats.groups(stats.read(runs)))[2][1]
    assert "| " + " | ".join(row) + " |" in texts[0]


def test_the_report_in_the_repository_is_what_the_results_give(tmp_path, monkeypatch):
    for name in ("report", "figures"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(build, "HERE", tmp_path / "report")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["build.py", "--runs", str(ROOT / "results"),
                                      "--figures", str(tmp_path / "figures")])
    build.main()
    for name in ("report/REPORT.md", "README.md"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), "bash run_all.sh report makes it"


def test_every_mark_of_text_and_slides_is_of_something():
    text = "".join((ROOT / "report" / name).read_text() for name in ("text.md", "slides.md", "answer.md"))
    made_here = {*tables.VERDICTS, "networks", "schemes", "hyperparameters", "runs"}
    shown = {name for kind, name, _ in build.MARK.findall(text) if kind != "ref"}
    for kind, name, caption in build.MARK.findall(text):
        assert name in {"table": made_here, "ref": shown}.get(kind, {name})
        assert kind != "figure" or caption
    assert set(tables.VERDICTS) <= shown


def test_the_numbers_typed_in_the_text_are_those_of_the_code():
    text = (ROOT / "report" / "text.md").read_text()
    layers = models.layers(models.build("fc", models.PAPER["fc"]["shape"]))
    wider = [100 * math.sqrt((layer.in_features + layer.out_features) / layer.in_features) - 100
             for layer in layers.values()]
    assert "wider, by {:.0f}, {:.0f} and {:.0f}%".format(*wider) in text.replace("\n", " ")
    layers = models.layers(models.build("conv2", models.PAPER["conv2"]["shape"]))
    size = {name: layer.weight[0].numel() for name, layer in layers.items()}    # its fan in
    wider = [math.sqrt((size[name] + len(layer.weight) * layer.weight[0, 0].numel()) / size[name])
             for name, layer in layers.items()]
    says = "{:.1f} times Xavier's in the first convolution, {:.1f} times in the second, and {:.2f} times in"
    assert says.format(*wider) in text.replace("\n", " ")
    assert f"{datasets.VALIDATION:,} are set aside as *validation* images" in text


def test_the_counts_typed_in_text_and_slides_are_those_of_the_code():
    text, slides = ((ROOT / "report" / name).read_text().replace("\n", " ")
                    for name in ("text.md", "slides.md"))
    size = {name: layer.weight.numel() for name, layer in models.layers(
        models.build("fc", models.PAPER["fc"]["shape"])).items()}
    rates = models.PAPER["fc"]["rates"]
    left = [sum(round(n * (1 - rates["out" if name == "out" else "fc"]) ** level) for name, n in size.items())
            for level in (20, 28)]
    assert "{:,} to {:,} weights".format(*left) in text
    customs = re.search(r'^CUSTOM="(.*?)"', (ROOT / "run_all.sh").read_text(), re.S | re.M)[1].split()
    eligible = [init for init in customs if init not in tables.SAME and not init.endswith("_lit")]
    assert f"Of {len(customs)} screened on validation images, {len(eligible)} of which could" in text
    assert f"a screen of {len(customs)}" in slides
    repeats = inspect.signature(stats.calibration).parameters["repeats"].default
    assert f"{repeats:,} re-pairings (standard error {100 * math.sqrt(0.05 * 0.95 / repeats):.1f}%)" in text


@pytest.mark.skipif(not (REAL / "mnist.npz").exists(), reason="the real MNIST is not at hand")
def test_as_many_pixels_are_always_dark_as_the_text_says():
    dark = int(diagnostics.constant_inputs(datasets.load("mnist", REAL).x_train).sum())
    pixels = json.loads(tables.PIXELS.read_text())["mnist"]
    rare = sum(n < tables.RARE * pixels["images"] for n in pixels["lit"])
    text = (ROOT / "report" / "text.md").read_text().replace("\n", " ")
    assert f"784 pixels {dark} are dark in every training image, and {rare} are lit in fewer" in text


@pytest.mark.parametrize("name", json.loads(tables.PIXELS.read_text()))
def test_the_pixels_are_lit_by_as_many_images(name):
    if not (REAL / f"{name}.npz").exists():
        pytest.skip(f"the real {name} is not at hand")
    x = datasets.load(name, REAL).x_train.flatten(1)
    dark = x.min()  # 0 of 255, standardised
    found = json.loads(tables.PIXELS.read_text())[name]
    assert found == {"images": len(x), "lit": [int((column > dark).sum()) for column in x.T]}
    assert tables.RARE == inits.RARE


def test_the_finalists_that_the_grids_run_are_those_of_the_screen():
    """Once results/ holds the screen."""
    customs, comparator = tables.finalists(results())
    script = (ROOT / "run_all.sh").read_text()
    if customs:
        assert f'FINALISTS="{" ".join(customs)}"' in script and f"COMPARATOR={comparator} " in script


def test_the_heavy_tailed_scheme_that_the_grids_run_is_the_protocols():
    """Once results/ holds its runs under pruning before training."""
    chosen = tables.heavy(results())
    assert not chosen or f"HEAVY={chosen} " in (ROOT / "run_all.sh").read_text()


STUDY = "LeNet-300-100, MNIST"


def sign(text):
    """-1, 0 or 1: where the interval of "mean [low, high] ..." lies, 0 if it holds zero."""
    low, high = map(float, re.findall(r"[+-][\d.]+", text)[1:3])
    return (low > 0) - (high < 0)


def test_what_the_text_says_in_words_of_pruning_before_training_is_so():
    text = (ROOT / "report" / "text.md").read_text().replace("\n", " ")
    groups = results()
    chosen = tables.heavy(groups)
    assert chosen == "shape_t4" and "Student's t, the heavy-tailed scheme with the higher validation" in text
    assert "All four have the predicted sign, in each of the ten seeds." in text
    for name in tables.BEFORE:
        areas = tables.under(groups, name, tables.confirming)
        lower, higher = (stats.paired(areas, {init: 1, "xavier_normal": -1})
                         for init in ("xavier_uniform", chosen))
        assert len(lower) == len(higher) == 10 and (lower < 0).all() and (higher > 0).all()
    for row in tables.before(groups)[2]:    # "above, no difference is seen", and below one is
        upper, lower = (tuple(map(float, re.findall(r"[+-][\d.]+", cell)))[1:] for cell in row[-2:])
        assert upper[0] < 0 < upper[1] and not lower[0] < 0 < lower[1]
    named = {("SNIP, global", 0), ("GraSP, global", 0), ("GraSP, global", 1)}           # scale, scale, shape
    assert named == {(row[0], place) for row in tables.parts(groups)[2] for place in (0, 1)
                     if row[0] in ("SNIP, global", "GraSP, global", "SynFlow, global", "SNIP, layer by layer")
                     and row[1] == tables.span(tables.PARTS[0]) and sign(row[3 + place])}
    found = build.explored(groups)
    assert sign(found["method.SNIP-global.part.1.shape_sign"]) == -1                    # "fall behind sooner"
    assert sign(found["method.SynFlow-global.part.1.shape_sign"]) == -1
    units = {tuple(row[:2]): float(row[4].split()[0]) for row in tables.used(groups)[2]}
    assert units["SynFlow, global", "shape_sign"] == 2 and "SynFlow two of 300 with signs" in text
    synflow = [units["SynFlow, global", init] for init in tables.SHAPES]
    assert synflow == sorted(synflow) and "and more with each heavier shape" in text
    graspers = tables.exploring(groups, tables.METHODS["GraSP, global"])
    ends = {init: stats.matrix(runs, stats.early_test_acc)[1].mean(0)[-2:] for init, runs in graspers.items()}
    assert max(last for _, last in ends.values()) < 0.14
    assert max(ends[init][0] for init in ends if "uniform" in init) < 0.14
    assert "at 0.21% with every scheme, and with uniform weights from 0.4% on" in text
    paths = {tuple(row[:2]): (float(row[3].split()[0]), int(row[4]), int(row[5]))
             for row in tables.paths(groups)[2]}
    for kind in ("the others", "shape_sign"):
        _, starved, runs = paths["SNIP, layer by layer", kind]
        assert 2 * starved > runs and paths["GraSP, global", kind][1] == 0      # "in most", "and in none"
    assert paths["SynFlow, global", "shape_sign"][1:] == (5, 5) and "all five runs of signs" in text
    assert paths["SynFlow, global", "the others"][0] > 99 and not paths["SynFlow, global", "the others"][1]
    layerwise = [sum(map(len, groups[f"mnist-fc-{name}{tables.HALF}"].values()))
                 for name in ("synflow", "grasp")]
    assert layerwise == [5, 1] and "Five layer-wise runs of SynFlow and one of GraSP" in text


def test_what_the_text_says_in_words_of_one_thing_changed_is_so():
    groups = results()
    shares = {key: float(text.split()[0].rstrip("%")) for key, text in build.shadowed(groups).items()}
    unit, standard = ([shares[f"shadow.{how}.{init}"] for init in stats.STANDARD]
                      for how in ("unit", "standard"))
    assert unit[1] == unit[3] == 0 < unit[0] < unit[2]      # "uniform schemes keep none", and the wider more
    assert all(a < b for a, b in zip(unit, standard))       # "and all fewer than standardised"
    assert standard[1] < standard[3] < standard[0] < standard[2]
    rows = {tuple(row[:2]): [tuple(map(float, re.findall(r"[+-][\d.]+", cell))) for cell in row[-4:-1]]
            for row in tables.why(groups)[2]}
    plain, signs, rescaled = (rows[name, tables.span(tables.TAIL)] for name in list(tables.VARIANTS)[:3])
    assert signs[2][1] > 0 and rows["signs of w0 alone", "100 to 1.6%"][2][1] > 0       # "lose nothing"
    assert all(low < 0 < high for _, low, high in (*plain[:2], *signs[:2]))             # "no order is seen"
    assert rescaled[0][2] < 0 < rescaled[1][1] and rescaled[2][2] < 0                   # "they widen"
    assert all(abs(wide[0]) > abs(own[0]) for wide, own in zip(rescaled, plain[:2]))


def test_what_the_text_says_in_words_of_doses_and_swaps_is_so():
    texts = build.explored(results())
    found = {key: sign(text) for key, text in texts.items() if "[" in text}
    words = {"rather": {"xavier_normal@4": -1, "shape_t4": -1, "xavier_normal@2": 0, "shape_laplace": 0},
             "middle": {"xavier_normal@2": -1, "xavier_normal@4": -1, "shape_laplace": 0, "shape_t4": 0,
                        "xavier_normal@0.5": 0, "shape_sign": 0, "xavier_uniform": 0, "orthogonal": 0,
                        "layer_balanced": 0, "input_aware": 0},
             "tail": {"sparse_90": -1, "asymmetric_50": 0, "shape_laplace": -1, "shape_t4": -1}}
    assert {name: {init: found[f"{name}.{init}"] for init in row} for name, row in words.items()} == words
    by = "swaps.magnitude-layer-by-layer"
    assert [found[f"{by}.xavier_normal@4.{part}.{what}"] for part in (1, 2) for what in ("masks", "values")] \
        == [-1, -1, -1, 0]      # "both cost"; at the sparse end values cost under their own masks alone
    assert found[f"{by}.xavier_normal@4.2.values-of-other-masks"] == -1
    assert [found[f"{by}.kaiming_normal.2.{what}"] for what in ("masks", "values")] == [0, 0]
    for name in ("SNIP", "SynFlow"):
        assert [found[f"swaps.{name}-global.xavier_uniform.2.{what}-mean"] for what in ("masks", "values")] \
            == [-1, 0]
        assert found[f"method.{name}-global.heavy"] == 0                                # "not told apart"
    methods = ("magnitude-global", "magnitude-one-shot", "movement", "filters", "random",
               "magnitude-layer-by-layer")      # "no order is seen", nor under layer-wise magnitude
    assert not any(found[f"carried.{name}.shape"] for name in methods)
    assert not any(found[f"carried.{name}.finalist.{place}"] for name in methods[:5] for place in (1, 2)
                   if f"carried.{name}.finalist.{place}" in found)


def test_what_the_text_says_in_words_of_conv2_is_so():
    groups = results()
    schemes, = (members for name, _, members, _ in tables.studies(groups) if name == "Conv-2, CIFAR-10")
    areas, last = tables.by_scheme(schemes, (1, 0.03)), {}
    for seed, best in areas["xavier_uniform"].items():      # "the highest area in each of the seeds"
        assert best == max(areas[init][seed] for init in stats.STANDARD)
    for init in stats.STANDARD:
        last[init] = sum(100 * stats.early_test_acc(run["levels"][8]) for run in schemes[init])
    assert max(last, key=last.get) == "kaiming_uniform"     # "at 3% itself"
    text = (ROOT / "report" / "text.md").read_text().replace("\n", " ")
    seeds = {len(schemes[init]) for init in stats.STANDARD}
    assert seeds == {3} and f"test of three pairs cannot reject (least p {2 / 2 ** 3})" in text
    looks = [(stats.early_step(level), level["step"][-1]) for init in stats.STANDARD for run in schemes[init]
             for level in run["levels"]]
    assert {step for _, step in looks} == {1500} and "at the last look (step 1,500" in text
    assert sum(best == step for best, step in looks) > 0.8 * len(looks)     # "nearly always"
    rows = {tuple(row[:3]): float(row[4].split()[0]) for row in tables.contrasts(groups)[2]}
    for label in list(tables.CONTRASTS)[:2]:    # "the means have MNIST's signs and are larger"
        conv, upper, tail = (rows[name, label, span] for name, span in (
            ("Conv-2, CIFAR-10", "100 to 3%"), ("LeNet-300-100, MNIST", "100 to 1.2%"),
            ("LeNet-300-100, MNIST", "1.2 to 0.21%")))
        assert conv * upper > 0 < conv * tail and abs(conv) > 3 * max(abs(upper), abs(tail))
    kept = build.retained(groups)
    words = {"scale": (0, 1, 1, 0), "shape": (1, 1, 1, 0)}  # "lose less on the way", "told from zero"
    assert words == {what: tuple(sign(kept[f"retained.conv2.{what}.1.{where}"]) for where in
                                 ("dense", "last", "change", "area")) for what in words}
    assert kept["retained.conv2.scale.1.dense"].startswith("-")     # "the mean is there before"
    assert all(areas["shape_sign"][seed] > max(areas[init][seed] for init in stats.STANDARD)
               for seed in areas["shape_sign"])             # "better than each of the four"
    seeds = {len(schemes[init]) for init in tables.finalists(groups)[0]}
    assert seeds == {3} and "estimates from the three planned seeds" in text
    falls = [areas[init] for init in ("shape_sign", "xavier_uniform", "truncated_glorot", "xavier_normal")]
    assert all(higher[seed] > lower[seed] for higher, lower in zip(falls, falls[1:]) for seed in lower)
    leads = [[stats.early_test_acc(ours) > stats.early_test_acc(its)
              for ours, its in zip(run["levels"], other["levels"], strict=True)]
             for run, other in zip(schemes["shape_sign"], schemes["kaiming_uniform"], strict=True)]
    assert all(all(row[1:8]) for row in leads) and sum(row[8] for row in leads) < 2     # "from 64 to 5%"
    dense = tables.at_density(schemes["shape_sign"], 1), tables.at_density(schemes["xavier_uniform"], 1)
    assert all(dense[0][seed] < dense[1][seed] for seed in dense[0])    # "agrees in both"
    signs = {"scale": (-1, 1), "shape": (-1, -1)}           # of training and validation loss
    for row in tables.fits(groups)[2]:
        if row[0] == "Conv-2, CIFAR-10":
            ends = [tuple(map(float, re.findall(r"[+-][\d.]+", cell)))[1:] for cell in row[3:5]]
            assert tuple((low > 0) - (high < 0) for low, high in ends) == signs[row[1].partition(":")[0]]


def test_what_the_text_says_in_words_of_the_four_schemes_on_mnist_is_so():
    groups = results()
    kept = build.retained(groups)
    words = {"scale": (0, -1), "shape": (0, 1)}             # "neither difference is seen then", then both
    assert words == {what: tuple(sign(kept[f"retained.mnist.{what}.{part}.area"]) for part in (1, 2))
                     for what in words}
    words = {"100 to 1.2%": {"xavier_uniform less xavier_normal"}, "1.2 to 0.21%": set()}
    for part, others in words.items():                      # "below each of the other three in both ranges"
        found = {row[1]: row[8] for row in tables.pairs(groups)[2] if row[0] == STUDY and row[2] == part}
        assert len(found) == 6
        for label, word in found.items():
            assert word.startswith("different") == ("kaiming_normal" in label or label in others)
    for what, more in zip(list(tables.SURVIVAL)[:3], (1, 1, -1)):   # "eps is higher", "the third still lower"
        rows = {row[2]: row[7] for row in tables.survival(groups)[2] if row[:2] == [STUDY, what]}
        assert (sign(rows["7"]), sign(rows["1.2"])) == (-1, more)
    auroc = {row[2]: [float(cell.split()[0]) for cell in row[3:7]] for row in tables.survival(groups)[2]
             if row[:2] == [STUDY, "AUROC of initial size in fc1"]}
    assert [value > 0.5 for value in auroc["7"]] == [True, False, True, False]
    assert all(0.46 < value < 0.5 for value in auroc["1.2"])            # "a little below one half"
    for row in tables.calibrations(groups)[2]:              # "within two standard errors"
        assert abs(float(row[3].rstrip("%")) - 5) < 2 * 100 * math.sqrt(0.05 * 0.95 / 2000)
    lines = [row for row in tables.limits(groups)[2] if row[0] == STUDY]
    assert sum(int(row[4].split()[0]) for row in lines) > 40            # "most of the runs" of 80
    rows = {tuple(row[1:3]): row[7:9] for row in tables.endpoints(groups)[2] if row[0] == STUDY}
    for part in ("100 to 1.2%", "1.2 to 0.21%"):            # "the same within 0.005 points"
        for stop, end in zip(rows[part, "early stop"], rows[part, "level's end"]):
            assert abs(float(stop.split()[0]) - float(end.split()[0])) <= 0.005
    ended, needs = build.ended(groups), build.needed(groups)
    assert sign(ended["end.fashion.shape.100-to-1-6"]) == 1             # "reaches beyond the margin"
    assert float(re.findall(r"[+-][\d.]+", ended["end.fashion.shape.100-to-1-6"])[2]) > 0.1
    ratio = {name: [float(needs[f"needs.{name}.{what}.own"].split()[0]) for what in ("scale", "shape")]
             for name in ("mnist", "fashion")}
    assert ratio["mnist"][0] > 1 > ratio["fashion"][0] and max(ratio["mnist"][1], ratio["fashion"][1]) < 1
    for row in tables.retained(groups)[2]:                  # "neither p is below 0.05", "no contrast keeps"
        assert float(row[8]) > 0.05
    same = {row[1].split(":")[0]: float(row[7].split()[0]) for row in tables.contrasts(groups)[2]
            if row[0] == STUDY and row[2] == "100 to 1.2%"}
    assert max(same.values()) < 0.05                        # "within a tenth", "so is the interaction"


def test_what_the_text_says_of_how_far_the_runs_are_is_so():
    groups = results()
    text = (ROOT / "report" / "text.md").read_text().replace("\n", " ")
    rows = tables.lit(groups)[2]
    assert {row[4] for row in rows} == {"20"} and "on 20 further seeds" in text
    shape, = (float(row[4].split()[0]) for row in tables.contrasts(groups)[2]
              if row[0] == STUDY and row[1].startswith("shape") and row[2] == rows[1][1])
    low, high = map(float, re.findall(r"[+-][\d.]+", rows[1][5])[1:])
    assert float(rows[1][6]) > 0.05 and low < 0 < high < shape          # "none is found", "lies outside"
    assert sign(rows[2][5]) == -1                                       # "the plain schemes are the better"


def test_what_the_text_says_in_words_of_the_screen_is_so():
    rows = tables.screen(results())[2]
    score = {row[0]: float(row[1].split()[0]) for row in rows}
    gains = sorted((init for init in score if init.startswith("xavier_normal@") or init == "xavier_normal"),
                   key=score.get)
    assert set(gains[-2:]) == {"xavier_normal@0.5", "xavier_normal"}    # "the highest means are at"
    assert rows[0][0] == "shape_sign"                                   # "the highest of the screen"
    drawn = []
    for init in ("orthogonal", "delta_orthogonal"):                     # "for this network is"
        layers = models.layers(models.build("fc", models.PAPER["fc"]["shape"]))
        inits.init_(layers, init, datasets.rng(0, "init"), None, None)
        drawn.append([layer.weight for layer in layers.values()])
    assert all((a == b).all() for a, b in zip(*drawn))


def test_the_report_s_own_differences_by_hand():
    """Of accuracies that are one for all levels, an area is that accuracy."""
    runs, points = [], {}
    for method, name in enumerate(("magnitude, layer by layer", "movement")):
        for place, init in enumerate(("xavier_normal", "shape_t4")):
            for seed in range(3):
                points[method, place, seed] = 90 + method + 3 * place * (1 + method) + seed * (1 + 2 * place)
                runs.append(made(init, seed, points[method, place, seed], group=tables.METHODS[name],
                                 levels=10, rates=(0.5, 0.28)))
    gaps = [[points[method, 1, seed] - points[method, 0, seed] for seed in range(3)] for method in (0, 1)]
    found = build.explored(stats.groups(runs))
    for name, d in {"tail": gaps[0], "upper": gaps[0], "movement": gaps[1], "upper-movement": gaps[1],
                    "method.movement": gaps[1], "rather": [a - b for a, b in zip(*gaps)]}.items():
        assert found[f"{name}.shape_t4"].startswith(f"{sum(d) / 3:+.3f} [") and "(n = 3)" in found[
            f"{name}.shape_t4"], name


def test_slides_have_their_titles_and_pictures_and_are_the_same_at_any_time(tmp_path, monkeypatch):
    pptx = pytest.importorskip("pptx")
    text = "# One\n- a\n- b\n\n# Two\n- LeNet-300 -1 [-2, +3] (+-0.1) 1e-04\n"
    build.slides(text, tmp_path / "deck.pptx")
    found = [[shape.text_frame.text for shape in slide.shapes] for slide in
             pptx.Presentation(str(tmp_path / "deck.pptx")).slides]
    two = "\u2022 LeNet-300 \u22121 [\u22122, +3] (\u00b10.1) 1e-04"
    first = (tmp_path / "deck.pptx").read_bytes()
    monkeypatch.setattr("time.time", lambda: 2e9)
    build.slides(text, tmp_path / "deck.pptx")
    assert (tmp_path / "deck.pptx").read_bytes() == first
    assert found == [["One", "\u2022 a\n\u2022 b", "1"], ["Two", two, "2"]]


def test_the_command_says_what_it_needs(tmp_path):
    done = subprocess.run([sys.executable, str(ROOT / "report" / "build.py"), "--runs", str(tmp_path)],
                          capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "No runs in" in done.stderr
