"""Online Retail: the embedded file against the published figures, and the other spellings of the same columns."""

import csv
import io
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray

from ray_userrep.errors import UserError
from ray_userrep.logs.parts import dataset_of
from ray_userrep.logs.readers import online_retail
from ray_userrep.logs.source import EMBEDDED_NAME, Logs, open_logs
from ray_userrep.recipe.logs import LogsConfig

pytestmark = pytest.mark.usefixtures("ray_session")

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
LINES = [
    "536365,85123A,WHITE HANGING HEART,6,{},2.55,17850,United Kingdom",
    "536365,71053,CREAM £ LANTERN ,6,{},3.39,17850,United Kingdom",
    "536366,71053,CREAM £ LANTERN,1,{},3.39,17850,France",
    "536367,71053,,1,{},3.39,12,France",
    "C536379,D,Discount,-1,{},27.5,14527,United Kingdom",
    "536414,22139,,56,{},0,,United Kingdom",
    "536589,21777,missing,-10,{},0,,United Kingdom",
]
REASONS = [None, None, None, None, "cancellation", "missing_user", "not_a_sale"]


def all_rows(logs: Logs) -> pa.Table:
    return pa.concat_tables(ray.get(dataset_of(logs.interactions).to_arrow_refs())).sort_by("row")


def reasons(table: pa.Table) -> Counter:
    return Counter(table["reason"].to_pylist())


def test_embedded_data_by_customer() -> None:
    logs = open_logs(LogsConfig())
    assert (logs.uri, logs.reader) == (EMBEDDED_NAME, "online_retail")
    table = all_rows(logs)
    assert table["row"].to_pylist() == list(range(541_909))
    # 135,080 rows have no customer; 383 of them are cancelled and 1,336 sold nothing.
    expected = {None: 397_924, "cancellation": 9_288, "not_a_sale": 1_336, "missing_user": 135_080 - 383 - 1_336}
    assert reasons(table) == expected
    assert pc.count_distinct(table["user_id"]).as_py() == 4_372
    assert pc.count_distinct(table["item_id"]).as_py() == 4_070
    good = table.filter(pc.is_null(table["reason"]))
    assert str(pc.min(good["timestamp"]).as_py()) == "2010-12-01 08:26:00+00:00"
    assert str(pc.max(good["timestamp"]).as_py()) == "2011-12-09 12:50:00+00:00"
    assert good.schema.field("user_id").type == pa.int64() and good.schema.field("item_id").type == pa.string()
    assert logs.items is not None and logs.users is not None
    assert set(logs.items["item_id"].to_pylist()) == set(pc.unique(good["item_id"]).to_pylist())
    assert set(logs.users["user_id"].to_pylist()) == set(pc.unique(good["user_id"]).to_pylist())
    heart = logs.items.filter(pc.equal(logs.items["item_id"], "85123A")).to_pylist()
    assert heart == [{"item_id": "85123A", "price": 2.95, "text": "WHITE HANGING HEART T-LIGHT HOLDER"}]


def test_embedded_data_by_invoice() -> None:
    logs = open_logs(LogsConfig(columns={"user_id": "InvoiceNo"}))
    table = all_rows(logs)
    assert reasons(table) == {None: 541_909 - 9_288 - 1_336, "cancellation": 9_288, "not_a_sale": 1_336}
    assert pc.count_distinct(table["user_id"]).as_py() == 25_900
    assert logs.users is not None and logs.users.column_names == ["user_id", "country"]


