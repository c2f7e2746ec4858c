"""Tables of views, orders and searches are one log, in which each row has its table's event."""

from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from ray_userrep.errors import UserError
from ray_userrep.logs.events import with_events
from ray_userrep.logs.listing import log_files
from ray_userrep.logs.readers import tabular
from ray_userrep.logs.scan import scan
from ray_userrep.recipe.logs import LogsConfig

EVENTS = {"view": "views*.csv", "purchase": "orders.csv"}


def write(folder: Path) -> None:
    (folder / "views-1.csv").write_text("user_id,item_id,timestamp\n1,10,1700000000\n2,11,1700000001\n")
    (folder / "views-2.csv").write_text("timestamp,item_id,user_id\n1700000002,12,1\n")
    (folder / "orders.csv").write_text("user_id,item_id,timestamp,event\n1,10,1700000009,shipped\n")
    (folder / "searches.csv").write_text("user_id,words,timestamp\n2,hat,1700000003\n")
    (folder / "customers.csv").write_text("user_id,country\n1,DE\n")


def rows(folder: Path, **fields) -> list[tuple]:
    config = LogsConfig(uri=str(folder), **fields)
    files = log_files(config)[1]
    found = scan(config, files, with_events(config, tabular.layout(config, files[0])))
    table = pa.concat_tables([rows for rows, _ in found.tables([])])
    assert table["reason"].null_count == table.num_rows
    return sorted(zip(*(table[name].to_pylist() for name in ("user_id", "item_id", "event")), strict=True))


def test_each_file_says_its_event_also_over_a_column_of_that_name(tmp_path: Path) -> None:
    write(tmp_path)
    views = [(1, 10, "view"), (1, 12, "view"), (2, 11, "view")]
    assert rows(tmp_path, events=EVENTS) == sorted([(1, 10, "purchase"), *views])


def test_a_table_without_items_is_of_an_item_called_as_its_event(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    found = rows(tmp_path, events=EVENTS | {"search": "searches.csv"})
    views = [(1, "10", "view"), (1, "12", "view"), (2, "11", "view")]
    assert found == sorted([(1, "10", "purchase"), *views, (2, "search", "search")])
    assert "searches.csv has no column 'item_id': the item of its rows is 'search'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (
            {"cart": "carts.csv"},
            r"logs\.events: no file in .* is carts\.csv for 'cart' alone; there are customers\.csv",
        ),
        ({"view": "views*.csv", "look": "views-1.csv"}, r"is views-1\.csv for 'look' alone"),
        ({"search": "searches.csv"}, r"no table of logs\.events has a column 'item_id' for item_id"),
    ],
)
def test_events_that_cannot_be_meant_are_refused(tmp_path: Path, events: dict[str, str], message: str) -> None:
    write(tmp_path)
    with pytest.raises(UserError, match=message):
        rows(tmp_path, events=events)


def test_an_event_is_said_once_and_of_a_log_of_ones_own() -> None:
    with pytest.raises(ValidationError, match=r"logs\.events and logs\.columns event both say"):
        LogsConfig(uri="x", events=EVENTS, columns={"event": "kind"})
    with pytest.raises(ValidationError, match=r"logs\.events goes with a log of your own: name it with --logs"):
        LogsConfig(events=EVENTS)
