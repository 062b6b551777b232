"""Builds the report, the slides and the README's answer from results/ and the figures.

    python report/build.py     REPORT.md, slides.pptx, and report.pdf where pandoc and chromium are at hand

The templates report.md.j2, slides.md.j2 and answer.md.j2 have `{{ table("NAME") }}` where a table stands,
`{{ figure("NAME") }}` before a figure's caption, `{{ table_ref("NAME") }}` and `{{ figure_ref("NAME") }}` for
their numbers, `{{ appendix() }}` where the appendix begins, and for a number
`{{ contrasts("mnist", "distribution", "100 to 1.2%") | holm }}`: a record of a table by its names, in words
of formatting.PHRASES.
"""
import argparse
import datetime
import functools
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pptx
from pptx.util import Inches, Pt

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import code_tables  # noqa: E402
import formatting  # noqa: E402
import stats  # noqa: E402
import tables  # noqa: E402

ANSWER = re.compile("(<!-- answer -->).*?(<!-- /answer -->)", re.S)     # in the README
PDF_STYLE = ("@page{size:A4;margin:14mm}html body{max-width:none;padding:0;font:9pt/1.25 sans-serif}"
             "p,ul,ol{margin:.5em 0}h1{margin:0 0 .5em}h2,h3{margin:1em 0 .4em}li p{margin:0}"
             "table{font-size:7pt;border-collapse:collapse;margin:.6em 0}"
             "td,th{border-bottom:1px solid #ddd;padding:1px 4px}th{vertical-align:bottom}"
             "td code{overflow-wrap:anywhere}img{max-width:100%}")
LEFT, WIDTH, BOTTOM = 0.5, 12.3, 6.95       # inches: where a slide has what stands below its title
TITLE, COVER = (LEFT, 0.15, WIDTH, 1.1), (LEFT, 1.6, WIDTH, 1.2)
CHARACTERS = 1480           # on a line of a slide, times points of text, in a font as wide as DejaVu Sans


class NotRun(jinja2.ChainableUndefined):
    """A number that is not there yet, or one of its parts."""

    def __str__(self):
        return "(not run yet)"


def said(value: Any) -> str:
    """What a template prints of a value."""
    return str(NotRun()) if value is None else formatting.text(value)


def phrased(name: str, value: Any) -> str:
    """A filter: a record or an estimate in the words of a phrase."""
    return said(value if isinstance(value, NotRun) else formatting.phrase(name, value))


def whole(value: Any) -> Any:
    """A filter: the nearest whole number."""
    return value if isinstance(value, NotRun) else round(value)


class Numbered:
    """Tables and figures, numbered where they first stand, those of the appendix A1, A2 and so on. References
    stand before them too, so that their numbers are known when all has been rendered once: after that they
    must be."""

    def __init__(self, shown: dict[str, str], figures: Path):
        self.shown, self.figures, self.rendered, self.prefix = shown, figures, False, ""
        self.numbers = {"Table": {}, "Figure": {}}

    def appendix(self) -> str:
        """From here on numbers begin anew, with an A."""
        self.prefix = "A"
        return ""

    def label(self, kind: str, name: str) -> str:
        """Its name in the text: Table 3."""
        numbers = self.numbers[kind]
        count = sum(number.startswith(self.prefix) for number in numbers.values())
        return f"{kind} {numbers.setdefault(name, f'{self.prefix}{count + 1}')}"

    def ref(self, kind: str, name: str) -> str:
        """The label of what stands elsewhere."""
        return f"{kind} {self.numbers[kind][name]}" if self.rendered else ""

    def table(self, name: str) -> str:
        """A table under its label and caption."""
        return f"**{self.label('Table', name)}.** {self.shown[name]}"

    def figure(self, name: str) -> str:
        """The picture, and the number that its caption begins with."""
        path = self.figures / f"study-{name}.png"
        picture = f"![]({os.path.relpath(path, HERE)})" if path.exists() else "*Not run.*"
        return f"{picture}\n\n**{self.label('Figure', name)}.**"


