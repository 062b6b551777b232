"""The report is made of tables and numbers that are generated, and comes out the same twice."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jinja2
import pptx
import pytest

import build
import code_tables
import data as datasets
import deck
import figures
import formatting
import inits
import mechanism
import models
import slide_figures
import stats
import study
import tables

from .conftest import ROOT
from .made import standards

REAL = Path(os.environ.get("DATA_DIR", ROOT / "data"))


@pytest.fixture
def built(tmp_path, monkeypatch):
    """built(runs): the text of the report, the answer in README.md and the slides made in a copy."""
    for folder in ("report", "figures"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(build, "HERE", tmp_path / "report")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["build.py", "--figures", str(tmp_path / "figures")])

    def call(runs):
        monkeypatch.setattr(stats, "read", lambda root: runs)
        build.main()
        return [(tmp_path / name).read_bytes()
                for name in ("report/REPORT.md", "README.md", "report/slides.pptx")]
    return call


def test_the_report_is_the_same_twice_and_numbers_what_it_shows(built):
    first, again = built(standards(3)), built(standards(3))
    assert first == again
    report, readme = (text.decode() for text in first[:2])
    assert "MNIST (3) |" in readme and "(not run yet)" in report
    for kind in ("Table", "Figure"):
        numbers = re.findall(rf"^\*\*{kind} (A?\d+)\.\*\*", report, re.M)
        main, more = ([number for number in numbers if number.startswith("A") == there] for there in (0, 1))
        assert numbers == [*main, *more] and main and more
        assert main == [str(place) for place in range(1, len(main) + 1)]
        assert more == [f"A{place}" for place in range(1, len(more) + 1)]
        cited = re.findall(rf"\b{kind} (A?\d+)\b(?!\.\*\*)", report)      # every one is, in their order
        assert set(cited) == set(numbers)
        first = list(dict.fromkeys(number for number in cited if not number.startswith("A")))
        assert first == main
    listed = re.findall(r"^(\d+)\. ", report.partition("## References")[2], re.M)
    assert list(dict.fromkeys(re.findall(r"\[(\d+)](?!\()", report))) == listed and listed
    records = tables.contrasts(stats.groups(standards(3)))
    assert formatting.markdown(tables.TABLES["contrasts"], records) in report


@pytest.fixture(scope="module")
def results():
    return stats.read(ROOT / "results")


def test_the_report_in_the_repository_is_what_the_results_give(built, results, monkeypatch):
    """But for rows of one's own that the tables of schemes and networks have no line of yet."""
    text = (ROOT / "report" / "REPORT.md").read_text()
    for rows, cell in ((inits.INITS, "| `{}` |"), (models.PAPER, "| {} |")):
        for name in [name for name in rows if f"\n{cell.format(name)}" not in text]:
            monkeypatch.delitem(rows, name)
    report, readme, _ = built(results)
    assert report.decode() == text, "bash run_all.sh report makes it"
    assert readme.decode() == (ROOT / "README.md").read_text()
    assert "(not run yet)" not in (report + readme).decode(), "a template asks for a number by a wrong name"


def test_what_the_report_says_in_words_is_what_its_tables_say(results):
    """Where an interval of Conv-2 lies on one side of 0, how little a level's end changes the contrasts, and
    in how much of Conv-2 Kaiming's weights are over 10% wider than Xavier's."""
    report = " ".join((ROOT / "report" / "REPORT.md").read_text().split())
    groups = stats.groups(results)
    rows = [row for row in tables.by_density(groups) if row["study"] == "conv2" and row["density"] < 1]

    def densities(contrast, side):
        return [f"{100 * row['density']:.2g}" for row in rows
                if (row[contrast].low > 0) - (row[contrast].high < 0) == side]

    xavier, neither, kaiming = (densities("variance_scaling", side) for side in (-1, 0, 1))
    normal, even, uniform = (densities("distribution", side) for side in (-1, 0, 1))
    assert not normal and xavier + neither + kaiming == even + uniform  # in their order, without gaps
    assert (f"Xavier is ahead from {xavier[0]} to {xavier[-1]}%, neither at {' and '.join(neither)}%, "
            f"and Kaiming at {kaiming[0]}% and below; uniform weights are ahead from {uniform[0]}% down"
            ) in report
    ends = {(row["study"], row["range"], row["accuracy_at"]): row for row in tables.endpoints(groups)}
    for name, least in {"mnist": 0.01, "conv2": 0.04}.items():
        assert f"by less than {least}" in report
        later = [key for key in ends if key[0] == name and key[2] == "level's end"]
        assert len(later) == 3
        for key in later:
            early = ends[*key[:2], "minimum of the validation loss"]
            for contrast in ("variance_scaling", "distribution"):
                assert abs(ends[key][contrast].mean - early[contrast].mean) < least
    layers = [module.weight for module in models.layers(models.build("conv2", (3, 32, 32))).values()]
    fans = [inits.fans(weight) for weight in layers]
    wider = [weight.numel() for weight, (n_in, n_out) in zip(layers, fans)
             if ((n_in + n_out) / n_in) ** 0.5 > 1.1]
    share = sum(wider) / sum(weight.numel() for weight in layers)
    assert f"Conv-2 only in layers that hold {100 * share:.1f}% of the weights" in report


