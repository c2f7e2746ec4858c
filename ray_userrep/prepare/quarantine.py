"""Rejected rows: set apart from the good ones, and counted against what a log may lose.

Only damage counts: rows that a log rightly holds and a corpus cannot use (no user, a cancelled order) say nothing about
its health. The check comes after the log has been read once, when the counts are exact.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.damage import WHOLE_FILE
from ray_userrep.logs.rejection import DAMAGE, REJECTION
from ray_userrep.logs.shape import ROWS_PER_FILE
from ray_userrep.logs.source import Logs

_EXAMPLES = 3


def split_rejected(batch: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The good rows of a batch, without the columns that say why, and the rejected ones."""
    bad = pc.is_valid(batch["reason"])
    rejected = batch.filter(bad)
    good = batch.drop_columns([name for name in REJECTION if name in batch.column_names])
    return good.filter(pc.invert(bad)) if rejected.num_rows else good, rejected


def refuse_damage(logs: Logs, num_good: int, reasons: dict[str, int], files: Iterable[str]) -> None:
    """Stop where too many rows are damaged, or too many files lost.

    `reasons` counts the rejected rows, which are in the quarantine `files`.

    Raises:
        UserError: with the counts and the first examples.
    """
    damage = {reason: count for reason, count in reasons.items() if reason in DAMAGE}
    num_lost = sum(damage.get(reason, 0) for reason in WHOLE_FILE)
    num_rows = sum(damage.values()) - num_lost
    share_rows = num_rows / max(num_good + sum(reasons.values()) - num_lost, 1)
    share_files = num_lost / max(len(logs.files), 1)
    if max(share_rows, share_files) <= logs.max_quarantined_share:
        return
    counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(damage.items(), key=lambda told: -told[1]))
    raise UserError(
        f"{logs.uri}: {share_rows:.1%} of the rows are damaged and {share_files:.1%} of the files cannot be read, more "
        f"than logs.max_quarantined_share {logs.max_quarantined_share:.1%} ({counts}); the first: "
        + "; ".join(_examples(files))
    )


def _examples(files: Iterable[str]) -> Iterator[str]:
    """The damaged rows that come first in the log, in words; one file is held at a time."""
    order, damage = [("row", "ascending")], pa.array(sorted(DAMAGE))
    first: pa.Table | None = None
    for file in files:
        table = storage.read_parquet(file, ["row", *REJECTION])
        table = table.filter(pc.is_in(table["reason"], value_set=damage))
        both = table if first is None else pa.concat_tables([first, table])
        first = both.take(pc.select_k_unstable(both, _EXAMPLES, order))
    assert first is not None, "there are rejected rows"
    for row in first.to_pylist():
        told = f" ({row['detail']})" if row["detail"] else ""
        yield f"{row['file']} row {row['row'] % ROWS_PER_FILE:,}: {row['reason']}{told}"
