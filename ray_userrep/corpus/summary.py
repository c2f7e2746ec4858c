"""What a corpus holds, counted: bucket by bucket and file by file, so that memory does not grow with the corpus.

Counts of counts stand for long lists: so many users have this length, so many items this count. There are at most
about the square root of twice the interactions of them.
"""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.splits import NONE, Split
from ray_userrep.corpus.store import Corpus

Frequencies = Counter[int]  # a number of interactions -> how many users or items have it


def split_sizes(corpus: Corpus, number: int, split: Split) -> Counter[str]:
    """How much of a bucket is trained on, validated on and tested on."""
    bucket = split.outline(corpus, number)
    cut, (_, trained_U) = split.positions(bucket), split.training(bucket)
    return Counter(
        {
            "training interactions": int(trained_U.sum()),
            "training users": int((trained_U > 0).sum()),
            "validation targets": int((cut.valid_U != NONE).sum()) * cut.num_targets,
            "test targets": int((cut.test_U != NONE).sum()) * cut.num_targets,
        }
    )


def corpus_facts(corpus: Corpus) -> dict[str, Any]:
    """What the manifest says of a corpus as plain values, without the names of its files."""
    left_out = {"sequences", "quarantine", "items", "users", "relations", "sources", "checksums", "users_per_length"}
    named = {"uri": corpus.uri, "num_files": len(corpus.manifest.sequences)}
    return named | corpus.manifest.model_dump(mode="json", exclude=left_out)


def corpus_counts(corpus: Corpus) -> dict[str, Any]:
    """How much there is in a corpus, as every `result.json` has it."""
    manifest = corpus.manifest
    return {
        "interactions": manifest.num_interactions,
        "users": manifest.num_users,
        "items": manifest.num_items,
        "quarantined": manifest.quarantined,
        "order": manifest.order,
    }


def item_frequencies(corpus: Corpus) -> Frequencies:
    """How many items have each count, read in batches."""
    place = corpus.verified(corpus.manifest.items)
    filesystem, path = storage.open_fs(place)

    def count() -> Frequencies:
        with filesystem.open_input_file(path) as source:
            batches = pq.ParquetFile(source).iter_batches(columns=["count"])
            return sum((frequencies(batch.column(0).to_numpy()) for batch in batches), Frequencies())

    with storage.user_errors(place):
        return storage.again(count)


def quarantine_examples(corpus: Corpus, per_reason: int) -> dict[str, list[dict[str, Any]]]:
    """The first rejected rows of each reason; files are read one at a time, and no more than it takes."""
    found: dict[str, list[dict[str, Any]]] = {reason: [] for reason in corpus.manifest.quarantined}
    for file in corpus.manifest.quarantine:
        wanted = {reason: per_reason - len(rows) for reason, rows in found.items() if len(rows) < per_reason}
        if not wanted:
            break
        table = corpus.read(file)
        for reason, count in wanted.items():
            of_reason = table.filter(pc.equal(table["reason"], reason)).slice(0, count)
            found[reason] += of_reason.drop_columns(["reason"]).to_pylist()
    return found


def frequencies(values: NDArray[np.integer]) -> Frequencies:
    """How often each number is there."""
    numbers, counts = np.unique(values, return_counts=True)
    return Frequencies(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
