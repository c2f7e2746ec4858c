"""Whole preparations: against a loop over users, against pandas on the shipped data, and when things go wrong."""

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_userrep import storage
from ray_userrep.corpus.outline import outline_path
from ray_userrep.corpus.store import newest_version, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.logs.listing import EMBEDDED
from ray_userrep.logs.parts import Parts, whole
from ray_userrep.logs.source import Logs, open_logs
from ray_userrep.logs.times import TIMESTAMP
from ray_userrep.prepare import prepare as module
from ray_userrep.prepare.prepare import prepare
from ray_userrep.prepare.side_tables import refuse_unmet
from ray_userrep.prepare.stages import Build
from ray_userrep.recipe.corpus import CorpusConfig, num_buckets_of
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

pytestmark = pytest.mark.usefixtures("place")

CONFIG = CorpusConfig(num_buckets=3)
EVENTS = [(user, f"i{(user * row) % 7}", row // 3, None) for user in range(12) for row in range(user % 5 + 1)]
REJECTED = [(3, None, 5, "missing_item"), (None, "i1", 6, "missing_user"), (4, None, 7, "missing_item")]


@pytest.fixture(params=["in Ray's workers", "in this process"])
def place(request, ray_session, monkeypatch):
    """Where tasks run: preparing must not depend on it."""
    if request.param == "in this process":
        monkeypatch.setattr(ray, "is_initialized", lambda: False)


def block(events, first_row):
    users, items, times, reasons = zip(*events, strict=True)
    columns = {
        "user_id": pa.array(users, pa.int64()),
        "item_id": pa.array(items, pa.string()),
        "timestamp": pa.array(times, TIMESTAMP),
        "row": pa.array(range(first_row, first_row + len(events)), pa.int64()),
        "rating": pa.array([len(str(item)) / 2 for item in items]),
        "reason": pa.array(reasons, pa.string()),
    }
    return pa.table(columns)


def logs_of(events, cuts=(), shuffled=None, fingerprint="f", **tables):
    """A log of (user, item, time, reason) rows, cut into blocks that come in another order."""
    bounds = [0, *sorted(cuts), len(events)]
    blocks = [block(events[low:high], low) for low, high in pairwise(bounds) if low < high]
    blocks = [blocks[place] for place in shuffled(len(blocks))] if shuffled else blocks
    tables = {"items": None, "users": None, **tables}
    return Logs("memory:test", "test", fingerprint, parts_of(*blocks), **tables)


def parts_of(*blocks):
    return reduce(Parts.joined, map(whole, blocks))


UNREADABLE = Parts((lambda: 1 / 0,), block(EVENTS, 0).schema)


def sequences_of(corpus):
    """User -> [(item, time)], in the stored order."""
    found = {}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        items = corpus.items().ids_of(bucket.items_N).to_pylist()
        events = list(zip(items, bucket.timestamps_N.tolist(), strict=True))
        bounds = bucket.offsets_U1.tolist()
        assert bucket.user_ids.to_pylist() == sorted(bucket.user_ids.to_pylist())
        for user, low, high in zip(bucket.user_ids.to_pylist(), bounds, bounds[1:], strict=False):
            assert user not in found, "a user is in one bucket only"
            found[user] = events[low:high]
    return found


def slowly(events):
    users = defaultdict(list)
    for user, item, time, reason in events:
        if reason is None:
            users[user].append((item, time))
    return {user: sorted(events, key=lambda event: event[1]) for user, events in users.items()}  # a stable sort


def files_below(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()]


def test_a_corpus_is_what_a_loop_over_users_makes_however_the_log_is_cut(tmp_path):
    seen = []

    @settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sets(st.integers(1, len(EVENTS) - 1), max_size=6), st.randoms())
    def check(cuts, random):
        logs = logs_of(EVENTS, cuts, lambda count: random.sample(range(count), count), fingerprint=str(len(seen)))
        uri = str(tmp_path / str(len(seen)))
        seen.append(prepare(logs, CONFIG, uri))
        assert sequences_of(open_corpus(uri)) == slowly(EVENTS)

    check()
    assert len({manifest.content_fingerprint for manifest in seen}) == 1


def test_a_manifest_counts_what_there_is(tmp_path):
    manifest = prepare(logs_of(EVENTS + REJECTED, [10]), CONFIG, str(tmp_path))
    expected = slowly(EVENTS)
    assert manifest.version == 1
    assert manifest.num_interactions == len(EVENTS) == sum(manifest.interactions_per_day.values())
    assert manifest.num_users == len(expected)
    assert manifest.num_items == len({item for _, item, _, _ in EVENTS})
    assert manifest.num_interactions == sum(file.num_interactions for file in manifest.sequences)
    assert [file.bucket for file in manifest.sequences] == [0, 1, 2]
    assert manifest.quarantined == {"missing_item": 2, "missing_user": 1}
    assert manifest.side_columns == ["rating"]
    rejected = pa.concat_tables([storage.read_parquet(str(tmp_path / file)) for file in manifest.quarantine])
    found = [(row["user_id"], row["item_id"], row["reason"]) for row in rejected.sort_by("row").to_pylist()]
    assert found == [(user, item, reason) for user, item, _, reason in REJECTED]
    named = {manifest.items, manifest.sources, "manifests/000001.json", *manifest.quarantine}
    named |= {path for file in manifest.sequences for path in (file.path, outline_path(file.path))}
    assert {str(file.relative_to(tmp_path)) for file in files_below(tmp_path)} == named


def test_item_columns_and_present_users_are_kept(tmp_path):
    items = pa.table({"text": ["never seen", "two"], "item_id": ["i9", "i2"]})
    users = pa.table({"user_id": [99, 3, 0], "country": ["nowhere", "Chile", "Peru"]})
    corpus = open_corpus(
        str(tmp_path), prepare(logs_of(EVENTS, items=items, users=users), CONFIG, str(tmp_path)).version
    )
    texts = dict(zip(corpus.items().ids.to_pylist(), corpus.items().texts(), strict=True))
    assert texts == {item: "two" if item == "i2" else None for _, item, _, _ in EVENTS}
    assert corpus.users().to_pylist() == [{"user_id": 3, "country": "Chile"}, {"user_id": 0, "country": "Peru"}]


def test_the_same_log_is_prepared_once_and_a_changed_one_becomes_the_next_version(tmp_path):
    first = prepare(logs_of(EVENTS), CONFIG, str(tmp_path))
    before = files_below(tmp_path)
    assert prepare(logs_of(EVENTS), CONFIG, f"{tmp_path}/") == first
    assert files_below(tmp_path) == before
    second = prepare(logs_of(EVENTS[:-3], fingerprint="g"), CONFIG, str(tmp_path))
    other_layout = prepare(logs_of(EVENTS, fingerprint="g"), CorpusConfig(num_buckets=2), str(tmp_path))
    assert [second.version, other_layout.version] == [2, 3]
    assert sequences_of(open_corpus(str(tmp_path), 1)) == slowly(EVENTS)
    assert sequences_of(open_corpus(str(tmp_path), 2)) == slowly(EVENTS[:-3])


def test_many_buckets_hold_the_same_users(tmp_path):
    manifest = prepare(logs_of(EVENTS + REJECTED, [5, 11]), CorpusConfig(num_buckets=5000), str(tmp_path))
    assert manifest.users_per_length == Counter(map(len, slowly(EVENTS).values()))
    assert sequences_of(open_corpus(str(tmp_path))) == slowly(EVENTS)


def test_each_block_of_a_log_is_a_task_of_its_own(tmp_path):
    parts = module._partition(logs_of(EVENTS, [5, 11]), 3, str(tmp_path))
    assert len(parts["files"]) == 3 and sum(parts["slice_rows"]) == len(EVENTS)


def test_a_relative_place_is_that_of_the_caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest = prepare(logs_of(EVENTS + REJECTED), CONFIG, "here")
    assert all((tmp_path / "here" / file).exists() for file in [manifest.items, *manifest.quarantine])


def test_two_who_publish_at_once_get_two_versions(tmp_path):
    uris = [str(tmp_path)] * 2
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda mark: prepare(logs_of(EVENTS, fingerprint=mark), CONFIG, uris[0]), "ab"))
    assert sorted(manifest.version for manifest in found) == [1, 2]
    assert all(sequences_of(open_corpus(uris[0], version)) == slowly(EVENTS) for version in (1, 2))


