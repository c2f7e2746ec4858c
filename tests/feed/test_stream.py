"""From the plan to batches: windows read one at a time say what gather must."""

import numpy as np
import pytest
import torch

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.feed.batch import START, TIMESTAMPS
from ray_userrep.feed.cutting import BucketWindows, gather
from ray_userrep.feed.plan import MicroBatch, Position, rank_slice
from ray_userrep.feed.stream import buckets_held, make_plan, steps, train_counts
from ray_userrep.feed.windows import DOMAIN_COLUMN, collect_domains, domain_codes
from ray_userrep.recipe.corpus import ColdItemConfig, ColdUserConfig, LeaveKOutConfig, LeaveOneOutConfig, StreamConfig
from tests.feed.test_plan import Rank

CONFIG = StreamConfig(max_len=6, batch_tokens=100, shuffle_buckets=3)
RULES = [LeaveOneOutConfig(), ColdItemConfig(valid_share=0.2, test_share=0.2)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_batches_hold_the_planned_windows_in_their_order(corpus, rule):
    split = resolve(rule, corpus)
    plan, columns = make_plan(corpus, split, CONFIG, 1, 0), [TIMESTAMPS, "price", "domain"]
    windows_of = BucketWindows(corpus, split, columns, 2)
    buckets = [split.training(corpus.bucket(number, columns))[0] for number in corpus.buckets()]
    for planned in plan.batches(Position()):
        windows = planned.windows
        (batch,) = gather(windows_of, [MicroBatch(windows, 1.0)])
        assert batch.labels[START].tolist() == windows.start_W.tolist()
        for place, (number, row, start, length) in enumerate(zip(*windows, strict=True)):
            bucket = buckets[number]
            source = bucket.offsets_U1[row] + start + np.arange(length)
            here = slice(int(batch.offsets_B1[place]), int(batch.offsets_B1[place + 1]))
            assert batch.values_T[here].tolist() == bucket.items_N[source].tolist()
            assert batch.side[TIMESTAMPS][here].tolist() == bucket.timestamps_N[source].tolist()
            assert batch.side["price"][here].tolist() == bucket.side_N["price"][source].tolist()
            assert batch.side["domain"][here].tolist() == bucket.side_N["domain"][source].tolist()
            assert batch.users_B[place] == bucket.user_hash_U[row]
        assert batch.max_len == windows.length_W.max()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_an_epoch_trains_each_training_interaction_but_the_first_of_a_user_once(corpus, rule):
    split = resolve(rule, corpus)
    plan = make_plan(corpus, split, CONFIG, 1, 0)
    whole = steps(plan, BucketWindows(corpus, split, [], 9), 0, 1, Position(), lambda micros, _: micros)
    found = np.zeros(50, np.int64)
    for step in whole:
        for micro in step.micros:
            first = micro.offsets_B1[:-1].long()
            found += np.bincount(micro.values_T, minlength=50) - np.bincount(micro.values_T[first], minlength=50)
        if step.after == Position(1):
            break
    firsts = np.zeros(50, np.int64)
    for number in corpus.buckets():
        view, lengths = split.training(corpus.bucket(number))
        firsts += np.bincount(view.items_N[view.offsets_U1[:-1][lengths > 0]], minlength=50)
    assert (found == train_counts(corpus, split) - firsts).all()
    if rule.rule == "cold_item":
        held_out = split.part_V > 0
        assert held_out.any() and not found[held_out].any()


@pytest.mark.parametrize("world", [2, 3, 9])
def test_ranks_that_read_their_shares_count_and_tell_domains_as_one_does(corpus, monkeypatch, world):
    split, reads = resolve(LeaveOneOutConfig(), corpus), []
    whole = type(corpus).bucket
    monkeypatch.setattr(corpus, "bucket", lambda number, *side: reads.append(number) or whole(corpus, number, *side))

    def shares(count):
        """What each rank counts, and the sum of all; every bucket is read once."""
        reads.clear()
        counted = []
        for rank in range(world):
            found = count(Rank(rank, world, counted))
            counted.append(found - sum(counted))
        assert sorted(reads) == list(corpus.buckets())
        return found

    counts, code_N = train_counts(corpus, split), make_plan(corpus, split, CONFIG, 1, 0).domains.code_N
    assert (shares(lambda rank: train_counts(corpus, split, rank)) == counts).all()
    lengths = [split.train_lengths(corpus, number) for number in corpus.buckets()]
    names = list(corpus.manifest.domains)

    def codes(number):
        return domain_codes(names, *split.training(corpus.bucket(number, [DOMAIN_COLUMN])))

    assert (shares(lambda rank: collect_domains(names, lengths, codes, rank).code_N) == code_N).all()


def test_micro_batches_are_read_together_as_they_are_alone(corpus):
    split = resolve(LeaveOneOutConfig(), corpus)
    planned = next(make_plan(corpus, split, CONFIG, 1, 0).batches(Position()))
    source, micros = BucketWindows(corpus, split, ["price"], 9), rank_slice(planned, 1, 2, 20)
    assert len(micros) > 2
    for together, micro in zip(gather(source, micros), micros, strict=True):
        (alone,) = gather(source, [micro])
        assert TIMESTAMPS not in together.side, "nobody asked for them"
        for name in ("values_T", "offsets_B1", "users_B"):
            assert getattr(together, name).equal(getattr(alone, name))
            assert getattr(together, name).dtype == getattr(alone, name).dtype
        assert together.side["price"].equal(alone.side["price"]) and together.values_T.dtype == torch.int64
        assert together.max_len == alone.max_len and together.labels[START].equal(alone.labels[START])


def test_positions_go_on_from_epoch_to_epoch_and_targets_are_counted(corpus):
    split = resolve(LeaveOneOutConfig(), corpus)
    plan = make_plan(corpus, split, CONFIG, 1, 0)
    source = steps(plan, BucketWindows(corpus, split, [], 9), 0, 1, Position(0, 1), lambda micros, _: micros)
    taken = [next(source) for _ in range(plan.num_batches + 1)]
    expected = [Position(0, number) for number in range(1, plan.num_batches)] + [Position(1, 0), Position(1, 1)]
    assert [step.position for step in taken] == expected
    assert [step.after for step in taken[:-1]] == expected[1:]
    epoch = taken[: plan.num_batches - 1]
    missing = plan.targets(next(plan.batches(Position())).windows)
    assert (sum(step.targets_D for step in epoch) + missing).tolist() == plan.account(0).trained_D.tolist()


def test_an_epoch_reads_every_bucket_once_also_where_batches_span_groups(corpus, monkeypatch):
    config = CONFIG.model_copy(update={"shuffle_buckets": 1})
    split = resolve(LeaveOneOutConfig(), corpus)
    plan, reads = make_plan(corpus, split, config, 1, 0), []
    whole = type(corpus).bucket
    monkeypatch.setattr(corpus, "bucket", lambda number, side: reads.append(number) or whole(corpus, number, side))
    source = BucketWindows(corpus, split, [], buckets_held(config))
    for step in steps(plan, source, 0, 1, Position(), lambda micros, _: micros):
        if step.after == Position(1):
            break
    assert sorted(reads) == list(corpus.buckets())


@pytest.mark.parametrize("rule", [LeaveOneOutConfig(), LeaveKOutConfig(k=2), ColdUserConfig()])
def test_a_plan_holds_the_lengths_of_a_group_and_reads_no_sequences(corpus, monkeypatch, rule):
    read = []
    outline = type(corpus).outline
    monkeypatch.setattr(corpus, "outline", lambda number, days: read.append(number) or outline(corpus, number, days))
    corpus.manifest.domains = {}
    for file in corpus.manifest.sequences:
        storage.delete(f"{corpus.uri}/{file.path}")
    config = CONFIG.model_copy(update={"shuffle_buckets": 1})
    plan = make_plan(corpus, resolve(rule, corpus), config, 1, 0)
    # Who is held out by hash is not in the manifest's counts; where lengths are all that a rule goes by, they do.
    assert sorted(read) == (list(corpus.buckets()) if rule.rule == "cold_user" else [])
    read.clear()
    first, again = (list(plan.batches(Position())) for _ in range(2))
    assert len(read) >= 2 * len(corpus.buckets()) - 2  # what was read last may still be there
    assert [batch.position for batch in first] == [batch.position for batch in again]
    assert sum(int((batch.windows.length_W - 1).sum()) for batch in first) == plan.num_tokens
