"""Builds the report and the slides from results/, on figures that figures.py has drawn.

    python report/build.py     REPORT.md, slides.pptx, and report.pdf where pandoc and chromium are at hand

In text.md, slides.md and answer.md (for the README) `<<table NAME>>` is a table of tables.VERDICTS or of this
file, `<<figure NAME: caption>>` figures/study-NAME.png, `<<ref NAME>>` the number of either, `<<value NAME>>`
a number with its n, interval and p.
"""
import argparse
import datetime
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import data as datasets  # noqa: E402
import inits  # noqa: E402
import models  # noqa: E402
import stats  # noqa: E402
import tables  # noqa: E402
import train  # noqa: E402

MARK = re.compile(r"<<(table|figure|ref|value) ([\w.@-]+)(?:: ([^>]*))?>>")
ANSWER = re.compile("(<!-- answer -->).*?(<!-- /answer -->)", re.S)  # in the README
STYLE = ("@page{size:A4;margin:14mm}html body{max-width:none;padding:0;font:9pt/1.25 sans-serif}"
         "p,ul,ol{margin:.5em 0}h1{margin:0 0 .5em}h2,h3{margin:1em 0 .4em}li p{margin:0}"
         "table{font-size:7pt;border-collapse:collapse;margin:.6em 0}"
         "td,th{border-bottom:1px solid #ddd;padding:1px 4px}th{vertical-align:bottom}"
         "td code{overflow-wrap:anywhere}img{max-width:100%;max-height:19em}"
         "img[src*=tradeoff],img[src*=differences]{max-height:32em}img[src*=doses]{max-height:24em}"
         "img[src*=mechanism],img[src*=methods]{max-height:34em}")
SHORT = {"LeNet-300-100, MNIST": "mnist", "LeNet-300-100, Fashion-MNIST": "fashion",
         "Conv-2, CIFAR-10": "conv2"}


def networks():
    """The table of networks and settings, from the code that runs them."""
    head = ["network", "layers", "weights", "data", "learning rate", "pruned a round"]
    rows = []
    for net, row in models.PAPER.items():
        layers = models.layers(models.build(net, row["shape"]))
        sizes = {name: layer.weight.numel() for name, layer in layers.items()}
        rows.append([net, ", ".join(f"{name} {size:,}" for name, size in sizes.items()),
                     f"{sum(sizes.values()):,}", row["data"], f"{row['lr']:g}",
                     ", ".join(f"{kind} {100 * rate:g}%" for kind, rate in row["rates"].items())])
    return "The networks, their weights by layer, and Frankle & Carbin's settings for each.", head, rows


def schemes():
    rows = [[f"`{name}`", row.about, row.reference] for name, row in inits.INITS.items()]
    return "The initialization schemes.", ["scheme", "what", "reference"], rows


def hyperparameters():
    study = train.PRESETS["study"]
    rows = [["optimizer", "Adam (0.9, 0.999), fresh at every level; no weight decay"],
            ["batch", f"{models.BATCH} images"], ["epochs a level", str(study["epochs"])],
            ["evaluations", f"{study['looks']} an epoch, on validation and test images"],
            ["pixels", "mean 0, standard deviation 1 over the training images, a channel each"],
            ["validation", f"{datasets.VALIDATION:,} training images, the same for all"],
            ["pruned", "weights; never biases"], ["reset to", "the scheme's own initial values"]]
    return "Hyperparameters of the study preset.", ["what", "value"], rows


def counts(groups):
    """Every group of runs with its seeds."""
    rows = [[f"`{name}`", f"{len(members)}", str(sum(len(runs) for runs in members.values())),
             str(max(len(run["levels"]) - 1 for runs in members.values() for run in runs)),
             ", ".join(sorted({row["commit"] for runs in members.values() for run in runs
                               for row in run["provenance"]}))] for name, members in groups.items()]
    return ("Runs in results/ by group, and the commits that made them.",
            ["group", "schemes", "runs", "rounds", "commit"], rows)


