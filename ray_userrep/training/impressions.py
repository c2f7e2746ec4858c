"""The table of what users were shown, read for training: a file of one's own, held in memory by each worker.

What was shown to users or of items that the corpus has not is left out and counted, as are rows without a time.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import read_whole, renamed
from ray_userrep.logs.files import CsvFormat
from ray_userrep.logs.ids import convert_ids
from ray_userrep.logs.times import ISO, parse_timestamps
from ray_userrep.objectives.impressions import Impressions
from ray_userrep.recipe.objective import ImpressionsConfig

_FIELD = "objective.impressions"
_COLUMNS = ("user_id", "item_id", "timestamp")


def read_impressions(config: ImpressionsConfig, corpus: Corpus) -> Impressions:
    """What users were shown, of items of the corpus.

    Raises:
        UserError: a column is missing, or no row is of an item of the corpus at a time that can be read.
    """
    assert config.table is not None, "refused where there is none"
    uri = storage.absolute(config.table)
    table = renamed(read_whole(storage.list_files(uri), CsvFormat()), config.columns, f"{_FIELD}.columns", uri)
    missing = next((name for name in _COLUMNS if name not in table.column_names), None)
    if missing is not None:
        raise UserError(
            f"{_FIELD}.table: {uri} has no column {missing}; it has {', '.join(table.column_names)}: say which one it "
            f'is, as in {_FIELD}.columns \'{{"{missing}": "{table.column_names[0]}"}}\''
        )
    catalogue = corpus.items()
    users = convert_ids(table["user_id"], corpus.user_type, "user_id", uri)
    items = convert_ids(table["item_id"], catalogue.ids.type, "item_id", uri)
    times = parse_timestamps(table["timestamp"], config.timestamp_unit, (ISO,), "timestamp", uri)
    item_E = catalogue.index_of(items)
    is_read_E = pc.and_(users.is_valid(), times.is_valid()).to_numpy()
    is_used_E = is_read_E & (item_E >= 0)
    _tell(len(table), int((~is_read_E).sum()), int(is_used_E.sum()), uri)
    rows = pa.array(np.flatnonzero(is_used_E))
    times_E = times.take(rows).cast(pa.int64()).to_numpy()
    return Impressions.of(hash_ids(users.take(rows).combine_chunks()), times_E, item_E[is_used_E])


def _tell(num_rows: int, num_unread: int, num_used: int, uri: str) -> None:
    unknown = num_rows - num_unread - num_used
    told = f"{uri}: {num_used:,} of {num_rows:,} rows are used; left out: {num_unread:,} without a user or a time that "
    told += f"can be read, {unknown:,} of items that the corpus has not"
    if not num_used:
        raise UserError(f"{_FIELD}.table: {told}: its ids and times must be written as those of the log")
    print(f"shown     {told}", flush=True)
