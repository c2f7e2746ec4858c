"""A table whose cells are tinted by how large they are: the same tint reads on a light and on a dark page."""

import html
from collections.abc import Sequence
from typing import NamedTuple

_TINT, _STRONGEST = "31, 111, 178", 0.55


class Cell(NamedTuple):
    """What a cell says, smaller words behind it, and how strong its tint is, from 0 to 1."""

    text: str
    small: str
    strength: float


def heat_table(corner: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell | None]]]) -> str:
    """Named rows of cells below named columns; None is an empty cell."""
    head = "".join(f'<th class="number">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        f"<tr><td>{html.escape(name)}</td>{''.join(_cell(cell) for cell in cells)}</tr>" for name, cells in rows
    )
    return f'<div class="scroll"><table><tr><th>{html.escape(corner)}</th>{head}</tr>{body}</table></div>'


def strengths(values: Sequence[float]) -> list[float]:
    """From the smallest value at 0 to the largest at 1; all at 1 where they are equal."""
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 1.0 for value in values]


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    tint = f"background: rgba({_TINT}, {_STRONGEST * cell.strength:.3f}); padding-right: .5rem"
    small = f" <small>{html.escape(cell.small)}</small>" if cell.small else ""
    return f'<td class="number" style="{tint}">{html.escape(cell.text)}{small}</td>'
