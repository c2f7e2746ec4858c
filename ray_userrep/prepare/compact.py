"""Base and appended files of each bucket into one file, as a new version of the same content.

Readers get their single files back, for the price of reading and writing every bucket that was appended to. Item and
user tables are whole in every version and stay as they are; so do the old versions, whose files nothing removes.
"""

import time
from datetime import UTC, datetime

from ray_userrep.corpus.manifest import Manifest, SequenceFile, SequenceFiles
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.store import Corpus, open_corpus, publish_built
from ray_userrep.errors import UserError
from ray_userrep.logs.tasks import results, shared
from ray_userrep.prepare.stages import plain_errors


def compact(uri: str) -> Manifest:
    """Publish a version of one file a bucket; the newest version is returned where it is one already.

    Raises:
        UserError: there is no corpus, or somebody published another version meanwhile.
    """
    began = time.perf_counter()
    corpus = open_corpus(uri)
    base = corpus.manifest
    scattered = [number for number in corpus.buckets() if len(corpus.files(number)) > 1]
    if not scattered:
        print(f"compact   {corpus.uri} has one file a bucket (version {base.version})", flush=True)
        return base
    manifest = publish_built(corpus, lambda build: _rewritten(corpus, scattered, build))
    if manifest is None:
        raise UserError(f"{corpus.uri} got version {base.version + 1} while it was compacted: compact it again")
    told = f"{len(base.sequences):,} files into {len(manifest.sequences):,}"
    print(f"compact   {time.perf_counter() - began:6.1f} s  {told}", flush=True)
    return manifest


def _rewritten(corpus: Corpus, scattered: list[int], build: str) -> Manifest:
    """Write one file for each of the buckets; returns the manifest of the next version."""
    base, there = corpus.manifest, shared(corpus)
    with plain_errors():
        written = results([(_write_bucket, there, number, build) for number in scattered])
    untouched = sorted(set(base.sequences.buckets()) - set(scattered))
    kept = [file for number in untouched for file in corpus.files(number)]
    files = sorted([*kept, *written], key=lambda file: file.bucket)
    assert sum(file.num_interactions for file in files) == base.num_interactions, "nothing is lost"
    assert sum(file.num_users for file in files) == base.num_users, "a user is in one file"
    return base.model_copy(
        update={
            "version": base.version + 1,
            "parent": base.version,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "sequences": SequenceFiles.of(files),
        }
    )


def _write_bucket(corpus: Corpus, number: int, build: str) -> SequenceFile:
    """The one file of a bucket."""
    sequences = corpus.sequences(number, corpus.manifest.side_columns)
    assert sequences is not None, "a bucket of several files has users"
    path = f"{build}/sequences/bucket={number:05d}/part-0.parquet"
    checks = write_sequences(corpus.uri, path, sequences)
    num_interactions = len(sequences["items"].combine_chunks().flatten())
    counts = {"num_users": sequences.num_rows, "num_interactions": num_interactions}
    return SequenceFile(bucket=number, path=path, **counts, **checks)
