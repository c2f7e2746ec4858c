"""Of several tables in a folder the log is read; others are told of, and two kinds of events are refused."""

from pathlib import Path

import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.files import CsvFormat
from ray_userrep.logs.several import interactions_among
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import list_files

COLUMNS = {"user_id": "kunde", "item_id": "artikel", "timestamp": "zeit"}
LOG = "kunde,artikel,zeit\n1,2,2024-01-01\n"


def kept(folder: Path, pattern: str = "", **fields) -> list[str]:
    config = LogsConfig(uri=f"{folder}{pattern}", columns=COLUMNS, **fields)
    return [Path(file.uri).name for file in interactions_among(config, list_files(str(folder)), CsvFormat(header=None))]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("customers.csv", "Kunde,Land\n1,DE\n2,AT\n", "users"),
        ("produkte.csv", "ArtikelNr;Bezeichnung\n1;Hut\n2;Tuch\n", "items"),
        ("carts.csv", "kunde,menge\n1,1\n1,1\n2,2\n", None),  # several rows a user
        ("both.csv", "kunde,artikel\n1,1\n2,2\n", None),  # a log that lacks times
        ("searches.csv", "kunde,zeit\n1,2024-01-01\n", None),
        ("notes.csv", "x,y\n1,1\n", None),
    ],
)
def test_a_table_of_one_row_each_is_left_aside_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, kind: str | None
) -> None:
    (tmp_path / "orders.csv").write_text(LOG)
    (tmp_path / name).write_text(content)
    assert kept(tmp_path) == (["orders.csv"] if kind else sorted(["orders.csv", name]))
    told = f"{tmp_path}/{name} is no log but looks like a table of {kind}: --logs.{kind} reads it\n"
    assert capsys.readouterr().out == (f"note      {told}" if kind else "")


def test_two_kinds_of_events_are_refused_unless_a_pattern_means_both(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("kunde,artikel,zeit,preis\n1,2,2024-01-01,3\n")
    (tmp_path / "views_1.csv").write_text(LOG)
    with pytest.raises(
        UserError, match=r'orders\.csv and .*views_1\.csv both look .*{"orders": "orders\.csv", "views":'
    ):
        kept(tmp_path)
    assert kept(tmp_path, "/*") == ["orders.csv", "views_1.csv"]


@pytest.mark.parametrize(("one", "other"), [("part-1.csv", "part-2.csv"), ("2023.csv", "2024.csv"), ("a.csv", "b.csv")])
def test_parts_of_one_log_may_differ_in_columns(tmp_path: Path, one: str, other: str) -> None:
    (tmp_path / one).write_text(LOG)
    (tmp_path / other).write_text("kunde,artikel,zeit,preis\n1,2,2024-01-01,3\n")
    assert kept(tmp_path) == [one, other]
