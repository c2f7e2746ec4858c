"""User vectors for a whole corpus: actors hold the encoder, buckets stream past them, a file of each comes out.

What is made of a bucket's users is the task's to say: vectors here, next items in recommend.py. A bucket is the unit of
work and of memory; windows inside it are encoded shortest first, so that a batch holds windows of about one length.
Where an earlier output is named, its sums are read in place of the histories (update.py).

Shapes: U users of a bucket, F width of a user vector, S numbers stored of a user.
"""

from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import torch

from ray_userrep import storage
from ray_userrep.corpus.store import Bucket, Corpus, open_corpus
from ray_userrep.embedding.catalogue import on_corpus
from ray_userrep.embedding.outputs import ITEMS, SUMMARY, refuse_occupied, whole_or_nothing
from ray_userrep.embedding.tables import (
    FORMAT,
    before,
    items_table,
    lists,
    moment_of,
    only,
    read_users,
    vectors_table,
)
from ray_userrep.embedding.update import Remembered, appended_since, brought_up_to_date, read_remembered, remembered
from ray_userrep.encoder.folder import fingerprint
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.prepare.devices import device_of_task, gpus_asked
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.embedding import EmbeddingConfig

TableOf = Callable[[UserEncoder, Bucket, int | None], pa.Table]  # of a bucket's users, as of a moment (us)


class Task(NamedTuple):
    """What an actor is told."""

    encoder_uri: str
    corpus_uri: str
    version: int
    output_uri: str
    until: int | None
    user_ids: pa.Array | None
    config: EmbeddingConfig
    text: TextConfig
    num_gpus: float
    table_of: TableOf


def export_vectors(
    encoder_uri: str,
    corpus: Corpus,
    output_uri: str,
    config: EmbeddingConfig,
    text: TextConfig,
    use_gpu: bool | None = None,
) -> dict[str, Any]:
    """Encode users and write `user_id`, `vector`, `interactions`, `newest`, maybe `until` or `sums`, as Parquet.

    Vectors are lists of F numbers. Returns the summary that is written beside the files, last, as `_vectors.json`.
    Actors share the cluster's GPUs, if there are some and `use_gpu` is not false.

    Raises:
        UserError: the output folder holds something already; the encoder is of other items, or has no sums to store;
            or what was embedded earlier cannot be brought up to date.
    """
    refuse_occupied(output_uri)
    encoder = on_corpus(UserEncoder.from_pretrained(encoder_uri), corpus, text, use_gpu)
    table_of = partial(vectors_table, batch_tokens=config.batch_tokens, precision=config.dtype)
    task = task_of(encoder_uri, corpus, output_uri, config, text, use_gpu, table_of)
    summary = summary_of(task) | {"width": encoder.vector_width, "sums": config.keeps_sums}
    _check_sums(encoder, corpus, config, summary)
    with whole_or_nothing(output_uri):
        summary |= exported(task, corpus)
        if config.items:
            storage.write_parquet(storage.join(output_uri, ITEMS), items_table(encoder, config.dtype))
        storage.write_json(storage.join(output_uri, SUMMARY), summary)
    return summary


def task_of(
    encoder_uri: str,
    corpus: Corpus,
    output_uri: str,
    config: EmbeddingConfig,
    text: TextConfig,
    use_gpu: bool | None,
    table_of: TableOf,
) -> Task:
    """What the actors are told.

    Raises:
        UserError: nothing lies before a day that is asked for, or the users cannot be read.
    """
    _refuse_early(corpus, config)
    user_ids = None if config.users is None else read_users(config.users, corpus, "embedding.users")
    num_gpus, version = gpus_asked(use_gpu, config.num_actors), corpus.manifest.version
    place = encoder_uri, corpus.uri, version, output_uri
    return Task(*place, _end(corpus), user_ids, config, text, num_gpus, table_of)


def summary_of(task: Task) -> dict[str, Any]:
    """What tells later readers of an output folder what it is made from."""
    return {
        "format": FORMAT,
        "encoder": task.encoder_uri,
        "encoder_fingerprint": fingerprint(task.encoder_uri),
        "corpus": task.corpus_uri,
        "corpus_version": task.version,
        "until": [moment_of(day) for day in task.config.until] or task.until,
    }


def exported(task: Task, corpus: Corpus) -> dict[str, int]:
    """The task done for every bucket; the numbers of rows, of users, and of users who were read anew."""
    buckets = [{"bucket": number} for number in corpus.buckets()]
    done = ray.data.from_items(buckets, override_num_blocks=len(buckets)).map_batches(
        _Embedder,
        fn_constructor_args=(task,),
        batch_size=1,
        concurrency=task.config.num_actors,
        num_cpus=task.config.cpus_per_actor,
        num_gpus=task.num_gpus,
    )
    return {name: int(count) for name, count in done.to_pandas().sum().items()}


def _refuse_early(corpus: Corpus, config: EmbeddingConfig) -> None:
    corpus.manifest.require_times("embedding.until" if config.until else None)
    first = min(corpus.manifest.interactions_per_day, default="1970-01-01")
    for day in config.until:
        if day.isoformat() <= first:
            raise UserError(f"embedding.until {day}: nothing lies before it, the log begins on {first}")


