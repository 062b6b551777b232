"""Numbers as text: the heads, the digits and the phrases of every table and sentence of the report.

A table is a function of {group: {scheme: runs}} that returns a list of records, dicts of numbers by name.
What is said here of a key or of a kind of number holds wherever it is printed.
"""
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from inference import Correlation, Estimate, Ratio, Spread
from stats import STANDARD, scheme_name
from study import STUDIES, SWAPS

FOUR = " ".join(STANDARD)           # the four schemes as columns
NAMED = "study contrast range"      # what a test is asked for by

CONTRAST_LABELS = {"variance_scaling": "Kaiming − Xavier",
                   "distribution": "uniform − normal", "interaction": "interaction"}
HEADS = {"study": "network, data", "range": "densities", "density": "% remaining", "p": "sign-flip p",
         "difference": "difference, points [95%]", "holm": "Holm p", "equivalence": "equivalence p (margin)",
         **CONTRAST_LABELS, **{init: scheme_name(init) for init in STANDARD},
         **{f"{layer} at {percent}%": f"{label} at {percent}%" for percent in (6.3, 1.6, 0.21)
            for layer, label in {"fc1": "hidden 1", "fc2": "hidden 2", "out": "output"}.items()}}
LABELS = {  # key of a record: {its value: as it is printed}, where it isn't the value itself
    "study": {name: study.title for name, study in STUDIES.items()} | {
        "screen": f"{STUDIES['mnist'].title}, screen"},
    "quantity": {"eps": "eps", "auroc": "AUROC of the initial magnitude",
                 "rho": "initial-to-update RMS ratio",
                 "constant_inputs": "% of survivors on constant pixels"},
    "outcome": {"mean": "mean accuracy", "minus unpruned": "minus its unpruned network"},
    "inputs": {"all": "all weights", "not constant": "not on constant pixels",
               "not below 0.1%": "not on those active in < 0.1%",
               "not below 1%": "not on those active in < 1%"},
    "effect": {"upper": "mean accuracy", "test": "mean accuracy: the test",
               "other inputs": "mean accuracy, by weights on other pixels",
               "survivors": "% of survivors on these pixels"},
    "schemes": {"shape_sign": scheme_name("shape_sign")},
    "other": {init: scheme_name(init) for _, init in SWAPS},
    "control": {"reinit": "random reinitialization, the ticket's masks",
                "shuffle": "the ticket's values, shuffled masks",
                "random_mask": "the ticket's values, random masks", "oneshot": "one-shot"}}
PHRASES = {  # what a template says of a record, or of one estimate
    "short": "{short}", "p": "{p}", "holm_p": "{holm}",
    "points": "{difference} points (n = {n})",
    "sign_flip": "{difference} points (n = {n}, sign-flip p {p})",
    "holm": "{difference} points (Holm p {holm})",
    "tested": "{difference} points (n = {n}, Holm p {holm})",
    "tests": "{difference} points (n = {n}, sign-flip p {p}, Holm {holm}; equivalence within {margin}: "
             "p {equivalence_p})",
    "max_t": "{difference} points (n = {n}, max-T p {p}; equivalence within {margin}: "
             "p {equivalence_p})",
    "equivalence": "{difference} points (n = {n}, sign-flip p {p}, equivalence p {equivalence_p})",
    "margin_p": "{equivalence_p}"}


class Tested(NamedTuple):
    """A difference and its p by Holm's correction, in one cell."""
    difference: Estimate
    holm: float


def span(bounds: tuple[float, float]) -> str:
    """A range of densities as a person reads it: 100 to 1.2%."""
    return f"{100 * bounds[0]:g} to {100 * bounds[1]:.2g}%"


def percent(density: float) -> str:
    """A density in percent, two digits of it: 100, 2.9, 0.21."""
    return f"{float(f'{100 * density:.2g}'):g}"


def p_text(p: float) -> str:
    """Three decimals of a p, or two digits and the power of ten below 0.001."""
    return f"{p:.1e}" if p < 0.001 else f"{p:.3f}"


def contrast_label(name: str) -> str:
    """A contrast in words; of a pair `b - a`, of two schemes."""
    return CONTRAST_LABELS.get(name, " − ".join(map(scheme_name, name.split(" - "))))


def spread_text(found: Spread) -> str:
    """mean (sd), of one number that number."""
    return f"{found.mean:.2f}" + (f" ({found.sd:.2f})" if found.n > 1 else "")


def typeset(shown: str) -> str:
    """Numbers with a minus sign for a hyphen, but in exponents, and no line break in an interval."""
    return re.sub(r"(?<!e)-(?=\d)", "\u2212", shown).replace(", ", ",\u00a0")


