"""What the next interaction is like: from the vector after each one, fields of the one that follows.

Category, price, kind of event and time to the next are tasks that any log brings along, several at once: what the
vector is trained for is not the next item alone. They are predicted from the readout, as it would be at that place, so
that what is trained is what is used later.

Shapes: T inputs (a window of n items gives n - 1).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.autoregressive import inputs_of
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.objectives.side_head import SideHead


class NextFields(Objective):
    """The negative log-likelihood of fields of each next interaction; each field is a part with a count of its own."""

    lookahead = 1
    shows = "all but the newest"

    def __init__(self, heads: Sequence[SideHead]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.parts = tuple(f"next_{head.name}" for head in heads)
        self.weights = (1.0,) * len(heads)
        self.side_columns = tuple(head.column for head in heads if head.column is not None)
        self.reads_times = any(head.reads_times for head in heads)

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """Inputs are all items of a window but its last, targets the fields of all but its first."""
        view, place_T = inputs_of(batch)
        codes = {part: head.codes(batch, place_T + 1) for part, head in self._named()}
        return [replace(view, side=view.side | codes)]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        return torch.stack([(view.side[part] > 0).sum() for part in self.parts]).float() * view.weight

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        vectors_TD = encoder.vectors_so_far(view)
        sums = [head(vectors_TD, view.side[part]) for part, head in self._named()]
        return LossSum(torch.stack(sums) * view.weight)

    def _named(self) -> list[tuple[str, SideHead]]:
        heads = [head for head in self.heads if isinstance(head, SideHead)]
        return list(zip(self.parts, heads, strict=True))
