"""Iceberg tables in their folders: the newest version, deletes, columns added later, and ids that no float holds."""

import os

import pyarrow as pa
import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.readers import iceberg
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig

pytest.importorskip("pyiceberg")
pytest.importorskip("sqlalchemy")


def table(users, items, seconds):
    times = pa.array([second * 10**6 for second in seconds], pa.timestamp("us", tz="UTC"))
    items = pa.array(items, pa.string())
    return pa.table({"user_id": pa.array(users, pa.int64()), "item_id": items, "timestamp": times})


def create(place, first):
    """A table at a place, filled once."""
    from pyiceberg.catalog.memory import InMemoryCatalog

    options = {"s3.endpoint": os.environ["AWS_ENDPOINT_URL"]} if place.startswith("s3://") else {}
    catalog = InMemoryCatalog("test", warehouse=place, **options)
    catalog.create_namespace("shop")
    created = catalog.create_table("shop.log", first.schema, location=place)
    created.append(first)
    return created


def test_the_newest_version(read, tmp_path):
    place = str(tmp_path / "log")
    log = create(place, table([1, 2], ["a", "b"], [10, 20]))
    log.append(table([2**53 + 1], ["007"], [30]))
    first = open_logs(LogsConfig(uri=place)).fingerprint
    log.delete("user_id = 2")
    found = read(place)
    assert found.logs.reader == "iceberg" and found.logs.fingerprint != first
    assert sorted(found.short()) == [(1, "a", 10), (2**53 + 1, "007", 30)]
    assert found.rows.schema.field("user_id").type == pa.int64() and not found.reasons


def test_columns_added_later(read, tmp_path):
    place = str(tmp_path / "log")
    log = create(place, table([1], ["a"], [10]))
    with log.update_schema() as update:
        update.union_by_name(pa.schema([("rating", pa.float64())]))
    log.append(table([3], [None], [30]).append_column("rating", pa.array([4.5])))
    found = read(place)
    assert sorted((row["user_id"], row["rating"]) for row in found.rows.to_pylist()) == [(1, None), (3, 4.5)]
    assert found.reasons == {"missing_item": 1}


def test_a_table_in_an_object_store(read, s3_uri):
    create(f"{s3_uri}/log", table([1], ["a"], [10]))
    assert read(f"{s3_uri}/log").short() == [(1, "a", 10)]


def test_columns_are_mapped(read, tmp_path):
    place = str(tmp_path / "log")
    create(place, table([1], ["a"], [10]).rename_columns(["who", "what", "when"]))
    columns = {"user_id": "who", "item_id": "what", "timestamp": "when"}
    assert read(place, columns=columns).short() == [(1, "a", 10)]
    with pytest.raises(UserError, match=r"log has no column 'user_id' for user_id, .*its columns are who, what, when"):
        open_logs(LogsConfig(uri=place))


def test_no_table(ray_session, tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(UserError, match="one Iceberg table is needed, 1 files hold 0"):
        open_logs(LogsConfig(uri=str(tmp_path), reader="iceberg"))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("metadata/00002-6f1c.metadata.json", True),
        ("metadata/v3.metadata.json", True),
        ("metadata/v3.gz.metadata.json", True),
        ("metadata/items.json", False),
    ],
)
def test_recognise(name, known):
    assert iceberg.recognise([name]) is known
