"""A manifest of very many files: found by bucket, in the order in which they were added, in bounded memory."""

import json
import pickle
import tracemalloc

from ray_userrep import storage
from ray_userrep.corpus.manifest import SequenceFile, SequenceFiles
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus


def files_of(number: int, num_buckets: int) -> list[SequenceFile]:
    """So many files, appended round by round."""
    path = "data/{:012x}/sequences/bucket={:05d}/part-0.parquet"
    rounds = [divmod(place, num_buckets) for place in range(number)]
    return [
        SequenceFile(bucket=bucket, path=path.format(turn, bucket), num_users=turn + 1, num_interactions=bucket)
        for turn, bucket in rounds
    ]


def test_files_are_found_by_bucket_in_their_order():
    listed = files_of(1000, 7)
    files = SequenceFiles.of(listed[:400]) + listed[400:]
    assert list(files) == listed and len(files) == 1000 and files[-1] == listed[-1]
    for number in range(9):
        assert files.of_bucket(number) == [file for file in listed if file.bucket == number]
    assert files.buckets() == list(range(7))
    assert list(files.without(SequenceFiles.of(listed[10:]))) == listed[:10]
    assert list(SequenceFiles.of([]) + listed[:3]) == listed[:3] and list(SequenceFiles.of([])) == []


def test_a_written_manifest_is_read_as_it_was(corpus):
    manifest = corpus.manifest.model_copy(update={"sequences": corpus.manifest.sequences + files_of(50, 4)})
    again = type(manifest).model_validate(json.loads(manifest.model_dump_json()))
    assert list(again.sequences) == list(manifest.sequences)
    assert again.model_dump() == manifest.model_dump()


def test_many_files_take_little_memory_and_are_sent_as_a_few_blocks(corpus):
    number = 20_000
    manifest = corpus.manifest.model_copy(update={"sequences": SequenceFiles.of(files_of(number, 4096))})
    storage.write_json(manifest_uri(corpus.uri, 2), manifest.model_dump() | {"version": 2})
    tracemalloc.start()
    opened = open_corpus(corpus.uri)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [file.num_users for file in opened.files(3)] == list(range(1, 6))
    assert kept < number * 20 and peak < number * 700
    blocks: list[pickle.PickleBuffer] = []
    sent = pickle.dumps(Corpus(opened.uri, opened.manifest), protocol=5, buffer_callback=blocks.append)
    assert len(sent) < 20_000 and len(blocks) < 20
