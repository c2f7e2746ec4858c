"""User vectors for a whole corpus: actors hold the encoder, buckets stream past them, a file of each comes out.

A bucket is the unit of work and of memory; windows inside it are encoded shortest first, so that a batch holds windows
of about one length. Where an earlier output is named, its sums are read in place of the histories (update.py).

Shapes: U users of a bucket, F width of a user vector, S numbers stored of a user.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray
import torch

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.embedding.catalogue import on_corpus
from ray_userrep.embedding.update import Remembered, appended_since, brought_up_to_date, remembered
from ray_userrep.encoder.histories import user_vectors
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.prepare.devices import device_of_task, gpus_asked
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.embedding import EmbeddingConfig

_SUMMARY = "vectors.json"


class _Task(NamedTuple):
    """What an actor is told."""

    encoder_uri: str
    corpus_uri: str
    version: int
    output_uri: str
    until: int | None
    config: EmbeddingConfig
    text: TextConfig
    num_gpus: float


def export_vectors(
    encoder_uri: str,
    corpus: Corpus,
    output_uri: str,
    config: EmbeddingConfig,
    text: TextConfig,
    use_gpu: bool | None = None,
) -> dict[str, Any]:
    """Encode every user and write `user_id`, `vector` (float32, `[F]`), `interactions`, maybe `sums`, as Parquet.

    Returns the summary that is written beside the files, last, as `vectors.json`. Actors share the cluster's GPUs, if
    there are some and `use_gpu` is not false.

    Raises:
        UserError: the output folder holds something already; the encoder is of other items, or has no sums to store;
            or what was embedded earlier cannot be brought up to date.
    """
    if storage.exists(output_uri) and storage.list_files(output_uri, hidden=True):
        raise UserError(f"output folder {output_uri} is not empty: name another with --output")
    encoder = on_corpus(UserEncoder.from_pretrained(encoder_uri), corpus, text, use_gpu)
    until = _end(corpus)
    summary: dict[str, Any] = {
        "encoder": encoder_uri,
        "encoder_fingerprint": _fingerprint(encoder_uri),
        "corpus": corpus.uri,
        "corpus_version": corpus.manifest.version,
        "users": corpus.manifest.num_users,
        "width": encoder.vector_width,
        "until": until,
        "sums": config.sums or config.previous is not None,
    }
    _check_sums(encoder, corpus, config, summary)
    num_gpus = gpus_asked(use_gpu, config.num_actors)
    task = _Task(encoder_uri, corpus.uri, corpus.manifest.version, output_uri, until, config, text, num_gpus)
    buckets = [{"bucket": number} for number in corpus.buckets()]
    try:
        done = ray.data.from_items(buckets, override_num_blocks=len(buckets)).map_batches(
            _Embedder,
            fn_constructor_args=(task,),
            batch_size=1,
            concurrency=config.num_actors,
            num_cpus=config.cpus_per_actor,
            num_gpus=num_gpus,
        )
        summary["users_read_anew"] = int(done.to_pandas()["users_read_anew"].sum())
    except BaseException:
        storage.delete(output_uri)
        raise
    storage.write_json(storage.join(output_uri, _SUMMARY), summary)
    return summary


def _check_sums(encoder: UserEncoder, corpus: Corpus, config: EmbeddingConfig, summary: dict[str, Any]) -> None:
    if summary["sums"] and encoder.readout != "bag":
        raise UserError(
            f"embedding.sums and embedding.previous want vectors that add up (encoder.readout bag): those of "
            f"{encoder.readout} are made anew"
        )
    if config.previous is None:
        return
    place = storage.join(config.previous, _SUMMARY)
    if not storage.exists(place):
        raise UserError(f"embedding.previous: no {place}: name the output folder of an earlier embed that ended")
    earlier = storage.read_json(place)
    if not earlier.get("sums"):
        raise UserError(f"embedding.previous: {config.previous} has no sums: embed once with embedding.sums true")
    for name in ("corpus", "encoder_fingerprint"):
        if earlier[name] != summary[name]:
            raise UserError(f"embedding.previous: {config.previous} is of another {name.split('_')[0]}: embed anew")
    appended_since(corpus, earlier["corpus_version"])


def _fingerprint(encoder_uri: str) -> str:
    """A name of the weights."""
    digest = hashlib.sha256()
    for file in sorted(storage.list_files(encoder_uri, ".safetensors"), key=lambda file: file.uri):
        digest.update(storage.read_bytes(file.uri))
    return digest.hexdigest()[:16]


def _end(corpus: Corpus) -> int | None:
    """The newest day of the log (us): vectors are as of it. None where it has no times."""
    if corpus.manifest.order == "row":
        return None
    newest = max(corpus.manifest.interactions_per_day)
    return int(datetime.fromisoformat(newest).replace(tzinfo=UTC).timestamp()) * 10**6


def _file(folder: str, number: int) -> str:
    return storage.join(folder, f"bucket-{number:05d}.parquet")


class _Embedder:
    """One actor: an encoder and the corpus it reads."""

    def __init__(self, task: _Task) -> None:
        self._task, self._config = task, task.config
        self._corpus = open_corpus(task.corpus_uri, task.version)
        encoder = on_corpus(UserEncoder.from_pretrained(task.encoder_uri), self._corpus, task.text)
        self._encoder = encoder.to(device_of_task(task.num_gpus))  # type: ignore[arg-type]
        if self._config.previous is not None:
            version = storage.read_json(storage.join(self._config.previous, _SUMMARY))["corpus_version"]
            self._appended = appended_since(self._corpus, version)

    def __call__(self, rows: dict[str, np.ndarray]) -> Iterator[dict[str, list[int]]]:
        for number in rows["bucket"].tolist():
            table, num_reread = self._bucket(number)
            storage.write_parquet(_file(self._task.output_uri, number), table, dictionary=False)
            yield {"bucket": [number], "users_read_anew": [num_reread]}

    def _bucket(self, number: int) -> tuple[pa.Table, int]:
        """The table of a bucket's users, and of how many all was read though something was stored."""
        if self._config.sums or self._config.previous is not None:
            users = self._remembered(number)
            sums = torch.from_numpy(users.sums_US).to(self._encoder.device)
            with torch.inference_mode():
                vectors_UF = self._encoder.scaled(sums, self._task.until).cpu().numpy()
            columns = {"vector": _lists(vectors_UF), "interactions": users.lengths_U, "sums": _lists(users.sums_US)}
            return pa.table({"user_id": users.user_ids} | columns), users.num_reread
        bucket = self._corpus.bucket(number, self._encoder.side_columns)
        side = {TIMESTAMPS: bucket.timestamps_N} | bucket.side_N
        parts = bucket.items_N, bucket.lengths_U, side
        vectors_UF = user_vectors(self._encoder, *parts, self._task.until, self._config.batch_tokens)
        columns = {"vector": _lists(vectors_UF), "interactions": bucket.lengths_U}
        return pa.table({"user_id": bucket.user_ids} | columns), 0

    def _remembered(self, number: int) -> Remembered:
        if self._config.previous is None:
            return remembered(self._encoder, self._corpus.bucket(number), self._config.batch_tokens)
        table = storage.read_parquet(_file(self._config.previous, number), ["user_id", "interactions", "sums"])
        sums = table["sums"].combine_chunks()
        width = sums.type.list_size
        stored = Remembered(
            table["user_id"].combine_chunks(),
            table["interactions"].to_numpy(),
            sums.flatten().to_numpy().reshape(-1, width),
        )
        if not self._appended.files(number):
            return stored
        appended, whole = self._appended.bucket(number), lambda: self._corpus.bucket(number)
        return brought_up_to_date(self._encoder, stored, appended, whole, self._config.batch_tokens)


def _lists(x_UF: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(x_UF.reshape(-1)), x_UF.shape[1])
