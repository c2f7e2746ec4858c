"""The k-core against a loop that removes users and items until none is left to remove."""

import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ray_userrep.corpus.outline import outline_path
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.logs.parts import whole
from ray_userrep.logs.source import Logs
from ray_userrep.logs.times import TIMESTAMP
from ray_userrep.prepare.kcore import keep_core
from ray_userrep.prepare.prepare import prepare
from ray_userrep.recipe.corpus import CorpusConfig, KCoreConfig

pytestmark = pytest.mark.usefixtures("ray_session")

DAY = 86_400_000_000


@pytest.fixture(scope="module")
def events():
    """Long tails on both sides, some ties and duplicates, and a chain that falls apart link by link."""
    rng = np.random.default_rng(3)
    users, items = np.minimum(rng.zipf(1.4, (2, 900)), 60)
    days = np.sort(rng.integers(0, 12, 900))
    frame = pd.DataFrame({"user_id": users, "item_id": [f"i{item:02d}" for item in items], "timestamp": days * DAY})
    frame["domain"] = np.where(items % 3 == 0, "books", np.where(items % 3 == 1, "music", None))
    chain = [(100 + link, f"c{link + side}", 0, None) for link in range(7) for side in (0, 1)]
    frame = pd.concat([frame, pd.DataFrame(chain, columns=list(frame.columns))], ignore_index=True)
    return frame.assign(row=range(len(frame)), price=np.arange(len(frame)) / 4)


def logs_of(frame):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.set_column(table.column_names.index("timestamp"), "timestamp", table["timestamp"].cast(TIMESTAMP))
    table = table.append_column("reason", pa.nulls(len(frame), pa.string()))
    users = pa.table({"user_id": pa.array(range(61)), "age": pa.array(range(61))})
    items = pa.table({"item_id": ["i01", "i02"], "text": ["one", "two"]})
    return Logs("memory:test", "test", "f", whole(table), items=items, users=users)


@pytest.fixture(scope="module")
def prepared(events, tmp_path_factory, ray_session):
    """The whole log as a corpus, and how to take the core of a copy of it."""
    folder_of_all = tmp_path_factory.mktemp("whole")
    manifest = prepare(logs_of(events), CorpusConfig(num_buckets=5), str(folder_of_all))

    def core(folder, config):
        shutil.copytree(folder_of_all / "data", folder / "data")
        return Corpus(str(folder), keep_core(manifest, config, str(folder), "data/core"))

    return core


def slowly(frame, config):
    """What is left, one removal after the other."""
    while True:
        per_user, per_item = frame["user_id"].value_counts(), frame["item_id"].value_counts()
        few_user = frame["user_id"].map(per_user) < config.users
        few_item = frame["item_id"].map(per_item) < config.items
        if not (few_user | few_item).any():
            return frame
        frame = frame[~few_user] if few_user.any() else frame[~few_item]


@pytest.mark.parametrize("bounds", [(3, 1), (1, 4), (2, 2), (4, 6)])
def test_what_is_left_is_what_a_loop_leaves_and_the_rest_is_counted(events, prepared, bounds, tmp_path):
    config = KCoreConfig(users=bounds[0], items=bounds[1])
    left, corpus = slowly(events, config), prepared(tmp_path, config)
    manifest = corpus.manifest
    found = []
    for number in {file.bucket for file in manifest.sequences}:
        bucket = corpus.bucket(number, ["price"])
        users = np.repeat(bucket.user_ids.to_numpy(), bucket.lengths_U)
        items = corpus.items().ids_of(bucket.items_N).to_pylist()
        prices = bucket.side_N["price"]
        found += zip(users.tolist(), items, bucket.timestamps_N.tolist(), list(prices), strict=True)
    ordered = left.sort_values(["user_id", "timestamp", "row"])
    expected = list(ordered[["user_id", "item_id", "timestamp", "price"]].itertuples(index=False, name=None))
    assert sorted(found, key=lambda event: event[0]) == expected  # a stable sort: the order inside a user is compared
    assert 0 < len(left) < len(events)
    removed = manifest.removed_by_k_core
    for name, column in (("users", "user_id"), ("items", "item_id")):
        assert removed[name] == events[column].nunique() - left[column].nunique()
    assert removed["interactions"] == len(events) - len(left)
    assert removed["rounds"] > (4 if bounds == (2, 2) else 0)  # a chain of seven users loses one at either end
    assert (manifest.num_interactions, manifest.num_users) == (len(left), left["user_id"].nunique())
    assert manifest.num_items == left["item_id"].nunique() == len(corpus.items())


def test_tables_counts_and_files_are_those_of_the_core(events, prepared, tmp_path):
    config = KCoreConfig(users=4, items=6)
    left, corpus = slowly(events, config), prepared(tmp_path, config)
    manifest = corpus.manifest
    counts = left["item_id"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    assert corpus.items().ids.to_pylist() == counts.index.tolist()
    assert corpus.items().counts().tolist() == counts.tolist()
    assert set(filter(None, corpus.items().texts())) == {"one", "two"} & {
        {"i01": "one", "i02": "two"}.get(item) for item in counts.index
    }
    assert sorted(corpus.users()["user_id"].to_pylist()) == sorted(left["user_id"].unique())
    assert manifest.domains == left["domain"].fillna("").value_counts().to_dict()
    days = pd.to_datetime(left["timestamp"], unit="us").dt.strftime("%Y-%m-%d")
    assert manifest.interactions_per_day == days.value_counts().to_dict()
    assert manifest.users_per_length == left["user_id"].value_counts().value_counts().to_dict()
    tied = left.sort_values(["user_id", "row"])
    tied = tied[tied.duplicated(["user_id", "timestamp"])]
    assert manifest.num_ties == len(tied)
    assert sum(file.num_users for file in manifest.sequences) == manifest.num_users
    files = [path for file in manifest.sequences for path in (file.path, outline_path(file.path))]
    named = {manifest.items, manifest.users, manifest.sources, *files}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == named


def test_other_bounds_are_another_version_and_the_same_are_not(events, tmp_path):
    asked = lambda users: CorpusConfig(num_buckets=1, k_core=KCoreConfig(users=users))  # noqa: E731
    first = prepare(logs_of(events), asked(1), str(tmp_path))
    assert first.removed_by_k_core == {} and first.num_interactions == len(events)
    second = prepare(logs_of(events), asked(3), str(tmp_path))
    assert second.version == 2 and second.content_fingerprint != first.content_fingerprint
    assert prepare(logs_of(events), asked(3), str(tmp_path)) == open_corpus(str(tmp_path)).manifest == second


def test_bounds_that_leave_nothing_are_refused(prepared, tmp_path):
    with pytest.raises(UserError, match=r"corpus.k_core removes everything.*lower corpus.k_core.users"):
        prepared(tmp_path, KCoreConfig(users=500))
