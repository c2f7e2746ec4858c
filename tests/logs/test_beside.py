"""Tables of items and users of a shop, with names of its own, become those of the log; odd ones are one clear line."""

from pathlib import Path

import pyarrow as pa
import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.beside import find_columns, read_beside
from ray_userrep.logs.files import CsvFormat
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import list_files

COLUMNS = {"user_id": "kunde", "item_id": "artikel", "timestamp": "zeit", "text": "bezeichnung", "price": "preis"}


def read(path: Path, kind: str, content: str, columns: dict[str, str] = COLUMNS) -> pa.Table:
    path.write_text(content)
    config = LogsConfig(uri="log", columns=columns)
    csv = CsvFormat()
    return read_beside(find_columns(config, kind, list_files(str(path)), csv), csv, pa.string())


def test_mapped_columns_get_canonical_names_and_others_keep_theirs(tmp_path: Path) -> None:
    found = read(tmp_path / "p.csv", "items", "Farbe;Artikel;Bezeichnung;Preis;category\nrot;a1;Hut;12,50;Mode\n")
    row = {"Farbe": "rot", "item_id": "a1", "text": "Hut", "price": "12,50", "category": "Mode"}
    assert found.to_pylist() == [row]


@pytest.mark.parametrize("key", ["Kunde", "user_id", "KundenNr", "id"])
def test_the_key_is_found_by_its_name(tmp_path: Path, key: str) -> None:
    found = read(tmp_path / "k.csv", "users", f"land,{key},preis\nDE,u1,3\nAT,u2,4\n")
    assert found.to_pylist() == [
        {"land": "DE", "user_id": "u1", "preis": "3"},
        {"land": "AT", "user_id": "u2", "preis": "4"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nr,land\n1,DE\n", r"k\.csv has no column that is its key: call .* 'kunde' or 'user_id'; .* nr, land$"),
        ("customer,client\n1,2\n", r"k\.csv may have its key in 'customer' or 'client': call .* 'kunde'"),
        ("kunde,land\n1,DE\n1,AT\n1,CH\n", r"2 of 3 rows repeat a 'kunde' of a row before: .* one row each"),
        ("kunde,user_id\n1,2\n", r"k\.csv has the columns 'kunde' and 'user_id', and both are user_id: leave one out"),
    ],
)
def test_odd_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path / "k.csv", "users", content)


def test_of_rows_with_one_key_the_first_counts_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(tmp_path / "k.csv", "users", "kunde,land\n1,DE\n2,AT\n1,CH\n,XX\n")
    assert found.to_pylist() == [{"user_id": "1", "land": "DE"}, {"user_id": "2", "land": "AT"}]
    assert "k.csv: 1 of 3 rows repeat a 'kunde' of a row before; the first row of each" in capsys.readouterr().out