def filler(groups: dict, figures: Path) -> Callable[[str], str]:
    """A function that fills the template of a name with the numbers of {group: {scheme: runs}}."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined,
                                     finalize=said, keep_trailing_newline=True)
    environment.filters.update({name: functools.partial(phrased, name) for name in formatting.PHRASES})
    environment.filters["whole"] = whole
    shown = {}
    for name, table in {**tables.TABLES, **code_tables.TABLES}.items():
        records = table.records(groups)
        shown[name] = f"{table.caption}\n\n{formatting.markdown(table, records)}"
        environment.globals[name] = formatting.finder(table, records, NotRun())

    def fill(name: str) -> str:
        numbered = Numbered(shown, figures)
        marks = {"table": numbered.table, "figure": numbered.figure, "appendix": numbered.appendix,
                 "table_ref": functools.partial(numbered.ref, "Table"),
                 "figure_ref": functools.partial(numbered.ref, "Figure")}
        template = environment.get_template(name)
        template.render(marks)
        numbered.rendered = True
        return template.render(marks)
    return fill


def write_box(slide, place: tuple, lines: list[str], size: float, bold: bool = False) -> None:
    """Text on a slide, a paragraph a line; `place` is left, top, width and height in inches."""
    frame = slide.shapes.add_textbox(*map(Inches, place)).text_frame
    frame.word_wrap = True
    for number, line in enumerate(lines):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        run = paragraph.add_run()
        run.text, run.font.size, run.font.bold = line, Pt(size), bold
        paragraph.space_after = Pt(size / 3)


def write_points(slide, points: list[str], top: float, size: float, mark: str = "\u2022 ") -> float:
    """Points, a paragraph each, from `top` on; returns where they end at the latest."""
    points = [mark + point for point in points]
    lines = sum(len(textwrap.wrap(point, int(CHARACTERS / size))) for point in points)
    height = size / 72 * (1.2 * lines + len(points) / 3) + 0.1
    write_box(slide, (LEFT, top, WIDTH, height), points, size)
    return top + height


def write_table(slide, rows: list[str], top: float) -> float:
    """A Markdown table, its columns as wide as their longest cells; returns about where it ends."""
    cells = [[cell.strip() for cell in row.split("|")] for row in rows if set(row) - set("|-: ")]
    longest = [min(max(map(len, column)), 26) for column in zip(*cells)]
    height = 0.42 * len(cells)
    shown = slide.shapes.add_table(len(cells), len(longest), *map(Inches, (LEFT, top, WIDTH, height))).table
    for column, length in zip(shown.columns, longest):
        column.width = int(Inches(WIDTH) * length / sum(longest))
    for cell, text in zip(shown.iter_cells(), sum(cells, [])):
        cell.text = text
        cell.text_frame.paragraphs[0].font.size = Pt(18)
    return top + height


def write_picture(slide, names: list[str], top: float) -> float:
    """A picture, as large as fits between `top` and the slide's end; nothing where it was not drawn."""
    for path in [HERE / name for name in names if (HERE / name).exists()]:
        shape = slide.shapes.add_picture(str(path), 0, 0)
        scale = min(Inches(WIDTH) / shape.width, Inches(BOTTOM - top) / shape.height)
        shape.width, shape.height = int(shape.width * scale), int(shape.height * scale)
        shape.left, shape.top = Inches(LEFT) + (Inches(WIDTH) - shape.width) // 2, Inches(top)
    return BOTTOM


def write_notes(slide, lines: list[str], top: float) -> float:
    """What the speaker says."""
    slide.notes_slide.notes_text_frame.text = " ".join(lines)
    return top


