"""What vectors of whole histories cost: users a second, memory, and a day that is added to a log of 20 million.

    python benchmarks/whole_histories.py [--interactions 20000000] [--repeats 3]

Encoders are not trained: their speed does not depend on it. On one thread, in turn, several times over, medians count:
the vector of `universal` (the sum of 512 numbers an item, 120 of it kept, and tempo), `sasrec` of width 128 over its
newest 200 interactions and over the whole history, and the 128 leading singular vectors of tf-idf counts. Then one
history of a million interactions, and what it adds to the memory of the process. Last, vectors of all users of a log of
random items: anew, anew with sums stored, and brought up to date after one more day (a two-hundredth of the
interactions) from these sums. Figures go to benchmarks/results/whole_histories.json.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from cross_entropy import status
from feed import NUM_ITEMS, write_corpus
from numpy.typing import NDArray
from running import RESULTS
from sklearn.decomposition import TruncatedSVD

from ray_userrep import storage
from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.manifest import SequenceFile
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.embedding.export import export_vectors
from ray_userrep.encoder.histories import user_vectors
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.simple_vectors import tf_idf
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.embedding import EmbeddingConfig
from ray_userrep.recipe.encoder import ReadoutKind
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.recipes.universal import universal
from ray_userrep.training.runs import environment

USERS, MEAN_LENGTH, DAY, LONG = 2_000, 165, 86_400 * 10**6, 10**6


def encoder_of(items: ItemTable, readout: ReadoutKind) -> UserEncoder:
    """An untrained encoder as its recipe says, of width 128."""
    recipe = universal() if readout == "bag" else sasrec()
    config = recipe.encoder.model_copy(update={"width": 128, "readout": readout})
    return build_encoder(config, items, recipe.stream.max_len).eval()


def histories_of(lengths_U: NDArray[np.int64]) -> Sequences:
    """Random items an hour apart."""
    offsets, size = np.concatenate([[0], np.cumsum(lengths_U)]), int(lengths_U.sum())
    items = np.random.default_rng(0).integers(0, NUM_ITEMS, size)
    return Sequences(items, np.arange(size) * (DAY // 24), offsets, np.arange(len(lengths_U)))


def read(encoder: UserEncoder, histories: Sequences) -> None:
    user_vectors(encoder, histories.items_N, histories.lengths_U, {TIMESTAMPS: histories.times_N})


def rates(items: ItemTable, repeats: int) -> dict[str, dict[str, float]]:
    """Users and interactions a second of each way, the median over the repeats."""
    lengths_U = np.random.default_rng(1).geometric(1 / MEAN_LENGTH, USERS)
    histories = histories_of(lengths_U)
    directions = TruncatedSVD(128, random_state=0).fit(tf_idf(histories, NUM_ITEMS))
    encoders = {readout: encoder_of(items, readout) for readout in ("bag", "last", "whole")}
    ways: dict[str, Callable[[], object]] = {
        "universal, whole history": lambda: read(encoders["bag"], histories),
        "sasrec, newest 200": lambda: read(encoders["last"], histories),
        "sasrec, whole history": lambda: read(encoders["whole"], histories),
        "SVD-128 of tf-idf": lambda: directions.transform(tf_idf(histories, NUM_ITEMS)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(timed(way))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        name: {"users_per_second": USERS / one, "interactions_per_second": int(lengths_U.sum()) / one}
        for name, one in medians.items()
    }


def one_long_history(items: ItemTable) -> dict[str, dict[str, float]]:
    """Seconds, and what the peak of the process's memory grows by, beside what the history itself takes."""
    found, history = {}, histories_of(np.array([LONG]))
    for readout in ("bag", "whole"):
        encoder = encoder_of(items, readout)
        read(encoder, histories_of(np.array([1000])))
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, at what is in use
        before = status("VmHWM")
        seconds = timed(lambda encoder=encoder: read(encoder, history))
        found[readout] = {"seconds": seconds, "grown_mib": (status("VmHWM") - before) / 2**20}
    return found


def timed(way: Callable[[], object]) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


