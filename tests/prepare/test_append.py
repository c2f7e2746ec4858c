"""Appending and compacting: days added one by one against all of them prepared at once."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_userrep import storage
from ray_userrep.corpus import store
from ray_userrep.corpus.outline import outline_path
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import newest_version, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.logs import reading
from ray_userrep.logs.source import open_logs
from ray_userrep.prepare.append import append
from ray_userrep.prepare.compact import compact
from ray_userrep.prepare.prepare import prepare
from ray_userrep.prepare.side_tables import read_sources
from ray_userrep.recipe.corpus import CorpusConfig, GlobalTimeConfig, LeaveOneOutConfig
from ray_userrep.recipe.logs import LogsConfig

pytestmark = pytest.mark.usefixtures("ray_session")

CONFIG = CorpusConfig(num_buckets=3)
EVENT = st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 30))
DAYS = st.lists(st.lists(EVENT, min_size=1, max_size=8), min_size=2, max_size=3)
FIRST = [(0, 0, 0), (0, 1, 9)]  # a log needs a user of two interactions


def write_day(folder, number, events, **columns):
    """A file of (user, item, second) rows; text ids, and a price for each row."""
    table = {
        "user_id": [f"u{user}" for user, _, _ in events],
        "item_id": [f"i{item}" for _, item, _ in events],
        "timestamp": [1_600_000_000 + time for _, _, time in events],
        "price": [number + place / 16 for place in range(len(events))],
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table | columns), f"{folder}/day-{number}.parquet")
    return LogsConfig(uri=str(folder))


def prepared(logs, uri):
    return open_corpus(str(uri), prepare(open_logs(logs), CONFIG, str(uri)).version)


def appended(logs, uri):
    return open_corpus(str(uri), append(logs, CONFIG, str(uri)).version)


def content(corpus):
    """Everything a corpus says, with item ids for indices: users' sequences, counts, attributes and manifest."""
    items, found = corpus.items(), {}
    for number in corpus.buckets():
        bucket = corpus.bucket(number, ["price", "event"])
        columns = [items.ids_of(bucket.items_N).to_pylist(), bucket.timestamps_N.tolist()]
        columns += [bucket.side_N[name].tolist() for name in sorted(bucket.side_N)]
        events = list(zip(*columns, strict=True))
        bounds = bucket.offsets_U1.tolist()
        users = bucket.user_ids.to_pylist()
        assert users == sorted(set(users))
        found |= {user: events[low:high] for user, low, high in zip(users, bounds, bounds[1:], strict=False)}
    table = {row.pop("item_id"): row for row in items.table.to_pylist()}
    users = corpus.users()
    manifest = corpus.manifest.model_dump(
        include={"num_users", "num_items", "num_interactions", "num_ties", "num_duplicates", "quarantined"}
        | {"interactions_per_day", "users_per_length", "side_columns", "num_buckets"}
    )
    return found, table, None if users is None else {row.pop("user_id"): row for row in users.to_pylist()}, manifest


def files_below(path):
    return sorted(file for file in Path(path).rglob("*") if file.is_file())


def test_days_appended_are_what_all_days_at_once_are(tmp_path):
    made = []

    @settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(DAYS, st.booleans())
    def check(days, in_order):
        place = tmp_path / str(len(made))
        made.append(place)
        for number, events in enumerate([FIRST + days[0], *days[1:]]):
            shifted = [(user, item, time + 86400 * number * in_order) for user, item, time in events]
            logs = write_day(place / "log", number, shifted)
            corpus = appended(logs, place / "grown") if number else prepared(logs, place / "grown")
        whole, bare = content(prepared(logs, place / "whole")), corpus.manifest
        assert content(corpus) == whole
        again = open_corpus(corpus.uri, compact(corpus.uri).version)
        assert content(again) == whole
        assert again.manifest.content_fingerprint == bare.content_fingerprint
        assert len({file.bucket for file in again.manifest.sequences}) == len(again.manifest.sequences)
        # Whoever prepares the grown log without appending finds it prepared.
        assert prepare(open_logs(logs), CONFIG, corpus.uri) == again.manifest

    check()


@pytest.fixture
def grown(tmp_path):
    """A corpus of one day, a second one appended, and their log."""
    write_day(tmp_path / "log", 0, [(u, i, 10 * u + i) for u in range(5) for i in range(4)])
    first = prepared(LogsConfig(uri=str(tmp_path / "log")), tmp_path / "corpus")
    more = [(1, 8, 90_000), (1, 9, 90_001), (2, 9, 90_002), (7, 0, 90_003), (1, 0, 90_004)]
    logs = write_day(tmp_path / "log", 1, more)
    return first, appended(logs, tmp_path / "corpus"), logs


def test_old_items_keep_their_indices_and_new_ones_follow_by_count(grown):
    first, second, _ = grown
    assert second.items().ids.to_pylist() == [*first.items().ids.to_pylist(), "i9", "i8"]
    assert dict(zip(second.items().ids.to_pylist(), second.items().counts(), strict=True)) == {
        "i0": 7, "i1": 5, "i2": 5, "i3": 5, "i9": 2, "i8": 1,
    }  # fmt: skip


