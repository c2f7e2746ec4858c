"""User vectors for a whole corpus: actors hold the encoder, buckets stream past them, Parquet comes out.

A bucket is the unit of work and of memory; users inside it are encoded shortest first, so that a batch holds windows
of about one length.

Shapes: U users of a bucket, W windows, B users of a batch, D width.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch

from ray_userrep import storage
from ray_userrep.corpus.store import BucketCache, Corpus, open_corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.feed.plan import MicroBatch
from ray_userrep.feed.stream import gather
from ray_userrep.feed.windows import Windows
from ray_userrep.recipe.embedding import EmbeddingConfig

_SUMMARY = "vectors.json"


def export_vectors(encoder_uri: str, corpus: Corpus, output_uri: str, config: EmbeddingConfig) -> dict[str, Any]:
    """Encode every user's newest window and write `user_id`, `vector` (float32, `[D]`) as Parquet.

    Returns the summary that is written beside the files, last, as `vectors.json`.

    Raises:
        UserError: the output folder holds something already.
    """
    if storage.exists(output_uri) and storage.list_files(output_uri):
        raise UserError(f"output folder {output_uri} is not empty: name another with --output")
    filesystem, path = storage.open_fs(output_uri)
    buckets = [{"bucket": number} for number in corpus.buckets()]
    try:
        vectors = ray.data.from_items(buckets, override_num_blocks=len(buckets)).map_batches(
            _Embedder,
            fn_constructor_args=(encoder_uri, corpus.uri, corpus.manifest.version, config.batch_tokens),
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
        "width": UserEncoder.from_pretrained(encoder_uri).width,
    }
    storage.write_json(storage.join(output_uri, _SUMMARY), summary)
    return summary


class _Embedder:
    """One actor: an encoder and the corpus it reads."""

    def __init__(self, encoder_uri: str, corpus_uri: str, version: int, batch_tokens: int) -> None:
        self._encoder = UserEncoder.from_pretrained(encoder_uri).eval()
        self._corpus = open_corpus(corpus_uri, version)
        self._batch_tokens = batch_tokens
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._encoder.to(self._device)

    def __call__(self, rows: dict[str, np.ndarray]) -> Iterator[pa.Table]:
        for number in rows["bucket"]:
            yield self._encode_bucket(int(number))

    def _encode_bucket(self, number: int) -> pa.Table:
        buckets = BucketCache(self._corpus, 1, self._encoder.side_columns)
        bucket = buckets[number]
        windows = newest_windows(number, bucket.lengths_U, self._encoder.max_len)
        vectors_UD = np.empty((len(windows.row_W), self._encoder.width), np.float32)
        for chunk in by_length(windows.length_W, self._batch_tokens):
            batch = gather(buckets, MicroBatch(windows.take(chunk), 1.0)).to(self._device)
            with torch.inference_mode():
                vectors_UD[chunk] = self._encoder(batch).float().cpu().numpy()
        flat = pa.array(vectors_UD.reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(flat, self._encoder.width)
        return pa.table({"user_id": bucket.user_ids, "vector": vectors})


def newest_windows(bucket: int, lengths_U: np.ndarray, max_len: int) -> Windows:
    """Each user's newest `max_len` interactions."""
    kept_U = np.minimum(lengths_U, max_len)
    return Windows(np.full(len(lengths_U), bucket), np.arange(len(lengths_U)), lengths_U - kept_U, kept_U)


def by_length(lengths_W: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Indices of the windows, shortest first, cut into runs of about so many tokens."""
    order = np.argsort(lengths_W, kind="stable")
    run_W = (np.cumsum(lengths_W[order]) - 1) // tokens
    return np.split(order, np.flatnonzero(np.diff(run_W)) + 1)
