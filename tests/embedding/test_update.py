"""Vectors brought up to date are those made anew, also where interactions come late, users and items are new."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from ray_userrep import storage
from ray_userrep.corpus.store import open_corpus
from ray_userrep.embedding.catalogue import on_corpus
from ray_userrep.embedding.export import export_vectors
from ray_userrep.embedding.update import appended_since, brought_up_to_date, remembered
from ray_userrep.encoder.histories import user_vectors
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.logs.source import open_logs
from ray_userrep.prepare.append import append
from ray_userrep.prepare.compact import compact
from ray_userrep.prepare.prepare import prepare
from ray_userrep.recipe.corpus import CorpusConfig, TextConfig
from ray_userrep.recipe.embedding import EmbeddingConfig
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.logs import LogsConfig

pytestmark = pytest.mark.usefixtures("ray_session")
CONFIG, TEXT = CorpusConfig(num_buckets=2), TextConfig()
DAY = 86_400


def write_day(folder: Path, number: int, events: list[tuple[str, str, float]]) -> LogsConfig:
    """A file of (user, item, day of 2020) rows."""
    users, items, days = zip(*events, strict=True)
    folder.mkdir(exist_ok=True)
    times = [1_577_836_800 + int(day * DAY) for day in days]
    pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": times}), folder / f"{number}.parquet")
    return LogsConfig(uri=str(folder))


def days_of_a_shop(num_days: int) -> list[list[tuple[str, str, float]]]:
    rng = np.random.default_rng(0)
    return [
        [
            (f"u{rng.integers(6 + 3 * day)}", f"i{rng.integers(8 + 2 * day)}", 10 * day + rng.uniform(0, 10))
            for _ in range(40)
        ]
        for day in range(num_days)
    ]


def save_encoder(corpus, folder: Path, tempo: bool = True, readout: str = "bag") -> str:
    torch.manual_seed(0)
    bag = {"bag_width": 8, "bag_kept": 4, "tempo": tempo} if readout == "bag" else {}
    fields = {"width": 8, "readout": readout} | bag
    build_encoder(EncoderConfig.model_validate(fields), corpus.items(), 5).save_pretrained(folder)
    return str(folder)


def three_versions(tmp_path) -> list:
    """A corpus after each of three days; the last one brings something late, of the first days."""
    days, place, found = days_of_a_shop(3), str(tmp_path / "corpus"), []
    days[0].append(("once", "i0", 2.0))
    days[2].append(("u0", "i0", 1.0))
    for number, events in enumerate(days):
        logs = write_day(tmp_path / "log", number, events)
        manifest = append(logs, CONFIG, place) if number else prepare(open_logs(logs), CONFIG, place)
        found.append(open_corpus(place, manifest.version))
    return found


@pytest.mark.parametrize(("tempo", "num_late"), [(False, 0), (True, 1)])
def test_three_days_one_by_one_are_all_of_them_at_once(tmp_path, tempo, num_late):
    first, second, third = three_versions(tmp_path)
    encoder = on_corpus(UserEncoder.from_pretrained(save_encoder(first, tmp_path / "encoder", tempo)), third, TEXT)
    reread = 0
    for number in first.buckets():
        users = remembered(encoder, first.bucket(number), 64)
        for corpus, before in ((second, first), (third, second)):
            appended = appended_since(corpus, before.manifest.version, "embedding.previous").bucket(number)
            users = brought_up_to_date(encoder, users, appended, partial(corpus.bucket, number), 64)
            reread += users.num_reread
        anew = remembered(encoder, third.bucket(number), 64)
        order = pc.index_in(anew.user_ids, value_set=users.user_ids).to_numpy()
        assert len(order) == len(users.user_ids)
        np.testing.assert_array_equal(users.lengths_U[order], anew.lengths_U)
        assert users.newest_U.take(pa.array(order)).equals(anew.newest_U)
        np.testing.assert_allclose(users.sums_US[order], anew.sums_US, rtol=1e-5, atol=1e-5)
    assert reread == num_late


@pytest.mark.system
def test_files_brought_up_to_date_hold_what_the_newest_version_gives_or_are_refused_before_anything_is_read(tmp_path):
    first, second, third = three_versions(tmp_path)
    saved, (old, new) = save_encoder(first, tmp_path / "encoder"), (str(tmp_path / name) for name in ("old", "new"))
    export_vectors(saved, first, old, EmbeddingConfig(sums=True), TEXT)
    told = export_vectors(saved, second, new, EmbeddingConfig(previous=old), TEXT)
    encoder = on_corpus(UserEncoder.from_pretrained(saved), second, TEXT)
    rows = {
        row["user_id"]: row for f in storage.list_files(new, ".parquet") for row in pq.read_table(f.uri).to_pylist()
    }
    assert len(rows) == told["users"] == second.manifest.num_users > first.manifest.num_users
    for number in second.buckets():
        bucket = second.bucket(number)
        columns = {TIMESTAMPS: bucket.timestamps_N}
        vectors = user_vectors(encoder, bucket.items_N, bucket.lengths_U, columns, told["until"])
        found = [rows[user] for user in bucket.user_ids.to_pylist()]
        np.testing.assert_allclose([row["vector"] for row in found], vectors, atol=1e-5)
        assert [row["interactions"] for row in found] == bucket.lengths_U.tolist()
    since = str(tmp_path / "since")
    told = export_vectors(saved, second, since, EmbeddingConfig(since=1), TEXT)
    came = {user for number in second.buckets() for user in appended_ids(second, number)}
    assert 0 < told["rows"] == len(came) < second.manifest.num_users
    assert set(pd.read_parquet(since)["user_id"]) == came
    refuse_what_cannot_be_brought_up_to_date(tmp_path, third, saved, new)


def appended_ids(corpus, number: int) -> list[str]:
    return appended_since(corpus, 1, "embedding.since").bucket(number).user_ids.to_pylist()


def refuse_what_cannot_be_brought_up_to_date(tmp_path, corpus, encoder, previous):
    def refused(encoder, corpus, previous, message):
        with pytest.raises(UserError, match=message):
            export_vectors(encoder, corpus, f"{tmp_path}/newest", EmbeddingConfig(previous=previous), TEXT)

    plain, other = (
        save_encoder(corpus, tmp_path / name, *kind) for name, *kind in (("p", False, "last"), ("o", False))
    )
    refused(plain, corpus, previous, r"want vectors that add up \(encoder\.readout bag\)")
    refused(encoder, corpus, str(tmp_path), "name the output folder of an earlier embed")
    refused(other, corpus, previous, "is of another encoder")
    compact(corpus.uri)
    refused(encoder, open_corpus(corpus.uri), previous, "was compacted or prepared anew since: embed version 4 without")
    told = storage.read_json(f"{previous}/_vectors.json")
    storage.write_json(f"{previous}/_vectors.json", told | {"sums": False})
    refused(encoder, corpus, previous, "has no sums: embed once with embedding.sums true")