def test_an_old_version_stays_what_it_was(grown, tmp_path):
    first, second, _ = grown
    before = content(first)
    compact(second.uri)
    assert newest_version(first.uri) == 3
    assert content(open_corpus(first.uri, 1)) == before
    assert content(open_corpus(first.uri, 2)) == content(open_corpus(first.uri)) != before
    assert [open_corpus(first.uri, version).manifest.parent for version in (1, 2, 3)] == [None, 1, 2]
    manifests = [open_corpus(first.uri, version).manifest for version in (1, 2, 3)]
    named = {f for m in manifests for f in [m.items, m.sources, *m.quarantine, *(file.path for file in m.sequences)]}
    named |= {outline_path(file.path) for m in manifests for file in m.sequences}
    named |= {f"manifests/00000{version}.json" for version in (1, 2, 3)}
    assert {str(file.relative_to(first.uri)) for file in files_below(first.uri)} == named


def test_the_last_item_moves_on_and_the_fingerprint_changes(grown):
    first, second, _ = grown
    targets = []
    for corpus in (first, second):
        split = resolve(LeaveOneOutConfig(), corpus)
        last = {user: events[-1][0] for user, events in content(corpus)[0].items() if len(events) > 2}
        found = {}
        for number in corpus.buckets():
            bucket = corpus.bucket(number)
            test_U = split.positions(bucket).test_U
            rows = np.flatnonzero(test_U >= 0)
            items = corpus.items().ids_of(bucket.items_N[bucket.offsets_U1[rows] + test_U[rows]])
            found |= dict(zip(bucket.user_ids.take(pa.array(rows)).to_pylist(), items.to_pylist(), strict=True))
        assert found == last
        targets.append((found, split.fingerprint(corpus.manifest, False)))
    assert targets[0][0]["u1"] == "i3" and targets[1][0]["u1"] == "i0" and targets[0][1] != targets[1][1]


def test_the_same_files_are_appended_once(grown, tmp_path):
    _, second, logs = grown
    before = files_below(tmp_path)
    assert append(logs, CONFIG, f"{second.uri}/") == second.manifest
    assert append(LogsConfig(uri=f"{logs.uri}/day-1.parquet"), CONFIG, second.uri) == second.manifest
    assert files_below(tmp_path) == before


def test_a_folder_of_new_files_alone_is_appended(grown, tmp_path):
    _, second, logs = grown
    third = appended(write_day(tmp_path / "later", 2, [(1, 1, 200_000)]), second.uri)
    assert third.manifest.num_interactions == second.manifest.num_interactions + 1
    assert set(read_sources(third)) == {
        f"{logs.uri}/day-0.parquet", f"{logs.uri}/day-1.parquet", f"{tmp_path}/later/day-2.parquet",
    }  # fmt: skip
    assert third.manifest.source_uri == logs.uri
    assert third.manifest.source_fingerprint != second.manifest.source_fingerprint


def test_rejected_rows_are_kept_and_a_new_column_is_unknown_before(grown, tmp_path):
    _, second, _ = grown
    day = [(1, 1, 200_000), (2, 2, 200_001)]
    logs = write_day(tmp_path / "later", 2, day, item_id=["i1", None], event=["buy", "buy"])
    third = appended(logs, second.uri)
    assert third.manifest.quarantined == {"missing_item": 1}
    assert [storage.read_parquet(f"{third.uri}/{file}").num_rows for file in third.manifest.quarantine] == [1]
    assert third.manifest.side_columns == ["price", "event"]
    sequences = content(third)[0]
    codes = [event[2] for event in sequences["u1"]]
    assert codes[-1] != 0 and set(codes[:-1]) == {0}
    assert content(open_corpus(third.uri, compact(third.uri).version))[0] == sequences


def test_tables_beside_the_log_grow(tmp_path):
    log = tmp_path / "log"
    write_day(log, 0, [(0, 0, 0), (0, 1, 1), (1, 0, 2)])
    (log / "items.csv").write_text("item_id,text\ni0,zero\ni1,one\ni2,two\n")
    (log / "users.csv").write_text("user_id,country\nu0,Peru\n")
    prepared(LogsConfig(uri=str(log)), tmp_path / "corpus")
    write_day(log, 1, [(0, 2, 90_000), (2, 0, 90_001)])
    (log / "items.csv").write_text("item_id,text,category\ni0,,a\ni1,first,b\ni2,two,c\ni3,three,d\n")
    (log / "users.csv").write_text("user_id,country\nu2,Chile\nu1,Fiji\nu9,Nowhere\n")
    corpus = appended(LogsConfig(uri=str(log)), tmp_path / "corpus")
    assert corpus.items().table.select(["item_id", "text", "category"]).to_pylist() == [
        {"item_id": "i0", "text": "zero", "category": "a"},
        {"item_id": "i1", "text": "first", "category": "b"},
        {"item_id": "i2", "text": "two", "category": "c"},
    ]
    assert corpus.users().to_pylist() == [
        {"user_id": "u0", "country": "Peru"}, {"user_id": "u2", "country": "Chile"},
        {"user_id": "u1", "country": "Fiji"},
    ]  # fmt: skip