@pytest.mark.parametrize("moment", ["12/1/2010 8:26", "2010-12-01 08:26:00", "12/01/2010 08:26"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_csv_in_its_published_spellings(tmp_path: Path, moment: str, encoding: str) -> None:
    text = "\n".join([HEADER, *LINES]).format(*[moment] * len(LINES))
    (tmp_path / "Online Retail.csv").write_bytes(text.encode(encoding))
    logs = open_logs(LogsConfig(uri=str(tmp_path)))
    table = all_rows(logs)
    assert table["reason"].to_pylist() == REASONS
    assert {str(time) for time in table["timestamp"].to_pylist()} == {"2010-12-01 08:26:00+00:00"}
    assert table["user_id"].to_pylist() == [17850, 17850, 17850, 12, 14527, None, None]
    assert table["price"].to_pylist()[:2] == [2.55, 3.39]
    assert logs.items is not None and logs.items.to_pylist() == [
        {"item_id": "71053", "price": 3.39, "text": "CREAM £ LANTERN"},
        {"item_id": "85123A", "price": 2.55, "text": "WHITE HANGING HEART"},
    ]
    assert logs.users is not None and logs.users.to_pylist() == [
        {"user_id": 12, "country": "France"},
        {"user_id": 17850, "country": "United Kingdom"},
    ]


def test_the_second_release_renames_columns(tmp_path: Path) -> None:
    rows = csv.reader(io.StringIO("\n".join(line.format("2010-12-01 08:26:00") for line in LINES)))
    header = HEADER.replace("InvoiceNo", "Invoice").replace("UnitPrice", "Price").replace("CustomerID", "Customer ID")
    with open(tmp_path / "online_retail_II.csv", "w", newline="") as sink:
        csv.writer(sink).writerows([header.split(","), *([*r[:6], f"{r[6]}.0" if r[6] else "", r[7]] for r in rows)])
    table = all_rows(open_logs(LogsConfig(uri=str(tmp_path))))
    assert table["reason"].to_pylist() == REASONS
    assert table["user_id"].to_pylist()[:2] == [17850, 17850]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("OnlineRetail.csv.gz", True),
        ("online_retail_II_2009.csv", True),
        ("Online Retail.xlsx", False),
        ("data.csv", False),
    ],
)
def test_recognise(name: str, known: bool) -> None:
    assert online_retail.recognise([name]) is known


@pytest.mark.parametrize("missing", ["CustomerID", "Quantity", "Description"])
def test_a_missing_column_is_named(tmp_path: Path, missing: str) -> None:
    header = HEADER.replace(missing, "Other")
    (tmp_path / "online_retail.csv").write_text(f"{header}\n{LINES[0].format('2010-12-01')}\n")
    with pytest.raises(UserError, match=rf"online_retail\.csv has no column '{missing}'.*its columns are InvoiceNo, "):
        open_logs(LogsConfig(uri=str(tmp_path)))


def test_the_sample_holds_the_embedded_rows(sample_data: Path) -> None:
    embedded, sample = (all_rows(open_logs(LogsConfig(uri=uri))) for uri in (None, str(sample_data / "online-retail")))
    assert embedded.drop_columns("file").equals(sample.drop_columns("file"))


def test_the_second_releases_published_figures(sample_data: Path) -> None:
    table = all_rows(open_logs(LogsConfig(uri=str(sample_data / "online-retail-II-2009-2010"))))
    assert table.num_rows == 525_461
    assert table["user_id"].null_count == 107_927
    assert pc.count_distinct(table["user_id"]).as_py() == 4_383
    assert pc.count_distinct(table["item_id"]).as_py() == 4_632


def test_nine_days_that_both_years_tell_count_once(sample_data: Path, tmp_path: Path) -> None:
    for name in ("online-retail-II-2009-2010/online_retail_II_2009-2010.csv.gz", "online-retail/OnlineRetail.csv.gz"):
        shutil.copy(sample_data / name, tmp_path)
    logs = open_logs(LogsConfig(uri=str(tmp_path)))
    table = all_rows(logs)
    assert table.num_rows == 541_909 + 525_461 == pc.count_distinct(table["row"]).as_py()
    alone = all_rows(open_logs(LogsConfig()))
    days = pc.less(alone["timestamp"], pa.scalar("2010-12-10").cast(pa.timestamp("us")).cast(table["timestamp"].type))
    good = table.filter(pc.is_null(table["reason"]))
    within = pc.and_(
        pc.greater_equal(good["timestamp"], pc.min(alone["timestamp"]).as_py().replace(hour=0, minute=0)),
        pc.less(good["timestamp"], pa.scalar("2010-12-10").cast(pa.timestamp("us")).cast(table["timestamp"].type)),
    )
    assert pc.sum(within).as_py() == pc.sum(pc.and_(days, pc.is_null(alone["reason"]))).as_py()
    assert reasons(table)["overlap"] > 20_000
    assert logs.items is not None and logs.users is not None


def test_two_years_in_two_files(tmp_path: Path) -> None:
    for name, days in (("a", ("2009-12-01", "2010-12-02")), ("b", ("2010-12-02", "2011-01-01"))):
        lines = [LINES[0].format(f"{day} 08:26:00") for day in days]
        (tmp_path / f"online_retail_{name}.csv").write_text("\n".join([HEADER, *lines]))
    found = all_rows(open_logs(LogsConfig(uri=str(tmp_path))))
    assert sorted(zip(map(str, found["timestamp"].to_pylist()), found["reason"].to_pylist(), strict=True), key=str) == [
        ("2009-12-01 08:26:00+00:00", None),
        ("2010-12-02 08:26:00+00:00", "overlap"),
        ("2010-12-02 08:26:00+00:00", None),
        ("2011-01-01 08:26:00+00:00", None),
    ]
