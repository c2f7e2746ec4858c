"""Relations of users: what of them is kept, what is left out and counted, and that the corpus has them."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.store import open_corpus
from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.prepare.append import append
from ray_userrep.prepare.compact import compact
from ray_userrep.prepare.prepare import prepare
from ray_userrep.prepare.side_tables import relations_between
from ray_userrep.recipe.corpus import CorpusConfig, KCoreConfig
from ray_userrep.recipe.logs import LogsConfig

ROW = st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from([None, "friend", "family"]))
CONFIG = CorpusConfig(num_buckets=2)


@given(st.lists(ROW), st.sets(st.integers(0, 6)))
def test_each_row_is_kept_once_or_counted_by_what_is_wrong_with_it(rows, users):
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    types = (pa.int64(), pa.int64(), pa.string())
    named = zip(("user_id", "other_id", "kind"), columns, types, strict=True)
    relations = pa.table({name: pa.array(list(column), kind) for name, column, kind in named})
    kept, dropped = relations_between(relations, pa.array(sorted(users), pa.int64()))
    known = [row for row in rows if row[0] in users and row[1] in users]
    others = [row for row in known if row[0] != row[1]]
    found = [tuple(row.values()) for row in kept.to_pylist()]
    assert set(found) == set(others) and len(found) == len(set(found))
    assert list(dropped.values()) == [len(rows) - len(known), len(known) - len(others), len(others) - len(found)]


@pytest.fixture
def log(tmp_path):
    """Users a to e; e has a single interaction."""
    folder = tmp_path / "log"
    folder.mkdir()
    rows = [(user, f"i{item}", 1_600_000_000 + item) for user in "abcd" for item in range(3)] + [
        ("e", "i0", 1_600_000_009)
    ]
    (folder / "day-1.csv").write_text("user_id,item_id,timestamp\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
    pairs = [
        "a,b,friend",
        "b,a,friend",
        "a,b,friend",
        "a,a,friend",
        "a,zoe,friend",
        "c,e,family",
        ",a,friend",
        "f,a,family",
    ]
    (folder / "relations.csv").write_text("user_id,other_id,kind\n" + "\n".join(pairs) + "\n")
    return folder


def pairs_of(corpus):
    return {(row["user_id"], row["other_id"], row["kind"]) for row in corpus.relations().to_pylist()}


@pytest.mark.usefixtures("ray_session")
def test_a_file_beside_the_log_comes_into_the_corpus_and_grows_with_it(log, tmp_path, capsys):
    logs, uri = LogsConfig(uri=str(log)), str(tmp_path / "corpus")
    first = open_corpus(uri, prepare(open_logs(logs), CONFIG, uri).version)
    friends = {("a", "b", "friend"), ("b", "a", "friend")}
    assert pairs_of(first) == friends | {("c", "e", "family")}
    assert first.manifest.num_relations == 3 and list(first.manifest.dropped_relations.values()) == [2, 1, 1]
    told = "3 between users of the log; left out: 2 of users whom the log has not, 1 of a user to oneself, 1 repeated"
    assert told in capsys.readouterr().out
    assert first.manifest.relations in first.manifest.checksums

    (log / "day-2.csv").write_text("user_id,item_id,timestamp\nf,i1,1600000100\nf,i2,1600000101\n")
    append(logs, CONFIG, uri)
    second = open_corpus(uri)
    assert pairs_of(second) == pairs_of(first) | {("f", "a", "family")}
    compact(uri)
    assert pairs_of(open_corpus(uri)) == pairs_of(second)


@pytest.mark.usefixtures("ray_session")
def test_a_k_core_keeps_the_relations_of_its_users_and_a_changed_file_is_not_read(log, tmp_path):
    uri = str(tmp_path / "corpus")
    config = CONFIG.model_copy(update={"k_core": KCoreConfig(users=2)})
    corpus = open_corpus(uri, prepare(open_logs(LogsConfig(uri=str(log))), config, uri).version)
    assert pairs_of(corpus) == {("a", "b", "friend"), ("b", "a", "friend")}
    assert corpus.manifest.dropped_relations["of users outside the k-core"] == 1
    assert not list((tmp_path / "corpus").glob("data/*/relations.parquet")), "the one that was replaced is gone"
    place = tmp_path / "corpus" / corpus.manifest.relations
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="was changed after it was written"):
        corpus.relations()


@pytest.mark.usefixtures("ray_session")
def test_a_table_without_the_other_user_is_told_with_the_file(log):
    (log / "relations.csv").write_text("user_id,friend\na,b\n")
    with pytest.raises(UserError, match=r"relations\.csv has no column 'other_id'; its columns are user_id, friend"):
        open_logs(LogsConfig(uri=str(log)))