def test_attributes_that_do_not_go_together_are_refused(grown, tmp_path):
    _, second, _ = grown
    for day, kind in ((2, pa.int64()), (3, pa.string())):
        logs = write_day(tmp_path / f"later-{day}", day, [(1, 1, 200_000)])
        table = pa.table({"item_id": ["i1"], "size": pa.array(["7"]).cast(kind)})
        pq.write_table(table, f"{logs.uri}/items.parquet")
        if day == 2:
            third = append(logs, CONFIG, second.uri)
    with pytest.raises(UserError, match=r"^the tables beside the log do not go with those of the corpus: .*size"):
        append(logs, CONFIG, second.uri)
    assert open_corpus(second.uri).manifest == third


def test_a_changed_file_and_other_ids_are_refused(grown, tmp_path):
    _, second, logs = grown
    before = files_below(second.uri)
    numbers = write_day(tmp_path / "later", 2, [(1, 1, 0)], user_id=[5])
    with pytest.raises(UserError, match=re.escape(f"user_id is int64 in the new files, string in {second.uri}")):
        append(numbers, CONFIG, second.uri)
    write_day(tmp_path / "log", 1, [(1, 1, time) for time in range(100)])
    with pytest.raises(UserError, match=r"day-1\.parquet has .* only new files can be appended"):
        append(logs, CONFIG, second.uri)
    assert files_below(second.uri) == before


def test_two_who_append_at_once_both_count_and_neither_twice(grown, tmp_path):
    _, second, _ = grown
    logs = [write_day(tmp_path / f"later-{n}", 2, [(1, 1, 200_000), (n, n, 200_001)]) for n in (3, 4)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda one: append(one, CONFIG, second.uri), [*logs, logs[0]]))
    newest = open_corpus(second.uri)
    assert newest.manifest.version == 4
    assert newest.manifest.num_interactions == second.manifest.num_interactions + 4


def test_who_always_loses_says_so_and_leaves_nothing(grown, tmp_path, monkeypatch):
    _, second, _ = grown
    before = files_below(second.uri)
    logs = write_day(tmp_path / "later", 2, [(1, 1, 200_000)])
    monkeypatch.setattr(store, "publish", lambda uri, manifest: False)
    with pytest.raises(UserError, match="got a new version 3 times"):
        append(logs, CONFIG, second.uri)
    assert files_below(second.uri) == before


def test_versions_in_an_object_store(s3_uri, tmp_path):
    day = write_day(tmp_path / "log", 0, [(u, i, 10 * u + i) for u in range(5) for i in range(4)])
    prepared(day, f"{s3_uri}/corpus")
    grown = appended(write_day(tmp_path / "log", 1, [(1, 8, 90_000), (9, 9, 3)]), f"{s3_uri}/corpus")
    whole = content(prepared(day, tmp_path / "whole"))
    assert content(grown) == whole
    assert content(open_corpus(grown.uri, compact(grown.uri).version)) == whole
    assert not [entry for entry in storage.list_files(grown.uri) if re.search("staging|delta/(seq|it|so)", entry.uri)]


def untimed(folder, name, rows):
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(f"{folder}/{name}").write_text("".join(f"{line}\n" for line in ["user_id,item_id", *rows]))
    return LogsConfig(uri=str(folder), order="row")


def test_without_times_rows_are_in_the_order_of_the_files_and_appended_ones_come_after(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_MIN_TASK_BYTES", 1)  # a read task for each file
    rows = {f"f{file}.csv": [f"u{n % 3},f{file}-{n:02d}" for n in range(20)] for file in range(4)}
    written = [untimed(tmp_path / "log", name, rows[name]) for name in ("f2.csv", "f1.csv", "f3.csv")]
    corpus = prepared(written[0], tmp_path / "corpus")
    untimed(tmp_path / "log", "f0.csv", rows["f0.csv"])
    corpus = appended(written[0], corpus.uri)
    expected = {f"u{user}": [] for user in range(3)}
    for name in ("f1.csv", "f2.csv", "f3.csv", "f0.csv"):
        for row in rows[name]:
            expected[row.split(",")[0]].append(row.split(",")[1])
    manifest = corpus.manifest
    assert {user: [item for item, *_ in events] for user, events in content(corpus)[0].items()} == expected
    assert (manifest.order, manifest.interactions_per_day, manifest.num_ties) == ("row", {}, 0)
    compact(corpus.uri)
    assert {u: [i for i, *_ in e] for u, e in content(open_corpus(corpus.uri))[0].items()} == expected
    with pytest.raises(UserError, match=r"split\.rule global_time reads times, .* only the order of its rows"):
        resolve(GlobalTimeConfig(), corpus)
    write_day(tmp_path / "log", 0, FIRST)
    with pytest.raises(UserError, match=r"in the order of time, .* in the order of row: append with logs\.order row"):
        appended(LogsConfig(uri=str(tmp_path / "log")), corpus.uri)