def values(groups):
    """{name: text} of the tests: <study>.<contrast or pair>.<number of the range>, and .short, .bare."""
    found = {}
    for table, together in ((tables.CONTRASTS, True), (tables.PAIRS, False)):
        for name, margin, label, pair, d, own, p, same in tables.tests(groups, table, together):
            place = tables.STUDIES[name].bounds.index(pair[1])
            key = f"{SHORT.get(name, name)}.{slug(label.partition(':')[0])}.{place}"
            difference, own, p, same = tables.signed(d), *map(tables.p_text, (own, p, same))
            found[f"{key}.short"] = f"{difference} points (Holm p {p})"
            found[f"{key}.bare"] = f"{difference} points (n = {len(d)})"
            found[key] = (f"{difference} points (n = {len(d)}, sign-flip p {own}, Holm {p}; equivalence "
                          f"within {margin:g}: p {same})")
    for name, study, members, _ in tables.studies(groups):
        whole = tables.by_scheme(members, (study.bounds[0], study.bounds[-1]))
        found[f"{SHORT.get(name, name)}.n"] = tables.ns(whole)
    for name, what, percent, *_, difference, n in tables.survival(groups)[2]:
        place = list(tables.SURVIVAL).index(what) + 1
        found[f"survival.{SHORT.get(name, name)}.{place}.{percent}"] = f"{difference} (n = {n})"
    for more in (chosen, explored, before, shadowed, said, fitted, retained, needed, ended, dark, controlled):
        found |= more(groups)
    return found


def chosen(groups):
    """{finalist.<1, 2>, comparator, <study>.finalist.<1, 2>.<number of the range>}."""
    customs, comparator = tables.finalists(groups)
    found = {f"finalist.{place}": init for place, init in enumerate(customs, 1)}
    spans = {name: [tables.span(pair) for pair in bounds] for name, _, _, bounds in tables.studies(groups)}
    for name, init, _, bounds, n, difference, p, same in tables.confirmed(groups)[2]:
        place = f"{customs.index(init) + 1}.{spans[name].index(bounds) + 1}"
        found[f"{SHORT.get(name, name)}.finalist.{place}"] = (
            f"{difference} points (n = {n}, max-T p {p}; equivalence: p {same})")
    return found | ({"comparator": comparator} if comparator else {})


MIDDLE = 0.032  # the one level of halved runs where the protocol's directions are: 2 to 5% of the weights


def explored(groups):
    """{screen.<scheme>, rates.<rate>.<scheme>, carried.<method>.<contrast, or finalist.1>,
    why.<change>.<range>.<contrast, or mean>}, and less Xavier normal {tail.<scheme>, under movement
    movement.<scheme>, tail less movement rather.<scheme>, of pixels in [0, 1] unit.<scheme>: the sparse end;
    upper.<scheme>, upper-movement.<scheme>: down to it; method.<method>.<scheme, or heavy, Laplace less
    Student's t>: from 50 to 0.2%, and method.<method>.part.<1, 2>.<scheme>; middle.<scheme>: accuracy at
    3.2%; swaps.<method>.<scheme>.<range>.<what>}"""
    found = [(f"screen.{row[0]}", row[2], row[-1]) for row in tables.screen(groups)[2]]
    upper, moved = (1, tables.TAIL[0]), tables.METHODS["movement"]
    sets = {name: tables.by_scheme(tables.exploring(groups, group), bounds) for name, group, bounds in (
        ("tail", tables.HALVED, tables.TAIL), ("upper", tables.HALVED, upper),
        ("movement", moved, tables.TAIL), ("upper-movement", moved, upper),
        ("unit", tables.VARIANTS["pixels in [0, 1]"], tables.TAIL))}
    sets["middle"] = {init: tables.at_density(runs, MIDDLE)
                      for init, runs in tables.exploring(groups, tables.HALVED).items()}
    both = {init: areas for init, areas in sets["tail"].items() if init in sets["movement"]}
    sets["rather"] = tables.less(both, sets["movement"])
    for name in tables.METHODS:
        for suffix, bounds in zip(("", ".part.1", ".part.2"), ((0.5, tables.TAIL[1]), *tables.PARTS)):
            sets[f"method.{slug(name)}{suffix}"] = tables.under(groups, name, bounds=bounds)
    for name, areas in sets.items():
        pairs = {init: (init, "xavier_normal") for init in areas.keys() - {"xavier_normal"}}
        if name.startswith("method."):
            pairs["heavy"] = tables.HEAVY
        for key, (one, other) in pairs.items():
            d = stats.paired(areas, {one: 1, other: -1})
            found.append((f"{name}.{key}", tables.signed(d), str(len(d))))
    found += [(f"rates.{slug(row[0])}.{row[1]}", row[-2], row[-1]) for row in tables.rates(groups)[2]]
    _, head, rows = tables.carried(groups)
    for row in rows:
        differences = [cell for label, cell in zip(head, row) if " less " in label]
        for key, cell in zip(("scale", "shape", "finalist.1", "finalist.2"), differences):
            found.append((f"carried.{slug(row[0])}.{key}", cell, row[-1]))
    for how, other, pair, _, *differences, n in tables.swaps(groups)[2]:
        key = f"swaps.{slug(how)}.{other}.{2 if pair == tables.span(tables.TAIL) else 1}"
        found += [(f"{key}.{what}", cell, n) for what, cell in zip(
            ("masks", "masks-of-other-values", "values", "values-of-other-masks",
             "masks-mean", "values-mean"), differences)]
    places = Counter()
    for row in tables.why(groups)[2]:
        places[row[0]] += 1
        key = f"why.{slug(row[0])}.{places[row[0]]}"
        found += [(f"{key}.{what}", cell, row[-1])
                  for what, cell in zip(("scale", "shape", "mean"), row[-4:])]
    return {key: f"{difference} points (n = {n})" for key, difference, n in found if difference}


