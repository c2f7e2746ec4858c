"""Synthetic logs as files: the same whoever writes them, partitioned, readable, with the tails that were asked for."""

import datetime as dt
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.parts import dataset_of
from ray_userrep.logs.source import open_logs
from ray_userrep.logs.synthetic.population import block_bounds, draw_users, interactions_before
from ray_userrep.logs.synthetic.synthesize import DESCRIPTION, synthesize, write_block
from ray_userrep.recipe.logs import LogsConfig, SyntheticConfig

SMALL = SyntheticConfig(interactions=6000, users=300, items=400, days=4, files=3, domains=2, seed=5)


def log_of(config):
    """All rows of a log, drawn in its pieces, sorted."""
    bounds = block_bounds(config)
    blocks = [draw_users(config, a, b) for a, b in pairwise(bounds) if a < b]
    users = np.concatenate([np.repeat(b.user_ids_U, np.diff(b.offsets_U1)) for b in blocks])
    rows = np.stack([users, *(np.concatenate([getattr(b, n) for b in blocks]) for n in ("times_N", "item_ids_N"))])
    return rows[:, np.lexsort(rows[1::-1])]


@pytest.mark.parametrize("files", [2, 7, 500])
def test_the_rows_do_not_depend_on_the_pieces_of_work(files):
    whole = SMALL.model_copy(update={"files": 1})
    np.testing.assert_array_equal(log_of(SMALL.model_copy(update={"files": files})), log_of(whole))


def test_another_seed_is_another_log():
    assert (log_of(SMALL)[2] != log_of(SMALL.model_copy(update={"seed": 6}))[2]).mean() > 0.9


def test_the_same_files_whoever_writes_them_in_whatever_order(ray_session, s3_uri, tmp_path):
    description = synthesize(SMALL, f"{s3_uri}/log")
    bounds = block_bounds(SMALL)
    for number in reversed(range(SMALL.files)):
        write_block(SMALL, str(tmp_path), number, bounds[number], bounds[number + 1])
    files = {f.uri.removeprefix(f"{s3_uri}/log/"): f.uri for f in storage.list_files(f"{s3_uri}/log")}
    here = storage.list_files(str(tmp_path))
    assert set(files) == {f.uri.removeprefix(f"{tmp_path}/") for f in here}
    for name, uri in files.items():
        assert storage.read_bytes(uri) == (tmp_path / name).read_bytes()
    assert storage.read_json(f"{s3_uri}/log/{DESCRIPTION}") == description


def test_a_day_s_folder_holds_that_day_in_order_and_a_domain_its_own_items(ray_session, tmp_path):
    description = synthesize(SMALL, str(tmp_path / "log"))
    days, items = {}, {}
    for path in (tmp_path / "log").rglob("*.parquet"):
        table = pq.ParquetFile(path).read()
        when = table["timestamp"].to_pylist()
        day, domain = (part.split("=")[1] for part in path.parts[-3:-1])
        assert {moment.date().isoformat() for moment in when} == {day}
        assert when == sorted(when)
        days[day] = days.get(day, 0) + len(when)
        items.setdefault(domain, set()).update(table["item_id"].to_pylist())
    assert days == description["interactions_per_day"] and sum(days.values()) == SMALL.interactions
    assert list(days) and set(days) == {(SMALL.start + dt.timedelta(n)).isoformat() for n in range(SMALL.days)}
    assert set(items) == {"0", "1"} and not items["0"] & items["1"]


def test_the_description_counts_what_can_be_predicted_from_how_much(ray_session, tmp_path):
    description = synthesize(SMALL, str(tmp_path / "log"))
    lengths = np.unique(log_of(SMALL)[0], return_counts=True)[1]
    position = np.concatenate([np.arange(length) for length in lengths])
    floors, counts = description["floors_nats"], description["predictions"]
    assert counts == {
        "first_order": ((position > 0) & (position < SMALL.lag)).sum(), "full": (position >= SMALL.lag).sum()
    }  # fmt: skip
    of_row = np.where(position >= SMALL.lag, floors["full"], floors["first_order"])[position > 0]
    assert description["floor_nats"] == pytest.approx(of_row.mean())


def test_the_log_is_one_that_readers_read(ray_session, tmp_path):
    config = SMALL.model_copy(update={"domains": 1})
    synthesize(config, str(tmp_path / "log"))
    logs = open_logs(LogsConfig(uri=str(tmp_path / "log")))
    rows = dataset_of(logs.interactions).to_pandas()
    assert rows["reason"].isna().all() and logs.items is None
    read = np.stack([rows["user_id"], rows["timestamp"].dt.as_unit("us").astype("int64"), rows["item_id"]])
    np.testing.assert_array_equal(read[:, np.lexsort(read[1::-1])], log_of(config))


def test_times_never_coincide_and_stay_within_the_days():
    user, when, _ = log_of(SMALL)
    assert (np.diff(when)[np.diff(user) == 0] > 0).all()
    first = int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp()) * 10**6
    assert first <= when.min() and when.max() < first + SMALL.days * 86_400_000_000


def test_lengths_have_the_sum_the_least_and_the_tail_that_were_asked_for():
    config = SyntheticConfig(interactions=10_000_000, users=200_000, length_exponent=1.7, min_length=5)
    lengths = np.diff(interactions_before(config, np.arange(config.users + 1)))
    assert lengths.sum() == config.interactions and lengths.min() >= 5
    tail = np.sort(lengths)[::-1]
    ranks = np.unique(np.geomspace(20, 5000, 50).astype(int))
    slope = np.polyfit(np.log(tail[ranks] - 5), np.log(ranks), 1)[0]
    assert slope == pytest.approx(-1.7, abs=0.05)


@pytest.mark.parametrize("exponent", [0.8, 1.1])
def test_item_popularity_has_the_zipf_slope_that_was_asked_for(exponent):
    """Below the head, which many interests and variants flatten."""
    config = SyntheticConfig(interactions=3_000_000, users=20_000, items=200_000, item_exponent=exponent, files=1)
    counts = np.sort(np.bincount(draw_users(config, 0, config.users).item_ids_N))[::-1]
    ranks = np.unique(np.geomspace(1000, 10_000, 50).astype(int))
    assert np.polyfit(np.log(ranks), np.log(counts[ranks]), 1)[0] == pytest.approx(-exponent, abs=0.07)


def test_pieces_of_work_are_about_even():
    config = SyntheticConfig(interactions=1_000_000, users=50_000, files=10)
    sizes = np.diff(interactions_before(config, np.array(block_bounds(config))))
    assert sizes.sum() == config.interactions and sizes.max() < 1.2 * config.interactions / 10


def test_a_place_that_holds_files_is_refused(ray_session, tmp_path):
    (tmp_path / "other.csv").write_text("x")
    with pytest.raises(UserError, match="holds files already"):
        synthesize(SMALL, str(tmp_path))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"items": 1001}, "items 1001 is not a multiple of interests 20 x variants 10: take 1000 or 1200"),
        ({"interactions": 10}, "interactions 10 are too few for users 50000 of min_length 3"),
        ({"domains": 21}, "domains 21 are more than interests 20"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        SyntheticConfig(**fields)


@pytest.mark.parametrize("name", [".hidden", "_SUCCESS", "notes.txt"])
def test_a_folder_with_any_file_is_not_written_into(tmp_path, name):
    (tmp_path / name).write_text("years of work")
    with pytest.raises(UserError, match="holds files already"):
        synthesize(SMALL, str(tmp_path))
    assert (tmp_path / name).read_text() == "years of work" and len(list(tmp_path.iterdir())) == 1
