"""One self-contained HTML page from plain data: headings, tables, figures; no scripts, no network.

Figures are drawn by matplotlib as SVG inside the page: larger than a script would be, and readable in twenty years.
"""

import html
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Metric = Mapping[str, float]  # mean, low, high
Row = TypeVar("Row", bound=Mapping[str, Metric])

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5c6b7a; --line: #d9e0e7; --paper: #ffffff; --tint: #eef4fb;
        --pale: #cbd5df; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4eaf0; --soft: #9aa8b5; --line: #33404d; --paper: #12181f;
        --tint: #1b2733; --pale: #46545f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
       font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; }
p.lead { font-size: 1.1rem; color: var(--ink); margin: .2rem 0 1.2rem; }
p.note { color: var(--soft); font-size: .9rem; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .94rem; }
table.facts td { overflow-wrap: anywhere; }
th, td { text-align: left; padding: .38rem .7rem .38rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); }
td.number, th.number { text-align: right; padding-right: 0; padding-left: .9rem; }
td.number + td:not(.number), th.number + th:not(.number) { padding-left: 1.2rem; }
td small { color: var(--soft); }
td.best { font-weight: 700; } td.best small { font-weight: 400; }
td.number, td.interval { white-space: nowrap; }
tr.ours td { background: var(--tint); } tr.ours td:first-child { padding-left: .5rem; }
div.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: .4rem 2rem; }
figure { margin: 1rem 0; overflow-x: auto; }
figcaption { color: var(--soft); font-size: .9rem; }
div.scroll { overflow-x: auto; }
@media (max-width: 40rem) { body { padding: 1.5rem 1rem 3rem; } }
"""


@dataclass(frozen=True)
class Section:
    """A heading over HTML that was made by one of the functions here."""

    title: str
    body: str


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page."""
    parts = [f"<h2>{_text(section.title)}</h2>\n{section.body}" for section in sections]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body>\n<h1>{_text(title)}</h1>\n<p class="lead">{_text(lead)}</p>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def facts(rows: Mapping[str, str]) -> str:
    """Names and values, one a row."""
    body = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows.items())
    return f'<table class="facts">{body}</table>'


def listing(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows below a head; what reads as a number is set to the right."""
    kinds = [" class=number" if rows and all(_is_number(row[n]) for row in rows) else "" for n in range(len(head))]
    told = "".join(f"<th{kind}>{_text(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    body = ""
    for row in rows:
        cells = zip(kinds, row, strict=True)
        body += f"<tr>{''.join(f'<td{kind or _kind(cell)}>{_text(cell)}</td>' for kind, cell in cells)}</tr>"
    return f'<div class="scroll"><table><tr>{told}</tr>{body}</table></div>'


def remark(text: str) -> str:
    """A remark below a table."""
    return f'<p class="note">{_text(text)}</p>'


def ranked(rows: Mapping[str, Row], metric: str, sign: int = 1) -> dict[str, Row]:
    """Systems from the best mean of a metric down, as the bars of a picture stand; what lacks it comes last.

    `sign` is -1 where the smallest mean is the best.
    """
    place = lambda row: -sign * row[1][metric]["mean"] if metric in row[1] else float("inf")  # noqa: E731
    return dict(sorted(rows.items(), key=place))


def metrics_table(
    rows: Mapping[str, Mapping[str, Metric]],
    names: Sequence[str],
    ours: str,
    note: str,
    smaller_is_better: Sequence[str] = (),
) -> str:
    """Systems with their metrics and intervals; the row `ours` is tinted, the best mean of each metric bold.

    What was not measured of a system stays empty.
    """
    best = {
        name: (min if name in smaller_is_better else max)(
            metrics[name]["mean"] for metrics in rows.values() if name in metrics
        )
        for name in names
    }
    head = "".join(f'<th class="number">{_text(name)}</th>' for name in names)
    body = ""
    for system, metrics in rows.items():
        cells = "".join(_cell(metrics.get(name), best[name]) for name in names)
        body += f"<tr{' class=ours' if system == ours else ''}><td>{_text(system)}</td>{cells}</tr>"
    table = f'<div class="scroll"><table><tr><th>system</th>{head}</tr>{body}</table></div>'
    return f'{table}<p class="note">{_text(note)}</p>'


def neighbours(groups: Mapping[str, Sequence[tuple[str, float]]]) -> str:
    """Items, each with those whose vectors are nearest and their cosines."""
    tables = []
    for item, near in groups.items():
        rows = "".join(f'<tr><td>{_text(name)}</td><td class="number">{cosine:.2f}</td></tr>' for name, cosine in near)
        tables.append(f'<table><tr><th>{_text(item)}</th><th class="number">cosine</th></tr>{rows}</table>')
    return f'<div class="pair">{"".join(f"<div>{table}</div>" for table in tables)}</div>'


def figure(svg: str, caption: str) -> str:
    """A drawing with how to read it below."""
    return f"<figure>{svg}<figcaption><strong>How to read this:</strong> {_text(caption)}</figcaption></figure>"


def drawing(draw: Callable[[], str], caption: str) -> str:
    """A drawing that is made here, with its caption; where that fails, the page says so and goes on."""
    try:
        return figure(draw(), caption)
    except Exception as error:  # a picture is worth less than the page that it stands on
        logging.getLogger(__name__).warning("a picture could not be drawn (%s)", caption, exc_info=True)
        return remark(f"A picture could not be drawn ({type(error).__name__}: {error}). It would have shown: {caption}")


def _is_number(cell: str) -> bool:
    return cell.lstrip("+-").replace(",", "").rstrip(" %").replace(".", "", 1).isdigit()


def _kind(cell: str) -> str:
    """A figure and its interval stay on one line."""
    return " class=interval" if re.match(r"[-+]?[\d.]+ \[", cell) else ""


def _cell(metric: Metric | None, best: float) -> str:
    if metric is None:
        return "<td></td>"
    return f'<td class="number{" best" if metric["mean"] == best else ""}">{_interval(metric)}</td>'


def _interval(metric: Metric) -> str:
    return f"{metric['mean']:.4f} <small>[{metric['low']:.4f}, {metric['high']:.4f}]</small>"


def _text(value: str) -> str:
    return html.escape(str(value))