def shadowed(groups):
    """{shadow.<unit or standard>.<scheme>: share of fc1's survivors on always-dark pixels, at 6.3% of all;
    eps.<standard or signs>.<scheme>: fc1's, there; signal.<standard or rescaled>.<scheme>: std of the logits
    at the start of the last level}"""
    found = {}
    for name, change, keys, density, scale, unit in (
            ("shadow.standard", "as it is", ("dark_share",), 0.0625, 100, "%"),
            ("shadow.unit", "pixels in [0, 1]", ("dark_share",), 0.0625, 100, "%"),
            ("eps.standard", "as it is", ("layers", "fc1", "eps"), 0.0625, 1, ""),
            ("eps.signs", "signs of w0 alone", ("layers", "fc1", "eps"), 0.0625, 1, ""),
            ("signal.standard", "as it is", ("logit_std",), tables.TAIL[1], 1, ""),
            ("signal.rescaled", "w0 rescaled to each unit's norm", ("logit_std",), tables.TAIL[1], 1, "")):
        for init, runs in tables.exploring(groups, tables.VARIANTS[change]).items():
            cells = tables.at_density(runs, density, stats.diagnostic(*keys), scale)
            if cells:
                found[f"{name}.{init}"] = f"{tables.spread(cells.values())}{unit}"
    return found


def said(groups):
    """{say.<study or screen>.<area or less>.<range>.<density of the measure>.<eps, auroc or rho>}"""
    found = {}
    for name, what, span, at, _, *cells, n in tables.say(groups)[2]:
        key = f"say.{SHORT.get(name, 'screen')}.{what.split()[0]}.{slug(span)}.{slug(at)}"
        found |= {f"{key}.{measure}": f"{cell} (n = {n})" for measure, cell in zip(tables.SAY, cells)}
    return found


def fitted(groups):
    """{fit.<study>.<contrast>.<number of the range>.<train or val>}: hundredths of a nat"""
    found, places = {}, Counter()
    for name, label, _, *losses, n in tables.fits(groups)[2]:
        key = f"fit.{SHORT.get(name, name)}.{slug(label.partition(':')[0])}"
        places[key] += 1
        found |= {f"{key}.{places[key]}.{part}": f"{loss} hundredths of a nat (n = {n})"
                  for part, loss in zip(("train", "val"), losses)}
    return found


def retained(groups):
    """{retained.<study>.<contrast>.<number of the range>.<dense, last, change, area>}"""
    found, places = {}, Counter()
    for name, label, _, *differences, own, p, n in tables.retained(groups)[2]:
        key = f"retained.{SHORT.get(name, name)}.{slug(label.partition(':')[0])}"
        places[key] += 1
        tested_ = "", "", "", f", sign-flip p {own}, Holm {p}"
        found |= {f"{key}.{places[key]}.{what}": f"{cell} points (n = {n}{more})" for what, cell, more in
                  zip(("dense", "last", "change", "area"), differences, tested_)}
    return found


def needed(groups):
    """{needs.<study>.<contrast>.<own or common>: a ratio}"""
    return {f"needs.{SHORT.get(name, name)}.{slug(label.partition(':')[0])}.{what}":
            f"{ratio} (n = {n}, sign-flip p {p})"
            for name, label, what, ratio, p, _, n in tables.needs(groups)[2]}