def test_every_table_and_figure_is_shown_or_asked_for():
    source = "".join(path.read_text() for path in (ROOT / "report").glob("*.md.j2"))
    for name, shown in {**tables.TABLES, **code_tables.TABLES}.items():
        assert (f'table("{name}")' in source) if shown.columns else f"{{{{ {name}(" in source, name
    shown = {*re.findall(r'figure\("(\w+)"\)', source), *re.findall(r"/study-(\w+)\.png", source)}
    assert shown == {*figures.FIGURES, *(f"slide_{name}" for name in slide_figures.FIGURES)}
    drawn = {path.name for path in (ROOT / "figures").glob("study-*")}
    assert drawn == {f"study-{name}.png" for name in shown}


def test_a_template_names_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "HERE", tmp_path)
    fill, none = build.filler(stats.groups(standards(8)), tmp_path), "(not run yet)"
    for source, found in {
            'contrasts("mnist", "distribution", "100 to 1.2%") | holm': "] points (Holm p 0.047)",
            'contrasts("mnist", "distribution", "1.2 to 0.21%").difference | points': "] points (n = 8)",
            'contrasts("mnist", "distribution", "9 to 1%").difference | points': none,
            'seeds("mnist").n': "8",
            'gaps("movement", "shape_t4", "50 to 0.21%")': none,
            **dict.fromkeys(('contrast("mnist")', 'contrasts("mnist", "distribution", "100 to 1.2%").mean',
                             'pairs("mnist")', 'seeds("mnist") | pints', 'table("contrast")',
                             'table_ref("contrasts")'))}.items():
        name = f"{len(list(tmp_path.iterdir()))}.md.j2"
        (tmp_path / name).write_text(f"{{{{ {source} }}}}")
        with contextlib.nullcontext() if found else pytest.raises(
                (jinja2.TemplateError, KeyError, TypeError)):
            assert fill(name).endswith(found)


def test_the_schemes_that_the_grids_run_are_those_of_the_protocols_rules(results):
    found = stats.groups(results)
    customs, _ = study.candidates(found)
    script = (ROOT / "run_all.sh").read_text()
    assert f'CANDIDATES="{" ".join(customs)}"' in script
    assert f"HEAVY={tables.heavy_tailed(found)} " in script


@pytest.mark.parametrize("name", json.loads(mechanism.PIXELS.read_text()))
def test_the_pixels_are_active_in_as_many_images(name):
    if not (REAL / f"{name}.npz").exists():
        pytest.skip(f"the real {name} is not at hand")
    x = datasets.load(name, REAL).x_train.flatten(1)
    found = json.loads(mechanism.PIXELS.read_text())[name]
    assert found == {"images": len(x), "lit": [int((column > x.min()).sum()) for column in x.T]}


def test_slides_have_what_their_text_has_and_are_the_same_at_any_time(tmp_path, monkeypatch):
    picture, path = ROOT / "figures" / "study-diagram.png", tmp_path / "deck.pptx"
    text = ("# One\n## two\n- a\n- b\n\n# Two\n* LeNet-300 -1 [-2, +3] (+-0.1) 1e-04\n\n"
            f"| x | y -1 |\n|---|---|\n| 2 | n = 3 |\n\n![]({picture})\n![](not-drawn.png)\n\n"
            "> Say -1\n> and 2.\n")
    deck.write(text, path)
    first = path.read_bytes()
    one, two = pptx.Presentation(str(path)).slides
    assert [shape.text_frame.text for shape in one.shapes] == ["One", "two", "\u2022 a\n\u2022 b", "1"]
    title, points, table, shown, number = two.shapes
    assert [shape.text_frame.text for shape in (title, points, number)] == [
        "Two", "\u2022 LeNet-300 \u22121 [\u22122,\u00a0+3] (\u00b10.1) 1e-04", "2"]
    assert [[cell.text for cell in row.cells] for row in table.table.rows] == [
        ["x", "y \u22121"], ["2", "n\u00a0=\u00a03"]]
    assert shown.image.blob == picture.read_bytes() and not one.has_notes_slide
    assert two.notes_slide.notes_text_frame.text == "Say \u22121 and 2."
    ends = [shape.top + shape.height for shape in (title, points, table)]
    assert all(end <= shape.top for end, shape in zip(ends, (points, table, shown)))    # nothing on another
    monkeypatch.setattr("time.time", lambda: 2e9)
    deck.write(text, path)
    assert path.read_bytes() == first


def imported(path):
    """The modules that a script imports, by their first names."""
    return set(re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.M))


def test_the_scripts_know_nothing_of_the_study_and_its_files_only_what_is_above_them():
    order = ["inference", "study", "formatting", "mechanism", "tables", "code_tables", "figures",
             "slide_figures", "deck", "build"]
    scripts, files = ({path.stem for path in folder.glob("*.py")} for folder in (ROOT, ROOT / "report"))
    assert set(order) == files
    for path in (*ROOT.glob("*.py"), *ROOT.glob("tests/*.py")):
        assert not imported(path) & {*files, "scipy", "jinja2", "pptx"}, path
    for place, name in enumerate(order):        # what train and prune say is asked for in code_tables alone
        found = imported(ROOT / "report" / f"{name}.py")
        assert found & files <= set(order[:place]), name
        assert name == "code_tables" or found & scripts <= {"stats", "plot", "inits"}, name


def test_the_build_says_what_it_needs(tmp_path):
    done = subprocess.run([sys.executable, str(ROOT / "report" / "build.py"), "--runs", str(tmp_path)],
                          capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "No runs in" in done.stderr
