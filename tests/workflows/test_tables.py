"""A shop's own tables, as files or in memory, become a corpus in one call."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import ray_userrep as ur
from ray_userrep.command import parse
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.workflows.prepare import run_prepare

pytestmark = pytest.mark.usefixtures("ray_session")

START = datetime(2024, 3, 1, tzinfo=UTC)
MEANINGS = (
    '{"user_id": "Kunde", "item_id": "Artikel", "timestamp": "Bestellt", "text": "Bezeichnung", '
    '"category": "Warengruppe", "price": "Preis"}'
)


def ordered(count: int) -> list[tuple[str, str, datetime]]:
    return [(f"K{n % 4}", f"A{n % 5}", START + timedelta(hours=n)) for n in range(count)]


def histories(corpus: Corpus) -> dict[str, list[tuple[str, int]]]:
    """Items and seconds of each user."""
    found = {}
    for number in {file.bucket for file in corpus.manifest.sequences}:
        bucket = corpus.bucket(number)
        for user, start, end in zip(
            bucket.user_ids.to_pylist(), bucket.offsets_U1, bucket.offsets_U1[1:], strict=False
        ):
            items = corpus.items().ids_of(bucket.items_N[start:end]).to_pylist()
            found[user] = list(zip(items, (bucket.timestamps_N[start:end] // 10**6).tolist(), strict=True))
    return found


def expected(rows: list[tuple[str, str, datetime]]) -> dict[str, list[tuple[str, int]]]:
    users = sorted({user for user, _, _ in rows})
    return {user: [(item, int(time.timestamp())) for who, item, time in rows if who == user] for user in users}


def write_shop(folder: Path, rows: list[tuple[str, str, datetime]]) -> None:
    """Orders in local time with their zone, decimal commas, and customers and products beside them."""
    zone = timedelta(hours=1)
    local = [(user, item, f"{time + zone:%Y-%m-%dT%H:%M:%S}+01:00") for user, item, time in rows]
    lines = ["Kunde;Artikel;Bestellt;Preis;Filiale", *(f"{u};{i};{t};12,50;Wien" for u, i, t in local)]
    (folder / "bestellungen.csv").write_text("\n".join(lines) + "\n")
    (folder / "customers.csv").write_text("Kunde,Land,Alter\nK0,AT,31\nK1,DE,52\nK9,CH,18\n")
    products = "".join(f"A{n};Hut {n};Mode;{n},90\n" for n in range(5))
    (folder / "produkte.csv").write_text(f"ArtikelNr;Bezeichnung;Warengruppe;Preis\n{products}")


def test_three_tables_of_a_shop_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop, rows = tmp_path / "shop", [*ordered(24), ("K0", "A0", datetime(2099, 1, 1, tzinfo=UTC))]
    shop.mkdir()
    write_shop(shop, rows)
    words = ["--logs", f"{shop}/bestellungen.csv", "--corpus", f"{tmp_path}/corpus", "--corpus.num_buckets", "1"]
    words += ["--logs.users", f"{shop}/customers.csv", "--logs.items", f"{shop}/produkte.csv"]
    run_prepare(parse([*words, "--logs.columns", MEANINGS]))
    corpus, printed = open_corpus(f"{tmp_path}/corpus"), capsys.readouterr().out
    assert histories(corpus) == expected(rows)
    items = corpus.items().table.sort_by("item_id").to_pydict()
    assert items["text"] == [f"Hut {n}" for n in range(5)] and set(items["category"]) == {"Mode"}
    assert items["price"] == [n + 0.9 for n in range(5)]
    assert corpus.users().sort_by("user_id").to_pydict() == {
        "user_id": ["K0", "K1"], "Land": ["AT", "DE"], "Alter": ["31", "52"]
    }  # fmt: skip
    for line in (
        f"log       {shop}/bestellungen.csv: Kunde → user_id, Artikel → item_id, Bestellt → timestamp, Preis → price; "
        "not used: Filiale",
        f"users     {shop}/customers.csv: 3 users, Kunde → user_id; of 4 users in the first rows of the log it has 2; "
        "also kept: Land, Alter",
        f"items     {shop}/produkte.csv: 5 items, ArtikelNr → item_id, Bezeichnung → text, Warengruppe → category, "
        "Preis → price; of 5 items in the first rows of the log it has 5",
        "note      the table of items beside the log tells of 5 of the log's 5 items",
        "warning   1 interactions lie in the future, the last on 2099-01-01",
    ):
        assert line in printed


def test_tables_in_memory_are_the_same_log_and_prepared_once(tmp_path: Path) -> None:
    rows = ordered(24)
    bought = pd.DataFrame(rows, columns=["Kunde", "Artikel", "Bestellt"])
    seen = pa.table({"Kunde": ["K0", "K0"], "Artikel": ["A0", "A1"], "Bestellt": [START - timedelta(days=1)] * 2})
    users = pa.table({"Kunde": pa.array(["K0", "K1"]).dictionary_encode(), "Land": ["AT", "DE"]})
    recipe = ur.recipe(corpus=f"{tmp_path}/corpus", **{"corpus.num_buckets": 1})
    log = {"view": seen.to_reader(), "purchase": bought}
    columns = {"user_id": "Kunde", "item_id": "Artikel", "timestamp": "Bestellt"}
    ur.prepare_tables(recipe, log, users=users, columns=columns)
    again = ur.prepare_tables(recipe, log | {"view": seen}, users=users, columns=columns)
    corpus = open_corpus(f"{tmp_path}/corpus")
    early = [("K0", item, START - timedelta(days=1)) for item in ("A0", "A1")]
    assert again["corpus"]["version"] == 1 and histories(corpus) == expected([*early, *rows])
    events = corpus.bucket(0, ["event"]).side_N["event"]
    assert len(set(events.tolist())) == 2 and corpus.manifest.side_columns == ["event"]
    assert corpus.users().to_pydict() == {"user_id": ["K0", "K1"], "Land": ["AT", "DE"]}


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([1, 2], "a table of interactions is wanted, a row each"),
        (pd.DataFrame({"user_id": ["a", 1]}), "a table of interactions is wanted.*user_id"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, log: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ur.prepare_tables(ur.recipe(corpus=f"{tmp_path}/corpus"), log)
    with pytest.raises(UserError, match="the recipe names a log of its own"):
        ur.prepare_tables(ur.recipe(logs="there"), log)
