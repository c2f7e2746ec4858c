"""Several logs with texts as one log with domains, for an encoder that is pretrained on all of them.

Ids carry their domain's name, so that none are shared; a user's order is kept. Written as anyone would bring such a
log: interactions and items as Parquet, read by the tabular reader.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus
from ray_userrep.recipe.corpus import CorpusConfig
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.workflows.prepare import open_or_prepare


def write_log(logs: Mapping[str, str], log_uri: str, scratch_uri: str) -> None:
    """Write `log_uri` from the logs of these domains, each of which becomes a corpus below `scratch_uri` on the way."""
    if storage.exists(storage.join(log_uri, "items.parquet")):
        return
    rows, items = [], []
    for domain, uri in logs.items():
        place = CorpusConfig(uri=storage.join(scratch_uri, domain))
        corpus = open_or_prepare(Recipe(name=domain, logs=LogsConfig(uri=uri), corpus=place))
        rows += [_rows(domain, corpus, number) for number in corpus.buckets()]
        items.append(_items(domain, corpus))
    storage.write_parquet(storage.join(log_uri, "interactions.parquet"), pa.concat_tables(rows))
    storage.write_parquet(storage.join(log_uri, "items.parquet"), pa.concat_tables(items))


def _rows(domain: str, corpus: Corpus, number: int) -> pa.Table:
    bucket = corpus.bucket(number)
    users_N = np.repeat(bucket.user_hash_U, bucket.lengths_U)
    place_N = np.arange(len(users_N)) - np.repeat(bucket.offsets_U1[:-1], bucket.lengths_U)
    columns = {"user_id": _named(domain, users_N), "item_id": _named(domain, bucket.items_N), "timestamp": place_N}
    return pa.table(columns | {"domain": pa.array([domain] * len(users_N))})


def _items(domain: str, corpus: Corpus) -> pa.Table:
    table = corpus.items().table
    return pa.table({"item_id": _named(domain, np.arange(table.num_rows)), "text": table.column("text")})


def _named(domain: str, numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(domain, pc.cast(pa.array(numbers), pa.string()), "-")