def test_many_who_publish_at_once_get_a_number_each(tmp_path):
    manifest = prepare(logs_of(EVENTS), CONFIG, str(tmp_path / "source"))
    uri = str(tmp_path / "corpus")
    with ThreadPoolExecutor(8) as pool:
        versions = [found.version for found in pool.map(lambda _: module._publish(uri, manifest), range(16))]
    assert sorted(versions) == list(range(1, 17))
    assert [open_corpus(uri, version).manifest.version for version in range(1, 17)] == list(range(1, 17))
    assert len(storage.list_files(uri)) == 16


def test_a_corpus_in_an_object_store(s3_uri):
    uri = f"{s3_uri}/corpora/one"
    manifest = prepare(logs_of(EVENTS + REJECTED, [5, 20]), CONFIG, uri)
    assert sequences_of(open_corpus(uri)) == slowly(EVENTS)
    assert not [entry for entry in storage.list_files(uri) if "staging" in entry.uri]
    assert all(storage.exists(storage.join(uri, file)) for file in manifest.quarantine)
    assert prepare(logs_of(EVENTS + REJECTED), CONFIG, uri) == manifest


@pytest.mark.parametrize(
    "events, message",
    [
        (REJECTED, "nothing in memory:test can be used: 2 missing_item, 1 missing_user"),
        ([(user, "i1", 0, None) for user in range(5)], "no user in memory:test has two interactions"),
    ],
)
def test_a_log_that_is_of_no_use_is_refused_and_leaves_nothing(events, message, tmp_path):
    with pytest.raises(UserError, match=message):
        prepare(logs_of(events), CONFIG, str(tmp_path))
    assert files_below(tmp_path) == []


