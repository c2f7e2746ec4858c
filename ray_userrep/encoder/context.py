"""What an interaction was, beside its item: fields of side information, each with a vector a code.

Shapes: T tokens, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.fields import FIELDS
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import FieldName


class Context(nn.Module):
    """The sum of a token's field vectors; they start at zero and add nothing at first."""

    def __init__(self, names: Sequence[FieldName], width: int) -> None:
        super().__init__()
        self._names = tuple(names)
        self.tables = nn.ParameterDict({name: nn.Parameter(torch.zeros(FIELDS[name].size, width)) for name in names})

    def forward(self, batch: Batch) -> Tensor:
        """One vector a token, `[T, D]`.

        Raises:
            UserError: the batch lacks a column that a field is made from.
        """
        vectors_TD = []
        for name in self._names:
            field = FIELDS[name]
            if field.column not in batch.side:
                raise UserError(f"encoder.context {name} needs a column {field.column!r}, which this log does not have")
            vectors_TD.append(F.embedding(field.codes(batch), self.tables[name]))
        return torch.stack(vectors_TD).sum(0)