def estimate_text(found: Estimate) -> str:
    """mean [95% interval], of one difference that difference."""
    if found.n < 2:
        return typeset(f"{found.mean:+.2f}")
    return typeset(f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")


def short_text(found: Estimate) -> str:
    """The same with two decimals."""
    return typeset(f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]")


def seed_counts_text(counts: list[int]) -> str:
    """20, or 20/19/20/20 where they differ."""
    return "/".join(map(str, counts if len(set(counts)) > 1 else counts[:1]))


BY_KIND = {
    Spread: spread_text, Estimate: estimate_text, list: seed_counts_text, tuple: span,
    Ratio: lambda found: f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]",
    Correlation: lambda found: typeset(f"{found.mean:+.2f} ({found.least:+.2f} to {found.largest:+.2f})"),
    Tested: lambda found: f"{estimate_text(found.difference)}, Holm p {p_text(found.holm)}"}
BY_KEY = {  # of a value and its record
    **dict.fromkeys(("scheme", "against", "highest"), lambda init, _: scheme_name(init)),
    "p": lambda p, _: p_text(p), "holm": lambda p, _: p_text(p), "equivalence_p": lambda p, _: p_text(p),
    "short": lambda found, _: short_text(found),
    "margin": lambda margin, _: f"{margin:g}",
    "equivalence": lambda p, record: f"{p_text(p)} (\u00b1{record['margin']:g})",
    "contrast": lambda name, _: contrast_label(name),
    "quotient": lambda name, _: contrast_label(name).replace(" − ", " / "),
    "density": lambda density, _: density if isinstance(density, str) else percent(density),
    "own": lambda percent, _: f"{percent:.2f}" if percent < math.inf else "none",
    "common": lambda percent, _: f"{percent:.2f}" if percent < math.inf else "none",
    "collapsed": lambda count, record: f"{count} (below {record['line']}%)"}


def text(value: Any, key: str = "", record: Mapping = {}, digits: int = 2) -> str:
    """A number of a record as it is printed, empty where there is none."""
    if value is None or isinstance(value, float) and math.isnan(value):
        return ""
    if key in BY_KEY:
        return BY_KEY[key](value, record)
    if type(value) in BY_KIND:
        return BY_KIND[type(value)](value)
    if isinstance(value, float):
        return typeset(f"{value:.{digits}f}")
    return LABELS.get(key, {}).get(value, str(value))


def phrase(name: str, found: Any) -> str | None:
    """A record's numbers, or one estimate, in the words of PHRASES; None where the number is not there."""
    record = found if isinstance(found, dict) else {"difference": found, "n": found and found.n}
    if record["difference"] is None:
        return None
    record = {**record, "equivalence_p": record.get("equivalence"), "short": record["difference"]}
    keys = re.findall(r"{(\w+)}", PHRASES[name])
    return PHRASES[name].format_map({key: text(record[key], key, record) for key in keys})


class Table(NamedTuple):
    """How the records of a function are printed: `columns` are their keys, `heads` what stands above a key
    where HEADS does not say, `names` the keys by whose values a template asks for a record."""
    records: Callable[[dict], list[dict]]
    caption: str
    columns: list[str]
    names: list[str]
    heads: dict[str, str]
    digits: int


def table(tables: dict[str, Table], columns: str = "", names: str = "", digits: int = 2,
          **heads: str) -> Callable:
    """Decorates a function of groups that returns records and has its caption as docstring, and adds it to
    `tables` under its name. Of the columns `*` stands for all keys that are not named; without columns the
    records are only asked for."""
    def add(function):
        caption = " ".join((function.__doc__ or function.__name__).split())
        tables[function.__name__] = Table(function, caption, columns.split(), names.split(), heads, digits)
        return function
    return add


def markdown(shown: Table, records: list[dict]) -> str:
    """A table's records as Markdown, without its caption."""
    if not records:
        return "*Not run.*\n"
    first = records[0]
    columns = [key for column in shown.columns for key in (
        [key for key in first if key not in shown.columns] if column == "*" else [column])]
    head = [shown.heads.get(key, HEADS.get(key, key)) for key in columns]
    body = [[text(record[key], key, record, shown.digits) for key in columns] for record in records]
    return "".join("| " + " | ".join(line) + " |\n" for line in (head, ["---"] * len(head), *body))


def finder(shown: Table, records: list[dict], missing: Any) -> Callable:
    """A function of the values of `names`, ranges as text, that gives their record, or else `missing`."""
    def name(value):
        return span(value) if isinstance(value, tuple) else value
    found = {tuple(name(record[key]) for key in shown.names): record for record in records}

    def find(*names):
        if len(names) != len(shown.names):
            raise TypeError(f"{shown.records.__name__} is asked for by {', '.join(shown.names)}, not {names}")
        return found.get(names, missing)
    return find
