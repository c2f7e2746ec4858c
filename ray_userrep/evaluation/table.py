"""From ranks to the figures that are printed, stored and compared.

Shapes: W targets; `users_W` says whose they are where a user may have several.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ray_userrep.evaluation.intervals import mean_interval, paired_difference, paired_p_value
from ray_userrep.evaluation.metrics import ndcg, per_user, user_means
from ray_userrep.recipe.evaluation import EvaluationConfig

HEADLINE = "ndcg@10"


def summary(
    ranks_W: NDArray[np.int64], config: EvaluationConfig, users_W: NDArray[np.int64] | None = None
) -> dict[str, dict[str, float]]:
    """Each metric with its interval over users: `{"ndcg@10": {"mean", "low", "high"}, …}`."""
    metrics = per_user(ranks_W, config.ks, users_W)
    return {name: mean_interval(v, config.num_bootstrap, config.confidence)._asdict() for name, v in metrics.items()}


def comparison(
    ours_W: NDArray[np.int64],
    theirs_W: NDArray[np.int64],
    config: EvaluationConfig,
    users_W: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """NDCG@10 of ours minus theirs over the same users: paired interval and p of the randomisation test."""
    a_U, b_U = (user_means(ndcg(ranks_W, 10), users_W) for ranks_W in (ours_W, theirs_W))
    difference = paired_difference(a_U, b_U, config.num_bootstrap, config.confidence)
    return {**difference._asdict(), "p": paired_p_value(a_U, b_U, config.num_bootstrap)}


def format_table(rows: Mapping[str, dict[str, dict[str, float]]], names: list[str]) -> str:
    """An aligned text table: one row a system, each metric with its interval."""
    header = ["", *names]
    body = [[system, *(_cell(metrics[name]) for name in names)] for system, metrics in rows.items()]
    widths = [max(len(line[column]) for line in [header, *body]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [header, *body]]
    return "\n".join(line.rstrip() for line in lines)


def _cell(metric: dict[str, float]) -> str:
    return f"{metric['mean']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"