PARTS = {  # of a slide, in their order from above: how its lines begin, what writes them
    r"^## (.*)": functools.partial(write_points, size=26, mark=""),
    r"^\* (.*)": functools.partial(write_points, size=26),
    r"^- (.*)": functools.partial(write_points, size=20),
    r"^\|(.*)\|$": write_table,
    r"^!\[\]\((.*)\)": write_picture,
    r"^> (.*)": write_notes}


def write_slide(slide, title: str, body: str, number: int) -> None:
    """One slide: its title, what the body has of PARTS, one below the other, and a number."""
    place = COVER if "\n## " in f"\n{body}" else TITLE
    write_box(slide, place, [title], 32, True)
    top = place[1] + place[3] + 0.05
    for pattern, write in PARTS.items():
        found = re.findall(pattern, body, re.M)
        if found:
            top = write(slide, found, top)
    write_box(slide, (12.5, 7.0, 0.6, 0.4), [str(number)], 14)


def slides(text: str, path: Path) -> None:
    """A deck from Markdown: `# title` begins a slide, `## ` a line of the cover, `* ` a point where there are
    points alone, `- ` one in smaller type, `|` a row of a table, `![](file)` a picture, `> ` a line of the
    speaker's notes. Equal text and pictures give equal bytes."""
    deck = pptx.Presentation()
    deck.slide_width, deck.slide_height = Inches(13.333), Inches(7.5)
    text = re.sub(r"(?<=[\s[+])-(?=\d)", "\u2212", text)   # a minus, after which no line breaks
    text = text.replace("+\u2212", "\u00b1")
    text = re.sub(r"\[[^]|]*]|n = \d+|(Holm )?p \d", lambda found: found[0].replace(" ", "\u00a0"), text)
    for number, part in enumerate(re.split(r"^# ", text, flags=re.M)[1:], 1):
        title, _, body = part.partition("\n")
        write_slide(deck.slides.add_slide(deck.slide_layouts[6]), title, body, number)
    about = deck.core_properties
    about.author = about.last_modified_by = "the maintainers"
    about.modified = about.created = datetime.datetime(2026, 1, 1)
    packed = io.BytesIO()
    deck.save(packed)
    with zipfile.ZipFile(packed) as dated, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as plain:
        for part in dated.namelist():
            plain.writestr(zipfile.ZipInfo(part), dated.read(part), zipfile.ZIP_DEFLATED)


def pdf(markdown_file: Path, path: Path) -> None:
    """Print a Markdown file by pandoc and a browser."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        style = Path(folder, "style.html")  # pictures are found from where the Markdown lies
        style.write_text(f"<base href='{HERE.as_uri()}/'><style>{PDF_STYLE}</style>")
        subprocess.run(["pandoc", markdown_file, "-s", "--metadata", "title= ", "-H", style,
                        "--mathml", "--columns", "1000", "-o", page], check=True, cwd=HERE)
        subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
                        f"--print-to-pdf={path}", page.as_uri()], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fill the templates of the report, README and slides.")
    parser.add_argument("--runs", type=Path, default=HERE.parent / "results", help="folder of runs' metrics")
    parser.add_argument("--figures", type=Path, default=HERE.parent / "figures")
    args = parser.parse_args()
    fill = filler(stats.groups([run for run in stats.read(args.runs) if run["levels"]]), args.figures)
    report, readme, deck = HERE / "REPORT.md", HERE.parent / "README.md", HERE / "slides.pptx"
    report.write_text(fill("report.md.j2"))
    answer = fill("answer.md.j2")
    readme.write_text(ANSWER.sub(lambda mark: f"{mark[1]}\n{answer}{mark[2]}", readme.read_text()))
    slides(fill("slides.md.j2"), deck)
    print(report, readme, deck, sep="\n")
    if shutil.which("pandoc") and shutil.which("chromium"):
        pdf(report, HERE / "report.pdf")
        print(HERE / "report.pdf")
    else:
        print("no report.pdf: it needs pandoc and chromium", file=sys.stderr)


if __name__ == "__main__":
    main()
