"""The likeliest next items of every user of a corpus: the actors of embed, with another table for each bucket.

Every item is scored for every user, as `encoder.recommend` does it: nothing is approximated, and the time grows with
users times items.
"""

from functools import partial
from typing import Any

import numpy as np

from ray_userrep import storage
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.embedding.export import exported, summary_of, task_of
from ray_userrep.embedding.outputs import RECOMMENDED, refuse_occupied, refuse_of_vectors, whole_or_nothing
from ray_userrep.embedding.tables import next_items_table
from ray_userrep.encoder.top_k import refuse_beyond
from ray_userrep.evaluation.repeats import are_repeats
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.embedding import EmbeddingConfig, RecommendConfig


def export_next_items(
    encoder_uri: str,
    corpus: Corpus,
    output_uri: str,
    config: EmbeddingConfig,
    asked: RecommendConfig,
    text: TextConfig,
    use_gpu: bool | None = None,
) -> dict[str, Any]:
    """Write `user_id`, `items` and `scores`, lists with the best first, maybe `until`, as Parquet; returns the summary.

    Raises:
        UserError: the output folder holds something already; there are no `k` items; what is asked for is of vectors
            alone; or as `task_of`.
    """
    refuse_occupied(output_uri)
    refuse_beyond(asked.k, len(corpus.items()))
    refuse_of_vectors(config)
    table_of = partial(next_items_table, k=asked.k, exclude_seen=asked.exclude_seen, batch_tokens=config.batch_tokens)
    task = task_of(encoder_uri, corpus, output_uri, config, text, use_gpu, table_of)
    summary = summary_of(task) | {"k": asked.k, "exclude_seen": asked.exclude_seen}
    with whole_or_nothing(output_uri):
        summary |= exported(task, corpus)
        storage.write_json(storage.join(output_uri, RECOMMENDED), summary)
    return summary


def share_of_repeats(bucket: Bucket) -> float:
    """Of the users of a bucket, the share whose newest item had been in their history before."""
    rows = np.flatnonzero(bucket.lengths_U > 1)
    before = bucket.heads(rows, bucket.lengths_U[rows] - 1)
    newest_U = bucket.items_N[bucket.offsets_U1[1:][rows] - 1]
    return float(are_repeats(newest_U, before.items_N, before.lengths_U).mean()) if len(rows) else 0.0