def test_a_log_without_rows_is_refused(tmp_path):
    empty = Logs("memory:test", "test", "f", parts_of(block(EVENTS, 0).slice(0, 0)), None, None)
    with pytest.raises(UserError, match="it has no rows"):
        prepare(empty, CONFIG, str(tmp_path))


@pytest.mark.parametrize("kind", [UserError, ZeroDivisionError])
def test_a_task_that_fails_publishes_nothing_and_only_a_users_error_is_told_as_such(kind, tmp_path):
    def read(part):
        if part == 1:
            raise kind("line 7 of part 1 is odd")
        yield block(EVENTS, 0)

    interactions = Parts(tuple(partial(read, part) for part in range(2)), block(EVENTS, 0).schema)
    with pytest.raises(Exception, match="line 7 of part 1 is odd") as caught:
        prepare(Logs("memory:test", "test", "f", interactions, None, None), CONFIG, str(tmp_path))
    assert (type(caught.value) is UserError) == (kind is UserError)
    assert kind is not UserError or str(caught.value) == "line 7 of part 1 is odd"
    assert newest_version(str(tmp_path)) is None


def test_a_rerun_continues_after_the_stages_that_were_finished(tmp_path, monkeypatch, capsys):
    prepare(logs_of(EVENTS), CONFIG, str(tmp_path))
    before = set(files_below(tmp_path))
    undisturbed = prepare(logs_of(EVENTS + REJECTED, fingerprint="g"), CONFIG, str(tmp_path / "whole"))
    names = ["partition", "sort", "count", "write"]
    capsys.readouterr()
    for finished, (stage, function) in enumerate(
        [("sort", "_sort"), ("count", "cuts"), ("write", "_write"), ("publish", "_publish")]
    ):
        with monkeypatch.context() as patched, pytest.raises(ConnectionError, match=stage):

            def die(*arguments, stage=stage):
                raise ConnectionError(stage)

            patched.setattr(module, function, die)
            patched.setattr(Build, "settle", lambda build: None)  # as if the machine had stopped just before
            prepare(logs_of(EVENTS + REJECTED, fingerprint="g"), CONFIG, str(tmp_path))
        assert newest_version(str(tmp_path)) == 1
        told = [line.split()[1] for line in capsys.readouterr().out.splitlines() if "was finished before" in line]
        assert told == names[:finished]
        kept = {path.parent.name for path in Path(tmp_path).glob("data/*/staging/*/*")}
        assert ("rows" in kept) == (stage == "sort")  # the largest part is given back once it is sorted
    logs = logs_of(EVENTS, fingerprint="g")._replace(interactions=UNREADABLE)  # the log is not read again
    manifest = prepare(logs, CONFIG, str(tmp_path))
    assert sequences_of(open_corpus(str(tmp_path))) == slowly(EVENTS)
    assert manifest.content_fingerprint == undisturbed.content_fingerprint
    assert manifest.quarantined == undisturbed.quarantined
    named = {
        manifest.items,
        manifest.sources,
        "manifests/000002.json",
        *manifest.quarantine,
        *(path for file in manifest.sequences for path in (file.path, outline_path(file.path))),
    }
    below = set(files_below(tmp_path)) - before - set(files_below(tmp_path / "whole"))
    assert {str(file.relative_to(tmp_path)) for file in below} == named


def test_a_failure_before_any_stage_was_finished_leaves_nothing(tmp_path):
    broken = logs_of(EVENTS)._replace(interactions=UNREADABLE)
    with pytest.raises(Exception, match="division by zero"):
        prepare(broken, CONFIG, str(tmp_path))
    assert files_below(tmp_path) == []


def test_only_the_newest_of_a_user_are_kept_and_the_others_are_counted(tmp_path):
    config = CONFIG.model_copy(update={"max_user_interactions": 2})
    manifest = prepare(logs_of(EVENTS, [7, 20]), config, str(tmp_path))
    expected = {user: events[-2:] for user, events in slowly(EVENTS).items()}
    assert sequences_of(open_corpus(str(tmp_path))) == expected
    assert manifest.num_interactions == sum(len(events) for events in expected.values())
    assert manifest.num_capped == len(EVENTS) - manifest.num_interactions
    items, counts = open_corpus(str(tmp_path)).items(), Counter(i for events in expected.values() for i, _ in events)
    assert dict(zip(items.ids.to_pylist(), items.counts().tolist(), strict=True)) == counts
    assert manifest.num_items == len(counts)
    assert prepare(logs_of(EVENTS), CONFIG, str(tmp_path)).version == 2