def one_more_day(folder: str, num_interactions: int) -> dict[str, Any]:
    """Seconds of the export of all vectors, anew and brought up to date, and how large their files are."""
    corpus = write_corpus(storage.join(folder, "corpus"), num_interactions, 64)
    saved = storage.join(folder, "encoder")
    encoder_of(corpus.items(), "bag").save_pretrained(saved)
    connect()
    found: dict[str, Any] = {"interactions": corpus.manifest.num_interactions, "users": corpus.manifest.num_users}

    def export(name: str, corpus: Corpus, config: EmbeddingConfig) -> str:
        output = storage.join(folder, name)
        found[name] = {"seconds": timed(lambda: export_vectors(saved, corpus, output, config, TextConfig()))}
        found[name]["mib"] = sum(file.size for file in storage.list_files(output)) / 2**20
        print(name, found[name], flush=True)
        return output

    export("start only", few(corpus), EmbeddingConfig())
    yesterday = export("yesterday with sums", corpus, EmbeddingConfig(sums=True))
    today = with_a_day(corpus)
    found["appended"] = today.manifest.num_interactions - corpus.manifest.num_interactions
    updated = export("brought up to date", today, EmbeddingConfig(previous=yesterday))
    anew = export("anew", today, EmbeddingConfig())
    found["largest_difference"] = difference(updated, anew)
    return found


def few(corpus: Corpus) -> Corpus:
    """The corpus with one file alone: what an export takes before it reads anything much."""
    manifest = corpus.manifest.model_copy(update={"sequences": [corpus.manifest.sequences[0]], "version": 3})
    storage.write_json(manifest_uri(corpus.uri, 3), manifest.model_dump())
    return open_corpus(corpus.uri, 3)


def with_a_day(corpus: Corpus) -> Corpus:
    """A version with one interaction more of a part of the users, all after what was there."""
    manifest, rng, files = corpus.manifest, np.random.default_rng(2), []
    per_file = manifest.num_interactions // 200 // len(manifest.sequences)
    for file in manifest.sequences:
        table = storage.read_parquet(storage.join(corpus.uri, file.path), ["user_id", "user_hash"])
        some = table.take(np.sort(rng.choice(table.num_rows, min(per_file, table.num_rows), replace=False)))
        offsets = pa.array(np.arange(some.num_rows + 1, dtype=np.int32))
        new = {"items": rng.integers(0, NUM_ITEMS, some.num_rows), "timestamps": np.full(some.num_rows, 400 * DAY)}
        for name, values in new.items():
            some = some.append_column(name, pa.ListArray.from_arrays(offsets, pa.array(values)))
        path = file.path.replace("part-0", "part-1")
        write_sequences(corpus.uri, path, some)
        counts = {"num_users": some.num_rows, "num_interactions": some.num_rows}
        files.append(SequenceFile(bucket=file.bucket, path=path, **counts))
    added = {
        "version": 2,
        "sequences": manifest.sequences + files,
        "num_interactions": manifest.num_interactions + sum(file.num_interactions for file in files),
    }
    storage.write_json(manifest_uri(corpus.uri, 2), manifest.model_copy(update=added).model_dump())
    return open_corpus(corpus.uri, 2)


def difference(one: str, other: str) -> float:
    """The largest difference between two exports' numbers, user by user."""
    largest = 0.0
    for file in storage.list_files(one, ".parquet"):
        ours, theirs = (
            storage.read_parquet(uri, ["user_id", "vector"]).sort_by("user_id")
            for uri in (file.uri, storage.join(other, file.uri.rsplit("/", 1)[-1]))
        )
        assert ours["user_id"].equals(theirs["user_id"])
        a, b = (table["vector"].combine_chunks().flatten().to_numpy() for table in (ours, theirs))
        largest = max(largest, float(np.abs(a - b).max(initial=0)))
    return largest


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--interactions", type=int, default=20_000_000)
    arguments.add_argument("--repeats", type=int, default=3)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    ids = pa.array(range(NUM_ITEMS))
    items = ItemTable(pa.table({"item_id": ids, "count": pa.array([1] * NUM_ITEMS)}))
    report: dict[str, Any] = {"environment": environment(), "load": load, "rates": rates(items, options.repeats)}
    report["one history of a million"] = one_long_history(items)
    print(json.dumps(report, indent=1), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report["one more day"] = one_more_day(folder, options.interactions)
    (RESULTS / "whole_histories.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["one more day"], indent=1))


if __name__ == "__main__":
    main()