def ended(groups):
    """{end.<study>.<scale or shape>.<range>: the contrast of areas read at the levels' ends}"""
    return {f"end.{SHORT.get(name, name)}.{what}.{slug(span)}": f"{cell} points (n = {n})"
            for name, span, at, *_, scale, shape, n in tables.endpoints(groups)[2] if at == "level's end"
            for what, cell in (("scale", scale), ("shape", shape)) if cell}


def before(groups):
    """{before.<method>.<place>: the tests of pruning before training, in the order of their table}"""
    found, places = {}, Counter()
    for name, _, _, _, n, difference, own, p, *parts in tables.before(groups)[2]:
        places[name] += 1
        key = f"before.{slug(name)}.{places[name]}"
        found[key] = f"{difference} points (n = {n}, sign-flip p {own}, Holm {p})"
        found |= {f"{key}.short": f"{difference} points (Holm p {p})", "before.n": n}
        found |= {f"{key}.part.{part}": f"{cell} points" for part, cell in enumerate(parts, 1)}
    return found


def dark(groups):
    """{dark.<study>.<contrast>.<number of what is counted>}, lit.<row>, .plain and .without, and
    <signs or half>.<seeds>.<area, dense, less (the area, the own dense), last>."""
    found, places = {}, Counter()
    for name, label, _, _, *rest in tables.dark(groups)[2]:
        key = f"dark.{SHORT.get(name, name)}.{slug(label.partition(':')[0])}"
        places[key] += 1
        found[f"{key}.{places[key]}"] = tested(*rest)
    for name, table in (("signs", tables.signs), ("half", tables.half)):
        for what, area, *others, p, n in table(groups)[2]:
            key = f"{name}.{slug(what)}"
            found[f"{key}.area"] = f"{area} points (n = {n}, sign-flip p {p})"
            found |= {f"{key}.{where}": f"{cell} points (n = {n})"
                      for where, cell in zip(("dense", "less", "last"), others)}
    for place, (_, _, plain, without, *rest) in enumerate(tables.lit(groups)[2], 1):
        found[f"lit.{place}"] = tested(*rest)
        found |= {f"lit.{place}.plain": plain, f"lit.{place}.without": without}
    return found


def tested(n, difference, p, same):
    """A difference with its n and p from the cells of a table."""
    return f"{difference} points (n = {n}, sign-flip p {p}, equivalence p {same.partition(' ')[0]})"


def slug(name):
    """A name as a mark can hold it."""
    return "-".join(re.findall(r"\w+", name))


def controlled(groups):
    """{controls.<control>.<% remaining>: ticket less control, paired by seed}."""
    def at(group, wanted):
        runs = tables.exploring(groups, group).get("xavier_normal", [])
        return tables.at_density(runs, wanted)
    found, short = {}, ("ticket", "reinit", "shuffle", "random", "oneshot")
    for key, group in zip(short[1:], list(tables.CONTROLLED.values())[1:]):
        for percent in (7, 3.6):
            values = {"ticket": at(tables.FULL, percent / 100), key: at(group, percent / 100)}
            d = stats.paired(values, {"ticket": 1, key: -1})
            if len(d) > 1:
                found[f"controls.{key}.{percent}"] = f"{tables.signed(d)} points (n = {len(d)})"
    return found


def fill(text, made, numbers, figures):
    """`text` with its marks replaced, `made` the tables; tables and figures are numbered where they stand."""
    order = {"table": [], "figure": []}
    for kind, name, _ in MARK.findall(text):
        if kind in order and name not in order[kind]:
            order[kind].append(name)
    labels = {name: f"{kind.capitalize()} {place}" for kind, names in order.items()
              for place, name in enumerate(names, 1)}

    def replacement(mark):
        kind, name, caption = mark.groups()
        if kind == "ref":
            return labels[name]
        if kind == "value":
            return numbers.get(name, "(not run yet)")
        if kind == "table":
            says, head, rows = made[name]
            return f"**{labels[name]}.** {says}\n\n{tables.lines(head, rows)}"
        path = figures / (name if name.endswith(".png") else f"study-{name}.png")
        shown = f"![]({os.path.relpath(path, HERE)})\n\n" if path.exists() else "*Not run.*\n\n"
        return f"{shown}**{labels[name]}.** {caption}"
    return MARK.sub(replacement, text)