def test_buckets_are_chosen_by_the_size_of_the_log(tmp_path):
    assert [num_buckets_of(num_bytes) for num_bytes in (0, 10**8, 10**9, 2**30, 10**12)] == [8, 8, 64, 64, 4096]
    logs = logs_of(EVENTS)._replace(files=[FileEntry("log", 10 * 2**24)])
    assert prepare(logs, CorpusConfig(), str(tmp_path)).num_buckets == 16
    assert prepare(logs, CorpusConfig(), str(tmp_path)).version == 1
    assert prepare(logs, CONFIG, str(tmp_path)).num_buckets == 3


def test_a_manifest_tells_the_peak_of_each_stage(tmp_path):
    peaks = prepare(logs_of(EVENTS), CONFIG, str(tmp_path)).peak_bytes
    assert list(peaks) == ["partition", "sort", "count", "write"]
    assert all(2**20 < peak < 2**40 for peak in peaks.values())


def test_online_retail_is_what_pandas_makes_of_it(tmp_path):
    manifest = prepare(open_logs(LogsConfig()), CorpusConfig(), str(tmp_path))
    raw = pq.read_table(EMBEDDED).to_pandas()
    cancelled = raw["InvoiceNo"].astype(str).str.startswith("C")
    good = raw[~cancelled & raw["CustomerID"].notna() & (raw["Quantity"] > 0)].reset_index(names="row")
    by_user = good.sort_values(["CustomerID", "InvoiceDate", "row"]).groupby("CustomerID")
    days = good.groupby(good["InvoiceDate"].dt.strftime("%Y-%m-%d")).size()
    assert manifest.num_interactions + sum(manifest.quarantined.values()) == len(raw) == 541_909
    assert manifest.num_interactions == len(good) == 397_924
    assert manifest.quarantined["cancellation"] == cancelled.sum()
    assert manifest.interactions_per_day == days.to_dict()
    expected = pd.Series(by_user["StockCode"].agg(list)).rename(int).to_dict()
    found = {user: [item for item, _ in events] for user, events in sequences_of(open_corpus(str(tmp_path))).items()}
    assert found == expected
    counts = open_corpus(str(tmp_path)).items()
    assert dict(zip(counts.ids.to_pylist(), counts.counts(), strict=True)) == good["StockCode"].value_counts().to_dict()


def test_lost_numbers_are_counted_and_tables_of_other_ids_are_told_of(tmp_path, capsys):
    rows = [f'u{n % 4},i{n % 5},{1_600_000_000 + n},"{n},50"' for n in range(20)]
    rows += ["u1,i1,1600000100, 3.5", "u1,i2,9,NA"]
    log = tmp_path / "log"
    log.mkdir()
    (log / "log.csv").write_text("\n".join(["user_id,item_id,timestamp,price", *rows, ""]))
    (log / "items.csv").write_text("item_id,text,price\n0,a,1\n1,b,free\n2,c,\n")
    (log / "users.csv").write_text("user_id,country\nu0,AT\nu1,FR\n")
    config = LogsConfig(uri=str(log))
    with pytest.raises(UserError, match=r"tells of 0 of the log's 5 items: ids are 'i\d'.* in the log, '0', '1'"):
        prepare(open_logs(config), CONFIG, str(tmp_path / "corpus"))
    allowed = config.model_copy(update={"max_unmatched_share": 1.0})
    manifest = prepare(open_logs(allowed), CONFIG, str(tmp_path / "corpus"))
    printed = capsys.readouterr().out
    assert "was finished before" in printed and "warning   the table of items beside the log tells of 0" in printed
    assert "warning   the table of users" not in printed
    lost = manifest.unread["price"]
    assert lost.count == 20 and lost.examples[0] == f"{log}/log.csv row 0: '0,50'"
    assert manifest.unread["price of items"].model_dump() == {
        "count": 1, "examples": ["table of items: 'free'"], "wanted": "numbers",
    }  # fmt: skip
    assert f"warning   price: 20 values cannot be read as numbers, as {lost.examples[0]}" in printed


def test_a_table_of_which_nothing_could_be_read_is_told_of_and_left_out(capsys):
    nobody = pa.table({"user_id": pa.array([], pa.int64()), "country": pa.array([], pa.string())})
    logs = Logs("log", "tabular", "f", None, None, nobody, max_unmatched_share=0.99)
    refuse_unmet(logs, "user", {"matched": 0, "first": [6, 29]}, 60)
    assert "tells of 0 of the log's 60 users: ids are 6, 29 in the log, none in the table" in capsys.readouterr().out
