"""What tests of readers share: a log opened and read to its end."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray

from ray_userrep.logs.parts import dataset_of
from ray_userrep.logs.source import Logs, open_logs
from ray_userrep.recipe.logs import LogsConfig


class Log(NamedTuple):
    """A log with its rows, in their order."""

    logs: Logs
    rows: pa.Table

    @property
    def counts(self) -> tuple[int, int, int]:
        """Good interactions, their users and their items."""
        good = self.rows.filter(pc.is_null(self.rows["reason"]))
        return good.num_rows, *(pc.count_distinct(good[name]).as_py() for name in ("user_id", "item_id"))

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows are rejected, by reason."""
        return dict(Counter(self.rows["reason"].drop_null().to_pylist()))

    def short(self, *more: str) -> list[tuple]:
        """User, item, seconds since 1970 and other columns of all rows."""
        seconds = pc.divide(self.rows["timestamp"].cast(pa.int64()), 10**6)
        columns = [self.rows["user_id"], self.rows["item_id"], seconds, *(self.rows[name] for name in more)]
        return list(zip(*(column.to_pylist() for column in columns), strict=True))


@pytest.fixture
def read(ray_session):
    """Open a log and read it; extra arguments are fields of the configuration."""

    def opened(uri: Path | str, **fields) -> Log:
        logs = open_logs(LogsConfig(uri=str(uri), **fields))
        rows = pa.concat_tables(ray.get(dataset_of(logs.interactions).to_arrow_refs())).sort_by("row")
        assert pc.count_distinct(rows["row"]).as_py() == rows.num_rows
        return Log(logs, rows)

    return opened
