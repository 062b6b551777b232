"""Makes a deck of slides from Markdown."""
import datetime
import functools
import io
import re
import textwrap
import zipfile
from pathlib import Path

import pptx
from pptx.util import Inches, Pt

HERE = Path(__file__).resolve().parent
LEFT, WIDTH, BOTTOM = 0.5, 12.3, 6.95       # inches: where a slide has what stands below its title
TITLE, COVER = (LEFT, 0.15, WIDTH, 1.1), (LEFT, 1.6, WIDTH, 1.2)
CHARACTERS = 1480           # on a line of a slide, times points of text, in a font as wide as DejaVu Sans


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


def write(text: str, path: Path) -> None:
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
