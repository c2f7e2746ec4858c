"""MovieLens in its three layouts: small copies made here, and the published figures where the samples are at hand."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray

from ray_userrep.errors import UserError
from ray_userrep.logs.parts import dataset_of
from ray_userrep.logs.readers import movielens
from ray_userrep.logs.source import Logs, open_logs
from ray_userrep.recipe.logs import LogsConfig

pytestmark = pytest.mark.usefixtures("ray_session")


def good_rows(logs: Logs) -> pa.Table:
    table = pa.concat_tables(ray.get(dataset_of(logs.interactions).to_arrow_refs())).sort_by("row")
    return table.filter(pc.is_null(table["reason"]))


def test_1m_layout(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_bytes(b"1::10::5::978300760\n2::11::3::978302109\n")
    (tmp_path / "movies.dat.gz").write_bytes(
        gzip.compress(
            "10::Star Wars: Episode IV (1977)::Action|Sci-Fi\n11::Misérables, Les (1995)::Drama\n".encode("latin-1")
        )
    )
    (tmp_path / "users.dat").write_bytes(b"1::F::1::10::48067\n2::M::56::16::70072\n")
    logs = open_logs(LogsConfig(uri=str(tmp_path)))
    assert logs.reader == "movielens"
    rows = good_rows(logs)
    assert rows.select(["user_id", "item_id", "rating"]).to_pylist() == [
        {"user_id": 1, "item_id": 10, "rating": 5.0},
        {"user_id": 2, "item_id": 11, "rating": 3.0},
    ]
    assert rows["timestamp"].cast(pa.int64()).to_pylist() == [978300760 * 10**6, 978302109 * 10**6]
    assert logs.items is not None and logs.items.to_pylist() == [
        {"item_id": 10, "text": "Star Wars: Episode IV (1977)", "category": "Action|Sci-Fi"},
        {"item_id": 11, "text": "Misérables, Les (1995)", "category": "Drama"},
    ]
    assert logs.users is not None
    assert logs.users.to_pylist()[1] == {"user_id": 2, "gender": "M", "age": 56, "occupation": "16"}


def test_ratings_alone_are_enough(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n")
    logs = open_logs(LogsConfig(uri=str(tmp_path)))
    assert (logs.reader, logs.items, logs.users) == ("movielens", None, None)
    assert good_rows(logs)["item_id"].to_pylist() == [242]


def test_users_of_another_layout_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ratings.dat").write_text("1::0114508::8::1381006850\n1::0208092::5::1586466072\n")
    (tmp_path / "users.dat").write_text("1::397291295\n2::40501255\n")
    logs = open_logs(LogsConfig(uri=str(tmp_path)))
    assert logs.users is not None and logs.users.num_rows == 0
    assert "users.dat: 2 lines cannot be read" in capsys.readouterr().out


def test_movietweetings(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::0114508::8::1381006850\n2::0208092::5::1586466072\n")
    (tmp_path / "movies.dat").write_text(
        "0114508::Species (1995)::Action|Horror\n0208092::Snatch: Pigs (2000)::\n0000008::A Sneeze (1894)\n"
    )
    logs = open_logs(LogsConfig(uri=str(tmp_path)))
    assert good_rows(logs)["item_id"].to_pylist() == ["0114508", "0208092"]
    assert logs.items is not None and logs.items.to_pylist() == [
        {"item_id": "0114508", "text": "Species (1995)", "category": "Action|Horror"},
        {"item_id": "0208092", "text": "Snatch: Pigs (2000)", "category": None},
        {"item_id": "0000008", "text": "A Sneeze (1894)", "category": None},
    ]


def test_ratings_of_another_layout_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1\t10\t5\n2\t11\t3\n")
    with pytest.raises(UserError, match=r"ratings\.dat cannot be read: none of its first lines .*see logs\.reader"):
        open_logs(LogsConfig(uri=str(tmp_path)))


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["ml-100k/u.data", "ml-100k/u.item"], True),
        (["ratings.dat.gz"], True),
        (["ml-25m/ratings.csv", "ml-25m/movies.csv"], True),
        (["ratings.csv"], False),
        (["log.csv"], False),
    ],
)
def test_recognise(names: list[str], known: bool) -> None:
    assert movielens.recognise(names) is known


def test_no_ratings(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_text("1::x::y\n")
    with pytest.raises(UserError, match="no MovieLens ratings"):
        open_logs(LogsConfig(uri=str(tmp_path), reader="movielens"))


@pytest.mark.parametrize(
    ("folder", "interactions", "users", "items", "films", "profiles"),
    [
        ("ml-100k", 100_000, 943, 1_682, 1_682, 943),
        ("ml-1m", 1_000_209, 6_040, 3_706, 3_883, 6_040),
        ("ml-latest-small", 100_004, 671, 9_066, 9_125, None),
    ],
)
def test_published_figures(
    sample_data: Path, folder: str, interactions: int, users: int, items: int, films: int, profiles: int | None
) -> None:
    logs = open_logs(LogsConfig(uri=str(sample_data / folder)))
    rows = good_rows(logs)
    assert rows.num_rows == interactions
    assert pc.count_distinct(rows["user_id"]).as_py() == users
    assert pc.count_distinct(rows["item_id"]).as_py() == items
    assert logs.items is not None and logs.items.num_rows == films
    assert logs.items.filter(pc.equal(logs.items["item_id"], 1))["text"].to_pylist() == ["Toy Story (1995)"]
    assert set(pc.unique(rows["item_id"]).to_pylist()) <= set(logs.items["item_id"].to_pylist())
    assert (logs.users.num_rows if logs.users is not None else None) == profiles
