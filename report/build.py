"""Builds the report, the slides and the README's answer from results/ and the figures.

    python report/build.py     REPORT.md, slides.pptx, and report.pdf where pandoc and chromium are at hand

The templates report.md.j2, slides.md.j2 and answer.md.j2 have `{{ table("NAME") }}` where a table stands,
`{{ figure("NAME") }}` before a figure's caption, `{{ table_ref("NAME") }}` and `{{ figure_ref("NAME") }}` for
their numbers, `{{ appendix() }}` where the appendix begins, and for a number
`{{ contrasts("mnist", "distribution", "100 to 1.2%") | holm }}`: a record of a table by its names, in words
of formatting.PHRASES.
"""
import argparse
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import code_tables  # noqa: E402
import deck  # noqa: E402
import formatting  # noqa: E402
import stats  # noqa: E402
import tables  # noqa: E402

ANSWER = re.compile("(<!-- answer -->).*?(<!-- /answer -->)", re.S)     # in the README
PDF_STYLE = ("@page{size:A4;margin:14mm}html body{max-width:none;padding:0;font:9pt/1.25 sans-serif}"
             "p,ul,ol{margin:.5em 0}h1{margin:0 0 .5em}h2,h3{margin:1em 0 .4em}li p{margin:0}"
             "table{font-size:7pt;border-collapse:collapse;margin:.6em 0}"
             "td,th{border-bottom:1px solid #ddd;padding:1px 4px}th{vertical-align:bottom}"
             "td code{overflow-wrap:anywhere}img{max-width:100%}")


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


def rounded(value: Any) -> Any:
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
    environment.filters["rounded"] = rounded
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
    report, readme, slides = HERE / "REPORT.md", HERE.parent / "README.md", HERE / "slides.pptx"
    report.write_text(fill("report.md.j2"))
    answer = fill("answer.md.j2")
    readme.write_text(ANSWER.sub(lambda mark: f"{mark[1]}\n{answer}{mark[2]}", readme.read_text()))
    deck.write(fill("slides.md.j2"), slides)
    print(report, readme, slides, sep="\n")
    if shutil.which("pandoc") and shutil.which("chromium"):
        pdf(report, HERE / "report.pdf")
        print(HERE / "report.pdf")
    else:
        print("no report.pdf: it needs pandoc and chromium", file=sys.stderr)


if __name__ == "__main__":
    main()
