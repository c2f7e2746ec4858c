"""What is read out of a corpus for ranking, against per-user Python; nothing held out may leak."""

import json
import tracemalloc
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.manifest import Manifest, SequenceFile
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.evaluation.baselines import tuned_baselines
from ray_userrep.evaluation.histories import Sequences, num_asked, read_histories, read_known, read_train
from ray_userrep.recipe.corpus import GlobalTimeConfig, LeaveOneOutConfig
from ray_userrep.recipe.evaluation import EvaluationConfig

NUM_USERS, NUM_ITEMS = 40, 30
DAY = 86_400_000_000


def sequence(user: int) -> list[int]:
    """Between no and six interactions, every one of them with an item of its own position's residue class."""
    return [(7 * user + 5 * place) % (NUM_ITEMS // 6) * 6 + place for place in range(user % 7)]


HASHES = hash_ids(pa.array(range(NUM_USERS)))


def hash_of(user: int) -> int:
    return int(HASHES[user])


def backwards(hash_: int) -> int:
    return int(f"{hash_ % 2**64:064b}"[::-1], 2)


@pytest.fixture(params=[3, 4])
def corpus(tmp_path, request) -> Corpus:
    files, num_buckets = [], request.param
    for bucket in range(num_buckets):
        users = np.flatnonzero(bucket_of(HASHES, num_buckets) == bucket).tolist()
        rows = [sequence(user) for user in users]
        columns = {
            "user_id": pa.array(users, pa.int64()),
            "user_hash": pa.array([hash_of(user) for user in users], pa.int64()),
            "items": pa.array(rows, pa.list_(pa.int64())),
            "timestamps": pa.array([[place * DAY for place in range(len(row))] for row in rows], pa.list_(pa.int64())),
        }
        path = f"sequences/bucket={bucket:05d}/part-0.parquet"
        sums, size = write_sequences(str(tmp_path), path, pa.table(columns)), sum(map(len, rows))
        files.append(SequenceFile(bucket=bucket, path=path, num_users=len(rows), num_interactions=size, **sums))
    lengths = [len(sequence(user)) for user in range(NUM_USERS)]
    per_day = {f"1970-01-{day + 1:02d}": sum(length > day for length in lengths) for day in range(6)}
    manifest = Manifest(
        version=1, created="", source_uri="", reader="", source_fingerprint="", content_fingerprint="",
        num_buckets=num_buckets, num_users=NUM_USERS, num_items=NUM_ITEMS, num_ties=0, num_duplicates=0,
        num_interactions=sum(f.num_interactions for f in files), quarantined={}, side_columns=[], quarantine=[],
        interactions_per_day=per_day, items="", users=None, sequences=files, sources="",
        users_per_length=Counter(lengths),
    )  # fmt: skip
    storage.write_text(manifest_uri(str(tmp_path), 1), json.dumps(manifest.model_dump()))
    return open_corpus(str(tmp_path))


def by_user(sequences) -> dict[int, list[int]]:
    bounds = zip(sequences.users_U, sequences.offsets_U1, sequences.offsets_U1[1:], strict=False)
    return {int(user): sequences.items_N[first:last].tolist() for user, first, last in bounds}


@pytest.mark.parametrize(("part", "held_out"), [("valid", 2), ("test", 1)])
def test_histories_are_all_before_the_target(corpus, part, held_out):
    histories = read_histories(corpus, resolve(LeaveOneOutConfig(), corpus), part, None)
    measured = [user for user in range(NUM_USERS) if len(sequence(user)) >= 3]
    assert by_user(histories) == {hash_of(user): sequence(user)[:-held_out] for user in measured}
    targets = dict(zip(histories.users_U.tolist(), histories.targets_U.tolist(), strict=True))
    assert targets == {hash_of(user): sequence(user)[-held_out] for user in measured}
    assert (histories.times_N == DAY * (histories.items_N % 6)).all()


@pytest.mark.parametrize(("before", "held_out"), [("valid", 2), ("test", 1)])
def test_what_baselines_count_ends_before_the_targets(corpus, before, held_out):
    train = by_user(read_train(corpus, resolve(LeaveOneOutConfig(), corpus), before))
    for user in range(NUM_USERS):
        known = sequence(user)[:-held_out] if len(sequence(user)) >= 3 else sequence(user)
        assert train[hash_of(user)] == known


def test_global_time_counts_nothing_from_after_the_cut(corpus):
    config = GlobalTimeConfig(valid_share=0.2, test_share=0.2)
    split = resolve(config, corpus)
    assert 0 < split.valid_from < split.test_from
    for part, cut in (("valid", split.valid_from), ("test", split.test_from)):
        assert read_train(corpus, split, part).times_N.max() < cut
        histories = read_histories(corpus, split, part, None)
        assert histories.num_users and histories.times_N.max() < cut
        assert (histories.targets_U % 6 * DAY >= cut).all()


def test_max_users_takes_the_same_users_whatever_their_number(corpus):
    split = resolve(LeaveOneOutConfig(), corpus)
    every = read_histories(corpus, split, "test", None)
    few, more = (read_histories(corpus, split, "test", size) for size in (5, 9))
    assert (few.num_users, more.num_users) == (5, 9)
    assert set(few.users_U) < set(more.users_U) < set(every.users_U)
    assert by_user(more).items() < by_user(every).items()


@pytest.mark.parametrize("size", [1, 3, 7, 18, 33, 34, 99])
def test_what_is_read_of_a_sample_is_what_reading_everybody_would_have_kept(corpus, size):
    split = resolve(LeaveOneOutConfig(), corpus)
    for every, some in (
        (read_histories(corpus, split, "test", None), read_histories(corpus, split, "test", size)),
        (read_known(corpus, split, least=1), read_known(corpus, split, max_users=size, least=1)),
    ):
        kept = np.argsort([backwards(int(user)) for user in every.users_U])[:size]
        assert by_user(some) == by_user(every.take(np.sort(kept)))
        assert some.users_U.tolist() == every.users_U[np.sort(kept)].tolist()


@pytest.mark.parametrize("part", ["valid", "test"])
def test_of_how_many_users_a_sample_is_one_is_known_without_their_sequences(corpus, part):
    split = resolve(LeaveOneOutConfig(), corpus)
    every = read_histories(corpus, split, part, None).num_users
    for file in corpus.manifest.sequences:
        storage.delete(storage.join(corpus.uri, file.path))
    assert num_asked(corpus, split, part) == every > 10


@pytest.mark.parametrize(("num_buckets", "num_read"), [(100, 100), (128, 1)])
def test_a_sample_takes_the_memory_of_its_users_and_a_part_and_reads_no_more_than_it_needs(num_buckets, num_read):
    rng, size, column, read = np.random.default_rng(0), 10_000, np.arange(10_001), []

    def users_of(bucket: int) -> Sequences:
        read.append(bucket)
        users = rng.integers(-(2**63) // num_buckets + 1, 2**63 // num_buckets - 1, size) * num_buckets + bucket
        return Sequences(column[:-1].copy(), column[:-1].copy(), column.copy(), users)

    tracemalloc.start()
    few = Sequences.sample(users_of, num_buckets, size // 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert few.num_users == size // 10 and len(read) == num_read
    assert peak < 10 * 8 * 4 * size  # of a hundred such parts


def test_tuned_baselines_rank_every_measured_user_and_repeat_themselves(corpus, capsys):
    split, config = resolve(LeaveOneOutConfig(), corpus), EvaluationConfig()
    first, second = (tuned_baselines(corpus, split, config) for _ in range(2))
    told = [line.split("  ")[1].strip() for line in capsys.readouterr().out.splitlines()]
    assert told == [*first, *second], "each family says when it is done"
    measured = read_histories(corpus, split, "test", None).num_users
    for name, tuned in first.items():
        assert tuned.ranks_U.shape == (measured,)
        assert tuned.ranks_U.min() >= 1 and tuned.ranks_U.max() <= NUM_ITEMS
        assert np.array_equal(tuned.ranks_U, second[name].ranks_U) and tuned.setting == second[name].setting
