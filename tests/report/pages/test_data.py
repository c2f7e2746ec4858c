"""The page of a corpus says what pandas counts in the log itself."""

import datetime as dt
import html
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_userrep import storage
from ray_userrep.corpus.store import open_corpus
from ray_userrep.prepare.survey import survey
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.pages.data import at_share, top_share
from ray_userrep.workflows.prepare import run_prepare

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def log():
    """Long-tailed users, items and days, with rows that say too little."""
    rng = np.random.default_rng(3)
    size = 1500
    start = dt.datetime(2023, 5, 1, tzinfo=dt.UTC).timestamp()
    rows = pd.DataFrame(
        {
            "user_id": (rng.pareto(0.7, size) * 10).astype("int64") % 200,
            "item_id": (rng.pareto(0.8, size) * 4).astype("int64") % 90,
            "timestamp": pd.to_datetime(start + rng.integers(0, 9 * 86_400, size) // 600 * 600, unit="s", utc=True),
            "domain": rng.choice(["books", "films", "<b>"], size, p=[0.6, 0.3, 0.1]),
        }
    )
    rows["timestamp"] = rows["timestamp"].astype("datetime64[us, UTC]")
    bad = rows.head(30).astype({"user_id": "Int64", "item_id": "Int64"}).copy()
    bad.loc[:10, "user_id"] = None
    bad.loc[11:, "item_id"] = None
    return rows, bad


@pytest.fixture(scope="module")
def prepared(ray_session, tmp_path_factory, log):
    place = tmp_path_factory.mktemp("report")
    (place / "log").mkdir()
    for name, rows in zip("ab", log, strict=True):
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), place / "log" / f"{name}.parquet")
    recipe = Recipe.model_validate(
        {"name": "t", "logs": {"uri": f"{place}/log"}, "corpus": {"uri": f"{place}/corpus", "num_buckets": 3}}
    )
    run_prepare(recipe)
    return recipe, open_corpus(f"{place}/corpus")


def test_counts_are_those_of_the_log(prepared, log):
    found, (rows, _) = survey(*prepared), log
    lengths, counts = rows["user_id"].value_counts(), rows["item_id"].value_counts()
    assert found.lengths == lengths.value_counts().to_dict()
    assert found.items == counts.value_counts().to_dict()
    held_out = lengths[lengths >= 3]
    assert found.split == {
        "training interactions": len(rows) - 2 * len(held_out), "training users": len(lengths),
        "validation targets": len(held_out), "test targets": len(held_out),
    }  # fmt: skip


def test_shares_are_those_of_the_log(prepared, log):
    frequencies, lengths = survey(*prepared).lengths, log[0]["user_id"].value_counts()
    for share in (0.5, 0.9, 0.99, 1):
        assert at_share(frequencies, share) == np.quantile(lengths, share, method="inverted_cdf")
    for share in (0.01, 0.2, 1):
        largest = lengths.nlargest(max(1, round(share * len(lengths)))).sum()
        assert top_share(frequencies, share) == pytest.approx(largest / lengths.sum())


def test_the_first_rejected_rows_are_shown_with_their_reasons(prepared, log):
    found = survey(*prepared)
    manifest = prepared[1].manifest
    assert manifest.quarantined == {"missing_item": 19, "missing_user": 11}
    assert {reason: len(rows) for reason, rows in found.quarantine.items()} == {"missing_item": 3, "missing_user": 3}
    first = found.quarantine["missing_user"][0]
    assert first["user_id"] is None and first["item_id"] == log[1]["item_id"].iloc[0]


def test_the_page_says_it(prepared, log):
    corpus = prepared[1]
    page = storage.read_text(f"{corpus.uri}/report.html")
    told = html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>", "", page, flags=re.S)))
    told = re.sub(r"\s+", " ", told)
    rows, _ = log
    users, items = rows["user_id"].nunique(), rows["item_id"].nunique()
    assert f"1,500 interactions of {users:,} users with {items:,} items, 2023-05-01 to 2023-05-09" in told
    assert f"{30 / 1530:.2%} of the rows were set aside" in told and "missing_item 19" in told
    assert f"books {(rows['domain'] == 'books').sum()} " in told and "&lt;b&gt;" in page
    days = rows["timestamp"].dt.date.value_counts()
    assert f"9 days have interactions, {days.idxmax()} the most: {days.max()}" in told
    assert page.count("<svg") == 3 and "files 2, " in told
    assert storage.read_json(f"{corpus.uri}/result.json")["counts"]["users"] == users


def test_a_split_that_cannot_be_had_is_said_and_nothing_else_is_lost(prepared):
    def split_by(share):
        split = {"rule": "global_time", "valid_share": share, "test_share": share}
        return Recipe.model_validate({"name": "t", "split": split})

    assert survey(split_by(0.3), prepared[1]).refusal is None
    found = survey(split_by(0.001), prepared[1])
    assert "cannot be cut" in found.refusal and not found.split and found.lengths
