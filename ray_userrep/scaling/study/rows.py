"""A finished run as one row: what tables, laws and figures take."""

from collections.abc import Sequence
from typing import Any

from ray_userrep.errors import UserError
from ray_userrep.evaluation.table import HEADLINE
from ray_userrep.scaling.law.points import MIN_POINTS, LawPoints
from ray_userrep.scaling.study.grid import LAW, StudyPoint
from ray_userrep.scaling.study.point import TRAINED, PointResult

Row = dict[str, Any]


def row_of(point: StudyPoint, result: PointResult) -> Row:
    """The run's place in the study and its figures; those of a run that diverged are null."""
    good = result["outcome"] == TRAINED
    asked = result.get("profile", {}).items()
    profile = {name: one["metrics"]["encoder"][one["headline"]]["mean"] for name, one in asked}
    stream, train = point.recipe.stream, point.recipe.train
    return {
        **{name: getattr(point, name) for name in ("name", "setting", "kind", "size", "data", "seed", "held_out")},
        **{name: result[name] for name in ("outcome", "N", "D", "C", "flops", "epochs", "users")},
        "compute": point.compute,
        "loss": result["loss"]["mean"] if good else None,
        HEADLINE: result["metrics"][HEADLINE]["mean"] if good else None,
        "profile": profile if good else {},
        "max_len": stream.max_len,
        "batch_tokens": stream.batch_tokens,
        "learning_rate": train.learning_rate,
        "seconds": result["timings"]["run"],
    }


def law_points(rows: Sequence[Row]) -> LawPoints:
    """The runs that a law may be fitted to: those of the grid and the budgets that ended well.

    Raises:
        UserError: there are too few of them.
    """
    good = [row for row in rows if row["kind"] in LAW and row["loss"] is not None]
    if len(good) < MIN_POINTS:
        raise UserError(f"{len(good)} runs for a law: it needs at least {MIN_POINTS}")
    n, d, loss, c, epochs = ([float(row[name]) for row in good] for name in ("N", "D", "loss", "C", "epochs"))
    return LawPoints.of(n, d, loss, c, epochs)
