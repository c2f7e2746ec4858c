"""What laws are fitted to: runs with their size, data and final loss, read from a CSV file.

Logarithms are centred on the points, so that no fit sees whether sizes are counted in ones or in billions.

Shapes: P points.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ray_userrep.errors import UserError

Axis = Literal["N", "D", "C"]
Floats = NDArray[np.float64]

FLOPS_PER_ND = 6.0  # forward and backward pass of a matrix product, for each parameter and interaction
MIN_POINTS = 5
_REQUIRED, _OPTIONAL = ("N", "D", "loss"), ("C", "seed", "epochs", "unique")


@dataclass(frozen=True)
class Centre:
    """Where logarithms are zero: the geometric means of the points that a law is fitted to."""

    logs: Mapping[Axis, float]
    log_loss: float


@dataclass(frozen=True)
class LawPoints:
    """Runs: parameters N, interactions trained on D, loss, FLOPs C; `[P]` each.

    `epochs` is D over the interactions there are, NaN where that is not known; `lines` says where each was read.
    """

    N: Floats
    D: Floats
    loss: Floats
    C: Floats
    epochs: Floats
    lines: NDArray[np.int64]
    flops_per_nd: float = FLOPS_PER_ND
    has_c: bool = False

    def __len__(self) -> int:
        return len(self.loss)

    def axis(self, name: Axis) -> Floats:
        """The values of an axis, `[P]`."""
        return {"N": self.N, "D": self.D, "C": self.C}[name]

    def centre(self) -> Centre:
        """Where the logarithms of these points are zero."""
        logs: dict[Axis, float] = {name: float(np.log(self.axis(name)).mean()) for name in ("N", "D", "C")}
        return Centre(logs, float(np.log(self.loss).mean()))

    def logs(self, centre: Centre) -> dict[Axis, Floats]:
        """Centred logarithms of each axis, `[P]` each."""
        return {name: np.log(self.axis(name)) - zero for name, zero in centre.logs.items()}

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "LawPoints":
        """Some of the points."""
        n, d, loss, c, epochs = (column[rows] for column in (self.N, self.D, self.loss, self.C, self.epochs))
        return replace(self, N=n, D=d, loss=loss, C=c, epochs=epochs, lines=self.lines[rows])

    @staticmethod
    def of(
        N: Sequence[float] | Floats,
        D: Sequence[float] | Floats,
        loss: Sequence[float] | Floats | None = None,
        C: Sequence[float] | Floats | None = None,
        epochs: Sequence[float] | Floats | None = None,
        flops_per_nd: float | None = None,
    ) -> "LawPoints":
        """Points from columns; without C it is 6·N·D, without losses they are places to predict at."""
        n, d = np.asarray(N, np.float64), np.asarray(D, np.float64)
        if flops_per_nd is None:
            flops_per_nd = FLOPS_PER_ND if C is None else float(np.exp(np.median(np.log(np.asarray(C) / (n * d)))))
        c = flops_per_nd * n * d if C is None else np.asarray(C, np.float64)
        losses = np.full(len(n), np.nan) if loss is None else np.asarray(loss, np.float64)
        repeats = np.full(len(n), np.nan) if epochs is None else np.asarray(epochs, np.float64)
        return LawPoints(n, d, losses, c, repeats, np.arange(len(n)) + 2, flops_per_nd, C is not None)


def read_points(path: str | Path) -> LawPoints:
    """Points of a CSV file with columns `N`, `D`, `loss` and optionally `C`, `seed`, `epochs` or `unique`.

    Raises:
        UserError: no such file, a column is missing, a value is no positive number, or there are too few points; the
            message names line and column.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file, skipinitialspace=True)]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    places = _header(rows, path)
    numbered = [(line, row) for line, row in enumerate(rows[1:], start=2) if any(cell.strip() for cell in row)]
    columns = {
        name: np.array([_number(row, place, name, line, path) for line, row in numbered])
        for name, place in places.items()
        if name != "seed"
    }
    if len(numbered) < MIN_POINTS:
        raise UserError(f"{path} has {len(numbered)} points: a law needs at least {MIN_POINTS}")
    epochs = columns.get("epochs")
    if epochs is None and "unique" in columns:
        epochs = columns["D"] / columns["unique"]
    points = LawPoints.of(columns["N"], columns["D"], columns["loss"], columns.get("C"), epochs)
    return replace(points, lines=np.array([line for line, _ in numbered]))


def _header(rows: list[list[str]], path: str | Path) -> dict[str, int]:
    """The place of each known column."""
    names = [cell.strip() for cell in rows[0]] if rows else []
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise UserError(f"{path} line 1: no column {missing[0]} among {names or 'nothing'}; needed are N, D and loss")
    twice = [name for name in (*_REQUIRED, *_OPTIONAL) if names.count(name) > 1]
    if twice:
        raise UserError(f"{path} line 1: column {twice[0]} is there {names.count(twice[0])} times")
    return {name: names.index(name) for name in (*_REQUIRED, *_OPTIONAL) if name in names}


def _number(row: list[str], place: int, name: str, line: int, path: str | Path) -> float:
    text = row[place].strip() if place < len(row) else ""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (np.isfinite(value) and value > 0):
        raise UserError(
            f"{path} line {line}, column {name}: {text!r} is not a positive number; drop the run or mend it"
        )
    return value
