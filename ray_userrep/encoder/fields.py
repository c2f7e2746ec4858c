"""Side information of interactions: fields as small whole numbers, and the vectors that the encoder adds for them.

Buckets are fixed, not fitted: an encoder reads another log as it reads its own, at the price of some empty buckets.
Code 0 says that nothing is known.

Shapes: T tokens, D width.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import FieldName

_SECOND, _HOUR, _WEEK_HOURS = 10**6, 3600 * 10**6, 168
_DAY = 24 * _HOUR
_EPOCH_HOUR = 3 * 24  # 1970 began on a Thursday; hours of the week count from Monday
PRICE_SIZE, _GAP_SIZE, _EVENT_SIZE, _CATEGORY_SIZE = 48, 32, 64, 1024
_FIRST_YEAR, _YEAR_SIZE = 1970, 128
CATEGORY_LEVELS: tuple[FieldName, ...] = ("category", "category_2", "category_3", "category_4")


class Field(NamedTuple):
    """How many codes there are, which stored column they come from, and how."""

    size: int
    column: str
    codes: Callable[[Batch], Tensor]


def price_codes(price: Tensor) -> Tensor:
    """Two buckets to each doubling of the price; negative and unknown prices are unknown."""
    known = price >= 0
    code = 1 + (2 * torch.log2(1 + torch.where(known, price, 0).double())).long()
    return torch.where(known, code.clamp(max=PRICE_SIZE - 1), 0)


def _gap(batch: Batch) -> Tensor:
    """Doublings of the seconds since the window's interaction before; 0 for its first."""
    times_T = batch.side[TIMESTAMPS]
    seconds_T = (times_T - times_T.roll(1)) // _SECOND
    code_T = 1 + torch.log2(1 + seconds_T.clamp(min=0).double()).long()
    is_first_T = torch.zeros(times_T.shape[0] + 1, dtype=torch.bool, device=times_T.device)
    is_first_T.index_fill_(0, batch.offsets_B1.long(), True)
    return torch.where(is_first_T[:-1], 0, code_T.clamp(max=_GAP_SIZE - 1))


def _hour(batch: Batch) -> Tensor:
    return 1 + (batch.side[TIMESTAMPS] // _HOUR + _EPOCH_HOUR) % _WEEK_HOURS


def _date(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Year, month and day of the month in UTC; years begin in March here, so that leap days come last."""
    day_T = batch.side[TIMESTAMPS] // _DAY + 719_468  # days since 0000-03-01
    era_T, day_T = day_T // 146_097, day_T % 146_097
    year_T = (day_T - day_T // 1460 + day_T // 36_524 - day_T // 146_096) // 365
    day_T = day_T - (365 * year_T + year_T // 4 - year_T // 100)
    month_T = (5 * day_T + 2) // 153
    day_T = day_T - (153 * month_T + 2) // 5 + 1
    month_T = (month_T + 2) % 12 + 1
    return 400 * era_T + year_T + (month_T <= 2), month_T, day_T


def _year(batch: Batch) -> Tensor:
    return 1 + (_date(batch)[0] - _FIRST_YEAR).clamp(0, _YEAR_SIZE - 2)


def _hashed(name: str, size: int) -> Callable[[Batch], Tensor]:
    return lambda batch: torch.where(batch.side[name] == 0, 0, 1 + batch.side[name] % (size - 1))


FIELDS: dict[FieldName, Field] = {
    "gap": Field(_GAP_SIZE, TIMESTAMPS, _gap),
    "hour": Field(1 + _WEEK_HOURS, TIMESTAMPS, _hour),
    "day": Field(32, TIMESTAMPS, lambda batch: _date(batch)[2]),
    "month": Field(13, TIMESTAMPS, lambda batch: _date(batch)[1]),
    "year": Field(_YEAR_SIZE, TIMESTAMPS, _year),
    "event": Field(_EVENT_SIZE, "event", _hashed("event", _EVENT_SIZE)),
    **{name: Field(_CATEGORY_SIZE, name, _hashed(name, _CATEGORY_SIZE)) for name in CATEGORY_LEVELS},
    "price": Field(PRICE_SIZE, "price", lambda batch: price_codes(batch.side["price"])),
}


def refuse_missing(names: Sequence[FieldName], columns: Collection[str]) -> None:
    """Check that what the encoder sees of interactions can be made from these columns.

    Raises:
        UserError: something is not.
    """
    for name in names:
        column = FIELDS[name].column
        if column not in columns:
            raise UserError(f"encoder.context {name} needs a column {column!r}, which this log does not have")


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
        refuse_missing(self._names, batch.side)
        vectors_TD = [F.embedding(FIELDS[name].codes(batch), self.tables[name]) for name in self._names]
        return torch.stack(vectors_TD).sum(0)
