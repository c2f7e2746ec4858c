"""RecSys Challenge 2025: five kinds of events in a layout of its own, written here as the challenge has them."""

import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig

TIMES = ["2022-06-01 10:00:00", "2022-06-02 11:30:00"]
SECONDS = [1_654_077_600, 1_654_169_400]


def write(folder, names=("product_buy", "add_to_cart", "remove_from_cart")):
    for name in names:
        events = {"client_id": [1, 2], "timestamp": TIMES, "sku": [7, 8]}
        storage.write_parquet(f"{folder}/{name}.parquet", pa.table(events))
    visits = {"client_id": [1, 1], "timestamp": TIMES, "url": [7, 99]}
    storage.write_parquet(f"{folder}/page_visit.parquet", pa.table(visits))
    queries = {"client_id": [2, 2], "timestamp": TIMES, "query": ["[3 14 15]", "[9 2 6]"]}
    storage.write_parquet(f"{folder}/search_query.parquet", pa.table(queries))
    products = {"sku": [7, 8, 9], "category": [40, 41, 40], "price": [3, 99, 0], "name": ["[1 2]", "[3 4]", "[5 6]"]}
    storage.write_parquet(f"{folder}/product_properties.parquet", pa.table(products))


def test_events_of_all_kinds_are_interactions_with_ids_that_say_what_they_are_of(read, tmp_path):
    write(tmp_path)
    log = read(tmp_path)
    assert log.logs.reader == "recsys2025" and not log.reasons
    of_skus = [(user, f"sku:{sku}", second) for user, sku, second in zip((1, 2), (7, 8), SECONDS, strict=True)]
    expected = [(*row, name) for name in ("product_buy", "add_to_cart", "remove_from_cart") for row in of_skus]
    expected += [(1, f"url:{url}", second, "page_visit") for url, second in zip((7, 99), SECONDS, strict=True)]
    queries = ("[3 14 15]", "[9 2 6]")
    expected += [(2, f"query:{q}", second, "search_query") for q, second in zip(queries, SECONDS, strict=True)]
    assert log.short("event") == expected
    assert log.logs.items.to_pylist()[1] == {"item_id": "sku:8", "category": "41", "price": 99.0}


def test_no_events(ray_session, tmp_path):
    (tmp_path / "x.csv").write_text("a\n")
    with pytest.raises(UserError, match=r"none of product_buy\.parquet, .* among 1 files"):
        open_logs(LogsConfig(uri=str(tmp_path), reader="recsys2025"))
