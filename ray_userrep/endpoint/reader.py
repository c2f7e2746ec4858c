"""From what is posted to what an encoder reads: known interactions, with the columns that it wants beside items.

Times are texts in JSON: they are parsed here, all of a request at once.

Shapes: B histories, N interactions of all of them.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ray_userrep.encoder.given import microseconds_of
from ray_userrep.encoder.reading import Known, known_interactions, reads
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.endpoint.forms import Histories, NewerForm
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.recipe.encoder import EncoderConfig


class Reader:
    """What one encoder reads of requests."""

    def __init__(self, encoder: UserEncoder) -> None:
        assert encoder.item_table is not None, "it comes from a folder"
        self._table, self._counts_days = encoder.item_table, encoder.tempo is not None
        self.wanted = reads(EncoderConfig.model_validate(encoder.config.encoder))

    def histories(self, form: Histories) -> Known:
        """The known interactions of the histories of a request.

        Raises:
            UserError: what the encoder reads is missing or wrong, as in `encode`.
        """
        return self._known(form.histories, form.timestamps, form.side)

    def newer(self, form: NewerForm) -> Known:
        """The same of what is new of one user, which may be nothing."""
        times = form.timestamps if form.items else []
        return self._known([form.items], None if times is None else [times], {})

    def moment(self, until: str | None) -> int | None:
        """The moment (us) up to which days are counted; None where none are.

        Raises:
            UserError: it is missing, or no time.
        """
        if not self._counts_days:
            return None
        if until is None:
            raise UserError("until: this encoder counts days up to a moment: name it, as 2024-03-01T12:00:00Z")
        return int(microseconds_of(_instants(pa.array([until]), "until"))[0])

    def joined(self, known: Sequence[Known]) -> Known:
        """The histories of several requests end to end, with the columns that the encoder reads."""
        names = [*self.wanted.side, *([TIMESTAMPS] if self.wanted.times_for else [])]
        return Known(
            np.concatenate([one.items_N for one in known]),
            np.concatenate([one.lengths_B for one in known]),
            {name: np.concatenate([one.columns_N[name] for one in known]) for name in names},
        )

    def _known(
        self,
        histories: Sequence[Sequence[int | str]],
        timestamps: Sequence[Sequence[str]] | None,
        side: dict[str, list[list[float | str]]],
    ) -> Known:
        times = None if timestamps is None else _times(timestamps)
        return known_interactions(self._table, self.wanted, histories, times, side, "skip")


def _times(lists: Sequence[Sequence[str]]) -> pa.ListArray:
    """Times as the encoder takes them.

    Raises:
        UserError: one is no time.
    """
    offsets = pa.array(np.concatenate([[0], np.cumsum([len(row) for row in lists])]).astype(np.int32))
    texts = pa.array([text for row in lists for text in row], pa.string())
    return pa.ListArray.from_arrays(offsets, _instants(texts, "timestamps"))


def _instants(texts: pa.Array, called: str) -> pa.Array:
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid as error:
            reason = error
    raise UserError(f"{called}: takes times as 2024-03-01T12:00:00Z, all with a zone or all without ({reason})")
