"""User vectors for a whole corpus: actors hold the encoder, buckets stream past them, Parquet comes out.

A bucket is the unit of work and of memory; windows inside it are encoded shortest first, so that a batch holds windows
of about one length.

Shapes: U users of a bucket, F width of a user vector.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.encoder.histories import user_vectors
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.recipe.embedding import EmbeddingConfig

_SUMMARY = "vectors.json"


def export_vectors(encoder_uri: str, corpus: Corpus, output_uri: str, config: EmbeddingConfig) -> dict[str, Any]:
    """Encode every user and write `user_id`, `vector` (float32, `[F]`), `interactions` as Parquet.

    Returns the summary that is written beside the files, last, as `vectors.json`.

    Raises:
        UserError: the output folder holds something already.
    """
    if storage.exists(output_uri) and storage.list_files(output_uri):
        raise UserError(f"output folder {output_uri} is not empty: name another with --output")
    filesystem, path = storage.open_fs(output_uri)
    until = _end(corpus)
    buckets = [{"bucket": number} for number in corpus.buckets()]
    try:
        vectors = ray.data.from_items(buckets, override_num_blocks=len(buckets)).map_batches(
            _Embedder,
            fn_constructor_args=(encoder_uri, corpus.uri, corpus.manifest.version, until, config.batch_tokens),
            batch_size=1,
            concurrency=config.num_actors,
            num_cpus=config.cpus_per_actor,
        )
        vectors.write_parquet(path, filesystem=filesystem)
    except BaseException:
        storage.delete(output_uri)
        raise
    summary = {
        "encoder": encoder_uri,
        "corpus": corpus.uri,
        "corpus_version": corpus.manifest.version,
        "users": corpus.manifest.num_users,
        "width": UserEncoder.from_pretrained(encoder_uri).vector_width,
        "until": until,
    }
    storage.write_json(storage.join(output_uri, _SUMMARY), summary)
    return summary


def _end(corpus: Corpus) -> int:
    """The newest day of the log (us): vectors are as of it."""
    newest = max(corpus.manifest.interactions_per_day, default="1970-01-01")
    return int(datetime.fromisoformat(newest).replace(tzinfo=UTC).timestamp()) * 10**6


class _Embedder:
    """One actor: an encoder and the corpus it reads."""

    def __init__(self, encoder_uri: str, corpus_uri: str, version: int, until: int, batch_tokens: int) -> None:
        self._encoder = UserEncoder.from_pretrained(encoder_uri).eval()
        self._corpus = open_corpus(corpus_uri, version)
        self._until, self._batch_tokens = until, batch_tokens
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._encoder.to(self._device)

    def __call__(self, rows: dict[str, np.ndarray]) -> Iterator[pa.Table]:
        for number in rows["bucket"]:
            yield self._encode_bucket(int(number))

    def _encode_bucket(self, number: int) -> pa.Table:
        bucket = self._corpus.bucket(number, self._encoder.side_columns)
        columns = {TIMESTAMPS: bucket.timestamps_N} | bucket.side_N
        parts = bucket.items_N, bucket.lengths_U, columns
        vectors_UF = user_vectors(self._encoder, *parts, self._until, self._batch_tokens)
        flat = pa.array(vectors_UF.reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(flat, self._encoder.vector_width)
        return pa.table({"user_id": bucket.user_ids, "vector": vectors, "interactions": bucket.lengths_U})
