"""Several objectives at once over the same windows; each part is normalised by its own count, then weighted.

Those that show the encoder the same share its states, and with them what dropout has drawn: one pass for all of them.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor, nn

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import START, Batch
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather


class Weighted(Objective):
    """A weighted sum of objectives; their parts stay apart in what is reported."""

    def __init__(self, objectives: Sequence[Objective], weights: Sequence[float]) -> None:
        super().__init__()
        self.objectives = nn.ModuleList(objectives)
        self.parts = tuple(part for objective in objectives for part in objective.parts)
        pairs = zip(objectives, weights, strict=True)
        self.weights = tuple(weight * own for objective, weight in pairs for own in objective.weights)
        self.side_columns = tuple({column for objective in objectives for column in objective.side_columns})
        self.reads_times = any(objective.reads_times for objective in objectives)
        self.looks_across = any(objective.looks_across for objective in objectives)
        self.lookahead = max(objective.lookahead for objective in objectives)
        self.dropped_heads = tuple({head for objective in objectives for head in objective.dropped_heads})
        self.num_views = sum(objective.num_views for objective in objectives)

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The views of all objectives, one after the other."""
        return [view for one in self._all() for view in one.views(_newest(batch, self.lookahead - one.lookahead), rng)]

    def counts(self, views: list[Batch]) -> Tensor:
        return torch.cat([one.counts(own) for one, own in zip(self._all(), self._split(views), strict=True)])

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        objectives, own = self._all(), self._split(views)
        sums: dict[int, Tensor] = {}
        for together in self._alike():
            with encoder.states_once() if len(together) > 1 else nullcontext():
                sums |= {number: objectives[number](encoder, own[number], gather).sums_P for number in together}
        return LossSum(torch.cat([sums[number] for number in range(len(objectives))]))

    def _alike(self) -> list[list[int]]:
        """The places of objectives that show the encoder the same; others are by themselves."""
        groups: dict[object, list[int]] = {}
        for number, one in enumerate(self._all()):
            groups.setdefault(one.shows or number, []).append(number)
        return list(groups.values())

    def _all(self) -> list[Objective]:
        return [one for one in self.objectives if isinstance(one, Objective)]

    def _split(self, views: list[Batch]) -> list[list[Batch]]:
        rest = iter(views)
        return [list(islice(rest, one.num_views)) for one in self._all()]


def _newest(batch: Batch, surplus: int) -> Batch:
    """The batch without the oldest items that only another objective's lookahead needs; one item always stays."""
    if surplus == 0:
        return batch
    dropped_B = (batch.lengths() - 1).clamp(min=0, max=surplus)
    is_kept_T = batch.positions() >= batch.per_token(dropped_B)
    shift_B1 = torch.cat([dropped_B.new_zeros(1), dropped_B.cumsum(0, dtype=dropped_B.dtype)])
    return replace(
        batch,
        values_T=batch.values_T[is_kept_T],
        offsets_B1=batch.offsets_B1 - shift_B1,
        max_len=max(1, batch.max_len - surplus),
        side={name: column[is_kept_T] for name, column in batch.side.items()},
        labels=batch.labels | {START: batch.labels[START] + dropped_B},
    )