def _appended(corpus: Corpus, config: EmbeddingConfig) -> Corpus | None:
    """The corpus with what was appended since the version that counts as known, if one does."""
    if config.previous is not None:
        version = storage.read_json(storage.join(config.previous, SUMMARY))["corpus_version"]
        return appended_since(corpus, version, "embedding.previous")
    return None if config.since is None else appended_since(corpus, config.since, "embedding.since")


def _check_sums(encoder: UserEncoder, corpus: Corpus, config: EmbeddingConfig, summary: dict[str, Any]) -> None:
    if summary["sums"] and encoder.readout != "bag":
        raise UserError(
            f"embedding.sums and embedding.previous want vectors that add up (encoder.readout bag): those of "
            f"{encoder.readout} are made anew"
        )
    if config.previous is None:
        return
    place = storage.join(config.previous, SUMMARY)
    if not storage.exists(place):
        raise UserError(f"embedding.previous: no {place}: name the output folder of an earlier embed that ended")
    earlier = storage.read_json(place)
    storage.refuse_newer(earlier.get("format"), FORMAT, f"embedding.previous: {config.previous}")
    if not earlier.get("sums"):
        raise UserError(f"embedding.previous: {config.previous} has no sums: embed once with embedding.sums true")
    for name in ("corpus", "encoder_fingerprint"):
        if earlier[name] != summary[name]:
            raise UserError(f"embedding.previous: {config.previous} is of another {name.split('_')[0]}: embed anew")
    appended_since(corpus, earlier["corpus_version"], "embedding.previous")


def _end(corpus: Corpus) -> int | None:
    """The newest day of the log (us): vectors are as of it. None where it has no times."""
    if corpus.manifest.order == "row":
        return None
    return moment_of(date.fromisoformat(max(corpus.manifest.interactions_per_day)))


def _file(folder: str, number: int) -> str:
    return storage.join(folder, f"bucket-{number:05d}.parquet")


class _Embedder:
    """One actor: an encoder and the corpus it reads."""

    def __init__(self, task: Task) -> None:
        self._task, self._config = task, task.config
        self._corpus = open_corpus(task.corpus_uri, task.version)
        encoder = on_corpus(UserEncoder.from_pretrained(task.encoder_uri), self._corpus, task.text)
        self._encoder = encoder.to(device_of_task(task.num_gpus))  # type: ignore[arg-type]
        self._appended = _appended(self._corpus, self._config)

    def __call__(self, rows: dict[str, np.ndarray]) -> Iterator[dict[str, list[int]]]:
        for number in rows["bucket"].tolist():
            users = self._remembered(number) if self._config.keeps_sums else None
            table = self._table(number) if users is None else self._with_sums(users)
            storage.write_parquet(_file(self._task.output_uri, number), table, dictionary=False)
            told = {"rows": table.num_rows, "users": pc.count_distinct(table["user_id"]).as_py()}
            yield {name: [count] for name, count in told.items()} | {"read_anew": [users.num_reread if users else 0]}

    def _table(self, number: int) -> pa.Table:
        """The table of a bucket's users, of each day that is asked for."""
        bucket = self._corpus.bucket(number, self._encoder.side_columns)
        if self._task.user_ids is not None:
            bucket = only(bucket, self._task.user_ids)
        if self._appended is not None:
            bucket = only(bucket, self._appended.bucket(number).user_ids)
        if not self._config.until:
            return self._task.table_of(self._encoder, bucket, self._task.until)
        tables = [
            self._task.table_of(self._encoder, before(bucket, moment_of(day)), moment_of(day))
            for day in self._config.until
        ]
        days = pa.array(np.repeat(np.array(self._config.until, "M8[D]"), [table.num_rows for table in tables]))
        return pa.concat_tables(tables).add_column(1, "until", days)

    def _with_sums(self, users: Remembered) -> pa.Table:
        sums = torch.from_numpy(users.sums_US).to(self._encoder.device)
        with torch.inference_mode():
            vectors_UF = self._encoder.scaled(sums, self._task.until).cpu().numpy()
        no_times = pa.nulls(len(users.newest_U), users.newest_U.type)
        return pa.table({
            "user_id": users.user_ids,
            "vector": lists(vectors_UF, self._config.dtype),
            "interactions": users.lengths_U,
            "newest": no_times if self._task.until is None else users.newest_U,
            "sums": lists(users.sums_US),
        })  # fmt: skip

    def _remembered(self, number: int) -> Remembered:
        if self._config.previous is None:
            return remembered(self._encoder, self._corpus.bucket(number), self._config.batch_tokens)
        assert self._appended is not None, "a previous output is of a version"
        stored = read_remembered(_file(self._config.previous, number))
        if not self._appended.files(number):
            return stored
        appended, whole = self._appended.bucket(number), lambda: self._corpus.bucket(number)
        return brought_up_to_date(self._encoder, stored, appended, whole, self._config.batch_tokens)