def slides(text, path):
    """A deck from Markdown: `# title` begins a slide, `- ` a point, `![](file)` its picture. Equal text and
    pictures give equal bytes."""
    from pptx import Presentation
    from pptx.util import Inches, Pt
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(13.333), Inches(7.5)
    text = re.sub(r"(?<=[\s[+])-(?=\d)", "\u2212", text)   # a minus, after which no line breaks
    text = text.replace("+\u2212", "\u00b1")
    for number, part in enumerate(re.split(r"^# ", text, flags=re.M)[1:]):
        title, _, body = part.partition("\n")
        points = re.findall(r"^- (.*)", body, re.M)
        picture = re.search(r"!\[\]\((.*)\)", body)
        slide = deck.slides.add_slide(deck.slide_layouts[6])

        def box(left, top, width, height, lines, size, bold=False):
            frame = slide.shapes.add_textbox(*map(Inches, (left, top, width, height))).text_frame
            frame.word_wrap = True
            for place, line in enumerate(lines):
                paragraph = frame.paragraphs[0] if place == 0 else frame.add_paragraph()
                run = paragraph.add_run()
                run.text, run.font.size, run.font.bold = line, Pt(size), bold
                paragraph.space_after = Pt(8)
        box(0.5, 0.3, 12.3, 1, [title], 30, True)
        points = [f"\u2022 {point}" for point in points]
        if picture and (HERE / picture[1]).exists():
            shape = slide.shapes.add_picture(str(HERE / picture[1]), 0, 0)
            flat = shape.width > 1.7 * shape.height     # below the points, else beside them
            left, top, width, height = (0.5, 2.75, 12.3, 4.4) if flat else (5.3, 1.3, 7.7, 5.7)
            scale = min(Inches(width) / shape.width, Inches(height) / shape.height)
            shape.left, shape.top = Inches(left), Inches(top)
            shape.width, shape.height = int(shape.width * scale), int(shape.height * scale)
            box(0.5, 1.2, *((12.3, 1.5) if flat else (4.6, 5.5)), points, 16 if flat else 18)
        else:
            box(0.5, 1.4, 12.3, 5.5, points, 22)
        box(12.5, 7.0, 0.6, 0.4, [str(number + 1)], 12)
    deck.core_properties.modified = datetime.datetime(2026, 1, 1)
    packed = io.BytesIO()
    deck.save(packed)
    with zipfile.ZipFile(packed) as dated, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as plain:
        for part in dated.namelist():
            plain.writestr(zipfile.ZipInfo(part), dated.read(part), zipfile.ZIP_DEFLATED)


def pdf(markdown_file, path):
    """Print a Markdown file by pandoc and a browser."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        style = Path(folder, "style.html")  # pictures are found from where the Markdown lies
        style.write_text(f"<base href='{HERE.as_uri()}/'><style>{STYLE}</style>")
        subprocess.run(["pandoc", markdown_file, "-s", "--metadata", "title= ", "-H", style,
                        "--mathml", "--columns", "1000", "-o", page], check=True, cwd=HERE)
        subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
                        f"--print-to-pdf={path}", page.as_uri()], check=True, capture_output=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=HERE.parent / "results", help="folder of runs' metrics")
    parser.add_argument("--figures", type=Path, default=HERE.parent / "figures")
    args = parser.parse_args()
    groups = stats.groups([run for run in stats.read(args.runs) if run["levels"]])
    made = {name: function(groups) for name, function in tables.VERDICTS.items()}
    made |= {"networks": networks(), "schemes": schemes(), "hyperparameters": hyperparameters(),
             "runs": counts(groups)}
    given = made, values(groups), args.figures
    report = HERE / "REPORT.md"
    report.write_text(fill((HERE / "text.md").read_text(), *given))
    print(report)
    readme = HERE.parent / "README.md"
    answer = fill((HERE / "answer.md").read_text(), *given)
    readme.write_text(ANSWER.sub(lambda mark: f"{mark[1]}\n{answer}{mark[2]}", readme.read_text()))
    print(readme)
    try:
        slides(fill((HERE / "slides.md").read_text(), *given), HERE / "slides.pptx")
        print(HERE / "slides.pptx")
    except ImportError:
        print("no slides: they need the package python-pptx (pip install python-pptx)", file=sys.stderr)
    if shutil.which("pandoc") and shutil.which("chromium"):
        pdf(report, HERE / "report.pdf")
        print(HERE / "report.pdf")
    else:
        print("no report.pdf: it needs pandoc and chromium", file=sys.stderr)


if __name__ == "__main__":
    main()
